package parley

import (
	"strings"
	"unicode/utf8"
)

// Pattern stands for rooms: a room's name in which * may stand for any one part and, at the end,
// ** for the rest, of one part or more. So ops.* is ops.a and not ops.a.b, ops.** is both and not
// ops, and ** is every room. The zero Pattern is no room at all. Patterns are comparable.
type Pattern struct{ text string }

// AllRooms is the pattern of every room.
var AllRooms = Pattern{"**"}

// ParsePattern reads a pattern. What is no wildcard obeys the rules of rooms' names, and is NFC
// afterwards as they are. A room's name is a pattern too: that of itself.
func ParsePattern(s string) (Pattern, error) {
	if len(s) > maxDecomposed*MaxRoomName {
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
			name, err := ParseRoom(part)
			if err != nil {
				return Pattern{}, badPattern(s, "between dots stand *, ** or the letters, digits, _ and - of a room's name")
			}
			parts[i] = name
		}
	}
	s = strings.Join(parts, ".")
	if utf8.RuneCountInString(s) > MaxRoomName {
		return Pattern{}, badPattern(s, "it is too long")
	}
	return Pattern{s}, nil
}

func badPattern(s, why string) error {
	if s == "" {
		return Errorf(BadRequest, "rooms needs a room's name or a pattern")
	}
	const most = 80 // bytes of it that are repeated
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "…"
	}
	return Errorf(BadRequest, "%q is no pattern of rooms: %s", s, why)
}

// IsPattern says whether what stands for a room's name is a pattern of many: no name has an
// asterisk in it.
func IsPattern(room string) bool { return strings.IndexByte(room, '*') >= 0 }

// Match says whether a room is among those the pattern stands for. The name is one that ParseRoom
// has given. It allocates nothing.
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

// Intersect gives the rooms that both patterns stand for, which are a pattern again; ok is false
// where there are none.
func (p Pattern) Intersect(q Pattern) (both Pattern, ok bool) {
	if p.text == "" || q.text == "" {
		return Pattern{}, false
	}
	a, b := strings.Split(p.text, "."), strings.Split(q.text, ".")
	var parts []string
	for i := 0; ; i++ {
		switch {
		case i == len(a) || i == len(b):
			return Pattern{strings.Join(parts, ".")}, len(a) == len(b)
		case a[i] == "**":
			return Pattern{strings.Join(append(parts, b[i:]...), ".")}, true
		case b[i] == "**":
			return Pattern{strings.Join(append(parts, a[i:]...), ".")}, true
		case a[i] == "*" || a[i] == b[i]:
			parts = append(parts, b[i])
		case b[i] == "*":
			parts = append(parts, a[i])
		default:
			return Pattern{}, false
		}
	}
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
