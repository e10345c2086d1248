package room_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley/internal/bustest"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

// three makes the hubs of three nodes.
func three(t *testing.T) (*bustest.Wires, []*fixture) {
	w := bustest.New()
	var nodes []*fixture
	for i := range 3 {
		bus := w.Bus(fmt.Sprint("n", i+1))
		nodes = append(nodes, newFixture(t, logtest.New(logtest.Options{}), room.Config{Bus: bus}))
	}
	return w, nodes
}

// within is how soon all nodes have to know.
const within = 5 * time.Second

// wantUsers checks that all these nodes know exactly these users, within that time.
func wantUsers(t *testing.T, nodes []*fixture, users ...string) {
	t.Helper()
	<-time.After(within)
	synctest.Wait()
	for i, f := range nodes {
		got, count := f.hub.Members("r", 1000)
		slices.Sort(got)
		if !slices.Equal(got, users) || count != len(users) {
			t.Errorf("node %d of these knows %v, %d in all, want %v", i+1, got, count, users)
		}
	}
}

func TestPresenceIsOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, nodes := three(t)
		s := newSocket(t, unlimited)
		nodes[0].watch(nodes[0].user(s, 1, "ada"), "r", wire.Start{})
		bob := nodes[1].join(nodes[1].user(newSocket(t, unlimited), 2, "bob"), "r", wire.Start{}, true)
		wantUsers(t, nodes, "ada", "bob")
		twin := nodes[2].join(nodes[2].user(newSocket(t, unlimited), 3, "bob"), "r", wire.Start{}, true)
		cy := nodes[2].user(newSocket(t, unlimited), 4, "cy")
		nodes[2].join(cy, "r", wire.Start{}, true)
		wantUsers(t, nodes, "ada", "bob", "cy")
		bob.Leave()
		wantUsers(t, nodes, "ada", "bob", "cy")
		twin.Leave()
		wantUsers(t, nodes, "ada", "cy")
		cy.Rename("dan", wire.JSONLines{})
		wantUsers(t, nodes, "ada", "dan")
		s.knows([]string{"ada", "dan"}, 2)

		late := newSocket(t, unlimited)
		nodes[1].watch(nodes[1].user(late, 5, "eve"), "r", wire.Start{})
		if first := late.lines(1)[0]; !strings.Contains(first, `"count":3`) {
			t.Errorf("who joins is told %s", first)
		}
	})
}

func TestAnUserOfANodeThatIsGoneIsNoGhost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, nodes := three(t)
		for i, f := range nodes {
			f.join(f.user(newSocket(t, unlimited), 1, fmt.Sprint("user", i+1)), "r", wire.Start{}, true)
		}
		wantUsers(t, nodes, "user1", "user2", "user3")
		w.Cut("n3", true)
		wantUsers(t, nodes[:2], "user1", "user2")
		wantUsers(t, nodes[2:], "user3")
		more := nodes[2].join(nodes[2].user(newSocket(t, unlimited), 2, "meanwhile"), "r", wire.Start{}, true)
		w.Cut("n3", false)
		wantUsers(t, nodes, "meanwhile", "user1", "user2", "user3")
		w.Cut("n1", true)
		more.Leave()
		w.Cut("n1", false) // before anybody took it for gone
		wantUsers(t, nodes, "user1", "user2", "user3")
	})
}

func TestPresenceOutlivesLostNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, nodes := three(t)
		n := 0
		w.Losing(func(string, string, []byte) bool { n++; return n%3 != 0 })
		var want []string
		var members []*room.Member
		for i := range 60 {
			f, user := nodes[i%3], fmt.Sprintf("user%02d", i)
			members = append(members, f.join(f.user(newSocket(t, unlimited), 1, user), "r", wire.Start{}, true))
			want = append(want, user)
			<-time.After(50 * time.Millisecond)
		}
		w.Losing(nil)
		wantUsers(t, nodes, want...)
		w.Losing(func(string, string, []byte) bool { n++; return n%2 == 0 })
		for i, m := range members {
			if i%2 == 0 {
				m.Leave()
			}
		}
		<-time.After(time.Second)
		w.Losing(nil)
		var left []string
		for i := 1; i < 60; i += 2 {
			left = append(left, want[i])
		}
		wantUsers(t, nodes, left...)
	})
}

// A crowd takes many notes, and one that comes later has to hear of all of it.
func TestACrowdIsToldToAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		first := newFixture(t, logtest.New(logtest.Options{}), room.Config{Bus: w.Bus("n1")})
		for i := range 3000 {
			o := first.user(newSocket(t, unlimited), 1, fmt.Sprint("user", i))
			first.join(o, fmt.Sprint("room", i%700), wire.Start{}, true)
		}
		second := newFixture(t, logtest.New(logtest.Options{}), room.Config{Bus: w.Bus("n2")})
		<-time.After(within)
		synctest.Wait()
		total := 0
		for i := range 700 {
			_, count := second.hub.Members(fmt.Sprint("room", i), 0)
			total += count
		}
		if total != 3000 {
			t.Errorf("the second node knows of %d users, want 3000", total)
		}
	})
}

func TestSignalsReachOtherNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, nodes := three(t)
		ada := nodes[0].join(nodes[0].user(newSocket(t, unlimited), 1, "ada"), "r", wire.Start{}, true)
		s, elsewhere := newSocket(t, unlimited), newSocket(t, unlimited)
		nodes[1].join(nodes[1].user(s, 2, "bob"), "r", wire.Start{}, true)
		nodes[2].join(nodes[2].user(elsewhere, 3, "cy"), "another", wire.Start{}, true)
		<-time.After(time.Second)
		ada.Signal([]byte(`{"typing":true}`))
		<-time.After(time.Second)
		synctest.Wait()
		if want := `{"op":"signal","room":"r","from":"ada","body":{"typing":true}}`; !strings.Contains(string(s.whole()), want) {
			t.Errorf("got %q", s.whole())
		}
		if strings.Contains(string(elsewhere.whole()), "signal") {
			t.Errorf("another room got %q", elsewhere.whole())
		}
	})
}

// Who observes presence hears of all nodes' users, also in rooms that nobody is in at its own, each
// once; a node that dies takes its users with it.
func TestPresenceIsObservedOnAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, nodes := three(t)
		var mu sync.Mutex
		var seen []string
		stop := nodes[0].hub.Observe(func(room, user string, here bool, count int) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, fmt.Sprint(room, " ", user, " ", here, " ", count))
		})
		defer stop()
		want := func(news ...string) {
			t.Helper()
			<-time.After(within)
			synctest.Wait()
			mu.Lock()
			defer mu.Unlock()
			if !slices.Equal(seen, news) {
				t.Errorf("observed %q, want %q", seen, news)
			}
			seen = nil
		}
		bob := nodes[1].join(nodes[1].user(newSocket(t, unlimited), 1, "bob"), "r", wire.Start{}, true)
		want("r bob true 1")
		nodes[2].join(nodes[2].user(newSocket(t, unlimited), 2, "bob"), "r", wire.Start{}, true)
		want()
		bob.Leave()
		want()
		ada := nodes[0].join(nodes[0].user(newSocket(t, unlimited), 3, "ada"), "r", wire.Start{}, true)
		want("r ada true 2")
		w.Cut("n3", true)
		want("r bob false 1")
		ada.Leave()
		want("r ada false 0")
		w.Cut("n3", false)
		want("r bob true 1")
	})
}
