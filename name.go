package parley

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// Limits of names, in characters.
const (
	MaxRoomName = 128
	MaxUserName = 64
	MaxID       = 128 // bytes of printable ASCII
)

// HookPrefix begins the names of hooks that send: no user has such a name, proved or not.
const HookPrefix = "hook:"

// Server is who the server's own messages are from, as dead letters are: no user has this name.
const Server = "parley"

// maxDecomposed is the bytes a character may have before NFC puts its parts together: a letter
// with four marks. What is longer is refused before any work is done on it.
const maxDecomposed = 12

// ParseRoom checks a room's name and gives it in NFC, the form it has everywhere.
//
// A name is 1 to [MaxRoomName] characters: letters and digits of any script, marks behind a
// letter, _ and -, in parts parted by single dots. Joiners, bidi and other format characters are
// refused, so that two names that look alike are alike.
func ParseRoom(s string) (string, error) {
	if plainRoom(s) {
		return s, nil
	}
	if !utf8.ValidString(s) || len(s) > maxDecomposed*MaxRoomName {
		return "", badRoom(s)
	}
	s = norm.NFC.String(s)
	n, prev := 0, '.'
	for _, r := range s {
		n++
		switch {
		case ignorable(r):
			return "", badRoom(s)
		case r == '_' || r == '-' || unicode.IsLetter(r) || unicode.IsDigit(r):
		case unicode.IsMark(r) && (unicode.IsLetter(prev) || unicode.IsMark(prev)):
		case r == '.' && prev != '.':
		default:
			return "", badRoom(s)
		}
		prev = r
	}
	if n == 0 || n > MaxRoomName || prev == '.' {
		return "", badRoom(s)
	}
	return s, nil
}

// plainRoom is the fast way for what nearly every name is: ASCII.
func plainRoom(s string) bool {
	if len(s) == 0 || len(s) > MaxRoomName {
		return false
	}
	prev := byte('.')
	for i := range len(s) {
		c := s[i]
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_', c == '-':
		case c == '.' && prev != '.':
		default:
			return false
		}
		prev = c
	}
	return prev != '.'
}

func badRoom(s string) error {
	if s == "" {
		return Errorf(BadRequest, "a room needs a name")
	}
	if len(s) > 80 {
		s = strings.ToValidUTF8(s[:80], "") + "…"
	}
	return Errorf(BadRequest, "%q is no room name: 1 to %d letters, digits, _ and -, with single dots between parts", s, MaxRoomName)
}

// ignorable are the letters and marks that are not seen: fillers, the combining grapheme joiner,
// variation selectors.
func ignorable(r rune) bool {
	return unicode.In(r, unicode.Variation_Selector, unicode.Other_Default_Ignorable_Code_Point)
}

// ParseName checks the name a user gives and returns it in NFC: 1 to [MaxUserName] characters,
// with no control, bidi or other hidden ones. Case stays as it was given.
func ParseName(s string) (string, error) {
	if !utf8.ValidString(s) {
		return "", Errorf(BadRequest, "a name is valid UTF-8")
	}
	if len(s) > maxDecomposed*MaxUserName {
		return "", Errorf(BadRequest, "a name has at most %d characters", MaxUserName)
	}
	s = norm.NFC.String(s)
	switch n := utf8.RuneCountInString(s); {
	case n == 0:
		return "", Errorf(BadRequest, "a name has at least one character")
	case n > MaxUserName:
		return "", Errorf(BadRequest, "a name has at most %d characters", MaxUserName)
	}
	for _, r := range s {
		if hidden(r) {
			return "", Errorf(BadRequest, "a name has no control, bidi or invisible characters")
		}
	}
	if strings.IndexFunc(s, seen) < 0 {
		return "", Errorf(BadRequest, "a name is more than spaces")
	}
	if strings.EqualFold(strings.TrimSpace(s), Server) {
		return "", Errorf(BadRequest, "the name %s is the server's own", Server)
	}
	if head := strings.TrimSpace(s); len(head) >= len(HookPrefix) && strings.EqualFold(head[:len(HookPrefix)], HookPrefix) {
		return "", Errorf(BadRequest, "a name does not begin with %s: those are of hooks", HookPrefix)
	}
	return s, nil
}

// hidden are the characters by which a name could look like another or disturb a screen. The two
// joiners are not among them: scripts and emoji need them.
func hidden(r rune) bool {
	const zwnj, zwj = 0x200c, 0x200d
	if r == zwnj || r == zwj {
		return false
	}
	return unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp, unicode.Co, unicode.Cs,
		unicode.Other_Default_Ignorable_Code_Point) || r == utf8.RuneError
}

// seen are the characters that leave ink.
func seen(r rune) bool { return unicode.In(r, unicode.L, unicode.N, unicode.P, unicode.S) }

// CheckID checks an idempotency key: 1 to [MaxID] bytes of printable ASCII.
func CheckID(s string) error {
	if len(s) == 0 || len(s) > MaxID {
		return Errorf(BadRequest, "an id has 1 to %d bytes", MaxID)
	}
	for i := range len(s) {
		if s[i] < 0x20 || s[i] > 0x7e {
			return Errorf(BadRequest, "an id is printable ASCII")
		}
	}
	return nil
}
