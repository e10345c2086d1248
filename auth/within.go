package auth

import (
	"slices"
	"strings"

	"parley"
)

// Within gives the rooms of a pattern in which all of r may be done, as patterns: none of them lies in
// another, and they stand in order. Where all of r may be done in all of p, that is p.
func (gs Grants) Within(r Right, p parley.Pattern) []parley.Pattern {
	found := make(map[parley.Pattern]struct{})
	gs.within(r, p, found)
	var parts []parley.Pattern
	for part := range found {
		if !covered(part, found) {
			parts = append(parts, part)
		}
	}
	slices.SortFunc(parts, func(a, b parley.Pattern) int { return strings.Compare(a.String(), b.String()) })
	return parts
}

// within walks the ways in which grants together allow r in rooms of p.
func (gs Grants) within(r Right, p parley.Pattern, found map[parley.Pattern]struct{}) {
	for i := range gs {
		if _, all := found[p]; all {
			return
		}
		both, ok := gs[i].Rooms.Intersect(p)
		if !ok || gs[i].May&r == 0 {
			continue
		}
		if rest := r &^ gs[i].May; rest != 0 {
			gs[i+1:].within(rest, both, found)
		} else {
			found[both] = struct{}{}
		}
	}
}

// covered says whether another pattern has all the rooms that one has.
func covered(p parley.Pattern, by map[parley.Pattern]struct{}) bool {
	for other := range by {
		if both, ok := p.Intersect(other); ok && both == p && other != p {
			return true
		}
	}
	return false
}

// Somewhere says whether there is a room of a pattern in which all of r may be done.
func (gs Grants) Somewhere(r Right, p parley.Pattern) bool {
	if r == 0 {
		return false
	}
	for i := range gs {
		both, ok := gs[i].Rooms.Intersect(p)
		if !ok || gs[i].May&r == 0 {
			continue
		}
		if rest := r &^ gs[i].May; rest == 0 || gs[i+1:].Somewhere(rest, both) {
			return true
		}
	}
	return false
}
