package tcp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime/debug"
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
	sleeper  *sleeper
	ctx      context.Context // bounds what sessions wait for
	cancel   context.CancelFunc
	stats    struct{ accepted, refused atomic.Int64 }

	mu       sync.Mutex
	conns    map[*conn]struct{}
	draining bool

	open       sync.WaitGroup // connections
	background sync.WaitGroup // the sweeper
}

// NewServer makes a server whose sessions are made by sessions. Drain must be called in the end.
func NewServer(sessions *session.Server, config Config) (*Server, error) {
	config.fill()
	s := &Server{sessions: sessions, config: config, conns: make(map[*conn]struct{})}
	var err error
	if s.sleeper, err = newSleeper(); err != nil {
		return nil, err
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.background.Go(s.sweep)
	return s, nil
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
// Drain ends them.
func (s *Server) Serve(l *net.TCPListener) error {
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
			case <-s.ctx.Done():
				return fmt.Errorf("accept: %w", err)
			}
		}
		backoff = 0
		s.start(nc)
	}
}

func (s *Server) start(nc *net.TCPConn) {
	c, err := newConn(s, nc)
	if err != nil {
		_ = nc.Close()
		return
	}
	s.mu.Lock()
	if s.draining {
		s.mu.Unlock()
		_ = nc.Close()
		return
	}
	s.conns[c] = struct{}{}
	s.open.Add(1)
	s.mu.Unlock()
	s.stats.accepted.Add(1)
	go c.serve(s.ctx)
}

// sweepEvery is how long nothing must be read from a connection for it to go to sleep, or up to
// twice as long.
const sweepEvery = 2 * time.Second

// manyAsleep is how many stacks must have been freed for their memory to be given back at once: the
// runtime would keep it for a while, and with a hundred thousand idle clients that is gigabytes.
const manyAsleep = 1000

// sweep finds the connections in which nothing happens and wakes them to go to sleep.
func (s *Server) sweep() {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	fell := 0
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		}
		if fell >= manyAsleep { // those of the last sweep are asleep by now
			debug.FreeOSMemory()
			fell = 0
		}
		for _, c := range s.list(false) {
			reads := c.reads.Load()
			if reads == c.swept && !c.asleep.Load() {
				c.drowsy.Store(true)
				_ = c.conn.SetReadDeadline(past)
				fell++
			}
			c.swept = reads
		}
	}
}

// forget is called when a connection has ended.
func (s *Server) forget(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.open.Done()
}

// Drain tells every client that the server goes away, lets what is in flight be answered, and
// closes. Connections that are not done when ctx ends are cut. Nothing is left afterwards.
func (s *Server) Drain(ctx context.Context) {
	for _, c := range s.list(true) {
		e := parley.Errorf(parley.Unavailable, "the server is going away; come back in a moment")
		e.Retry = time.Second + rand.N(4*time.Second) // so that not all come back at once
		c.drain(e)
	}
	done := make(chan struct{})
	go func() {
		s.open.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-ctx.Done():
		for _, c := range s.list(true) {
			c.Abort()
		}
		s.cancel()
		<-done
	}
	s.cancel()
	s.background.Wait()
	s.sleeper.close()
}

// list lists the connections; last: and lets no more come.
func (s *Server) list(last bool) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.draining = s.draining || last
	conns := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	return conns
}
