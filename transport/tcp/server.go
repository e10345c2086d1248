package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"parley"
	"parley/quota"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// Config is what the TCP transport can be told. The zero value of a field means its default.
type Config struct {
	// Pause is how long a client that began a plain line must be silent for what it has sent to
	// count as a line; default 200 ms, negative = never.
	Pause time.Duration
	// Lobby is the room of plain clients; default "lobby".
	Lobby string
	// Web is the URL at which HTTP is served, to tell those who ask for it here; "" = nowhere.
	Web    string
	Logger *slog.Logger
}

func (c *Config) fill() {
	if c.Pause == 0 {
		c.Pause = 200 * time.Millisecond
	}
	if c.Lobby == "" {
		c.Lobby = "lobby"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Server accepts TCP connections and makes each a session.
type Server struct {
	sessions *session.Server
	config   Config
	conns    *sock.Set
	refused  atomic.Int64
}

// NewServer makes a server whose sessions are made by sessions. Drain must be called in the end.
func NewServer(sessions *session.Server, config Config) (*Server, error) {
	config.fill()
	conns, err := sock.NewSet()
	if err != nil {
		return nil, err
	}
	return &Server{sessions: sessions, config: config, conns: conns}, nil
}

// Stats are a server's counters since it began, and a gauge of now.
type Stats struct {
	Accepted int64 // connections
	Refused  int64 // connections closed for what they sent
	Open     int   // connections now
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	accepted, open := s.conns.Count()
	return Stats{Accepted: accepted, Refused: s.refused.Load(), Open: open}
}

// Serve accepts connections until the listener is closed, which is no error. Connections go on:
// Drain ends them. The listener is of TCP or a *sock.Listener.
func (s *Server) Serve(l net.Listener) error {
	backoff := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // most likely no descriptor is left: those who leave will free some
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.config.Logger.Warn("cannot accept a connection", "err", err, "retry", backoff)
			select {
			case <-time.After(backoff):
				continue
			case <-s.conns.Done():
				return fmt.Errorf("accept: %w", err)
			}
		}
		backoff = 0
		s.start(nc)
	}
}

func (s *Server) start(nc net.Conn) {
	account, err := s.sessions.Connect(nc.RemoteAddr())
	if err != nil {
		turnAway(nc, err)
		return
	}
	c := &conn{server: s, opened: time.Now()}
	if err := s.conns.Prepare(&c.Conn, nc, c); err != nil {
		_ = nc.Close()
		account.Close()
		return
	}
	c.session = s.sessions.New(c, wire.TextBare{})
	c.session.Charge(account)
	if !s.conns.Start(&c.Conn) {
		c.session.Close()
	}
}

// turnAway closes a connection that is not let in. An empty socket takes these few bytes at once.
func turnAway(nc net.Conn, err error) {
	if errors.Is(err, quota.ErrFlood) {
		sock.Cut(nc)
		return
	}
	_ = nc.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = nc.Write(wire.TextBare{}.Error(nil, nil, parley.AsError(err)))
	_ = nc.Close()
}

// Drain tells every client that the server goes away, lets what is in flight be answered, and
// closes. Connections that are not done when ctx ends are cut. Nothing is left afterwards.
func (s *Server) Drain(ctx context.Context) {
	s.conns.Drain(ctx, s.sessions.Parting().Over, func(h sock.Handler) {
		h.(*conn).session.Refuse(nil, s.sessions.GoingAway())
	})
}
