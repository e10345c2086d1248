package ws

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsflate"

	"parley"
	"parley/auth"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// Subprotocol is the name under which a client may ask for this protocol. It need not.
const Subprotocol = "parley.v1"

// handshakeTime bounds the writing of the answer to a handshake.
const handshakeTime = 10 * time.Second

// ServeHTTP answers the handshake and returns; the connection goes on without net/http.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case s.draining.Load():
		e := goingAway()
		w.Header().Set("Retry-After", strconv.Itoa(int(e.Retry.Seconds())))
		refuse(w, http.StatusServiceUnavailable, e)
		return
	case !s.welcome(r):
		s.foreign.Add(1)
		refuse(w, http.StatusForbidden, parley.Errorf(parley.Denied, "pages from %.100q may not connect here", r.Header.Get("Origin")))
		return
	case !strings.EqualFold(r.Header.Get("Upgrade"), "websocket"):
		w.Header().Set("Upgrade", "websocket")
		w.Header().Set("Connection", "Upgrade")
		refuse(w, http.StatusUpgradeRequired, parley.Errorf(parley.BadRequest, "this is where WebSocket is spoken"))
		return
	}
	caller, err := s.caller(r)
	if err != nil {
		s.unauthorized(w, err)
		return
	}
	offer := wsflate.Extension{Parameters: wsflate.DefaultParameters}
	up := ws.HTTPUpgrader{
		Timeout:  handshakeTime,
		Protocol: func(name string) bool { return name == Subprotocol },
		Negotiate: func(o httphead.Option) (httphead.Option, error) {
			answer, _ := offer.Negotiate(o) // one that is no good is declined (RFC 7692, section 5)
			return answer, nil
		},
	}
	nc, rw, _, err := up.Upgrade(r, w)
	if err != nil {
		if nc != nil {
			_ = nc.Close()
		}
		return // it was told why
	}
	_, deflate := offer.Accepted()
	if err := s.start(nc, rw.Reader, deflate, caller); err != nil {
		s.config.Logger.Error("cannot take a connection", "err", err)
		_ = nc.Close()
	}
}

// start makes a session of a connection whose handshake is done.
func (s *Server) start(nc net.Conn, in *bufio.Reader, deflate bool, caller *session.Caller) error {
	c := &conn{server: s}
	c.parser.limit, c.parser.deflate = s.sessions.Limits.Frame, deflate
	c.heard.Store(true)
	if n := in.Buffered(); n > 0 {
		c.early = make([]byte, n)
		_, _ = in.Read(c.early) // what is buffered is read without fail
	}
	if err := s.conns.Prepare(&c.Conn, nc, c); err != nil {
		return err
	}
	c.session = s.sessions.New(c, wire.WS{Deflate: deflate})
	if caller != nil {
		c.session.Be(*caller)
	}
	s.beats.add(c)
	if !s.conns.Start(&c.Conn) {
		s.beats.remove(c)
		c.session.Close()
	}
	return nil
}

// welcome says whether a handshake may go on by its Origin, which browsers send and pages cannot
// forge: a page from elsewhere must not act in its visitor's name.
func (s *Server) welcome(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	if len(origins) == 0 {
		return true // no browser
	}
	if len(origins) > 1 {
		return false
	}
	u, err := url.Parse(origins[0])
	if err != nil || u.Host == "" {
		return false // "null": a page whose origin is hidden
	}
	if strings.EqualFold(u.Host, r.Host) {
		return true
	}
	for _, allowed := range s.config.AllowedOrigins {
		if strings.EqualFold(allowed, u.Host) || strings.EqualFold(allowed, origins[0]) {
			return true
		}
	}
	return false
}

// caller finds whose credential the handshake shows; nil where it shows none.
func (s *Server) caller(r *http.Request) (*session.Caller, error) {
	credential, err := auth.FromRequest(r, true)
	if credential == "" || err != nil {
		return nil, err
	}
	c, err := s.sessions.Caller(r.Context(), sock.ClientAddr(r), credential, "")
	return &c, err
}

// unauthorized answers a handshake whose credential is no good.
func (s *Server) unauthorized(w http.ResponseWriter, err error) {
	e, status := parley.AsError(err), http.StatusBadRequest
	switch e.Code {
	case parley.Unauthorized:
		status = http.StatusUnauthorized
		w.Header().Set("WWW-Authenticate", "Bearer")
	case parley.Unavailable, parley.Internal:
		status = http.StatusServiceUnavailable
	}
	refuse(w, status, e)
}

// refuse answers with a problem (RFC 9457), as the rest of the HTTP interface does.
func refuse(w http.ResponseWriter, status int, e *parley.Error) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that is gone reads nothing
		"title": http.StatusText(status), "status": status, "code": e.Code, "detail": e.Message,
	})
}
