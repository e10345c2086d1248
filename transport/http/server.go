package httpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"parley"
	"parley/quota"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// Events answers a request with the events of rooms. An error is returned before anything is
// written.
type Events interface {
	Stream(w http.ResponseWriter, r *http.Request, rooms []string) error
}

// Config is what the HTTP transport can be told. The zero value of a field means its default.
type Config struct {
	Hostnames []string // names this server answers to, beside its addresses
	Origins   []string // of other sites' pages that may use it, as ParseOrigins gives them

	Events    Events       // required
	Hooks     Hooks        // by which others send; nil = none
	Metrics   http.Handler // /metrics; nil = not there
	Cluster   http.Handler // /cluster, for who administers; nil = not there
	Backup    Backup       // /backup, likewise
	WebSocket http.Handler // /ws; nil = not there. It checks where a request comes from by itself
	Page      http.Handler // what is nobody else's; nil = nothing

	SlowHead time.Duration // how long the head of a request may take; default 15 s
	SlowBody time.Duration // likewise its body; default 20 s
	Logger   *slog.Logger
}

// Limits of a connection that are nobody's to choose.
const (
	headMost   = 64 << 10 // bytes of a head
	idleTime   = 2 * time.Minute
	answerTime = time.Minute // from the head to the end of the answer
)

