package bench

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Attacker is one hostile client of a server: a process of its own, that does one thing as often as it
// is let.
type Attacker struct {
	Kind      string
	TCP, HTTP string // the server's addresses
	Room      string // where honest users are

	did atomic.Int64
}

// attackerSays begins the line in which an attacker says, at its end, what it has done.
const attackerSays = "attempts: "

// attackers is how many things it does at once; connections of one address are not more than that by
// default.
const attackers = 250

// attacks are what an attacker can do: each is one of its connections, from its making to its end.
var attacks = map[string]func(*Attacker, context.Context) error{
	"connections":  (*Attacker).connects,
	"tokens":       (*Attacker).tokens,
	"sends":        (*Attacker).sends,
	"joins":        (*Attacker).joins,
	"rooms":        (*Attacker).rooms,
	"lists":        (*Attacker).lists,
	"pages":        (*Attacker).pages,
	"pings":        (*Attacker).pings,
	"slow heads":   (*Attacker).slowHeads,
	"slow readers": (*Attacker).slowReaders,
	"requests":     (*Attacker).requests,
}

// Serve attacks until ctx ends. Its start line goes to out when it has begun, and at the end what it did.
func (a *Attacker) Serve(ctx context.Context, out io.Writer) error {
	attack, is := attacks[a.Kind]
	if !is {
		return fmt.Errorf("no attack %q", a.Kind)
	}
	if err := stepBack(); err != nil {
		return err
	}
	began := time.Now()
	var wg sync.WaitGroup
	for range attackers {
		wg.Go(func() {
			for ctx.Err() == nil {
				if attack(a, ctx) == nil { // it was refused, or cut: it comes again
					continue
				}
				pause := 100 * time.Millisecond
				if a.Kind == "connections" {
					pause = time.Millisecond
				}
				_ = sleep(ctx, pause)
			}
		})
	}
	for a.did.Load() == 0 && sleep(ctx, time.Millisecond) == nil { //nolint:revive // until it has done something
	}
	_, err := fmt.Fprintf(out, "tcp  %s\n", a.TCP)
	wg.Wait()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(out, attackerSays+"%d in %.3f\n", a.did.Load(), time.Since(began).Seconds())
	return err
}

// connection is one of the attacker's, which ends with ctx.
func (a *Attacker) connection(ctx context.Context, addr string) (net.Conn, func(), error) {
	c, err := dial(ctx, addr, 1)
	if err != nil {
		return nil, nil, err
	}
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // leaves nothing in this machine's tables
	}
	_ = c.SetDeadline(time.Time{})
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	return c, func() { stop(); _ = c.Close() }, nil
}

// flood says something again and again on a connection, and reads what comes back without a look.
func (a *Attacker) flood(ctx context.Context, addr, first string, again func() []byte, events int) error {
	c, end, err := a.connection(ctx, addr)
	if err != nil {
		return err
	}
	defer end()
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(io.Discard, c)
		_ = c.Close()
	}()
	defer func() { _ = c.Close(); <-done }()
	if _, err := io.WriteString(c, first); err != nil {
		return err
	}
	for {
		if _, err := c.Write(again()); err != nil {
			return err
		}
		a.did.Add(int64(events))
	}
}

// eve is how the attacker says hello.
const eve = `{"op":"hello","name":"eve"}` + "\n"

// operations floods with an operation, or the few in op; %d becomes a number that is another each time.
func (a *Attacker) operations(ctx context.Context, op string) error {
	const atOnce = 50
	return a.flood(ctx, a.TCP, eve, func() []byte {
		var b bytes.Buffer
		for range atOnce {
			b.WriteString(strings.ReplaceAll(op, "%d", fmt.Sprint(rand.Uint64())))
			b.WriteByte('\n')
		}
		return b.Bytes()
	}, atOnce)
}

func (a *Attacker) sends(ctx context.Context) error {
	return a.operations(ctx, `{"op":"send","room":"noise","body":"`+strings.Repeat("x", 100)+`"}`)
}

func (a *Attacker) joins(ctx context.Context) error {
	return a.operations(ctx, fmt.Sprintf(`{"op":"join","room":"%[1]s","presence":true}`+"\n"+`{"op":"leave","room":"%[1]s"}`, a.Room))
}

func (a *Attacker) rooms(ctx context.Context) error {
	return a.operations(ctx, `{"op":"send","room":"r%d","body":"x"}`)
}

