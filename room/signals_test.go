package room_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

func signal(from, body string) string {
	return fmt.Sprintf(`{"op":"signal","room":"r","from":%q,"body":%s}`, from, body)
}

func TestSignalsGoToTheOthers(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	joined := `{"op":"joined","room":"r","seq":0}`
	ada, bob, plain := newSocket(t, unlimited), newSocket(t, unlimited), newSocket(t, unlimited)
	a := f.join(f.user(ada, 1, "ada"), "r", wire.Start{}, true)
	b := f.join(f.user(bob, 2, "bob"), "r", wire.Start{}, true)
	f.join(f.outlet(plain, 3), "r", wire.Start{}, true)
	gone := newSocket(t, unlimited)
	f.join(f.user(gone, 4, "gone"), "r", wire.Start{}, true).Leave()

	a.Signal([]byte(`{"typing":true}`))
	want := []string{joined, signal("ada", `{"typing":true}`)}
	if diff := cmp.Diff(want, bob.lines(2)); diff != "" {
		t.Error(diff)
	}
	b.Signal([]byte(`1`))
	b.Signal([]byte(`null`))
	want = []string{joined, signal("bob", `1`), signal("bob", `null`)}
	if diff := cmp.Diff(want, ada.lines(3)); diff != "" {
		t.Error(diff)
	}
	f.send("r", 9, "end")
	ada.await(func(got string) bool { return strings.Contains(got, `"end"`) })
	if diff := cmp.Diff([]string{"joined r at 0", "r 1 end"}, plain.until("r 1 end")); diff != "" {
		t.Error(diff)
	}
	if n := strings.Count(string(gone.whole()), "\n"); n != 1 {
		t.Errorf("one that left got\n%s", gone.whole())
	}
	if s := f.hub.Stats(); s.Signals != 3 || s.SignalsLost != 0 || s.SignalsDropped != 0 {
		t.Errorf("%+v", s)
	}
}

func TestAFullSocketLosesSignalsAndNoMessage(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	slow, fast := newSocket(t, 100), newSocket(t, unlimited)
	f.join(f.user(slow, 1, "ada"), "r", wire.Start{}, true)
	f.join(f.user(fast, 2, "bob"), "r", wire.Start{}, true)
	m := f.join(f.user(newSocket(t, unlimited), 3, "eve"), "r", wire.Start{}, true)
	f.send("r", 9, strings.Repeat("x", 200)) // fills the slow socket
	fast.lines(2)
	slow.await(func(got string) bool { return len(got) == 100 })
	for i := range 10 {
		m.Signal(fmt.Appendf(nil, "%d", i))
	}
	fast.await(func(got string) bool { return strings.Contains(got, signal("eve", "9")) })
	f.send("r", 9, "end")
	fast.await(func(got string) bool { return strings.Contains(got, `"end"`) })
	slow.take(unlimited)
	lines := strings.Split(slow.await(func(got string) bool { return strings.Contains(got, `"end"`) }), "\n")
	if len(lines) != 4 || strings.Contains(lines[1]+lines[2], "signal") {
		t.Errorf("the slow member got %d lines:\n%s", len(lines), strings.Join(lines, "\n"))
	}
	if s := f.hub.Stats(); s.Signals != 10 || s.SignalsLost != 10 {
		t.Errorf("%+v", s)
	}
}

func TestTooManySignalsAreDropped(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	s := newSocket(t, unlimited)
	f.join(f.user(s, 1, "ada"), "r", wire.Start{}, true)
	m := f.join(f.user(newSocket(t, unlimited), 2, "bob"), "r", wire.Start{}, true)
	s.lines(1)
	const n = 5000
	body := []byte(`"` + strings.Repeat("x", 4000) + `"`)
	for range n {
		m.Signal(body)
	}
	stats := f.hub.Stats()
	if stats.Signals+stats.SignalsDropped != n {
		t.Errorf("%d signals, and %+v", n, stats)
	}
	if lines := s.lines(1 + int(stats.Signals)); len(lines) != 1+int(stats.Signals) {
		t.Errorf("%d lines; %d signals were taken", len(lines), stats.Signals)
	}
}

// Messages, signals, presence and answers share sockets that take a few bytes at a time: each
// frame comes whole, and every message once and in order.
func TestSignalsAndPresenceTearNoFrame(t *testing.T) {
	const sessions, messages = 6, 600
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{RingMemory: 1})
	rng := rand.New(rand.NewPCG(3, 4))
	var socks []*memSocket
	var members []*room.Member
	for i := range sessions {
		s := newSocket(t, rng.IntN(100))
		members = append(members, f.watch(f.user(s, parley.SessionID(i+1), fmt.Sprintf("u%d", i)), "r", wire.Start{}))
		socks = append(socks, s)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range messages {
			f.send("r", 99, fmt.Sprintf("%d-%s", i, strings.Repeat("y", i%97)))
		}
	})
	wg.Go(func() {
		for i := range 400 {
			members[i%sessions].Signal(fmt.Appendf(nil, "%d", i))
		}
	})
	wg.Go(func() {
		for i := range 200 {
			o := f.hub.NewOutlet(newSocket(t, unlimited), parley.SessionID(100+i), wire.JSONLines{})
			f.watch(o, "r", wire.Start{})
			o.Close()
		}
	})
	for i := range 6000 {
		socks[i%sessions].take(rng.IntN(80))
	}
	wg.Wait()
	for _, s := range socks {
		s.take(unlimited)
		got := s.await(func(got string) bool { return strings.Contains(got, fmt.Sprintf(`"body":"%d-`, messages-1)) })
		next := 0
		for line := range strings.Lines(got[:strings.LastIndexByte(got, '\n')+1]) {
			frame, err := wire.ParseFrame([]byte(line))
			if err != nil {
				t.Fatalf("torn: %q", line)
			}
			if frame.Op != "message" {
				continue
			}
			if want := fmt.Sprintf(`"%d-%s"`, next, strings.Repeat("y", next%97)); string(frame.Body) != want {
				t.Fatalf("got %s, want %s", frame.Body, want)
			}
			next++
		}
		if next != messages {
			t.Errorf("%d messages of %d", next, messages)
		}
	}
}