func (c *Config) fill() {
	if c.SlowHead == 0 {
		c.SlowHead = 15 * time.Second
	}
	if c.SlowBody == 0 {
		c.SlowBody = 20 * time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// Server answers HTTP requests.
type Server struct {
	sessions    *session.Server
	config      Config
	logger      *slog.Logger
	names       atomic.Pointer[names]
	proxies     atomic.Pointer[sock.Proxies]
	crossOrigin *http.CrossOriginProtection
	http        *http.Server

	anyAddress atomic.Bool     // it listens on all addresses of the machine
	leaving    context.Context // ends when the server begins to go away
	leave      context.CancelFunc
	backingUp  atomic.Bool // a backup is being made
	draining   atomic.Bool
	refused    atomic.Int64
	open       atomic.Int64
	turnedAway turnedAway
	answers    [6]atomic.Int64 // by the first digit of the status
}

// routes are the paths and, for each, what its methods do. HEAD goes with GET, OPTIONS with all.
var routes = map[string]map[string]func(*Server, http.ResponseWriter, *http.Request) error{
	"/rooms":                {"GET": (*Server).rooms},
	"/rooms/{room}":         {"GET": (*Server).page, "POST": (*Server).send},
	"/rooms/{room}/members": {"GET": (*Server).members},
	"/rooms/{room}/events":  {"GET": (*Server).roomEvents},
	"/rooms/{room}/take":    {"POST": (*Server).take},
	"/rooms/{room}/ask":     {"POST": (*Server).ask},

	"/rooms/{room}/jobs/{job}/done":  {"POST": settle(wire.Done)},
	"/rooms/{room}/jobs/{job}/retry": {"POST": settle(wire.Retry)},
	"/rooms/{room}/jobs/{job}/fail":  {"POST": settle(wire.Fail)},
	"/rooms/{room}/jobs/{job}/busy":  {"POST": (*Server).busy},

	"/rooms/{room}/jobs/{job}/release":     {"POST": settle(wire.Release)},
	"/rooms/{room}/letters/{letter}/retry": {"POST": settle(wire.Retry)},

	"/rooms/{room}/groups":                {"GET": (*Server).groups},
	"/rooms/{room}/groups/{group}":        {"DELETE": (*Server).remove},
	"/rooms/{room}/readers":               {"GET": (*Server).readers},
	"/rooms/{room}/readers/{reader}":      {"DELETE": (*Server).remove},
	"/rooms/{room}/readers/{reader}/done": {"POST": (*Server).advance},

	hookPath: {"POST": (*Server).hook},
	"/hooks": {"GET": (*Server).hooks},

	"/events":         {"GET": (*Server).events},
	"/session":        {"GET": (*Server).whoAmI, "POST": (*Server).signIn, "DELETE": (*Server).signOut},
	"/login":          {"GET": (*Server).login},
	"/login/callback": {"GET": (*Server).loginCallback},
	"/livez":          {"GET": (*Server).live},
	"/readyz":         {"GET": (*Server).ready},
	"/metrics":        {"GET": (*Server).metrics},
	"/openapi.yaml":   {"GET": (*Server).openAPI},
	"/asyncapi.yaml":  {"GET": (*Server).asyncAPI},
	"/cluster":        {"GET": (*Server).cluster},
	"/backup":         {"GET": (*Server).backup},
}

// NewServer makes a server whose requests are operations of sessions.
func NewServer(sessions *session.Server, config Config) *Server {
	config.fill()
	s := &Server{
		sessions: sessions, config: config, logger: config.Logger,
		crossOrigin: http.NewCrossOriginProtection(),
	}
	s.leaving, s.leave = context.WithCancel(context.Background())
	s.SetNames(config.Hostnames, config.Origins)
	s.SetProxies(nil)
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	s.http = &http.Server{
		Handler:           s.handler(),
		Protocols:         protocols,
		ReadHeaderTimeout: config.SlowHead,
		IdleTimeout:       idleTime,
		WriteTimeout:      answerTime,
		MaxHeaderBytes:    headMost,
		ErrorLog:          slog.NewLogLogger(config.Logger.Handler(), slog.LevelDebug),
		ConnContext:       withGuard,

		DisableGeneralOptionsHandler: true,
	}
	return s
}

// handler is the whole way of a request.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	for path, methods := range routes {
		check := s.checkSite
		if path == hookPath {
			check = anySite
		}
		mux.Handle(path, s.route(methods, check))
	}
	if s.config.Page != nil {
		mux.Handle("/", s.config.Page)
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
			setSafe(w.Header())
			s.fail(w, r, parley.Errorf(parley.NotFound, "there is nothing at this path"))
		})
	}
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		w := &writer{ResponseWriter: rw}
		s.identify(w, r)
		s.open.Add(1)
		defer func() {
			s.open.Add(-1)
			s.answers[min(w.status, 599)/100].Add(1)
			w.account.Close()
		}()
		if s.sessions.Quota.Visit(sock.ClientAddr(r).Addr()).Operate(r.Context()) != nil {
			return // the client has gone
		}
		s.share(w.Header(), r)
		if err := s.admit(w, r); err != nil {
			s.refused.Add(1)
			setSafe(w.Header())
			w.Header().Set("Connection", "close")
			s.fail(w, r, err)
			return
		}
		r, err := s.carry(w, r)
		if err != nil {
			setSafe(w.Header())
			s.fail(w, r, err)
			return
		}
		if s.config.WebSocket != nil && r.URL.Path == "/ws" { // a connection each, so it need not be searched for
			s.config.WebSocket.ServeHTTP(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// hsts has browsers come over TLS alone from now on, for a year.
const hsts = "max-age=31536000"

// SetProxies says who is believed when it says, in X-Forwarded-For or Forwarded, who its client is.
func (s *Server) SetProxies(p sock.Proxies) { s.proxies.Store(&p) }

// identify finds out where a request comes from, and says how to come back.
func (s *Server) identify(w *writer, r *http.Request) {
	if r.TLS != nil {
		w.Header().Set("Strict-Transport-Security", hsts)
	}
	if client := s.proxies.Load().Client(r); client != sock.ClientAddr(r) {
		w.client = net.TCPAddrFromAddrPort(client)
		r.RemoteAddr = client.String()
	}
}

// connect opens the account of a connection. A proxy that says whose its requests are has none: it is no
// client, and what it carries is counted as its clients'.
func (s *Server) connect(from net.Addr) (*quota.Account, error) {
	if a, ok := from.(*net.TCPAddr); ok && s.proxies.Load().Trusts(a.AddrPort().Addr()) {
		return nil, nil // a nil Account is unlimited
	}
	return s.sessions.Connect(from)
}

// carry opens the account of a client behind a proxy whose request becomes a connection.
func (s *Server) carry(w *writer, r *http.Request) (*http.Request, error) {
	if path := r.URL.Path; w.client == nil || path != "/ws" && path != "/events" && !strings.HasSuffix(path, "/events") {
		return r, nil
	}
	account, err := s.sessions.Connect(w.client)
	if err != nil {
		return r, err
	}
	w.account = account
	return r.WithContext(quota.NewContext(r.Context(), account)), nil
}

// admit checks what every request must be.
func (s *Server) admit(w http.ResponseWriter, r *http.Request) error {
	if g := guardOf(r.Context()); g != nil && g.doubtful.Load() {
		return parley.Errorf(parley.BadRequest, "a request has one length: Content-Length once, or chunks")
	}
	if len(r.TransferEncoding) > 0 {
		w.Header().Set("Connection", "close") // the guard does not look behind chunks
	}
	if err := s.checkHost(r); err != nil {
		return err
	}
	return checkPath(r)
}

// route finds the method's handler; site says whether a request may come from where it does.
func (s *Server) route(methods map[string]func(*Server, http.ResponseWriter, *http.Request) error, site func(*http.Request) error) http.Handler {
	allowed := []string{http.MethodOptions}
	for m := range methods {
		if allowed = append(allowed, m); m == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	slices.Sort(allowed)
	allow := strings.Join(allowed, ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		setSafe(w.Header())
		method := r.Method
		if method == http.MethodHead {
			method = http.MethodGet
		}
		handle, ok := methods[method]
		err := site(r)
		switch {
		case err != nil:
			s.refused.Add(1)
		case ok:
			err = handle(s, w, r)
		default:
			w.Header().Set("Allow", allow)
			if method == http.MethodOptions {
				s.preflight(w.Header(), r)
				w.WriteHeader(http.StatusNoContent)
				return
			}
			err = errMethod
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// Stats are a server's counters since it began, and a gauge of now.
type Stats struct {
	Answers map[string]int64 // by class of status: 2xx, 4xx …; 1xx are connections given away
	Refused int64            // requests for another host or from another site, and doubtful ones
	Open    int64            // requests being answered now
}

// Stats reads the counters.
func (s *Server) Stats() Stats {
	st := Stats{Answers: make(map[string]int64), Refused: s.refused.Load(), Open: s.open.Load()}
	for i := 1; i < len(s.answers); i++ {
		st.Answers[fmt.Sprintf("%dxx", i)] = s.answers[i].Load()
	}
	return st
}

// Serve answers requests until Drain. The listener, which is of TCP or a *sock.Listener, is closed then.
func (s *Server) Serve(l net.Listener) error {
	addr, ok := l.Addr().(*net.TCPAddr)
	s.anyAddress.Store(ok && addr.IP.IsUnspecified())
	if err := s.http.Serve(guards{l, s}); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve HTTP: %w", err)
	}
	return nil
}

// Retire says that the server goes away: it is not ready any more.
func (s *Server) Retire() {
	s.draining.Store(true)
	s.leave()
}

// Drain stops to accept, and answers the requests under way. Those that are not done when ctx ends
// are cut. Connections that were given away are not its own.
func (s *Server) Drain(ctx context.Context) {
	s.Retire()
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close()
	}
	s.turnedAway.wg.Wait() // a moment at most
}
