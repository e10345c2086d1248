package session_test

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley"
	"parley/ask"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/wire"
	"parley/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newServer(t *testing.T) *session.Server {
	return newServerOn(t, logtest.New(logtest.Options{}))
}

func newServerOn(t *testing.T, log *logtest.Memory) *session.Server {
	hub := room.NewHub(log, room.Config{})
	books := work.New(work.Config{Log: log, Journals: log, Rooms: hub})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = hub.Run(ctx) })
	wg.Go(func() { _ = books.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return &session.Server{
		Log: log, Hub: hub, Work: books.Books(), Desk: ask.New(), Limits: parley.DefaultLimits(), Logger: slog.New(slog.DiscardHandler),
	}
}

// peer is a session and what it was written.
type peer struct {
	t *testing.T
	*session.Session

	mu      sync.Mutex
	changed *sync.Cond
	got     strings.Builder
	read    int // bytes of got that want has passed
	left    chan struct{}
	leaving sync.Once
	at      *net.TCPAddr // fixed at birth
}

func makePeer(t *testing.T) *peer {
	p := &peer{t: t, left: make(chan struct{}), at: &net.TCPAddr{}}
	p.changed = sync.NewCond(&p.mu)
	return p
}

func newPeer(t *testing.T, s *session.Server, enc wire.Encoding, name string) *peer {
	p := makePeer(t)
	p.Session = s.New(p, enc)
	account, err := s.Connect(p.Addr())
	if err != nil {
		t.Fatal(err)
	}
	p.Charge(account)
	p.do(`{"op":"hello","name":"` + name + `"}`)
	t.Cleanup(p.Close)
	return p
}

func (p *peer) TryWrite(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got.Write(b)
	p.changed.Broadcast()
	return len(b), nil
}

func (p *peer) WaitWritable() error { return errors.New("it takes all") }
func (p *peer) Abort()              {}
func (p *peer) Leave()              { p.leaving.Do(func() { close(p.left) }) }
func (p *peer) Addr() net.Addr      { return p.at }

// do carries out operations.
func (p *peer) do(lines ...string) {
	p.t.Helper()
	for _, line := range lines {
		op, err := wire.ParseOp([]byte(line))
		if err == nil {
			err = p.Do(context.Background(), &op)
		}
		if err != nil {
			p.t.Fatalf("%s: %v", line, err)
		}
	}
}

// want waits for a line that has text in it, and returns the lines it passed over.
func (p *peer) want(text string) (passed string) {
	p.t.Helper()
	late := false
	timer := time.AfterFunc(20*time.Second, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		late = true
		p.changed.Broadcast()
	})
	defer timer.Stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		rest := p.got.String()[p.read:]
		if i := strings.Index(rest, text); i >= 0 {
			if end := strings.IndexByte(rest[i:], '\n'); end >= 0 {
				p.read += i + end + 1
				return rest[:i]
			}
		}
		if late {
			p.t.Fatalf("%s did not come; there is\n%s", text, rest)
		}
		p.changed.Wait()
	}
}

func TestPresenceFromJoinToLeave(t *testing.T) {
	server := newServer(t)
	ada, bob := newPeer(t, server, wire.JSONLines{}, "ada"), newPeer(t, server, wire.JSONLines{}, "bob")
	ada.do(`{"op":"join","room":"lobby","presence":true,"ref":1}`)
	ada.want(`{"op":"joined","ref":1,"room":"lobby","seq":0,"members":[{"user":"ada"}],"count":1}`)
	bob.do(`{"op":"join","room":"lobby","ref":1}`)
	bob.want(`{"op":"joined","ref":1,"room":"lobby","seq":0}`)
	ada.want(`{"op":"presence","room":"lobby","joined":[{"user":"bob"}],"left":[],"count":2}`)
	bob.do(`{"op":"hello","name":"robert"}`)
	ada.want(`{"op":"presence","room":"lobby","joined":[{"user":"robert"}],"left":[{"user":"bob"}],"count":2}`)
	bob.do(`{"op":"members","room":"lobby","ref":2}`, `{"op":"rooms","ref":3}`)
	bob.want(`{"op":"members","ref":2,"room":"lobby","members":[{"user":"ada"},{"user":"robert"}],"count":2}`)
	bob.want(`{"op":"rooms","ref":3,"rooms":[{"room":"lobby","seq":0,"messages":0,"members":2}],"more":false}`)
	bob.do(`{"op":"leave","room":"lobby"}`)
	ada.want(`{"op":"presence","room":"lobby","joined":[],"left":[{"user":"robert"}],"count":1}`)
	bob.do(`{"op":"ping"}`)
	bob.want(`{"op":"pong"}`)
	if strings.Contains(bob.got.String(), "presence") {
		t.Errorf("bob did not ask for presence and got\n%s", bob.got.String())
	}
}

