package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"parley"
	"parley/session"
)

// Config is what the TCP transport can be told. The zero value of a field means its default.
type Config struct {
	// Pause is how long a client that began a plain line must be silent for what it has sent to
	// count as a line; default 200 ms, negative = never.
	Pause time.Duration
	// Lobby is the room of plain clients; default "lobby".
	Lobby string
	// Web is where HTTP is served, to tell those who ask for it here; "" = nowhere.
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
	stats    struct{ accepted, refused atomic.Int64 }

	mu       sync.Mutex
	conns    map[*conn]struct{}
	draining bool
	wg       sync.WaitGroup
}

// NewServer makes a server whose sessions are made by sessions.
func NewServer(sessions *session.Server, config Config) *Server {
	config.fill()
	return &Server{sessions: sessions, config: config, conns: make(map[*conn]struct{})}
}

// Stats are a server's counters since it began, and a gauge of now.
type Stats struct {
	Accepted int64 // connections
	Refused  int64 // connections closed for what they sent
	Open     int   // connections now
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{Accepted: s.stats.accepted.Load(), Refused: s.stats.refused.Load(), Open: len(s.conns)}
}

// Serve accepts connections until the listener is closed, which is no error. Connections go on:
// Drain ends them. ctx bounds what sessions wait for.
func (s *Server) Serve(ctx context.Context, l *net.TCPListener) error {
	backoff := time.Duration(0)
	for {
		nc, err := l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil: // most likely no descriptor is left: those who leave will free some
			backoff = min(max(2*backoff, 5*time.Millisecond), time.Second)
			s.config.Logger.Warn("cannot accept a connection", "err", err, "retry", backoff)
			select {
			case <-time.After(backoff):
				continue
			case <-ctx.Done():
				return fmt.Errorf("accept: %w", err)
			}
		}
		backoff = 0
		s.start(ctx, nc)
	}
}

func (s *Server) start(ctx context.Context, nc *net.TCPConn) {
	sock, err := newSocket(nc)
	if err != nil {
		_ = nc.Close()
		return
	}
	c := newConn(s, sock)
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.wg.Add(1)
	s.mu.Unlock()
	s.stats.accepted.Add(1)
	go c.serve(ctx)
}

// forget is called when a connection has ended.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.wg.Done()
}

// Drain tells every client that the server goes away, lets what is in flight be answered, and
// closes. Connections that are not done when ctx ends are cut. No connection is left afterwards.
func (s *Server) Drain(ctx context.Context) {
	for _, c := range s.open() {
		retry := time.Second + rand.N(4*time.Second) // so that not all come back at once
		e := parley.Errorf(parley.Unavailable, "the server is going away; come back in a moment")
		e.Retry = retry
		c.drain(e)
	}
	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		for _, c := range s.open() {
			c.sock.Abort()
		}
		<-done
	}
}

// open lists the connections and lets no more come.
func (s *Server) open() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = true
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}
