package ws_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/transport/tcp"
	"parley/transport/ws"
	"parley/wire"
)

// speaker is a client of some make that speaks in frames of JSON.
type speaker interface {
	say(text string)
	hear() *wire.Frame
}

// coderPeer is a client of another make than the server.
type coderPeer struct {
	t    *testing.T
	ctx  context.Context
	conn *websocket.Conn
}

func (f *fixture) dialCoder(mode websocket.CompressionMode) *coderPeer {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	f.t.Cleanup(cancel)
	conn, resp, err := websocket.Dial(ctx, f.url(), &websocket.DialOptions{ //nolint:bodyclose // there is none: the library has taken it
		CompressionMode: mode, CompressionThreshold: 1, Subprotocols: []string{ws.Subprotocol},
	})
	if err != nil {
		f.t.Fatal(err)
	}
	if compresses := resp.Header.Get("Sec-Websocket-Extensions") != ""; compresses != (mode != websocket.CompressionDisabled) {
		f.t.Errorf("mode %v, extensions %q", mode, resp.Header.Get("Sec-Websocket-Extensions"))
	}
	if conn.Subprotocol() != ws.Subprotocol {
		f.t.Errorf("subprotocol %q", conn.Subprotocol())
	}
	conn.SetReadLimit(16 << 20)
	f.t.Cleanup(func() { _ = conn.CloseNow() })
	return &coderPeer{f.t.(*testing.T), ctx, conn}
}

func (p *coderPeer) say(text string) {
	if err := p.conn.Write(p.ctx, websocket.MessageText, []byte(text)); err != nil {
		p.t.Error(err)
	}
}

func (p *coderPeer) hear() *wire.Frame {
	p.t.Helper()
	_, data, err := p.conn.Read(p.ctx)
	if err != nil {
		p.t.Fatal(err)
	}
	return parseFrame(p.t, data)
}

func parseFrame(t *testing.T, data []byte) *wire.Frame {
	t.Helper()
	f, err := wire.ParseFrame(data)
	if err != nil {
		t.Fatalf("%v: %.200s", err, data)
	}
	return f
}

// linePeer is a client of the TCP transport.
type linePeer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (f *fixture) dialLines() *linePeer {
	f.t.Helper()
	door, err := tcp.NewServer(f.sessions, tcp.Config{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		f.t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- door.Serve(l) }()
	f.t.Cleanup(func() {
		_ = l.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		door.Drain(ctx)
		if err := <-served; err != nil {
			f.t.Error(err)
		}
	})
	conn, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetReadDeadline(time.Now().Add(patience))
	p := &linePeer{f.t.(*testing.T), conn, bufio.NewReader(conn)}
	p.say(`{"op":"hello","name":"tess","ref":1}`)
	if _, err := p.in.ReadString('\n'); err != nil { // the greeting
		f.t.Fatal(err)
	}
	if got := p.hear(); got.Op != "welcome" {
		f.t.Fatalf("%+v", got)
	}
	return p
}

func (p *linePeer) say(text string) { _, _ = fmt.Fprintln(p.conn, text) }

func (p *linePeer) hear() *wire.Frame {
	p.t.Helper()
	line, err := p.in.ReadBytes('\n')
	if err != nil {
		p.t.Fatal(err)
	}
	return parseFrame(p.t, line)
}

// Clients of every kind in one room see the same messages in the same order, their own among them.
func TestInteropInOneRoom(t *testing.T) {
	f := startDefault(t)
	members := []speaker{
		f.dialCoder(websocket.CompressionDisabled),
		f.dialCoder(websocket.CompressionNoContextTakeover),
		f.dialCoder(websocket.CompressionContextTakeover),
		f.dialLines(),
	}
	for i, m := range members {
		m.say(fmt.Sprintf(`{"op":"hello","name":"m%d","ref":1}`, i))
		if got := m.hear(); got.Op != "welcome" || got.User != fmt.Sprintf("m%d", i) {
			t.Fatalf("%+v", got)
		}
		m.say(`{"op":"join","room":"lobby","ref":2}`)
		if got := m.hear(); got.Op != "joined" {
			t.Fatalf("%+v", got)
		}
	}
	const each = 50
	go func() {
		for n := range each {
			for i, m := range members {
				m.say(fmt.Sprintf(`{"op":"send","room":"lobby","id":"%d","ref":3,"body":"%d-%d %s"}`, n, i, n, strings.Repeat("body ", n*20)))
			}
		}
	}()
	var want []string
	for i, m := range members {
		var got []string
		acks := 0
		for len(got) < each*len(members) || acks < each {
			switch fr := m.hear(); fr.Op {
			case "ack":
				acks++
			case "message":
				got = append(got, fmt.Sprint(fr.Seq, fr.Prev, fr.From, fr.ID, string(fr.Body)))
			default:
				t.Fatalf("member %d: %+v", i, fr)
			}
		}
		if want == nil {
			want = got
		}
		for n := range got {
			if got[n] != want[n] {
				t.Fatalf("member %d, message %d: %.100s\nanother saw %.100s", i, n, got[n], want[n])
			}
		}
	}
}

// Anonymous access is open: a client may join and send without a hello, and resume.
func TestInteropWithoutHello(t *testing.T) {
	f := startDefault(t)
	p := f.dialCoder(websocket.CompressionNoContextTakeover)
	p.say(`{"op":"send","room":"lobby","body":"` + strings.Repeat("again ", 5000) + `","ref":1}`)
	if got := p.hear(); got.Op != "ack" {
		t.Fatalf("%+v", got)
	}
	p.say(`{"op":"join","room":"lobby","after":0,"ref":2}`)
	if got := p.hear(); got.Op != "joined" {
		t.Fatalf("%+v", got)
	}
	if got := p.hear(); got.Op != "message" || !strings.HasPrefix(got.From, "guest-") {
		t.Fatalf("%+v", got)
	}
	p.say(`{"op":"history","room":"lobby","ref":3}`)
	if got := p.hear(); got.Op != "page" || len(got.Messages) != 1 {
		t.Fatalf("%+v", got)
	}
	if err := p.conn.Ping(pingContext(p)); err != nil {
		t.Error(err)
	}
	if err := p.conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
		t.Errorf("the close handshake: %v", err)
	}
}

// pingContext reads beside a ping, as that library needs it.
func pingContext(p *coderPeer) context.Context { return p.conn.CloseRead(p.ctx) }

func TestInteropRefusals(t *testing.T) {
	f := startDefault(t)
	for name, c := range map[string]struct {
		kind websocket.MessageType
		text string
		want websocket.StatusCode
	}{
		"binary":    {websocket.MessageBinary, pingOp, websocket.StatusUnsupportedData},
		"no UTF-8":  {websocket.MessageText, "\xff", websocket.StatusInvalidFramePayloadData},
		"too large": {websocket.MessageText, sized(256<<10 + 1), websocket.StatusMessageTooBig},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			p := f.dialCoder(websocket.CompressionDisabled)
			_ = p.conn.Write(p.ctx, c.kind, []byte(c.text)) // it may be refused while it is written
			var err error
			for err == nil {
				_, _, err = p.conn.Read(p.ctx)
			}
			if got := websocket.CloseStatus(err); got != c.want {
				t.Errorf("%v, want %d", err, c.want)
			}
		})
	}
}
