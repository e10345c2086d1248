package peers

import (
	"maps"
	"slices"
)

// censusStep is how many rooms are counted at a time: nobody who comes or goes waits for more.
const censusStep = 256

// Counts says how many names are in each room, at all nodes, this one included, each counted once.
func (t *Table) Counts() map[string]int {
	counts := make(map[string]int)
	t.mu.Lock()
	for _, of := range t.everyone() {
		for room := range of {
			counts[room] = 0
		}
	}
	t.mu.Unlock()
	for some := range slices.Chunk(slices.Collect(maps.Keys(counts)), censusStep) {
		t.mu.Lock()
		for _, room := range some {
			if n := t.count(room); n > 0 {
				counts[room] = n
			} else {
				delete(counts, room) // all have left meanwhile
			}
		}
		t.mu.Unlock()
	}
	return counts
}

// everyone gives the names of each node, this one's first. The mu is held.
func (t *Table) everyone() []names {
	all := []names{t.here}
	for _, of := range t.nodes {
		all = append(all, of.rooms)
	}
	return all
}

// count counts the names in a room at all nodes. The mu is held.
func (t *Table) count(room string) (n int) {
	var before []map[string]struct{}
	for _, of := range t.everyone() {
		at := of[room]
		if len(at) == 0 {
			continue
		}
		for name := range at {
			if !slices.ContainsFunc(before, func(b map[string]struct{}) bool { _, ok := b[name]; return ok }) {
				n++
			}
		}
		before = append(before, at)
	}
	return n
}
