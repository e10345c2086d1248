package engine_test

import (
	"strings"
	"testing"
	"time"

	"parley/engine"
)

// leadsBy gives how many partitions each node leads in one node's eyes, and how many of these are rooms';
// nil while it does not know of a leader for each partition.
func leadsBy(e *engine.Engine) (all, rooms map[string]int) {
	s := e.Status()
	if !s.Majority {
		return nil, nil
	}
	all, rooms = make(map[string]int), make(map[string]int)
	for _, p := range s.Partitions {
		all[p.Leader]++
		if strings.HasPrefix(p.Stream, "rooms") {
			rooms[p.Leader]++
		}
	}
	return all, rooms
}

// isShare says whether each of so many nodes has its share of n.
func isShare(by map[string]int, n, nodes int) bool {
	for _, has := range by {
		if has < n/nodes || has > (n+nodes-1)/nodes {
			return false
		}
	}
	return len(by) == nodes
}

// untilSpread waits until all of these nodes agree that each node leads its share of four partitions of
// rooms, and of these and four of journals.
func (cl *cluster) untilSpread(t *testing.T, which ...int) {
	t.Helper()
	for end := time.Now().Add(time.Minute); ; tick() {
		spread := true
		for _, i := range which {
			all, rooms := leadsBy(cl.nodes[i])
			spread = spread && isShare(all, 8, len(which)) && isShare(rooms, 4, len(which))
		}
		if spread {
			return
		}
		if time.Now().After(end) {
			for _, i := range which {
				all, rooms := leadsBy(cl.nodes[i])
				t.Logf("n%d sees %v, of rooms %v", i+1, all, rooms)
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
		if all, _ := leadsBy(cl.nodes[0]); all["n3"] > 0 && time.Until(end) < engine.SpreadAfter {
			t.Fatalf("it leads %d partitions again", all["n3"])
		}
	}
	cl.untilSpread(t, 0, 1)
}
