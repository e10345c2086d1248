package sock

import (
	"crypto/tls"
	"errors"
	"net"
	"time"
)

// Stream is a connection that is more than TCP, as a [Listener] gives it: there is TLS on it, or a proxy
// has said who its client is. It is a net.Conn, and may wait, until it is given to a [Set].
type Stream struct {
	tcp    *net.TCPConn
	tls    *tls.Conn // nil: none
	below  *below    // of tls
	client net.Addr  // as a proxy says; nil: who is at the other end
}

// From gives a connection the address of the client behind the proxy that is at its other end.
func From(nc net.Conn, client net.Addr) net.Conn {
	switch c := nc.(type) {
	case *net.TCPConn:
		return &Stream{tcp: c, client: client}
	case *Stream:
		c.client = client
	}
	return nc
}

// Cut ends a connection at once and in silence: nothing that waits is sent, no TLS says goodbye.
func Cut(nc net.Conn) {
	tcp, ok := nc.(*net.TCPConn)
	if s, is := nc.(*Stream); is {
		tcp, ok = s.tcp, true
	}
	if !ok {
		_ = nc.Close()
		return
	}
	_ = tcp.SetLinger(0)
	_ = tcp.Close()
}

// ConnectionState describes the TLS; nil where there is none.
func (s *Stream) ConnectionState() *tls.ConnectionState {
	if s.tls == nil {
		return nil
	}
	state := s.tls.ConnectionState()
	return &state
}

// Read implements net.Conn.
func (s *Stream) Read(p []byte) (int, error) {
	if s.tls != nil {
		return s.tls.Read(p)
	}
	return s.tcp.Read(p)
}

// Write implements net.Conn.
func (s *Stream) Write(p []byte) (int, error) {
	if s.tls != nil {
		return s.tls.Write(p)
	}
	return s.tcp.Write(p)
}

// CloseWrite tells the client that nothing more comes.
func (s *Stream) CloseWrite() error {
	if s.tls == nil {
		return s.tcp.CloseWrite()
	}
	return errors.Join(s.tls.CloseWrite(), s.tcp.CloseWrite())
}

// Close implements net.Conn.
func (s *Stream) Close() error {
	if s.tls != nil {
		return s.tls.Close()
	}
	return s.tcp.Close()
}

// LocalAddr implements net.Conn.
func (s *Stream) LocalAddr() net.Addr { return s.tcp.LocalAddr() }

// RemoteAddr is the client's address, be it behind a proxy.
func (s *Stream) RemoteAddr() net.Addr {
	if s.client != nil {
		return s.client
	}
	return s.tcp.RemoteAddr()
}

// SetDeadline implements net.Conn.
func (s *Stream) SetDeadline(t time.Time) error { return s.tcp.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (s *Stream) SetReadDeadline(t time.Time) error { return s.tcp.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (s *Stream) SetWriteDeadline(t time.Time) error { return s.tcp.SetWriteDeadline(t) }

// open makes the socket use a connection: a *net.TCPConn or a *Stream.
func (s *socket) open(nc net.Conn) (err error) {
	s.tryFn = s.try
	switch c := nc.(type) {
	case *net.TCPConn:
		s.conn = c
	case *Stream:
		s.conn, s.client, s.tls = c.tcp, c.client, c.tls
	default:
		return errors.New("neither TCP nor TLS on TCP")
	}
	if s.raw, err = s.conn.SyscallConn(); err != nil || s.tls == nil {
		return err
	}
	s.below = nc.(*Stream).below
	s.below.raw, s.tryFn = s.raw, s.tryTLS
	s.held = true // it may have come with the handshake, or with a request
	return nil
}
