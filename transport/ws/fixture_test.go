package ws_test

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"go.uber.org/goleak"

	"parley"
	"parley/ask"
	"parley/internal/certtest"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/transport/sock"
	"parley/transport/ws"
	"parley/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that should take no time.
const patience = 20 * time.Second

// secure, if not nil, has fixtures speak TLS: tests of TestOverTLS run one by one.
var secure *certtest.Authority

// fixture is a server over a log in memory.
type fixture struct {
	t        testing.TB
	log      *logtest.Memory
	server   *ws.Server
	sessions *session.Server
	http     *httptest.Server
}

// start starts a server; whatever is still open is drained at the test's end.
func start(t testing.TB, limits parley.Limits, config ws.Config) *fixture {
	t.Helper()
	log := logtest.New(logtest.Options{})
	quiet := slog.New(slog.DiscardHandler)
	hub := room.NewHub(log, room.Config{Logger: quiet})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	books := work.New(work.Config{Log: log, Journals: log, Rooms: hub, Logger: quiet})
	go func() {
		defer close(done)
		var running sync.WaitGroup
		running.Go(func() { _ = books.Run(ctx) })
		_ = hub.Run(ctx)
		running.Wait()
	}()
	f := &fixture{t: t, log: log, sessions: &session.Server{Log: log, Hub: hub, Work: books.Books(), Desk: ask.New(), Limits: limits, Logger: quiet}}
	config.Logger = quiet
	var err error
	if f.server, err = ws.NewServer(f.sessions, config); err != nil {
		t.Fatal(err)
	}
	f.http = httptest.NewUnstartedServer(f.server)
	if secure != nil {
		f.http.Listener = sock.Listen(f.http.Listener.(*net.TCPListener), sock.ListenerConfig{TLS: secure.Server(), Logger: quiet})
	}
	f.http.Start()
	t.Cleanup(func() {
		drain, stop := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer stop()
		f.server.Drain(drain)
		f.http.Close()
		cancel()
		<-done
	})
	return f
}

func startDefault(t testing.TB) *fixture {
	return start(t, parley.DefaultLimits(), ws.Config{Ping: -1})
}

func (f *fixture) addr() string { return f.http.Listener.Addr().String() }

func (f *fixture) url() string { return "ws://" + f.addr() }

// peer is a client that writes bytes of the test's choice.
type peer struct {
	t    testing.TB
	conn net.Conn
	in   *bufio.Reader
}

// deflateOffer asks for compression.
const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate"

// dial connects and shakes hands with more headers; the answer's are returned.
func (f *fixture) dial(headers ...string) (*peer, http.Header) {
	f.t.Helper()
	p, resp := f.handshake(nil, headers...)
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		body, _ := io.ReadAll(resp.Body)
		f.t.Fatalf("handshake: %s\n%s", resp.Status, body)
	}
	return p, resp.Header
}

// handshake writes a handshake, and early right behind it, and reads the answer.
func (f *fixture) handshake(early []byte, headers ...string) (*peer, *http.Response) {
	f.t.Helper()
	conn, err := net.Dial("tcp", f.addr())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	if secure != nil {
		conn = tls.Client(conn, secure.Client())
	}
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	p := &peer{t: f.t, conn: conn, in: bufio.NewReader(conn)}
	request := "GET / HTTP/1.1\r\nHost: " + f.addr() + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	p.write(append([]byte(request+"\r\n"), early...))
	resp, err := http.ReadResponse(p.in, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return p, resp
}

func (p *peer) write(data []byte) {
	_, _ = p.conn.Write(data) // what comes of it is seen in the answers
}

// read gives the next frame, as a test writes it: "text {…}", "ping x", "close 1002 why", "end".
func (p *peer) read() string {
	p.t.Helper()
	h, err := gobwas.ReadHeader(p.in)
	if errors.Is(err, io.EOF) {
		return "end"
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		p.t.Fatal("no frame came")
	}
	if err != nil {
		return "broken: " + err.Error()
	}
	payload := make([]byte, h.Length)
	if _, err := io.ReadFull(p.in, payload); err != nil {
		return "torn: " + err.Error()
	}
	if h.Masked || !h.Fin {
		p.t.Fatalf("a server does not send %+v", h)
	}
	switch {
	case h.OpCode == gobwas.OpText && h.Rsv == 4:
		return "deflated " + inflate(p.t, payload)
	case h.OpCode == gobwas.OpText && h.Rsv == 0:
		return "text " + string(payload)
	case h.OpCode == gobwas.OpPing:
		return "ping " + string(payload)
	case h.OpCode == gobwas.OpPong:
		return "pong " + string(payload)
	case h.OpCode == gobwas.OpClose && len(payload) >= 2:
		return strings.TrimSpace(fmt.Sprintf("close %d %s", binary.BigEndian.Uint16(payload), payload[2:]))
	case h.OpCode == gobwas.OpClose && len(payload) == 0:
		return "close"
	}
	p.t.Fatalf("a server does not send %+v %q", h, payload)
	return ""
}

// want reads frames, each of which begins with what is wanted.
func (p *peer) want(frames ...string) {
	p.t.Helper()
	for i, want := range frames {
		if got := p.read(); !strings.HasPrefix(got, want) {
			p.t.Fatalf("frame %d: %.200s\nwant %.200s", i, got, want)
		}
	}
}

// frame makes a client's frame: the first byte, and a payload that is masked.
func frame(first byte, payload string) []byte {
	mask := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, 0x80|byte(n))
	case n <= 65535:
		b = append(b, 0x80|126, byte(n>>8), byte(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^mask[i%4])
	}
	return b
}

// First bytes.
const (
	fin      = 0x80
	rsv1     = 0x40
	rsv2     = 0x20
	rsv3     = 0x10
	opCont   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
)

func text(s string) []byte { return frame(fin|opText, s) }
func ping(s string) []byte { return frame(fin|opPing, s) }

// closing makes a close frame.
func closing(code int, reason string) []byte {
	return frame(fin|opClose, string([]byte{byte(code >> 8), byte(code)})+reason)
}

// sized is an operation of n bytes, which is answered with a pong.
func sized(n int) string {
	const head, tail = `{"op":"ping","ref":1,"x":"`, `"}`
	return head + strings.Repeat("x", n-len(head)-len(tail)) + tail
}

const (
	pingOp = `{"op":"ping","ref":1}`
	pongOp = `text {"op":"pong","ref":1}`
	badOp  = `text {"op":"error","code":"bad_request"`
)

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// deflated compresses a message as permessage-deflate has it.
func deflated(s string) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	_, _ = io.WriteString(w, s)
	_ = w.Flush()
	return strings.TrimSuffix(b.String(), "\x00\x00\xff\xff")
}

func inflate(t testing.TB, p []byte) string {
	t.Helper()
	r := flate.NewReader(io.MultiReader(bytes.NewReader(p), strings.NewReader("\x00\x00\xff\xff\x01\x00\x00\xff\xff")))
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("a frame cannot be inflated: %v", err)
	}
	return string(out)
}
