package room_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

var (
	down = wire.Status{Message: "down"}
	up   = wire.Status{Available: true, Message: "up"}
)

// Every session is told once, however many rooms it is in; who comes later is told then, and who was never
// told that messages cannot be stored is not told that they can.
func TestEachSessionIsToldOfTheStatusOnce(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	two, late, after := newSocket(t, unlimited), newSocket(t, unlimited), newSocket(t, unlimited)
	both := f.outlet(two, 1)
	f.join(both, "r", wire.Start{}, true)
	f.join(both, "s", wire.Start{}, true)
	f.hub.Announce(up) // nobody knew otherwise
	f.hub.Announce(down)
	f.join(f.outlet(late, 2), "r", wire.Start{}, true)
	f.hub.Announce(down)
	f.hub.Announce(up)
	f.join(f.outlet(after, 3), "r", wire.Start{}, true)
	f.hub.Announce(up)
	f.hub.Announce(down)
	f.hub.Announce(up)
	f.send("r", 9, "end")

	twice := []string{"* unavailable: down", "* available: up", "* unavailable: down", "* available: up"}
	for name, of := range map[string]struct {
		sock *memSocket
		want []string
	}{
		"in two rooms":    {two, append([]string{"joined r at 0", "joined s at 0"}, twice...)},
		"came meanwhile":  {late, append([]string{"joined r at 0"}, twice...)},
		"came afterwards": {after, append([]string{"joined r at 0"}, twice[2:]...)},
	} {
		if diff := cmp.Diff(append(of.want, "r 1 end"), of.sock.until("r 1 end")); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// A session that was in no room when it was over is told when it joins one again.
func TestWhoLeftIsToldThatItIsOver(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	s := newSocket(t, unlimited)
	o := f.outlet(s, 1)
	m := f.join(o, "r", wire.Start{}, true)
	f.hub.Announce(down)
	s.until("* unavailable: down")
	m.Leave()
	f.hub.Announce(up)
	f.join(o, "r", wire.Start{}, true)
	s.until("* available: up")
}

// A client that does not read is told how it is when it reads again, and not of all that was between.
func TestWhoDoesNotReadIsToldOfTheStatusAfterwards(t *testing.T) {
	f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
	s := newSocket(t, 0)
	f.join(f.outlet(s, 1), "r", wire.Start{}, true)
	s.await(func(string) bool { return s.writes > 0 }) // it is full, and known to be
	f.send("r", 9, "one")
	for range 1000 {
		f.hub.Announce(down)
		f.hub.Announce(up)
	}
	f.hub.Announce(down)
	s.take(unlimited)
	got := s.until("* unavailable: down")
	if n := strings.Count(strings.Join(got, "\n"), "available"); n > 3 { // one may have waited already
		t.Errorf("it was told %d times", n)
	}
}
