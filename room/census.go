package room

import (
	"maps"
	"slices"
)

// Census counts the rooms that somebody is in, and their members: the users of each room, at all nodes that
// can be heard. A user in two rooms counts twice.
func (h *Hub) Census() (rooms, members int) {
	if h.peers != nil {
		for _, users := range h.peers.Counts() {
			rooms++
			members += users
		}
		return rooms, members
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
