package httpapi

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"parley"
	"parley/quota"
	"parley/transport/sock"
)

// A proxy in front of us and net/http must not disagree on where a request ends, or one client could
// put words into another's mouth. net/http settles doubtful lengths in silence: it lets a length and
// chunks, or the same length twice, pass. So the heads are looked at as they come.

// guard is a connection that watches the heads of the requests read from it. net/http reads it from
// one goroutine at a time. TLS, if there is any, is below it.
type guard struct {
	net.Conn
	account  *quota.Account
	quota    *quota.Quota
	doubtful atomic.Bool // a head had more than one length, or one that cannot be

	line    []byte // of the head, as far as it has come and matters
	begun   bool   // something of the head has come
	answers bool   // a request was whole, or is answered here: somebody may be writing
	lengths int    // fields in the head that say how long the body is
	length  uint64 // what the last of them said
	body    uint64 // bytes of the body that are still to come
	chunks  bool   // the head says that the body comes in chunks
	blind   bool   // the end of the body is not known: it is the last request
}

// secureGuard is a guard above TLS, of which net/http tells the handlers.
type secureGuard struct{ *guard }

// ConnectionState is what net/http asks for.
func (g secureGuard) ConnectionState() tls.ConnectionState {
	return *g.Conn.(*sock.Stream).ConnectionState()
}

// guards is a listener whose connections are guarded.
type guards struct {
	net.Listener
	server *Server
}

// Accept implements net.Listener. Connections that are not let in are answered here.
func (l guards) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		account, err := l.server.connect(c.RemoteAddr())
		if err != nil {
			l.server.turnedAway.add(c, err)
			continue
		}
		g := &guard{Conn: c, account: account, quota: l.server.sessions.Quota}
		if s, ok := c.(*sock.Stream); ok && s.ConnectionState() != nil {
			return secureGuard{g}, nil
		}
		return g, nil
	}
}

// turnedAway are connections that are not let in. A client may take an answer that comes before its
// request for none, so some are heard first, for a moment; in a flood, the others are not.
type turnedAway struct {
	hearing atomic.Int32
	wg      sync.WaitGroup
}

// Bounds of what is spent on a connection that is turned away.
const (
	hearAtOnce = 64
	hearTime   = time.Second
)

// add answers a connection that is not let in, whatever it asks for, and closes it.
func (t *turnedAway) add(c net.Conn, err error) {
	if errors.Is(err, quota.ErrFlood) {
		sock.Cut(c)
		return
	}
	if t.hearing.Add(1) > hearAtOnce {
		t.hearing.Add(-1)
		answerAway(c, err)
		return
	}
	t.wg.Go(func() {
		defer t.hearing.Add(-1)
		_ = c.SetReadDeadline(time.Now().Add(hearTime))
		head := make([]byte, 1<<10)
		_, _ = c.Read(head) // it is answered all the same
		answerAway(c, err)
	})
}

// answerAway writes the answer and closes. An empty socket takes these few bytes at once.
func answerAway(c net.Conn, err error) {
	e := parley.AsError(err)
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.Write(rawProblem(statuses[e.Code], e.Code, e.Message, "Retry-After: "+seconds(e.Retry)))
	_ = c.Close()
}

// Close implements net.Conn. It is not called where the connection was given away.
func (g *guard) Close() error {
	g.account.Close()
	return g.Conn.Close()
}

// unguard gives the guard of what a guards has accepted, nil of anything else.
func unguard(c net.Conn) *guard {
	switch g := c.(type) {
	case *guard:
		return g
	case secureGuard:
		return g.guard
	}
	return nil
}

// guardKey is where a request's context has its guard.
type guardKey struct{}

func withGuard(ctx context.Context, c net.Conn) context.Context {
	g := unguard(c)
	return context.WithValue(quota.NewContext(ctx, g.account), guardKey{}, g)
}

func guardOf(ctx context.Context) *guard {
	g, _ := ctx.Value(guardKey{}).(*guard)
	return g
}

// CloseWrite is what net/http asks for, for the client to read the last answer.
func (g *guard) CloseWrite() error {
	if c, ok := g.Conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return nil
}

// Read implements net.Conn. A head that does not end is answered: net/http would close without a word.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.Conn.Read(p)
	g.watch(p[:n])
	if errors.Is(err, os.ErrDeadlineExceeded) && g.begun && !g.answers {
		g.answers = true
		g.quota.Count(quota.Handshake)
		_, _ = g.Conn.Write(rawProblem(http.StatusRequestTimeout, parley.BadRequest, "the head of the request did not come in time"))
	}
	return n, err
}

