package auth

import (
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"parley"
)

// Pattern stands for rooms: a room's name in which * may stand for any one part and, at the end,
// ** for the rest, of one part or more. So ops.* is ops.a and not ops.a.b, ops.** is both and not
// ops, and ** is every room. The zero Pattern is no room at all. Patterns are comparable.
type Pattern struct{ text string }

// ParsePattern reads a pattern. What is no wildcard obeys the rules of rooms' names, and is NFC
// afterwards as they are.
func ParsePattern(s string) (Pattern, error) {
	const mostBytes = 12 * parley.MaxRoomName // before NFC; beyond it no work is done
	if len(s) > mostBytes {
		return Pattern{}, badPattern(s, "it is too long")
	}
	parts := strings.Split(s, ".")
	for i, part := range parts {
		switch {
		case part == "*", part == "**" && i == len(parts)-1:
		case part == "**":
			return Pattern{}, badPattern(s, "** stands at the end")
		case strings.Contains(part, "*"):
			return Pattern{}, badPattern(s, "* and ** are parts of their own")
		default:
			name, err := parley.ParseRoom(part)
			if err != nil {
				return Pattern{}, badPattern(s, "between dots stand *, ** or the letters, digits, _ and - of a room's name")
			}
			parts[i] = name
		}
	}
	s = strings.Join(parts, ".")
	if utf8.RuneCountInString(s) > parley.MaxRoomName {
		return Pattern{}, badPattern(s, "it is too long")
	}
	return Pattern{s}, nil
}

func badPattern(s, why string) error {
	if s == "" {
		return parley.Errorf(parley.BadRequest, "rooms needs a room's name or a pattern")
	}
	return parley.Errorf(parley.BadRequest, "%q is no pattern of rooms: %s", clip(s), why)
}

// Match says whether a room is among those the pattern stands for. The name is one that
// parley.ParseRoom has given. It allocates nothing.
func (p Pattern) Match(room string) bool {
	i := 0 // how much of the name is accounted for
	for j := range len(p.text) {
		switch {
		case p.text[j] != '*':
			if i == len(room) || room[i] != p.text[j] {
				return false
			}
			i++
		case j+1 < len(p.text) && p.text[j+1] == '*':
			return i < len(room)
		default:
			begin := i
			for i < len(room) && room[i] != '.' {
				i++
			}
			if i == begin {
				return false
			}
		}
	}
	return i == len(room) && room != ""
}

// String gives the pattern as ParsePattern reads it.
func (p Pattern) String() string { return p.text }

// MarshalText gives the pattern as ParsePattern reads it.
func (p Pattern) MarshalText() ([]byte, error) { return []byte(p.text), nil }

// UnmarshalText is ParsePattern.
func (p *Pattern) UnmarshalText(text []byte) error {
	parsed, err := ParsePattern(string(text))
	if err != nil {
		return err
	}
	*p = parsed
	return nil
}

// UnmarshalYAML is ParsePattern. Errors say their line.
func (p *Pattern) UnmarshalYAML(node *yaml.Node) error {
	var text string
	if err := node.Decode(&text); err != nil {
		return err
	}
	if err := p.UnmarshalText([]byte(text)); err != nil {
		return atLine(node, err)
	}
	return nil
}
