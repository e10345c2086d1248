package auth

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"parley"
)

// MaxGrants is how many grants one list may hold: a check walks them all.
const MaxGrants = 256

// Grant lets its holder do May in Rooms.
type Grant struct {
	Rooms Pattern `yaml:"rooms" json:"rooms"`
	May   Right   `yaml:"may" json:"may"`
}

// ParseGrant reads a grant as the command line has it: "join,send=lobby".
func ParseGrant(s string) (Grant, error) {
	may, rooms, found := strings.Cut(s, "=")
	if !found {
		return Grant{}, parley.Errorf(parley.BadRequest, "%q is no grant: it has the form RIGHT,...=ROOMS, as in join,send=lobby", clip(s))
	}
	var g Grant
	var err error
	if g.May, err = ParseRight(may); err != nil {
		return Grant{}, err
	}
	g.Rooms, err = ParsePattern(rooms)
	return g, err
}

// String gives the grant as ParseGrant reads it.
func (g Grant) String() string { return g.May.String() + "=" + g.Rooms.String() }

// Grants is what somebody may do, all in all: the grants add up. A list that others can see does
// not change any more.
type Grants []Grant

// ParseGrants reads a JSON list of grants, strictly: a field that is not known could be one that was
// meant to narrow a grant.
func ParseGrants(data []byte) (Grants, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var gs Grants
	if err := d.Decode(&gs); err != nil {
		return nil, fmt.Errorf("grants are a list of objects with rooms and may: %w", err)
	}
	return gs, gs.Check()
}

// Check finds grants that say nothing.
func (gs Grants) Check() error {
	if len(gs) > MaxGrants {
		return parley.Errorf(parley.BadRequest, "%d grants; there may be %d", len(gs), MaxGrants)
	}
	for i, g := range gs {
		switch {
		case g.Rooms == Pattern{}:
			return parley.Errorf(parley.BadRequest, "grant %d has no rooms", i+1)
		case g.May == 0:
			return parley.Errorf(parley.BadRequest, "grant %d, for %s, has no rights in may", i+1, g.Rooms)
		}
	}
	return nil
}

// String gives the grants one after another, each as ParseGrant reads it.
func (gs Grants) String() string {
	parts := make([]string, len(gs))
	for i, g := range gs {
		parts[i] = g.String()
	}
	return strings.Join(parts, " ")
}

// Allows says whether all of r may be done in a room; several grants together may do. The name is
// one that parley.ParseRoom has given. No right at all is never allowed.
func (gs Grants) Allows(r Right, room string) bool {
	for i := range gs {
		if g := &gs[i]; g.May&r != 0 && g.Rooms.Match(room) {
			if r &^= g.May; r == 0 {
				return true
			}
		}
	}
	return false
}

// Any says whether each right of r may be done somewhere, be it in different rooms.
func (gs Grants) Any(r Right) bool {
	var have Right
	for i := range gs {
		have |= gs[i].May
	}
	return r != 0 && have&r == r
}

// everywhere stands for every room.
var everywhere = Pattern{parley.AllRooms}

// Everywhere says whether all of r may be done in every room, there or not: some grants for ** say
// so. What is not done in a room, as revoking somebody, takes that.
func (gs Grants) Everywhere(r Right) bool {
	var have Right
	for _, g := range gs {
		if g.Rooms == everywhere {
			have |= g.May
		}
	}
	return r != 0 && have&r == r
}

// All is what anyone may do where nothing is configured.
func All() Grants { return Grants{{Rooms: everywhere, May: Everything}} }
