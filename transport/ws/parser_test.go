package ws_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley/transport/ws"
)

const parserLimit = 4096

// parse gives a parser the stream in pieces of n bytes, and tells what it found.
func parse(t testing.TB, stream []byte, n int, deflate bool) (found []string) {
	t.Helper()
	p := ws.NewParser(parserLimit, deflate)
	stream = bytes.Clone(stream) // the parser works in it
	for len(stream) > 0 {
		piece := stream[:min(n, len(stream)):min(n, len(stream))]
		stream = stream[len(piece):]
		for len(piece) > 0 {
			op, data, rest, err := p.Next(piece)
			if err != nil {
				return append(found, err.Error())
			}
			if len(data) > parserLimit {
				t.Fatalf("a message of %d bytes", len(data))
			}
			if held := p.Held(); held > 2*parserLimit {
				t.Fatalf("the parser holds %d bytes", held)
			}
			if op != 0 {
				found = append(found, fmt.Sprintf("%#x %q", byte(op), data))
			}
			if len(rest) >= len(piece) {
				t.Fatal("the parser makes no way")
			}
			piece = rest
		}
		if p.Idle() && p.Held() > 0 {
			t.Fatalf("the parser holds %d bytes of nothing", p.Held())
		}
	}
	return found
}

// streams are what the parser may meet.
func streams() map[string][]byte {
	return map[string][]byte{
		"nothing":    nil,
		"a text":     text("hello"),
		"texts":      join(text("a"), text(""), text(strings.Repeat("b", 125)), text(strings.Repeat("c", 126)), text(strings.Repeat("d", 3000))),
		"characters": join(frame(opText, "\u03ba\u1f79"[:3]), frame(opCont, "\u03ba\u1f79"[3:4]), ping("p"), frame(fin|opCont, "\u03ba\u1f79"[4:])),
		"fragments":  join(frame(opText, ""), frame(opCont, "a"), ping(strings.Repeat("p", 125)), frame(fin|opCont, ""), text("x")),
		"bad text":   join(frame(opText, "ab"), frame(fin|opCont, "\xff")),
		"too big":    join(frame(opText, strings.Repeat("x", 4000)), frame(opCont, strings.Repeat("x", 97))),
		"deflated":   join(frame(fin|rsv1|opText, deflated("hello")), frame(rsv1|opText, deflated("hello")[:2]), frame(fin|opCont, deflated("hello")[2:])),
		"a bomb":     frame(fin|rsv1|opText, deflated(strings.Repeat("x", 1<<20))),
		"closed":     join(text("a"), closing(1000, "x")),
		"unmasked":   {fin | opText, 1, 'x'},
	}
}

// However a stream is cut, the same comes out.
func TestParserTakesPiecesOfAnySize(t *testing.T) {
	for name, stream := range streams() {
		t.Run(name, func(t *testing.T) {
			for _, deflate := range []bool{false, true} {
				want := parse(t, stream, len(stream)+1, deflate)
				for n := 1; n < min(len(stream), 300); n++ {
					if diff := cmp.Diff(want, parse(t, stream, n, deflate)); diff != "" {
						t.Fatalf("in pieces of %d (-whole +pieces):\n%s", n, diff)
					}
				}
			}
		})
	}
}

func FuzzParser(f *testing.F) {
	for _, stream := range streams() {
		f.Add(stream, 3, true)
		f.Add(stream, 1000, false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, n int, deflate bool) {
		want := parse(t, stream, len(stream)+1, deflate)
		if diff := cmp.Diff(want, parse(t, stream, max(1, n), deflate)); diff != "" {
			t.Fatalf("in pieces of %d (-whole +pieces):\n%s", n, diff)
		}
	})
}

// What a client announces costs nothing until it is there.
func TestParserAllocatesOnlyWhatIsThere(t *testing.T) {
	p := ws.NewParser(1<<20, true)
	if _, _, _, err := p.Next(frame(opText, strings.Repeat("x", 1<<20))[:1000]); err != nil {
		t.Fatal(err)
	}
	if p.Held() > 4096 {
		t.Errorf("a header and a kilobyte made the parser hold %d bytes", p.Held())
	}
}
