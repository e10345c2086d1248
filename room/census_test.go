package room_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

// wantCensus checks what a node counts.
func wantCensus(t *testing.T, f *fixture, rooms, members int) {
	t.Helper()
	<-time.After(within)
	synctest.Wait()
	if r, m := f.hub.Census(); r != rooms || m != members {
		t.Errorf("%d rooms with %d members are counted, want %d with %d", r, m, rooms, members)
	}
}

// Every node counts the rooms and users of all: one at two nodes once, one in two rooms twice. A node that is cut
// off is left out, and counts itself alone.
func TestCensusIsOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, nodes := three(t)
		ada := nodes[0].user(newSocket(t, unlimited), 1, "ada")
		nodes[0].join(ada, "r", wire.Start{}, true)
		nodes[0].join(ada, "s", wire.Start{}, true)
		nodes[1].join(nodes[1].user(newSocket(t, unlimited), 2, "ada"), "r", wire.Start{}, true)
		bob := nodes[1].join(nodes[1].user(newSocket(t, unlimited), 3, "bob"), "r", wire.Start{}, true)
		for i := range 300 { // more than are counted at a time
			out := nodes[2].user(newSocket(t, unlimited), parley.SessionID(10+i), fmt.Sprint("u", i))
			nodes[2].join(out, fmt.Sprint("t", i), wire.Start{}, true)
		}
		for _, f := range nodes {
			wantCensus(t, f, 302, 303)
		}
		bob.Leave()
		wantCensus(t, nodes[2], 302, 302)
		w.Cut("n3", true)
		wantCensus(t, nodes[0], 2, 2)
		wantCensus(t, nodes[2], 300, 300)
	})
}

func TestCensusOfOneNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t, logtest.New(logtest.Options{}), room.Config{})
		f.join(f.user(newSocket(t, unlimited), 1, "ada"), "r", wire.Start{}, true)
		f.join(f.user(newSocket(t, unlimited), 2, "ada"), "r", wire.Start{}, true)
		bob := f.join(f.user(newSocket(t, unlimited), 3, "bob"), "s", wire.Start{}, true)
		wantCensus(t, f, 2, 2)
		bob.Leave()
		wantCensus(t, f, 1, 1)
	})
}
