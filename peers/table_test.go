package peers_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley/internal/bustest"
	"parley/peers"
)

// settled is how long a table takes to be right, at most.
const settled = 5 * time.Second

// node is one node's end of a table.
type node struct {
	*peers.Table
	stop func()

	mu   sync.Mutex
	gone []string
}

func (n *node) wasGone() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.gone)
}

// start runs one until stop, at the latest until the test ends.
func start(t *testing.T, w *bustest.Wires, name string) *node {
	n := new(node)
	n.Table = peers.New(peers.Config{
		Bus: w.Bus(name), Topic: "t", Logger: slog.New(slog.DiscardHandler),
		Gone: func(node string) {
			n.mu.Lock()
			defer n.mu.Unlock()
			n.gone = append(n.gone, node)
		},
	})
	stopped := make(chan struct{})
	var done sync.WaitGroup
	done.Go(func() {
		if err := n.Run(stopped); err != nil {
			t.Error(err)
		}
	})
	n.stop = sync.OnceFunc(func() {
		close(stopped)
		done.Wait()
	})
	t.Cleanup(n.stop)
	return n
}

func pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

func wantNames(t *testing.T, n *node, room string, want ...string) {
	t.Helper()
	if got := n.Names(room); !slices.Equal(got, want) {
		t.Errorf("%s holds %q, want %q", room, got, want)
	}
}

func TestNamesOfAllNodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		one, two, three := start(t, w, "n1"), start(t, w, "n2"), start(t, w, "n3")
		pass(settled)
		two.Set("r", "bob", true)
		three.Set("r", "bob", true)
		three.Set("r", "cy", true)
		three.Set("s", "cy", true)
		pass(100 * time.Millisecond) // a change is told soon
		wantNames(t, one, "r", "bob", "cy")
		wantNames(t, two, "r", "bob", "cy")
		wantNames(t, three, "r", "bob")
		if n := one.At("r", "bob"); n != 2 {
			t.Errorf("bob is at %d nodes, want 2", n)
		}
		one.Set("here", "ada", true)
		if counts := one.Counts(); !maps.Equal(counts, map[string]int{"r": 2, "s": 1, "here": 1}) {
			t.Errorf("counts %v", counts)
		}
		two.Set("r", "bob", false)
		pass(100 * time.Millisecond)
		if all, in := one.Nodes("r"); !slices.Equal(all, []string{"n2", "n3"}) || in["n2"] || !in["n3"] {
			t.Errorf("nodes %v, in the room %v", all, in)
		}
	})
}

func TestNodesThatGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		one, two, three := start(t, w, "n1"), start(t, w, "n2"), start(t, w, "n3")
		two.Set("r", "bob", true)
		three.Set("r", "cy", true)
		pass(settled)
		two.stop()
		synctest.Wait()
		wantNames(t, one, "r", "cy")
		w.Cut("n3", true)
		pass(settled)
		wantNames(t, one, "r")
		if gone := one.wasGone(); strings.Join(gone, " ") != "n2 n3" {
			t.Errorf("gone: %q", gone)
		}
		w.Cut("n3", false)
		pass(settled)
		wantNames(t, one, "r", "cy")
	})
}

// A node that is killed and at once there again has forgotten what it told, and what it was told.
func TestANodeThatBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		one, two := start(t, w, "n1"), start(t, w, "n2")
		one.Set("r", "ada", true)
		two.Set("r", "bob", true)
		pass(settled)
		w.Cut("n2", true) // so that it says no goodbye
		two.stop()
		w.Cut("n2", false)
		two = start(t, w, "n2")
		two.Set("r", "cy", true)
		pass(settled)
		wantNames(t, one, "r", "cy")
		wantNames(t, two, "r", "ada")
		if gone := one.wasGone(); strings.Join(gone, " ") != "n2" {
			t.Errorf("gone: %q", gone)
		}
	})
}

// What is told in many parts, of which the last is lost, is asked for again.
func TestAPartOfAllThatIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		one := start(t, w, "n1")
		for i := range 2000 {
			one.Set("r", fmt.Sprint("user", i), true)
		}
		pass(settled)
		lost := 0
		w.Losing(func(_, _ string, data []byte) bool {
			if last := bytes.Contains(data, []byte(`"last":true`)) && bytes.Contains(data, []byte(`"part":`)); !last || lost > 0 {
				return false
			}
			lost++
			return true
		})
		two := start(t, w, "n2")
		pass(settled)
		if n := len(two.Names("r")); n != 2000 {
			t.Errorf("the other knows %d names, want 2000", n)
		}
		if lost == 0 {
			t.Error("nothing was lost")
		}
	})
}

// More changes than are kept, while nobody is told.
func TestTooManyChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := bustest.New()
		one, two := start(t, w, "n1"), start(t, w, "n2")
		pass(settled)
		const many = 70_000
		for i := range many {
			one.Set(fmt.Sprint("room", i%100), fmt.Sprint("user", i), true)
		}
		pass(settled)
		n := 0
		for i := range 100 {
			n += len(two.Names(fmt.Sprint("room", i)))
		}
		if n != many {
			t.Errorf("the other knows %d names, want %d", n, many)
		}
	})
}
