package ws

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley/session"
	"parley/transport/sock"
)

// Config is what the WebSocket transport can be told. The zero value of a field means its default.
type Config struct {
	// AllowedOrigins are those that pages may come from, beside the host that they ask: as an
	// origin (https://chat.example.com) or as a host (chat.example.com, or with a port).
	AllowedOrigins []string
	// Ping is how long nothing must be read from a client for it to be asked for a sign of life;
	// default 25 s, negative = never. One that answers neither of two pings is cut.
	Ping   time.Duration
	Logger *slog.Logger
}

func (c *Config) fill() {
	if c.Ping == 0 {
		c.Ping = beatEvery
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Server makes WebSocket connections sessions. It is an http.Handler; its methods may be called by
// any goroutine.
type Server struct {
	sessions *session.Server
	config   Config
	conns    *sock.Set
	beats    *heartbeat

	messageTime time.Duration // fixed at birth

	stop       context.CancelFunc // of the heartbeat
	background sync.WaitGroup
	draining   atomic.Bool
	origins    atomic.Pointer[[]string] // allowed; the list does not change

	foreign, refused, dead atomic.Int64
}

// NewServer makes a server whose sessions are made by sessions. Drain must be called in the end.
func NewServer(sessions *session.Server, config Config) (*Server, error) {
	config.fill()
	conns, err := sock.NewSet()
	if err != nil {
		return nil, err
	}
	s := &Server{sessions: sessions, config: config, conns: conns, beats: newHeartbeat(config.Ping), messageTime: messageTime}
	s.SetOrigins(config.AllowedOrigins)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.background.Go(func() { s.beats.run(ctx) })
	return s, nil
}

// SetOrigins changes Config's AllowedOrigins while the server runs.
func (s *Server) SetOrigins(allowed []string) {
	allowed = slices.Clone(allowed)
	s.origins.Store(&allowed)
}

// Stats are a server's counters since it began, and a gauge of now.
type Stats struct {
	Accepted int64 // connections
	Foreign  int64 // handshakes refused for their Origin
	Refused  int64 // connections closed for what they sent
	Dead     int64 // connections cut that gave no sign of life
	Open     int   // connections now
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	accepted, open := s.conns.Count()
	return Stats{
		Accepted: accepted, Open: open,
		Foreign: s.foreign.Load(), Refused: s.refused.Load(), Dead: s.dead.Load(),
	}
}

// Drain tells every client that the server goes away, lets what is in flight be answered, and
// closes. Connections that are not done when ctx ends are cut. Nothing is left afterwards, and
// handshakes are refused.
func (s *Server) Drain(ctx context.Context) {
	s.draining.Store(true)
	s.conns.Drain(ctx, s.sessions.Parting().Over, func(h sock.Handler) { h.(*conn).tell(s.sessions.GoingAway()) })
	s.stop()
	s.background.Wait()
}