func TestPlainLinesShowMessagesAlone(t *testing.T) {
	server := newServer(t)
	plain, ada := newPeer(t, server, wire.TextNamed{}, "tom"), newPeer(t, server, wire.JSONLines{}, "ada")
	plain.do(`{"op":"join","room":"lobby"}`)
	plain.want("* joined lobby")
	ada.do(`{"op":"join","room":"lobby","presence":true,"ref":1}`, `{"op":"signal","room":"lobby","body":1}`)
	ada.want(`"members":[{"user":"tom"},{"user":"ada"}],"count":2}`)
	ada.do(`{"op":"send","room":"lobby","body":"hi"}`, `{"op":"members","room":"lobby"}`)
	if passed := plain.want("ada: hi"); passed != "" {
		t.Errorf("before the message came %q", passed)
	}
	plain.do(`{"op":"members","room":"lobby"}`)
	plain.want("* 2 in lobby: tom, ada")
}

func TestSignals(t *testing.T) {
	server := newServer(t)
	ada, bob := newPeer(t, server, wire.JSONLines{}, "ada"), newPeer(t, server, wire.JSONLines{}, "bob")
	large := `"` + strings.Repeat("x", wire.MaxSignal-2) + `"`
	ada.do(`{"op":"signal","room":"lobby","body":1,"ref":1}`)
	ada.want(`{"op":"error","ref":1,"code":"not_found","message":"you are not in lobby"}`)
	ada.do(`{"op":"join","room":"lobby"}`)
	bob.do(`{"op":"join","room":"lobby"}`)
	bob.want("joined")
	ada.do(
		`{"op":"signal","room":"lobby","body":{ "typing" : true },"ref":2}`,
		`{"op":"signal","room":"lobby","body":[`+large+`],"ref":3}`,
		`{"op":"signal","room":"lobby","body": `+large+`,"ref":4}`,
		`{"op":"ping","ref":5}`,
	)
	ada.want(`"joined"`)
	ada.want(`{"op":"error","ref":3,"code":"too_large","message":"a signal has at most 4096 bytes; this one has 4098"}`)
	if passed := ada.want(`"pong"`); strings.Contains(passed, "error") || strings.Contains(passed, "signal") {
		t.Errorf("a signal was answered with %s", passed)
	}
	bob.want(`{"op":"signal","room":"lobby","from":"ada","body":{"typing":true}}`)
	bob.want(`{"op":"signal","room":"lobby","from":"ada","body":` + large + `}`)
}

func TestASessionThatSignalsTooMuchIsToldOnce(t *testing.T) {
	server := newServer(t)
	limit(t, server, func(*parley.Limits) {})
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	ada.do(`{"op":"join","room":"lobby"}`)
	began := time.Now()
	const n = 2000
	for range n {
		ada.do(`{"op":"signal","room":"lobby","body":1,"ref":7}`)
	}
	seconds := time.Since(began).Seconds()
	ada.do(`{"op":"ping"}`)
	ada.want(`{"op":"error","ref":7,"code":"rate_limited","message":"more than 50 signals a second: some are dropped","retry_ms":`)
	rest := ada.want(`"pong"`)
	if told := 1 + strings.Count(rest, "rate_limited"); float64(told) > 1+seconds {
		t.Errorf("told %d times in %.2f s", told, seconds)
	}
	stats := server.Hub.Stats()
	if most := 250 + 50*seconds + 1; stats.Signals+stats.SignalsDropped != n || float64(stats.Signals) > most {
		t.Errorf("%d signals were taken and %d dropped of %d in %.2f s", stats.Signals, stats.SignalsDropped, n, seconds)
	}
}
