package ws_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/transport/ws"
)

func TestSilentClientsArePingedAndThoseWhoAnswerStay(t *testing.T) {
	f := start(t, parley.DefaultLimits(), ws.Config{Ping: 50 * time.Millisecond})
	p, _ := f.dial()
	for range 5 { // more than may be missed
		p.want("ping ")
		p.write(frame(fin|opPong, ""))
	}
	p.write(text(pingOp))
	for got := p.read(); !strings.HasPrefix(got, pongOp); got = p.read() {
		if got != "ping " {
			t.Fatal(got)
		}
	}
	if got := f.server.Stats(); got.Dead != 0 || got.Open != 1 {
		t.Errorf("%+v", got)
	}
}

func TestDeadClientsAreCut(t *testing.T) {
	f := start(t, parley.DefaultLimits(), ws.Config{Ping: 30 * time.Millisecond})
	p, _ := f.dial()
	p.want("ping ", "ping ")
	if got := p.read(); got != "end" && !strings.HasPrefix(got, "broken") {
		t.Fatalf("%s, want the end", got)
	}
	if got := f.server.Stats().Dead; got != 1 {
		t.Errorf("%d were counted dead", got)
	}
}

// A client that waits for the log is not read, and not to blame for it.
func TestClientsThatWaitForTheLogAreNotCut(t *testing.T) {
	limits := parley.DefaultLimits()
	limits.Inflight = 1
	f := start(t, limits, ws.Config{Ping: 30 * time.Millisecond})
	release := f.log.Hold()
	p, _ := f.dial()
	send := text(`{"op":"send","room":"r","body":"hi"}`)
	p.write(join(send, send))
	other, _ := f.dial()
	for range 8 { // more than may be missed
		other.want("ping ")
		other.write(frame(fin|opPong, ""))
	}
	release()
	acks := 0
	for acks < 2 {
		switch got := p.read(); {
		case strings.HasPrefix(got, `text {"op":"ack"`):
			acks++
		case got != "ping ":
			t.Fatal(got)
		}
	}
}

// A client that floods the server with pings and reads nothing is not read any more, and holds no
// memory beyond its bound.
func TestPingFloodEndsAtItsOwnSocket(t *testing.T) {
	f := startDefault(t)
	p, _ := f.dial()
	flood := bytes.Repeat(ping(strings.Repeat("x", 125)), 1000)
	_ = p.conn.SetWriteDeadline(time.Now().Add(2 * time.Second))
	written := 0
	for {
		n, err := p.conn.Write(flood)
		written += n
		if err != nil {
			break
		}
		if written > 1<<30 {
			t.Fatal("the server takes pings without end")
		}
	}
	other, _ := f.dial()
	other.write(text(pingOp))
	other.want(pongOp)
	// It goes on where the client reads again.
	for range written / len(frame(fin|opPing, strings.Repeat("x", 125))) {
		p.want("pong x")
	}
}

// Pongs and pings stand between messages, never within one.
func TestControlFramesNeverTearMessages(t *testing.T) {
	f := start(t, parley.DefaultLimits(), ws.Config{Ping: 40 * time.Millisecond})
	reader, _ := f.dial(deflateOffer)
	reader.write(text(`{"op":"join","room":"r","ref":1}`))
	for !strings.HasPrefix(reader.read(), `text {"op":"joined"`) { // before the first message
		continue
	}
	writer, _ := f.dial()
	const messages = 300
	body := strings.Repeat("long ", 10_000)
	go func() {
		for i := range messages {
			writer.write(text(fmt.Sprintf(`{"op":"send","room":"r","body":"%d %s"}`, i, body)))
			reader.write(ping("p"))
		}
	}()
	go func() {
		for !ended(writer.read()) {
			continue
		}
	}()
	defer func() { _ = writer.conn.Close() }()
	seen := 0
	for seen < messages {
		got := reader.read()
		switch {
		case strings.HasPrefix(got, "deflated"):
			if !strings.Contains(got, fmt.Sprintf(`"body":"%d long`, seen)) {
				t.Fatalf("message %d: %.300s", seen, got)
			}
			seen++
		case strings.HasPrefix(got, "ping "):
			reader.write(frame(fin|opPong, ""))
		case got != "pong p":
			t.Fatalf("%.300s", got)
		}
	}
}

