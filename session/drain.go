package session

import (
	"context"
	"net"
	"net/netip"

	"parley"
	"parley/wire"
)

// drain has the server end in order: its clients go to other nodes, this one included, which is
// answered before.
func (s *Session) drain(_ context.Context, op *wire.Op) error {
	if !s.server.guarded() && !s.local() {
		return parley.Errorf(parley.Denied, "where nobody has to say who they are, a server is drained from its own machine, by TCP")
	}
	if s.server.Drain == nil {
		return parley.Errorf(parley.Conflict, "this server is not told to end by its clients")
	}
	if s.server.Audit != nil {
		s.server.Audit.Acted(s.client(), string(op.Kind), "")
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Draining(dst, op.Ref) })
	s.server.Drain()
	return nil
}

// local says whether the client is surely on this machine: neither a page in a browser nor who comes
// through a proxy for HTTP speaks JSON lines over TCP.
func (s *Session) local() bool {
	_, lines := s.enc.(wire.JSONLines)
	return lines && loopback(s.conn.Addr())
}

func loopback(addr net.Addr) bool {
	at, err := netip.ParseAddrPort(addr.String())
	return err == nil && at.Addr().Unmap().IsLoopback()
}
