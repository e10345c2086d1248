package room_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

// user makes the outlet of a session with a name, whose frames are JSON lines.
func (f *fixture) user(s *memSocket, id parley.SessionID, name string) *room.Outlet {
	o := f.outlet(s, id)
	o.Rename(name, wire.JSONLines{})
	return o
}

// watch joins and asks for presence.
func (f *fixture) watch(o *room.Outlet, name string, start wire.Start) *room.Member {
	m, err := f.hub.Join(context.Background(), o, room.Joining{
		Room: name, Start: start, Echo: true,
		Present: func(enc wire.Encoding, dst []byte, seq uint64, users []string, count int) []byte {
			return enc.JoinedMembers(dst, nil, name, seq, users, count)
		},
	})
	if err != nil {
		f.t.Error(err)
	}
	return m
}

// client keeps the users of a room as the protocol tells a client to.
type client struct {
	users  map[string]bool
	named  bool // users counts
	count  int
	frames int
}

// follow reads what came on a socket up to its last line end. Each frame has to add up.
func follow(t *testing.T, got string) client {
	t.Helper()
	c := client{users: map[string]bool{}}
	for line := range strings.Lines(got[:strings.LastIndexByte(got, '\n')+1]) {
		f, err := wire.ParseFrame([]byte(line))
		if err != nil {
			t.Fatalf("torn: %q", line)
		}
		switch f.Op {
		case "presence":
			c.frames++
		case "joined":
		default:
			continue
		}
		c.count = f.Count
		switch {
		case f.Members != nil:
			c.users, c.named = map[string]bool{}, true
		case f.Joined == nil && f.Left == nil:
			c.named = false
			continue
		}
		for _, u := range append(wire.Users(f.Members), wire.Users(f.Joined)...) {
			c.users[u] = true
		}
		for _, u := range wire.Users(f.Left) {
			delete(c.users, u)
		}
		if c.named && len(c.users) != f.Count {
			t.Fatalf("the client knows of %d users %v after %s", len(c.users), slices.Sorted(maps.Keys(c.users)), line)
		}
	}
	return c
}

// knows waits until the client knows a room as it is.
func (s *memSocket) knows(users []string, count int) client {
	s.t.Helper()
	var c client
	s.await(func(got string) bool {
		c = follow(s.t, got)
		return c.count == count && (!c.named || slices.Equal(slices.Sorted(maps.Keys(c.users)), users))
	})
	return c
}

func TestPresenceTellsOfUsers(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	s := newSocket(t, unlimited)
	ada := f.user(s, 1, "ada")
	f.watch(ada, "r", wire.Start{})
	want := []string{`{"op":"joined","room":"r","seq":0,"members":[{"user":"ada"}],"count":1}`}
	told := func(joined, left string, count int) {
		t.Helper()
		want = append(want, fmt.Sprintf(`{"op":"presence","room":"r","joined":[%s],"left":[%s],"count":%d}`, joined, left, count))
		if diff := cmp.Diff(want, s.lines(len(want))); diff != "" {
			t.Fatal(diff)
		}
	}
	bob := f.user(newSocket(t, unlimited), 2, "bob")
	first := f.join(bob, "r", wire.Start{}, true)
	told(`{"user":"bob"}`, ``, 2)
	again := f.user(newSocket(t, unlimited), 3, "bob")
	second := f.join(again, "r", wire.Start{}, true)
	plain := f.outlet(newSocket(t, unlimited), 4)
	plain.Rename("carol", wire.TextBare{})
	f.join(plain, "r", wire.Start{}, true)
	told(`{"user":"carol"}`, ``, 3) // the second bob is no news
	if users, count := f.hub.Members("r", 10); count != 3 || !slices.Equal(users, []string{"ada", "bob", "carol"}) {
		t.Errorf("members are %v, %d", users, count)
	}
	first.Leave()
	plain.Rename("dora", wire.TextNamed{})
	told(`{"user":"dora"}`, `{"user":"carol"}`, 3) // nor that one of two has gone
	plain.Close()
	told(``, `{"user":"dora"}`, 2)
	second.Leave()
	told(``, `{"user":"bob"}`, 1)
	ada.Rename("eve", wire.JSONLines{})
	told(`{"user":"eve"}`, `{"user":"ada"}`, 1)
}

// spy counts how often presence and signals are encoded.
type spy struct {
	wire.JSONLines
	encoded *atomic.Int64
}

func (s spy) Presence(dst []byte, room string, p wire.Presence) []byte {
	s.encoded.Add(1)
	return s.JSONLines.Presence(dst, room, p)
}

func (s spy) Signal(dst []byte, room, from string, body []byte) []byte {
	s.encoded.Add(1)
	return s.JSONLines.Signal(dst, room, from, body)
}

func TestPresenceAndSignalsAreEncodedOnce(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	enc := spy{encoded: new(atomic.Int64)}
	var socks []*memSocket
	for i := range 20 {
		s := newSocket(t, unlimited)
		o := f.outlet(s, parley.SessionID(i+1))
		o.Rename("one", enc)
		f.watch(o, "r", wire.Start{})
		socks = append(socks, s)
	}
	before := enc.encoded.Load()
	o := f.user(newSocket(t, unlimited), 99, "two")
	m := f.join(o, "r", wire.Start{}, true)
	for _, s := range socks {
		s.lines(2)
	}
	if n := enc.encoded.Load() - before; n != 1 {
		t.Errorf("presence was encoded %d times for 20 members", n)
	}
	m.Signal([]byte(`1`))
	for _, s := range socks {
		s.lines(3)
	}
	if n := enc.encoded.Load() - before; n != 2 {
		t.Errorf("a signal was encoded %d times for 20 members", n-1)
	}
}

