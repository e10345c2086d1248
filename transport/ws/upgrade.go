package ws

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/gobwas/httphead"
	"github.com/gobwas/ws/wsflate"

	"parley"
	"parley/auth"
	"parley/quota"
	"parley/session"
	"parley/transport/sock"
	"parley/wire"
)

// Subprotocol is the name under which a client may ask for this protocol. It need not.
const Subprotocol = "parley.v1"

// ServeHTTP answers the handshake and returns; the connection goes on without net/http.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if status, err := s.check(w.Header(), r); err != nil {
		refuse(w, status, err)
		return
	}
	caller, err := s.caller(r)
	if err != nil {
		s.unauthorized(w, err)
		return
	}
	extensions, deflate, ok := negotiate(r.Header["Sec-Websocket-Extensions"])
	if !ok {
		refuse(w, http.StatusBadRequest, parley.Errorf(parley.BadRequest, "Sec-WebSocket-Extensions cannot be read"))
		return
	}
	nc, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		refuse(w, http.StatusBadRequest, parley.Errorf(parley.BadRequest, "WebSocket needs HTTP/1.1").Because(err))
		return
	}
	if err := s.start(nc, rw.Reader, answer(r, extensions), deflate, caller, quota.FromContext(r.Context())); err != nil {
		s.config.Logger.Error("cannot take a connection", "err", err)
		_ = nc.Close()
	}
}

// check finds why a request is no handshake that is welcome here (RFC 6455, section 4.2.1). What
// would be right instead goes into h.
func (s *Server) check(h http.Header, r *http.Request) (int, *parley.Error) {
	key := r.Header["Sec-Websocket-Key"]
	switch {
	case s.draining.Load():
		e := s.sessions.GoingAway()
		h.Set("Retry-After", strconv.Itoa(int(e.Retry.Seconds())+1))
		return http.StatusServiceUnavailable, e
	case !s.welcome(r):
		s.foreign.Add(1)
		return http.StatusForbidden, parley.Errorf(parley.Denied, "pages from %.100q may not connect here", r.Header.Get("Origin"))
	case r.Method != http.MethodGet:
		h.Set("Allow", http.MethodGet)
		return http.StatusMethodNotAllowed, parley.Errorf(parley.BadRequest, "a handshake is a GET")
	case !hasToken(r.Header["Upgrade"], "websocket"):
		h.Set("Upgrade", "websocket")
		h.Set("Connection", "Upgrade")
		return http.StatusUpgradeRequired, parley.Errorf(parley.BadRequest, "this is where WebSocket is spoken")
	case !hasToken(r.Header["Connection"], "upgrade"):
		return http.StatusBadRequest, parley.Errorf(parley.BadRequest, "a handshake has Connection: Upgrade")
	case !r.ProtoAtLeast(1, 1):
		return http.StatusBadRequest, parley.Errorf(parley.BadRequest, "a handshake needs HTTP/1.1")
	case len(key) != 1 || !isKey(key[0]):
		return http.StatusBadRequest, parley.Errorf(parley.BadRequest, "Sec-WebSocket-Key is 16 bytes in base64, once")
	case len(r.Header["Sec-Websocket-Version"]) == 0:
		return http.StatusBadRequest, parley.Errorf(parley.BadRequest, "a handshake has Sec-WebSocket-Version: 13")
	case r.Header.Get("Sec-WebSocket-Version") != "13":
		h.Set("Sec-WebSocket-Version", "13")
		return http.StatusUpgradeRequired, parley.Errorf(parley.BadRequest, "WebSocket is spoken in version 13 here")
	}
	return 0, nil
}

// hasToken says whether one of a list of values, which commas part, is token.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// isKey says whether a client's key is one.
func isKey(key string) bool {
	var b [18]byte // what 24 characters can hold
	if len(key) != 24 {
		return false
	}
	n, err := base64.StdEncoding.Decode(b[:], []byte(key))
	return err == nil && n == 16
}

// negotiate chooses among the extensions a client offers, and gives them as the answer says them. An
// offer that is no good is declined (RFC 7692, section 5); ok is false where there is no reading it.
func negotiate(offers []string) (answer string, deflate, ok bool) {
	if len(offers) == 0 {
		return "", false, true
	}
	return choose(strings.Join(offers, ", "))
}

// choose is negotiate where there are offers: most clients that are no browsers have none.
func choose(offers string) (answer string, deflate, ok bool) {
	options, ok := httphead.ParseOptions([]byte(offers), nil)
	if !ok {
		return "", false, false
	}
	compress := wsflate.Extension{Parameters: wsflate.DefaultParameters}
	for _, option := range options {
		taken, err := compress.Negotiate(option)
		if err != nil || taken.Size() == 0 {
			continue
		}
		var b bytes.Buffer
		_, _ = httphead.WriteOptions(&b, []httphead.Option{taken}) // a Buffer takes all
		return b.String(), true, true
	}
	return "", false, true
}

// acceptSalt is what a server that knows WebSocket adds to a client's key (RFC 6455, section 1.3).
const acceptSalt = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// answer is the head that ends HTTP on a connection.
func answer(r *http.Request, extensions string) []byte {
	sum := sha1.Sum([]byte(r.Header["Sec-Websocket-Key"][0] + acceptSalt))
	b := make([]byte, 0, 512)
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	if hasToken(r.Header["Sec-Websocket-Protocol"], Subprotocol) {
		b = append(b, "\r\nSec-WebSocket-Protocol: "+Subprotocol...)
	}
	if extensions != "" {
		b = append(append(b, "\r\nSec-WebSocket-Extensions: "...), extensions...)
	}
	return append(b, "\r\n\r\n"...)
}

// start makes a session of a connection, whose handshake it answers.
func (s *Server) start(nc net.Conn, in *bufio.Reader, answer []byte, deflate bool, caller *session.Caller, account *quota.Account) error {
	c := &conn{server: s}
	c.parser.limit, c.parser.deflate = s.sessions.Bounds().Frame, deflate
	c.heard.Store(true)
	if n := in.Buffered(); n > 0 {
		c.early = make([]byte, n)
		_, _ = in.Read(c.early) // what is buffered is read without fail
	}
	if err := s.conns.Prepare(&c.Conn, nc, c); err != nil {
		account.Close()
		return err
	}
	// An empty socket takes these few bytes at once, or never.
	if n, err := c.TryWrite(answer); err != nil || n < len(answer) {
		_ = nc.Close()
		account.Close()
		s.config.Logger.Debug("a client went during the handshake", "err", err)
		return nil
	}
	c.session = s.sessions.New(c, wire.WS{Deflate: deflate})
	c.session.Charge(account)
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
	origins := r.Header["Origin"]
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
	for _, allowed := range *s.origins.Load() {
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
	case parley.RateLimited:
		status = http.StatusTooManyRequests
		w.Header().Set("Retry-After", strconv.Itoa(int(e.Retry.Seconds())+1))
	case parley.Unavailable, parley.Internal:
		status = http.StatusServiceUnavailable
	}
	refuse(w, status, e)
}

// refuse answers with a problem (RFC 9457), as the rest of the HTTP interface does.
func refuse(w http.ResponseWriter, status int, e *parley.Error) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Vary", "Origin")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{ // a client that is gone reads nothing
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": e.Code, "detail": e.Message,
	})
}