// ownAnswer is how net/http answers what is no request, without asking a handler.
var ownAnswer = regexp.MustCompile(`^HTTP/1\.1 (\d{3}) [^\r\n]*\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n([^\r\n]*)$`)

// Write implements net.Conn. What net/http answers by itself becomes a problem, as every error is.
func (g *guard) Write(p []byte) (int, error) {
	if m := ownAnswer.FindSubmatch(p[:min(len(p), 512)]); m != nil {
		status, _ := strconv.Atoi(string(m[1]))
		if _, err := g.Conn.Write(ownProblem(status, string(m[2]))); err != nil {
			return 0, err
		}
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// ownProblem makes a problem of net/http's own answer.
func ownProblem(status int, text string) []byte {
	switch status {
	case http.StatusRequestHeaderFieldsTooLarge:
		return rawProblem(status, parley.TooLarge, fmt.Sprintf("the head of a request has at most %d bytes", headMost))
	case http.StatusBadRequest:
		text = strings.TrimPrefix(strings.TrimPrefix(text, "400 Bad Request"), ": ")
		if text == "" {
			text = "this is no request of HTTP/1.1"
		}
	}
	return rawProblem(status, parley.BadRequest, text)
}

// rawProblem is a whole answer, the last one of its connection.
func rawProblem(status int, code parley.Code, detail string, fields ...string) []byte {
	body, err := json.Marshal(problem{
		Type: "about:blank", Title: http.StatusText(status), Status: status, Detail: detail, Code: code,
	})
	if err != nil {
		panic(err) // no problem cannot be encoded
	}
	head := ""
	for _, f := range fields {
		head += f + "\r\n"
	}
	return fmt.Appendf(nil, "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n%s\r\n%s", status, http.StatusText(status), len(body), head, body)
}

// NotTLS is what a client is told that does not speak TLS at an address where HTTP is served over it.
func NotTLS(first []byte) []byte {
	if len(first) == 0 {
		return nil // it has not asked for anything
	}
	return rawProblem(http.StatusBadRequest, parley.BadRequest, "HTTP is served over TLS here: the URL begins with https")
}

// watch follows the requests.
func (g *guard) watch(p []byte) {
	for len(p) > 0 && !g.blind {
		if g.body > 0 {
			n := min(g.body, uint64(len(p)))
			g.body -= n
			p = p[n:]
			continue
		}
		i := bytes.IndexByte(p, '\n')
		if i < 0 {
			g.keep(p)
			return
		}
		g.keep(p[:i])
		g.endLine()
		p = p[i+1:]
	}
}

// fieldMost is more than the fields that matter have.
const fieldMost = 64

func (g *guard) keep(p []byte) {
	g.begun = g.begun || len(p) > 0
	g.line = append(g.line, p[:min(len(p), fieldMost-len(g.line))]...)
}

// endLine acts on a line of the head.
func (g *guard) endLine() {
	line := bytes.TrimSuffix(g.line, []byte("\r"))
	defer func() { g.line = g.line[:0] }()
	if len(line) == 0 {
		if g.begun {
			g.endHead()
		}
		return
	}
	name, value, _ := bytes.Cut(line, []byte(":"))
	switch {
	case bytes.EqualFold(name, []byte("Content-Length")):
		g.lengths++
		length, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 10, 63)
		g.length = length
		if err != nil {
			g.doubtful.Store(true)
		}
	case bytes.EqualFold(name, []byte("Transfer-Encoding")):
		g.lengths++
		g.chunks = true
	}
	if g.lengths > 1 {
		g.doubtful.Store(true)
	}
}

// endHead begins the body.
func (g *guard) endHead() {
	g.body, g.length, g.lengths = g.length, 0, 0
	g.begun, g.answers, g.blind = false, true, g.chunks
}

// ToTLS sends who asks for a page of one of the hosts over plain HTTP to where it is served over TLS.
// Whoever sends something is not sent on: it has been read on its way already.
func ToTLS(hosts []string, port int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOf(r.Host)
		known := slices.ContainsFunc(hosts, func(name string) bool { return hostOf(name) == host })
		w.Header().Set("Connection", "close")
		if !known || r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Content-Type", "application/problem+json")
			write(w, http.StatusBadRequest, problem{
				Type: "about:blank", Title: http.StatusText(http.StatusBadRequest), Status: http.StatusBadRequest,
				Detail: "HTTP is served over TLS: the URL begins with https", Code: parley.BadRequest,
			})
			return
		}
		if port != 443 {
			host = net.JoinHostPort(host, strconv.Itoa(port))
		}
		http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
	})
}