func TestAFullSocketGetsOnePresenceFrame(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	slow, fast := newSocket(t, 90), newSocket(t, unlimited)
	f.watch(f.user(slow, 1, "ada"), "r", wire.Start{})
	slow.lines(1) // what it takes is nearly used up: the first frame will be torn
	f.watch(f.user(fast, 2, "bob"), "r", wire.Start{})
	for i := range 30 {
		o := f.user(newSocket(t, unlimited), parley.SessionID(10+i), fmt.Sprintf("u%02d", i))
		f.join(o, "r", wire.Start{}, true)
		fast.await(func(got string) bool { return strings.Contains(got, fmt.Sprintf(`"u%02d"`, i)) })
	}
	slow.take(unlimited)
	users, count := f.hub.Members("r", 100)
	slices.Sort(users)
	if c := slow.knows(users, count); c.frames != 2 {
		t.Errorf("%d presence frames; the one begun and one anew are enough:\n%s", c.frames, slow.whole())
	}
	fast.knows(users, count)
	if f.hub.Stats().PresenceLate == 0 {
		t.Error("what the slow member could not take was not counted")
	}
}

func TestPresenceCountsAloneInACrowd(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	var crowd []*room.Outlet
	for i := range room.MaxNamed {
		o := f.user(newSocket(t, unlimited), parley.SessionID(100+i), fmt.Sprintf("u%03d", i))
		f.join(o, "r", wire.Start{}, true)
		crowd = append(crowd, o)
	}
	s := newSocket(t, unlimited)
	f.watch(f.user(s, 1, "ada"), "r", wire.Start{})
	want := []string{`{"op":"joined","room":"r","seq":0,"count":201}`}
	if diff := cmp.Diff(want, s.lines(1)); diff != "" {
		t.Fatal(diff)
	}
	late := f.user(newSocket(t, unlimited), 2, "late")
	f.join(late, "r", wire.Start{}, true)
	want = append(want, `{"op":"presence","room":"r","count":202}`)
	if diff := cmp.Diff(want, s.lines(2)); diff != "" {
		t.Fatal(diff)
	}
	for _, o := range crowd[10:] {
		o.Close()
	}
	users, count := f.hub.Members("r", 100)
	slices.Sort(users)
	if c := s.knows(users, count); !c.named || count != 12 {
		t.Errorf("%d are left, and the member knows %v", count, c.users)
	}
}

// One member above the bound left, and one that had been told the count alone knew no names.
func TestNamesComeWhenTheRoomIsJustSmallEnough(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	var last *room.Outlet
	for i := range room.MaxNamed {
		last = f.user(newSocket(t, unlimited), parley.SessionID(100+i), fmt.Sprintf("u%03d", i))
		f.join(last, "r", wire.Start{}, true)
	}
	s := newSocket(t, unlimited)
	f.watch(f.user(s, 1, "ada"), "r", wire.Start{})
	last.Close()
	users, count := f.hub.Members("r", 1000)
	slices.Sort(users)
	if c := s.knows(users, count); !c.named || count != room.MaxNamed {
		t.Errorf("%d are left, and the member knows %d", count, len(c.users))
	}
}

func TestChurnInABigRoomIsBatched(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	const size, churn = 300, 2000
	var socks []*memSocket
	for i := range size {
		s := newSocket(t, unlimited)
		f.watch(f.user(s, parley.SessionID(i+1), fmt.Sprintf("u%03d", i)), "r", wire.Start{})
		socks = append(socks, s)
	}
	began, frames := time.Now(), f.hub.Stats().Presence
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range churn / 2 / 4 {
				o := f.hub.NewOutlet(newSocket(t, unlimited), parley.SessionID(1000+churn*w+i), wire.JSONLines{})
				o.Rename(fmt.Sprintf("c%d-%d", w, i), wire.JSONLines{})
				m := f.watch(o, "r", wire.Start{})
				if i%2 == 0 {
					m.Leave()
				}
				o.Close()
			}
		})
	}
	wg.Wait()
	last := f.user(newSocket(t, unlimited), 9999, "last")
	f.join(last, "r", wire.Start{}, true)
	for _, s := range socks {
		s.knows(nil, size+1)
	}
	most := int64(time.Since(began)/(250*time.Millisecond)) + 2
	if n := f.hub.Stats().Presence - frames; n > most {
		t.Errorf("%d frames for %d joins and leaves, %d are enough", n, churn, most)
	}
}

// TestPresenceAddsUp has users come, go and take other names, watch and not, some of them with
// sockets that take a few bytes at a time: whoever is left knows the room as it is.
func TestPresenceAddsUp(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	var wg sync.WaitGroup
	var mu sync.Mutex
	var stay []*memSocket
	for w := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(w)))
			for i := range 60 {
				s := newSocket(t, unlimited)
				if rng.IntN(3) == 0 {
					s = newSocket(t, rng.IntN(300))
				}
				id := parley.SessionID(1000*w + i + 1)
				o := f.user(s, id, fmt.Sprintf("u%d", rng.IntN(40)))
				m := f.watch(o, "r", wire.Start{})
				s.take(rng.IntN(400))
				if rng.IntN(2) == 0 {
					o.Rename(fmt.Sprintf("u%d", rng.IntN(40)), wire.JSONLines{})
				}
				switch rng.IntN(4) {
				case 0:
					mu.Lock()
					stay = append(stay, s)
					mu.Unlock()
				case 1:
					o.Close()
				default:
					m.Leave()
				}
			}
		})
	}
	wg.Wait()
	users, count := f.hub.Members("r", 100)
	slices.Sort(users)
	if len(users) != count {
		t.Fatalf("%d users, %v", count, users)
	}
	for _, s := range stay {
		s.take(unlimited)
		s.knows(users, count)
	}
}