func TestDrainSaysGoodbye(t *testing.T) {
	f := startDefault(t)
	p, _ := f.dial()
	p.write(text(`{"op":"join","room":"r","ref":1}`))
	p.want(`text {"op":"joined"`)
	done := make(chan struct{})
	go func() {
		defer close(done)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		f.server.Drain(ctx)
	}()
	if got := p.read(); !regexp.MustCompile(`^text \{"op":"error","code":"unavailable",.*"retry_ms":[1-9]\d{3}\}$`).MatchString(got) {
		t.Errorf("%s", got)
	}
	if got := p.read(); !regexp.MustCompile(`^close 1012 .*retry_ms=[1-9]\d{3}$`).MatchString(got) {
		t.Errorf("%s", got)
	}
	p.write(closing(1012, ""))
	p.want("end")
	_ = p.conn.Close()
	<-done
	_, resp := f.handshake(nil)
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a handshake after that: %s %v", resp.Status, resp.Header)
	}
}

// A client that is stuck cannot hold up the end beyond its bound.
func TestDrainCutsThoseWhoDoNotRead(t *testing.T) {
	f := startDefault(t)
	p, _ := f.dial()
	_ = tcpOf(p.conn).SetReadBuffer(1024)
	_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
	for flood := bytes.Repeat(ping("x"), 10_000); ; {
		if _, err := p.conn.Write(flood); err != nil {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	begin := time.Now()
	f.server.Drain(ctx)
	if took := time.Since(begin); took > patience/2 {
		t.Errorf("the drain took %v", took)
	}
}

// What was begun and never ended does not stay, and neither does what the client left.
func TestClientsThatLeaveAreForgotten(t *testing.T) {
	f := startDefault(t)
	for _, last := range [][]byte{nil, text(pingOp)[:3], frame(opText, "x"), frame(fin|opPing, "xx")[:7]} {
		p, _ := f.dial()
		p.write(last)
		_ = p.conn.Close()
	}
	await(t, "everyone to be gone", func() bool { return f.server.Stats().Open == 0 })
}

// A message that was begun must end in time; one who says nothing at all may stay.
func TestMessagesThatDoNotEndAreCut(t *testing.T) {
	f := startDefault(t)
	f.server.SetMessageTime(200 * time.Millisecond)
	silent, _ := f.dial()
	for name, begun := range map[string][]byte{
		"a header": text(pingOp)[:1], "a payload": text(pingOp)[:9], "a fragment": frame(opText, "x"),
		"a fragment and pings": join(frame(opText, "x"), ping("p")),
	} {
		p, _ := f.dial()
		p.write(begun)
		got := p.read()
		if got == "pong p" {
			got = p.read()
		}
		if got != "close 1008 a message was begun and not ended" {
			t.Errorf("%s: %s", name, got)
		}
		_ = p.conn.Close()
	}
	silent.write(text(pingOp))
	silent.want(pongOp)
}

// A half-closed client gets the answers to what it sent.
func TestHalfClosedClientIsAnswered(t *testing.T) {
	f := startDefault(t)
	p, _ := f.dial()
	p.write(text(`{"op":"send","room":"r","body":"hi","ref":1}`))
	if err := p.conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.want(`text {"op":"ack","ref":1`, "end")
}

// A connection that went to sleep wakes for its client, its room and the heartbeat.
func TestSleepersWake(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as it takes to fall asleep")
	}
	f := start(t, parley.DefaultLimits(), ws.Config{Ping: 6 * time.Second})
	p, _ := f.dial()
	p.write(text(`{"op":"join","room":"r","ref":1}`))
	p.want(`text {"op":"joined"`)
	await(t, "the connection to sleep", func() bool { return !running("sock.(*Conn).run") })
	other, _ := f.dial()
	other.write(text(`{"op":"send","room":"r","body":"hi"}`))
	p.want(`text {"op":"message"`, "ping ")
	p.write(join(frame(fin|opPong, ""), text(pingOp)))
	p.want(pongOp)
}

// The outcome of a message that is torn by a close of ours: nothing follows the close frame.
func TestNothingFollowsTheCloseFrame(t *testing.T) {
	f := start(t, parley.DefaultLimits(), ws.Config{Ping: 2 * time.Millisecond})
	writer, _ := f.dial()
	stop := make(chan struct{})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
				writer.write(text(`{"op":"send","room":"r","body":"hi"}`))
			}
		}
	}()
	go func() {
		for !ended(writer.read()) {
			continue
		}
	}()
	for range 30 {
		p, _ := f.dial()
		p.write(text(`{"op":"join","room":"r"}`))
		p.want(`text {"op":"joined"`)
		p.write(frame(fin|opBinary, "x"))
		got := p.read()
		for strings.HasPrefix(got, "text ") || got == "ping " {
			got = p.read()
		}
		if !strings.HasPrefix(got, "close 1003") {
			t.Fatalf("%.200s", got)
		}
		p.want("end")
		_ = p.conn.Close()
	}
	close(stop)
	<-stopped
	_ = writer.conn.Close()
}

func ended(got string) bool {
	return got == "end" || strings.HasPrefix(got, "broken") || strings.HasPrefix(got, "torn")
}
