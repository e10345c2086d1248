package room

import (
	"maps"
	"slices"
)

// censusStep is how many rooms are counted at a time: nobody who comes or goes waits for more.
const censusStep = 256

// Census counts the rooms that somebody is in, and their members: the users of each room, at all nodes that
// can be heard. A user in two rooms counts twice.
func (h *Hub) Census() (rooms, members int) {
	if h.peers != nil {
		return h.peers.census()
	}
	h.mu.Lock()
	all := slices.Collect(maps.Values(h.rooms))
	h.mu.Unlock()
	for _, r := range all {
		r.mu.Lock()
		users := len(r.present)
		r.mu.Unlock()
		if users > 0 {
			rooms++
			members += users
		}
	}
	return rooms, members
}

// census counts over all nodes.
func (p *peers) census() (rooms, members int) {
	names := make(map[string]struct{})
	p.mu.Lock()
	for _, of := range p.everyone() {
		for room := range of {
			names[room] = struct{}{}
		}
	}
	p.mu.Unlock()
	for some := range slices.Chunk(slices.Collect(maps.Keys(names)), censusStep) {
		p.mu.Lock()
		for _, room := range some {
			if users := p.count(room); users > 0 {
				rooms++
				members += users
			}
		}
		p.mu.Unlock()
	}
	return rooms, members
}

// everyone gives room → users of each node, this one's first. The mu is held.
func (p *peers) everyone() []map[string]map[string]struct{} {
	all := []map[string]map[string]struct{}{p.here}
	for _, of := range p.nodes {
		all = append(all, of.rooms)
	}
	return all
}

// count counts the users of a room at all nodes, each once. The mu is held.
func (p *peers) count(room string) (users int) {
	var before []map[string]struct{}
	for _, of := range p.everyone() {
		at := of[room]
		if len(before) == 0 {
			users += len(at)
		} else {
			for user := range at {
				if !slices.ContainsFunc(before, func(b map[string]struct{}) bool { _, ok := b[user]; return ok }) {
					users++
				}
			}
		}
		if len(at) > 0 {
			before = append(before, at)
		}
	}
	return users
}
