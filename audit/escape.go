package audit

import (
	"fmt"
	"io"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// escaper makes lines of JSON harmless to a screen. The JSON handler escapes what JSON forbids, and
// that leaves C1 controls, which some terminals obey, and characters that turn the direction of
// text. They stand within strings alone, where \uXXXX is the same to a reader.
type escaper struct{ w io.Writer }

func (e escaper) Write(line []byte) (int, error) {
	out := line
	if i := firstHidden(line); i >= 0 {
		out = append(make([]byte, 0, 2*len(line)), line[:i]...)
		for rest := line[i:]; len(rest) > 0; {
			r, size := utf8.DecodeRune(rest)
			if hidden(r) {
				out = escape(out, r)
			} else {
				out = append(out, rest[:size]...)
			}
			rest = rest[size:]
		}
	}
	if _, err := e.w.Write(out); err != nil {
		return 0, err
	}
	return len(line), nil
}

// firstHidden finds the first byte that must be escaped, or -1.
func firstHidden(line []byte) int {
	for i := 0; i < len(line); {
		r, size := utf8.DecodeRune(line[i:])
		if hidden(r) {
			return i
		}
		i += size
	}
	return -1
}

// hidden says whether a character leaves no ink. The newline that ends the line is none of them.
func hidden(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }

func escape(dst []byte, r rune) []byte {
	if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
		return fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
	}
	return fmt.Appendf(dst, `\u%04x`, r)
}
