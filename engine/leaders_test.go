package engine_test

import (
	"testing"
	"time"

	"parley/engine"
)

// leadsBy gives how many partitions each node leads in one node's eyes; nil while it does not know of
// a leader for each partition.
func leadsBy(e *engine.Engine) map[string]int {
	s := e.Status()
	if !s.Majority {
		return nil
	}
	by := make(map[string]int)
	for _, p := range s.Partitions {
		by[p.Leader]++
	}
	return by
}

// untilSpread waits until all of these nodes agree that each node leads its share of four partitions.
func (cl *cluster) untilSpread(t *testing.T, which ...int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; tick() {
		spread := true
		for _, i := range which {
			by := leadsBy(cl.nodes[i])
			spread = spread && len(by) == len(which)
			for _, n := range by {
				spread = spread && n >= 4/len(which) && n <= (4+len(which)-1)/len(which)
			}
		}
		if spread {
			return
		}
		if time.Now().After(end) {
			for _, i := range which {
				t.Logf("n%d sees %v", i+1, leadsBy(cl.nodes[i]))
			}
			t.Fatal("the leaders are not spread evenly")
		}
	}
}

// Leaders are spread over the nodes at the start, over those that are left when one has gone, and over
// all again when it is back; senders notice nothing.
func TestLeadersAreSpreadOverTheNodes(t *testing.T) {
	cl := newCluster(t, engine.Config{Partitions: 4})
	cl.untilSpread(t, 0, 1, 2)
	s := startSenders(t, 8, cl.nodes[0], cl.nodes[1])
	s.until(500)
	cl.close(2)
	cl.untilSpread(t, 0, 1)
	cl.open(2)
	cl.untilSpread(t, 0, 1, 2)
	s.until(500)
	s.check(cl.nodes...)
}

// A node that hands its leaders over is given none back, however long it stays.
func TestANodeThatHandsOverIsGivenNothing(t *testing.T) {
	cl := newCluster(t, engine.Config{Partitions: 4})
	cl.untilSpread(t, 0, 1, 2)
	cl.nodes[2].HandOver()
	for end := time.Now().Add(2 * engine.SpreadAfter); time.Now().Before(end); tick() {
		if n := leadsBy(cl.nodes[0])["n3"]; n > 0 && time.Until(end) < engine.SpreadAfter {
			t.Fatalf("it leads %d partitions again", n)
		}
	}
	cl.untilSpread(t, 0, 1)
}