func (a *Attacker) lists(ctx context.Context) error {
	return a.operations(ctx, `{"op":"rooms","limit":1000}`+"\n"+fmt.Sprintf(`{"op":"members","room":"%s"}`, a.Room))
}

func (a *Attacker) pages(ctx context.Context) error {
	return a.operations(ctx, fmt.Sprintf(`{"op":"history","room":"%s","limit":1000}`+"\n"+`{"op":"history","room":"%[1]s","after":0,"limit":1000}`, a.Room))
}

// pings floods with both kinds of ping: the operation, and the WebSocket's own.
func (a *Attacker) pings(ctx context.Context) error {
	if rand.N(2) == 0 {
		return a.operations(ctx, `{"op":"ping"}`)
	}
	const atOnce = 50
	frames := bytes.Repeat(appendFrame(nil, framePing, []byte("are you there")), atOnce)
	return a.flood(ctx, a.HTTP, upgradeRequest(a.HTTP), func() []byte { return frames }, atOnce)
}

func upgradeRequest(host string) string {
	return "GET /ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
}

// connects makes a connection and drops it.
func (a *Attacker) connects(ctx context.Context) error {
	_, end, err := a.connection(ctx, []string{a.TCP, a.HTTP}[rand.N(2)])
	if err != nil {
		return err
	}
	end()
	a.did.Add(1)
	return nil
}

// tokens says hello with a token that looks well and is signed with another key.
func (a *Attacker) tokens(ctx context.Context) error {
	part := base64.RawURLEncoding.EncodeToString
	head, claims := part([]byte(`{"alg":"HS256","typ":"JWT"}`)), part([]byte(`{"iss":"https://id.example","aud":"parley","sub":"ada","exp":4102444800}`))
	c, end, err := a.connection(ctx, a.TCP)
	if err != nil {
		return err
	}
	defer end()
	for range 1000 {
		signature := make([]byte, 32)
		for i := range signature {
			signature[i] = byte(rand.Uint32())
		}
		if _, err := fmt.Fprintf(c, `{"op":"hello","token":"%s.%s.%s"}`+"\n", head, claims, part(signature)); err != nil {
			return err
		}
		a.did.Add(1)
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := io.Copy(io.Discard, c); err == nil {
			return nil // it was closed
		}
	}
	return nil
}

// slowHeads begins a line, or the head of a request, and goes on a byte at a time.
func (a *Attacker) slowHeads(ctx context.Context) error {
	addr, head := a.TCP, `{"op":"hello","name":"`
	if rand.N(2) == 0 {
		addr, head = a.HTTP, "GET / HTTP/1.1\r\nHost: "+a.HTTP+"\r\nX-Padding: "
	}
	c, end, err := a.connection(ctx, addr)
	if err != nil {
		return err
	}
	defer end()
	for rest := head; ; rest = "x" {
		if _, err := io.WriteString(c, rest); err != nil {
			return err
		}
		a.did.Add(1)
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return nil
		}
	}
}

// slowReaders join the honest users' room, ask for all of it, and read nothing; some of them write, as
// fast as they are let.
func (a *Attacker) slowReaders(ctx context.Context) error {
	c, end, err := a.connection(ctx, a.TCP)
	if err != nil {
		return err
	}
	defer end()
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetReadBuffer(4 << 10)
	}
	if _, err := fmt.Fprintf(c, eve+`{"op":"join","room":"%s","after":0}`+"\n", a.Room); err != nil {
		return err
	}
	a.did.Add(1)
	if rand.N(attackers) > 2 {
		<-ctx.Done()
		return nil
	}
	return a.operations(ctx, fmt.Sprintf(`{"op":"send","room":"%s","body":"%s"}`, a.Room, strings.Repeat("x", 4<<10)))
}

// requests floods HTTP with requests of every kind.
func (a *Attacker) requests(ctx context.Context) error {
	var b bytes.Buffer
	for range 10 {
		fmt.Fprintf(&b, "GET /rooms/%s?limit=1000 HTTP/1.1\r\nHost: %s\r\n\r\n", a.Room, a.HTTP)
		fmt.Fprintf(&b, "POST /rooms/noise HTTP/1.1\r\nHost: %s\r\nContent-Length: 1\r\n\r\nx", a.HTTP)
		fmt.Fprintf(&b, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", a.HTTP)
	}
	return a.flood(ctx, a.HTTP, "", b.Bytes, 30)
}
