package room_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shortText shows seq and body alone, so that tests can be read.
type shortText struct{ wire.TextBare }

func (shortText) Message(dst []byte, m *parley.Message) []byte {
	return fmt.Appendf(dst, "%s %d %s\n", m.Room, m.Seq, m.Body)
}

func (shortText) Joined(dst, _ []byte, room string, seq uint64) []byte {
	return fmt.Appendf(dst, "joined %s at %d\n", room, seq)
}

func (shortText) Gap(dst []byte, room string, after, next uint64) []byte {
	return fmt.Appendf(dst, "gap %s after %d next %d\n", room, after, next)
}

type fixture struct {
	t   *testing.T
	log parley.Log
	hub *room.Hub
}

func newFixture(t *testing.T, log parley.Log, config room.Config) *fixture {
	t.Helper()
	f := &fixture{t: t, log: log, hub: room.NewHub(log, config)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = f.hub.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return f
}

// send stores messages and returns the last seq.
func (f *fixture) send(name string, session parley.SessionID, bodies ...string) uint64 {
	f.t.Helper()
	var last uint64
	for _, b := range bodies {
		done := make(chan parley.Receipt, 1)
		d := parley.Draft{Room: name, ID: "x", From: "ada", Body: []byte(b), Session: session}
		err := f.log.Append(context.Background(), d, func(r parley.Receipt, err error) {
			if err != nil {
				f.t.Error(err)
			}
			done <- r
		})
		if err != nil {
			f.t.Fatal(err)
		}
		last = (<-done).Seq
	}
	return last
}

func (f *fixture) outlet(s *memSocket, id parley.SessionID) *room.Outlet {
	o := f.hub.NewOutlet(s, id, shortText{})
	f.t.Cleanup(func() {
		s.Abort()
		o.Close()
	})
	return o
}

func (f *fixture) join(o *room.Outlet, name string, start wire.Start, echo bool) *room.Member {
	f.t.Helper()
	m, err := f.hub.Join(context.Background(), o, room.Joining{
		Room: name, Start: start, Echo: echo,
		Joined: func(enc wire.Encoding, dst []byte, seq uint64) []byte { return enc.Joined(dst, nil, name, seq) },
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

func after(n uint64) wire.Start { return wire.Start{After: &n} }

func TestJoin(t *testing.T) {
	tests := map[string]struct {
		start  wire.Start
		joined string
		before string // of a, b, c: what is replayed
	}{
		"live":              {wire.Start{}, "joined r at 3", ""},
		"from the start":    {after(0), "joined r at 3", "abc"},
		"after the first":   {after(1), "joined r at 3", "bc"},
		"after the newest":  {after(3), "joined r at 3", ""},
		"last two":          {wire.Start{Last: 2}, "joined r at 3", "bc"},
		"last of many":      {wire.Start{Last: 50}, "joined r at 3", "abc"},
		"beyond the newest": {after(4), "joined r at 3", ""},
	}
	for name, tt := range tests {
		for _, warm := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/warm=%v", name, warm), func(t *testing.T) {
				f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
				if warm {
					f.join(f.outlet(newSocket(t, unlimited), 9), "r", wire.Start{}, true)
				}
				f.send("r", 1, "a", "b", "c")
				s := newSocket(t, unlimited)
				f.join(f.outlet(s, 2), "r", tt.start, true)
				f.send("r", 1, "d", "e")
				want := []string{tt.joined}
				for _, b := range tt.before + "de" {
					seq := uint64(b-'a') + 1
					if tt.start.After == nil || seq > *tt.start.After {
						want = append(want, fmt.Sprintf("r %d %c", seq, b))
					}
				}
				if diff := cmp.Diff(want, s.until("r 5 e")); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestOwnMessagesAreSkippedWithoutEcho(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	s := newSocket(t, unlimited)
	m := f.join(f.outlet(s, 7), "r", wire.Start{}, false)
	m.Sends()
	f.send("r", 7, "mine")
	f.send("r", 8, "theirs")
	f.send("r", 7, "mine", "mine")
	f.send("r", 8, "end")
	want := []string{"joined r at 0", "r 2 theirs", "r 5 end"}
	if diff := cmp.Diff(want, s.until("r 5 end")); diff != "" {
		t.Error(diff)
	}
}

func TestFullSocketParksAndNobodyWaits(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{RingMemory: 1})
	slow, fast := newSocket(t, 20), newSocket(t, unlimited)
	f.join(f.outlet(slow, 1), "r", wire.Start{}, true)
	f.join(f.outlet(fast, 2), "r", wire.Start{}, true)
	const n = 5000 // far more than the ring holds
	body := strings.Repeat("x", 100)
	for range n {
		f.send("r", 3, body)
	}
	last := fmt.Sprintf("r %d %s", n, body)
	want := fast.until(last)
	if len(want) != n+1 {
		t.Fatalf("the fast member got %d lines of %d", len(want), n+1)
	}
	if f.hub.Stats().Parked == 0 {
		t.Error("no outlet is parked; one is slow")
	}
	slow.take(unlimited)
	if diff := cmp.Diff(want, slow.until(last)); diff != "" {
		t.Error(diff)
	}
	if f.hub.Stats().LagReads == 0 {
		t.Error("the slow member did not read the log: the ring is too large for this test")
	}
}

// A flusher that met a broken socket once went on for ever, holding the outlet's lock.
func TestABrokenSocketEndsTheFlush(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	bad, good := newSocket(t, unlimited), newSocket(t, unlimited)
	o := f.outlet(bad, 1)
	f.join(o, "r", wire.Start{}, true)
	f.join(f.outlet(good, 2), "r", wire.Start{}, true)
	bad.lines(1)
	bad.Abort()
	f.send("r", 3, "a", "b", "c")
	good.until("r 3 c")
	if err := o.Drain(context.Background()); err == nil {
		t.Error("a broken outlet says that it was drained")
	}
}

func TestGapWhenRetentionHasPassed(t *testing.T) {
	log := logtest.New(logtest.Options{RetainMessages: 3})
	f := newFixture(t, log, room.Config{RetainMessages: 3})
	f.send("r", 1, "a", "b", "c", "d", "e", "f")
	s := newSocket(t, unlimited)
	f.join(f.outlet(s, 2), "r", after(1), true)
	want := []string{"joined r at 6", "gap r after 1 next 4", "r 4 d", "r 5 e", "r 6 f"}
	if diff := cmp.Diff(want, s.until("r 6 f")); diff != "" {
		t.Error(diff)
	}
	fromStart := newSocket(t, unlimited)
	f.join(f.outlet(fromStart, 3), "r", after(0), true)
	want = []string{"joined r at 6", "r 4 d", "r 5 e", "r 6 f"}
	if diff := cmp.Diff(want, fromStart.until("r 6 f")); diff != "" {
		t.Error(diff)
	}
}

func TestRingReplaysNoMoreThanRetentionKeeps(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{RetainMessages: 3}), room.Config{RetainMessages: 3})
	f.join(f.outlet(newSocket(t, unlimited), 9), "r", wire.Start{}, true)
	f.send("r", 1, "a", "b", "c", "d", "e", "f")
	s := newSocket(t, unlimited)
	f.join(f.outlet(s, 2), "r", after(2), true)
	want := []string{"joined r at 6", "gap r after 2 next 4", "r 4 d", "r 5 e", "r 6 f"}
	if diff := cmp.Diff(want, s.until("r 6 f")); diff != "" {
		t.Error(diff)
	}
	page, err := f.hub.PageBefore(context.Background(), "r", 0, 10)
	if err != nil || len(page.Messages) != 3 || page.More {
		t.Errorf("a page of %d messages, more %v, %v; 3 are left", len(page.Messages), page.More, err)
	}
}

func TestLeaveEndsARoomAndNoOther(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	s := newSocket(t, unlimited)
	o := f.outlet(s, 1)
	a := f.join(o, "a", wire.Start{}, true)
	f.join(o, "b", wire.Start{}, true)
	f.send("a", 2, "one")
	s.until("a 1 one")
	a.Leave()
	f.send("a", 2, "two")
	last := f.send("b", 2, "end")
	for _, line := range s.until(fmt.Sprintf("b %d end", last)) {
		if strings.HasSuffix(line, "two") {
			t.Errorf("got %q after leaving", line)
		}
	}
	if _, count := f.hub.Members("a", 10); count != 0 {
		t.Errorf("%d members are left in the room", count)
	}
}

func TestRenameKeepsThePlace(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	s := newSocket(t, unlimited)
	o := f.outlet(s, 1)
	f.join(o, "r", wire.Start{}, true)
	f.send("r", 2, "one")
	s.until("r 1 one")
	o.Rename("bob", wire.TextNamed{})
	f.send("r", 2, "two", "three")
	want := []string{"joined r at 0", "r 1 one", "ada: two", "ada: three"}
	if diff := cmp.Diff(want, s.until("ada: three")); diff != "" {
		t.Error(diff)
	}
	if users, count := f.hub.Members("r", 10); count != 1 || !cmp.Equal(users, []string{"bob"}) {
		t.Errorf("members are %v, %d", users, count)
	}
}

func TestAnIdleRoomEndsAndBeginsAgain(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{Linger: time.Millisecond})
	for i := range 20 {
		s := newSocket(t, unlimited)
		o := f.outlet(s, parley.SessionID(i))
		f.join(o, "r", wire.Start{}, true)
		seq := f.send("r", 99, "x")
		s.until(fmt.Sprintf("r %d x", seq))
		o.Close()
		deadline := time.NewTimer(10 * time.Second)
		for f.hub.Stats().Rooms > 0 {
			select {
			case <-deadline.C:
				t.Fatal("the room did not end")
			case <-time.After(time.Millisecond):
			}
		}
	}
}

// TestNoTornMessages has sessions in several rooms whose sockets take a few bytes at a time, while
// answers go out too: every frame must come whole, every room's messages once and in order.
func TestNoTornMessages(t *testing.T) {
	const rooms, perRoom, sessions = 4, 400, 6
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{RingMemory: 1})
	rng := rand.New(rand.NewPCG(1, 2))
	var socks []*memSocket
	var outs []*room.Outlet
	for i := range sessions {
		s := newSocket(t, 0)
		o := f.outlet(s, parley.SessionID(i+1))
		for r := range rooms {
			f.join(o, "r"+strconv.Itoa(r), wire.Start{}, true)
		}
		socks, outs = append(socks, s), append(outs, o)
	}
	var wg sync.WaitGroup
	for r := range rooms {
		wg.Go(func() {
			for i := range perRoom {
				f.send("r"+strconv.Itoa(r), 99, fmt.Sprintf("%d-%s", i, strings.Repeat("y", i%97)))
			}
		})
	}
	for i := range 4000 {
		socks[i%sessions].take(rng.IntN(60))
		outs[i%sessions].Reply(func(_ wire.Encoding, dst []byte) []byte { return append(dst, "* answer\n"...) })
	}
	wg.Wait()
	for _, s := range socks {
		s.take(unlimited)
		lines := s.lines(rooms + rooms*perRoom + 4000/sessions)
		next := map[string]int{}
		for _, line := range lines {
			if line == "* answer" || strings.HasPrefix(line, "joined ") {
				continue
			}
			f := strings.Fields(line)
			if len(f) != 3 {
				t.Fatalf("torn: %q", line)
			}
			n, body, _ := strings.Cut(f[2], "-")
			if n != strconv.Itoa(next[f[0]]) || body != strings.Repeat("y", next[f[0]]%97) {
				t.Fatalf("room %s: got %q, message %d is next", f[0], line, next[f[0]])
			}
			next[f[0]]++
		}
		for r := range rooms {
			if n := next["r"+strconv.Itoa(r)]; n != perRoom {
				t.Errorf("room r%d: %d messages of %d", r, n, perRoom)
			}
		}
	}
}

func TestPages(t *testing.T) {
	for _, warm := range []bool{false, true} {
		t.Run(fmt.Sprintf("warm=%v", warm), func(t *testing.T) {
			f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
			if warm {
				f.join(f.outlet(newSocket(t, unlimited), 9), "r", wire.Start{}, true)
			}
			f.send("r", 1, "a", "b", "c", "d", "e")
			tests := []struct {
				before, after uint64
				forward       bool
				limit         int
				want          string
				more          bool
			}{
				{limit: 2, want: "de", more: true},
				{limit: 5, want: "abcde"},
				{limit: 50, want: "abcde"},
				{before: 4, limit: 2, want: "bc", more: true},
				{before: 3, limit: 2, want: "ab"},
				{before: 1, limit: 2, want: ""},
				{before: 99, limit: 1, want: "e", more: true},
				{forward: true, limit: 2, want: "ab", more: true},
				{forward: true, after: 3, limit: 2, want: "de"},
				{forward: true, after: 5, limit: 2, want: ""},
				{forward: true, after: 99, limit: 2, want: ""},
			}
			for _, tt := range tests {
				page, err := f.hub.PageBefore(context.Background(), "r", tt.before, tt.limit)
				if tt.forward {
					page, err = f.hub.PageAfter(context.Background(), "r", tt.after, tt.limit)
				}
				if err != nil {
					t.Fatal(err)
				}
				got, prev := "", uint64(0)
				for i, m := range page.Messages {
					if got += string(m.Body); i > 0 && m.Prev != prev || m.Prev != m.Seq-1 {
						t.Errorf("%+v: prev of %d is %d", tt, m.Seq, m.Prev)
					}
					prev = m.Seq
				}
				if got != tt.want || page.More != tt.more {
					t.Errorf("%+v: got %q, more %v", tt, got, page.More)
				}
			}
		})
	}
}
