package sse

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"parley"
	"parley/auth"
	"parley/quota"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// Config is what streams can be told. The zero value of a field means its default.
type Config struct {
	Heartbeat time.Duration // a stream gets one at least this often; default 10 s
	Logger    *slog.Logger
}

// Server makes sessions of requests for events.
type Server struct {
	sessions *session.Server
	logger   *slog.Logger
	conns    *sock.Set
	beats    beats

	stop    context.CancelFunc
	running sync.WaitGroup
}

// NewServer makes a server whose sessions are made by sessions. Drain must be called in the end.
func NewServer(sessions *session.Server, config Config) (*Server, error) {
	if config.Heartbeat == 0 {
		config.Heartbeat = 10 * time.Second
	}
	if config.Logger == nil {
		config.Logger = slog.Default()
	}
	conns, err := sock.NewSet()
	if err != nil {
		return nil, err
	}
	s := &Server{sessions: sessions, logger: config.Logger, conns: conns}
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.running.Go(func() { s.beats.run(ctx, config.Heartbeat) })
	return s, nil
}

// Stats are a server's counters since it began, and a gauge of now.
type Stats struct {
	Accepted int64 // streams
	Open     int   // streams now
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	accepted, open := s.conns.Count()
	return Stats{Accepted: accepted, Open: open}
}

// Stream answers a request with the events of rooms, which are named as the client named them. An
// error, before anything is written, is the caller's to answer. Otherwise the connection is taken
// from net/http: the caller returns.
func (s *Server) Stream(w http.ResponseWriter, r *http.Request, rooms []string) error {
	q, err := parseRequest(r, rooms, s.sessions.Bounds())
	if err != nil {
		return err
	}
	caller, err := s.caller(r, q)
	if err != nil {
		return err
	}
	q.places.part = s.sessions.Log.Part
	st := &stream{server: s, request: q, places: q.places}
	defer func() { // not taken over by the set
		if st != nil {
			st.unwatch()
		}
	}()
	for i := range q.joins { // what cannot be joined is found now, when it can be answered
		if err := s.sessions.Admit(r.Context(), caller, &q.joins[i]); err != nil {
			return err
		}
		if parley.IsPattern(q.joins[i].Room) {
			continue
		}
		watch, err := s.sessions.Hub.Watch(r.Context(), q.joins[i].Room)
		if err != nil {
			return err
		}
		st.watches = append(st.watches, watch)
	}
	setHead(w.Header())
	if r.Method == http.MethodHead {
		return nil
	}
	nc, err := take(w)
	if err != nil {
		return err
	}
	account := quota.FromContext(r.Context())
	if err := s.conns.Prepare(&st.Conn, nc, st); err != nil {
		_ = nc.Close()
		account.Close()
		s.logger.Warn("cannot take a connection over", "err", err)
		return nil
	}
	st.session = s.sessions.New(st, wire.SSE{})
	st.session.Charge(account)
	st.session.Raw(head(w.Header())) // before anything else, be it why the session ends
	st.session.Be(caller)
	started := st
	st = nil
	if !s.conns.Start(&started.Conn) {
		started.session.Close()
		started.unwatch()
	}
	return nil
}

// caller finds whose credential a request shows. Who shows none and gives no name is a guest.
func (s *Server) caller(r *http.Request, q *request) (session.Caller, error) {
	credential, err := auth.FromRequest(r, true)
	if err != nil {
		return session.Caller{}, err
	}
	return s.sessions.Caller(r.Context(), sock.ClientAddr(r), credential, q.name)
}

// take takes the connection from net/http.
func take(w http.ResponseWriter) (net.Conn, error) {
	nc, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, parley.Errorf(parley.BadRequest, "events need HTTP/1.1").Because(err)
	}
	return nc, nil
}

// Drain tells every client when to come back, and closes. Streams that are not done when ctx ends are
// cut. Nothing is left afterwards.
func (s *Server) Drain(ctx context.Context) {
	s.conns.Drain(ctx, s.sessions.Parting().Over, func(h sock.Handler) {
		h.(*stream).session.Refuse(nil, s.sessions.GoingAway())
	})
	s.stop()
	s.running.Wait()
}
