package auth

import (
	"encoding/json"
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"parley"
)

// Right is a set of things that may be done in a room: any of the rights below, or'ed.
type Right uint16

// The rights, each with what it opens.
const (
	Join     Right = 1 << iota // be a member: live messages, presence
	History                    // read what is stored: pages, and joins from a place in the past
	Send                       // store messages
	Members                    // see who is there without being it
	Signal                     // say what is not stored
	Work                       // take jobs of a group and finish them
	Ask                        // ask and wait for an answer
	Moderate                   // act on others' messages and membership
	Admin                      // revoke, drain, configure

	Everything = Admin<<1 - 1
)

// rightNames stand in the order of the rights' bits.
var rightNames = [...]string{"join", "history", "send", "members", "signal", "work", "ask", "moderate", "admin"}

// ParseRight reads rights by name, with commas between: "join,send".
func ParseRight(s string) (Right, error) {
	var all Right
	for name := range strings.SplitSeq(s, ",") {
		r, err := rightNamed(strings.TrimSpace(name))
		if err != nil {
			return 0, err
		}
		all |= r
	}
	return all, nil
}

func rightNamed(name string) (Right, error) {
	for i, n := range rightNames {
		if n == name {
			return 1 << i, nil
		}
	}
	return 0, parley.Errorf(parley.BadRequest, "no right %q: a right is %s", clip(name), strings.Join(rightNames[:], ", "))
}

// Names gives the rights by name, in the order of their bits.
func (r Right) Names() []string {
	names := []string{}
	for i, n := range rightNames {
		if r&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	return names
}

// String gives the rights as ParseRight reads them.
func (r Right) String() string { return strings.Join(r.Names(), ",") }

func (r *Right) setNames(names []string) error {
	all := Right(0)
	for _, name := range names {
		one, err := rightNamed(name)
		if err != nil {
			return err
		}
		all |= one
	}
	*r = all
	return nil
}

// MarshalJSON gives a list of names.
func (r Right) MarshalJSON() ([]byte, error) { return json.Marshal(r.Names()) }

// UnmarshalJSON reads a list of names.
func (r *Right) UnmarshalJSON(data []byte) error {
	var names []string
	if err := json.Unmarshal(data, &names); err != nil {
		return parley.Errorf(parley.BadRequest, "may is a list of rights: %s", strings.Join(rightNames[:], ", "))
	}
	return r.setNames(names)
}

// MarshalYAML gives a list of names.
func (r Right) MarshalYAML() (any, error) {
	n := new(yaml.Node)
	if err := n.Encode(r.Names()); err != nil {
		return nil, err
	}
	n.Style = yaml.FlowStyle
	return n, nil
}

// UnmarshalYAML reads a list of names. Errors say their line.
func (r *Right) UnmarshalYAML(node *yaml.Node) error {
	var names []string
	if err := node.Decode(&names); err != nil {
		return err
	}
	if err := r.setNames(names); err != nil {
		return atLine(node, err)
	}
	return nil
}

// atLine says where in a file something is wrong.
func atLine(node *yaml.Node, err error) error {
	return fmt.Errorf("line %d: %s", node.Line, parley.AsError(err).Message)
}

// clip bounds what an error repeats of its input.
func clip(s string) string {
	const most = 80 // bytes
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}
