package e2e_test

import (
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A server that is told to end tells its clients, and ends well.
func TestDrainTellsEveryone(t *testing.T) {
	t.Parallel()
	s := serve(t)
	js, member, plain, silent := hello(t, s, "ada"), hello(t, s, "eve"), named(t, s, "bob"), dial(t, s)
	member.want(`{"op":"join","room":"lobby"}`, `{"op":"joined"}`)
	began := time.Now()
	s.process.signal(syscall.SIGTERM)
	for _, c := range []*jsonClient{js, member} {
		f := c.expect(`{"op":"error","code":"unavailable"}`)
		if f.RetryMS < 1 || f.RetryMS > 60_000 || f.Ref != nil {
			t.Errorf("told with %s", f.raw)
		}
		(&plainClient{peer: c.peer, t: t}).closed()
	}
	plain.expectPrefix("* unavailable: ")
	plain.closed()
	silent.expectPrefix("* unavailable: ")
	silent.closed()
	if code := s.process.exit(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it has taken %v to end", took)
	}
}

// What was taken is answered before the server ends: what is stored and what was acknowledged are
// the same.
func TestDrainAnswersWhatIsInFlight(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	const n = 20_000
	var writer sync.WaitGroup
	writer.Go(func() {
		for i := 0; i < n; i += 100 {
			var b strings.Builder
			for j := i; j < i+100; j++ {
				fmt.Fprintf(&b, `{"op":"send","room":"r","body":"%d","ref":%d}`+"\n", j, j)
			}
			if err := c.say(b.String()); err != nil {
				return // the server has closed
			}
		}
	})
	acked := map[string]bool{}
	told := false
	for {
		f, err := c.speaker.next()
		if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
			break
		}
		switch {
		case err != nil:
			t.Fatal(err)
		case f.Op == "ack":
			acked[string(f.Ref)] = true
			if len(acked) == 500 {
				s.process.signal(syscall.SIGTERM)
			}
		case f.Ref == nil && f.Code == "unavailable":
			told = true
		default:
			t.Fatalf("answered with %s", f.raw)
		}
	}
	c.hangUp()
	writer.Wait()
	if len(acked) == n {
		t.Error("all was stored before the server ended: the test shows nothing")
	}
	if code := s.process.exit(patience); code != 0 || !told {
		t.Errorf("exit code %d, told %t", code, told)
	}
	s.start()
	c = hello(t, s, "ada")
	c.want(`{"op":"join","room":"r","after":0}`, `{"op":"joined"}`)
	last := c.publish("r", "the end")
	stored := 0
	for f := c.next(); f.Seq < last; f = c.next() {
		stored++
		if !acked[f.text()] {
			t.Fatalf("%s is stored and was not acknowledged", f.text())
		}
	}
	if stored != len(acked) {
		t.Errorf("%d were acknowledged, %d are stored", len(acked), stored)
	}
}

var draining = regexp.MustCompile(`draining`)

// stuck is a server with a client that asks for much and reads nothing.
func stuck(t *testing.T, flags ...string) *server {
	s := serve(t, flags...)
	c := hello(t, s, "ada")
	body := strings.Repeat("x", 60<<10)
	for range 20 {
		c.publish("r", body)
	}
	c.narrow()
	for range 20 {
		c.send(`{"op":"history","room":"r","limit":1000}`)
	}
	if _, err := c.in.Peek(1); err != nil { // it is being answered
		t.Fatal(err)
	}
	return s
}

// A client that does not read its last answers is not waited for without end.
func TestDrainIsBounded(t *testing.T) {
	t.Parallel()
	s := stuck(t, "--drain", "1s")
	began := time.Now()
	if code := s.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it has taken %v to end", took)
	}
}

// The second signal ends it at once.
func TestSecondTermQuits(t *testing.T) {
	t.Parallel()
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		s := stuck(t, "--drain", "1m")
		s.process.signal(sig)
		if _, err := s.process.stderr.wait(draining, s.process.done, patience); err != nil {
			t.Fatal(err)
		}
		if !s.process.running() {
			t.Fatal("it has ended before the second signal: the test shows nothing")
		}
		began := time.Now()
		s.process.signal(sig)
		if code := s.process.exit(patience); code != 130 {
			t.Errorf("%v: exit code %d, want 130", sig, code)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%v: it has taken %v to end", sig, took)
		}
		s.start() // and nothing is broken
	}
}

// A node that waits for its cluster once took TERM for a failure: "context canceled", exit 1.
func TestANodeThatWaitsForItsClusterEndsWell(t *testing.T) {
	t.Parallel()
	at := freeAddresses(t, 3)
	s := newServer(t, []string{"--node", "n1", "--cluster-listen", at[0], "--cluster-join", strings.Join(at, ",")})
	p, err := s.launch()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.stderr.wait(regexp.MustCompile("waiting for the other nodes"), p.done, patience); err != nil {
		t.Fatal(err)
	}
	p.signal(syscall.SIGTERM)
	if code := p.exit(patience); code != 0 {
		t.Errorf("exit code %d", code)
	}
	if text := p.stderr.String(); strings.Contains(text, "context canceled") || !strings.Contains(text, "told to stop before it was ready") {
		t.Errorf("it said:\n%s", text)
	}
}
