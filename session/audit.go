package session

import (
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"parley/audit"
	"parley/auth"
	"parley/wire"
)

// What the log of who did what is told. It is asked only where there is one.

// client is the session as the audit log names it.
func (s *Session) client() audit.Client {
	return audit.Client{User: s.out.User(), Session: s.id, Transport: transport(s.out.Encoding()), Address: address(s.conn.Addr())}
}

// transport is what a session of an encoding came by.
func transport(enc wire.Encoding) string {
	switch enc.(type) {
	case wire.WS:
		return "ws"
	case wire.SSE:
		return "sse"
	}
	return "tcp"
}

func address(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	at := t.AddrPort()
	return netip.AddrPortFrom(at.Addr().Unmap(), at.Port())
}

// client is the caller as the audit log names it.
func (c Caller) client() audit.Client {
	return audit.Client{User: c.user, Transport: "http", Address: c.from}
}

// refused notes that somebody was not let do something.
func (s *Server) refused(c audit.Client, op *wire.Op, err error) {
	if s.Audit == nil {
		return
	}
	if skipped, ok := s.refusals.take(time.Now()); ok {
		if skipped > 0 {
			s.Logger.Warn("refusals came too fast to write each down", "skipped", skipped)
		}
		s.Audit.Refused(c, string(op.Kind), op.Room, err)
	}
}

// granted notes what somebody may do from now on.
func (s *Session) granted(who *auth.Principal) {
	if s.server.Audit == nil || who.Anonymous {
		return
	}
	by := who.TokenID
	if who.Key != "" {
		by = who.Key
	}
	s.server.Audit.Granted(s.client(), by, who.Grants)
}

// refusalsPerSecond bounds the lines about refusals: who is refused must not be able to fill the disk.
const refusalsPerSecond = 100

// meter counts what happens within a second.
type meter struct {
	mu      sync.Mutex
	second  int64
	n       int
	skipped int
}

// take says whether one more may be written down, and how many were not since the last.
func (m *meter) take(now time.Time) (skipped int, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if second := now.Unix(); second != m.second {
		m.second, m.n = second, 0
	}
	if m.n++; m.n > refusalsPerSecond {
		m.skipped++
		return 0, false
	}
	skipped, m.skipped = m.skipped, 0
	return skipped, true
}

// removed notes that somebody has removed a group or a reader.
func (s *Server) removed(c audit.Client, op *wire.Op) {
	if s.Audit == nil {
		return
	}
	what := slog.String("group", op.Group)
	if op.Group == "" {
		what = slog.String("reader", op.Reader)
	}
	s.Audit.Acted(c, string(op.Kind), op.Room, what)
}

// acted notes that somebody has revoked somebody.
func (s *Session) acted(op *wire.Op) {
	if s.server.Audit == nil {
		return
	}
	whom := slog.String("of", op.User)
	if op.Key != "" {
		whom = slog.String("key", op.Key)
	}
	s.server.Audit.Acted(s.client(), string(op.Kind), "", whom, slog.Bool("lift", op.Lift))
}
