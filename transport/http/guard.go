package httpapi

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"strconv"
	"sync/atomic"
)

// A proxy in front of us and net/http must not disagree on where a request ends, or one client could
// put words into another's mouth. net/http settles doubtful lengths in silence: it lets a length and
// chunks, or the same length twice, pass. So the heads are looked at as they come.

// guard is a connection that watches the heads of the requests read from it. net/http reads it from
// one goroutine at a time.
type guard struct {
	*net.TCPConn
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

// guards is a listener whose connections are guarded.
type guards struct{ *net.TCPListener }

func (l guards) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return &guard{TCPConn: c}, nil
}

// guardKey is where a request's context has its guard.
type guardKey struct{}

func withGuard(ctx context.Context, c net.Conn) context.Context {
	return context.WithValue(ctx, guardKey{}, c)
}

func guardOf(ctx context.Context) *guard {
	g, _ := ctx.Value(guardKey{}).(*guard)
	return g
}

// tooSlow answers a head that does not end. net/http would close without a word.
const tooSlow = "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

// Read implements net.Conn.
func (g *guard) Read(p []byte) (int, error) {
	n, err := g.TCPConn.Read(p)
	g.watch(p[:n])
	if errors.Is(err, os.ErrDeadlineExceeded) && g.begun && !g.answers {
		g.answers = true
		_, _ = g.Write([]byte(tooSlow))
	}
	return n, err
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
