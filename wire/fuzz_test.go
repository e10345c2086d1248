package wire_test

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/wire"
)

// What ParseOp takes is a JSON object with the op it says; what AppendOp writes of it means the same.
func FuzzParseOp(f *testing.F) {
	var golden struct{ Operations []goldenOp }
	readGolden(f, "operations.json", &golden)
	for _, g := range golden.Operations {
		f.Add([]byte(g.Line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		before := bytes.Clone(line)
		op, err := wire.ParseOp(line)
		if !bytes.Equal(before, line) {
			t.Fatal("the line was changed")
		}
		if op.Ref != nil && !json.Valid(op.Ref) {
			t.Fatalf("a ref that is no JSON: %q", op.Ref)
		}
		if err != nil {
			if parley.AsError(err).Code != parley.BadRequest {
				t.Fatalf("%q: %v", line, err)
			}
			return
		}
		compareWithOracle(t, line, op)

		again, err := wire.ParseOp(wire.AppendOp(nil, op))
		if err != nil {
			t.Fatalf("%q: what AppendOp wrote is refused: %v", line, err)
		}
		if diff := cmp.Diff(op, again); diff != "" {
			t.Errorf("%q: AppendOp lost something (-had +has):\n%s", line, diff)
		}
	})
}

// compareWithOracle holds an operation against what encoding/json reads. Where keys stand once, as
// they must, a map has them all and in their own case.
func compareWithOracle(t *testing.T, line []byte, op wire.Op) {
	t.Helper()
	var oracle map[string]json.RawMessage
	if err := json.Unmarshal(line, &oracle); err != nil {
		t.Fatalf("%q is taken, and is no JSON object: %v", line, err)
	}
	if !utf8.Valid(line) {
		t.Fatalf("%q is taken, and is no UTF-8", line)
	}
	if ref := oracle["ref"]; !bytes.Equal(ref, op.Ref) {
		t.Fatalf("%q: ref %q, want %q", line, op.Ref, ref)
	}
	str := func(key string) (s string) {
		if raw := oracle[key]; raw != nil && json.Unmarshal(raw, &s) != nil {
			t.Fatalf("%q: %q is taken, and is no string", line, key)
		}
		return s
	}
	if got := str("op"); got != string(op.Kind) {
		t.Fatalf("%q: op %q, want %q", line, op.Kind, got)
	}
	if op.Kind == wire.Join && op.Presence != (string(oracle["presence"]) == "true") {
		t.Fatalf("%q: presence %v", line, op.Presence)
	}
	compacted := func() string {
		var got bytes.Buffer
		if err := json.Compact(&got, oracle["body"]); err != nil {
			t.Fatalf("%q: body %q: %v", line, op.Body, err)
		}
		return got.String()
	}
	if op.Kind == wire.Signal && string(op.Body) != compacted() {
		t.Fatalf("%q: body %q, want %q", line, op.Body, compacted())
	}
	if op.Kind != wire.Send {
		return
	}
	if got := str("id"); got != op.ID {
		t.Fatalf("%q: id %q, want %q", line, op.ID, got)
	}
	switch op.Type {
	case parley.Text:
		if got := str("body"); got != string(op.Body) || !utf8.Valid(op.Body) {
			t.Fatalf("%q: body %q, want %q", line, op.Body, got)
		}
	case parley.Binary:
		var got []byte
		if err := json.Unmarshal(oracle["body"], &got); err != nil || !bytes.Equal(got, op.Body) {
			t.Fatalf("%q: body %q, want %q, %v", line, op.Body, got, err)
		}
	case parley.JSON:
		if got := compacted(); got != string(op.Body) {
			t.Fatalf("%q: body %q, want %q", line, op.Body, got)
		}
	}
}

// What a client reads of presence and signals is what was said, on one line.
func FuzzPresenceAndSignal(f *testing.F) {
	f.Add("lobby", "ada", "bob", uint8(1), 2, []byte(`{"typing":true}`))
	f.Add("ops.größe", "b\"b", "\u202e\n", uint8(2), 201, []byte(`null`))
	f.Add("a", "", "\\", uint8(0), 0, []byte(` [ 1.50 , "\u2028" ] `))
	f.Fuzz(func(t *testing.T, room, a, b string, form uint8, count int, body []byte) {
		room, a, b = valid(room), valid(a), valid(b)
		p := wire.Presence{Count: count}
		switch form % 3 {
		case 1:
			p.Joined, p.Left = []string{a}, []string{b, a}
		case 2:
			p.Members = []string{b, a}
		}
		line := wire.JSONLines{}.Presence(nil, room, p)
		got := oneFrame(t, line)
		if got.Op != "presence" || got.Room != room || got.Count != count ||
			!slices.Equal(wire.Users(got.Joined), p.Joined) || !slices.Equal(wire.Users(got.Left), p.Left) ||
			!slices.Equal(wire.Users(got.Members), p.Members) {
			t.Errorf("%+v was read in %s", got, line)
		}
		var compact bytes.Buffer
		if !utf8.Valid(body) || json.Compact(&compact, body) != nil {
			return
		}
		line = wire.JSONLines{}.Signal(nil, room, a, compact.Bytes())
		if got = oneFrame(t, line); got.Room != room || got.From != a || !bytes.Equal(got.Body, compact.Bytes()) {
			t.Errorf("%+v was read in %s", got, line)
		}
	})
}

func oneFrame(t *testing.T, line []byte) *wire.Frame {
	t.Helper()
	if bytes.IndexByte(line, '\n') != len(line)-1 {
		t.Fatalf("not one line: %q", line)
	}
	f, err := wire.ParseFrame(line)
	if err != nil {
		t.Fatalf("%q: %v", line, err)
	}
	return f
}

// What a client reads in a message frame is the message.
func FuzzMessage(f *testing.F) {
	f.Add("lobby", uint64(813), uint64(812), "c1-7", "ada", int64(1795330800123), uint8(0), []byte("hi"))
	f.Add("ops.größe", uint64(1), uint64(0), " ", "Zoë \"z\"", int64(0), uint8(1), []byte(`{"b":1.50,"a":[1e3,-0]}`))
	f.Add("a", uint64(math.MaxInt64), uint64(0), "\\", "😀", int64(-1), uint8(2), []byte("\x00\xff\n"))
	f.Add("a", uint64(1), uint64(0), "x", "\x1b[2J", int64(1), uint8(0), []byte("\x00\u2028\u202e\\\"\r\n\t"))
	f.Fuzz(func(t *testing.T, room string, seq, prev uint64, id, from string, ms int64, typ uint8, body []byte) {
		const years = 200 * 365 * 24 * 3600 * 1000
		m := &parley.Message{
			Room: valid(room), Seq: seq, Prev: prev, ID: valid(id), From: valid(from),
			At: time.UnixMilli(ms % years).UTC(), Type: parley.Type(typ % 3), Body: body,
		}
		switch m.Type {
		case parley.Text:
			m.Body = []byte(valid(string(body)))
		case parley.JSON:
			var compact bytes.Buffer
			if !utf8.Valid(body) || json.Compact(&compact, body) != nil {
				return
			}
			m.Body = compact.Bytes()
		}
		line := wire.JSONLines{}.Message(nil, m)
		if bytes.IndexByte(line, '\n') != len(line)-1 {
			t.Fatalf("not one line: %q", line)
		}
		if diff := cmp.Diff(m, decode(t, line), cmp.Comparer(bytes.Equal)); diff != "" {
			t.Errorf("%q (-sent +read):\n%s", line, diff)
		}
		for _, enc := range []wire.Encoding{wire.TextBare{}, wire.TextNamed{}} {
			if shown := enc.Message([]byte("x"), m); bytes.IndexByte(shown, '\n') != len(shown)-1 {
				t.Fatalf("not one line: %q", shown)
			}
		}
		if shown := string(wire.TextNamed{}.Message(nil, m)); strings.ContainsAny(shown[:len(shown)-1], "\x00\x1b\x7f\r\u202e\u2028") || strings.HasPrefix(shown, "* ") {
			t.Fatalf("this could disturb a terminal or be taken for an answer: %q", shown)
		}
	})
}

func valid(s string) string { return strings.ToValidUTF8(s, "?") }

// A plain client's line is a command or an answer of one line that a terminal can show.
func FuzzParseLine(f *testing.F) {
	for _, line := range []string{"/help", "/join ops.größe", "/nick Ada L.", "/history 20", "/since 813", "/who", "/quit", "/", "/x\x1b"} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		op, err := wire.ParseLine(line)
		if err == nil {
			checkNames(t, op)
			return
		}
		e := parley.AsError(err)
		shown := string(wire.TextBare{}.Error(nil, nil, e))
		if e.Code != parley.BadRequest || !utf8.ValidString(shown) || strings.ContainsAny(shown[:len(shown)-1], "\n\r\x1b\x00") {
			t.Fatalf("%q is answered with %q", line, shown)
		}
	})
}

func checkNames(t *testing.T, op wire.Op) {
	t.Helper()
	if op.Room != "" {
		parse := parley.ParseRoom
		if parley.IsPattern(op.Room) {
			parse = func(s string) (string, error) {
				p, err := parley.ParsePattern(s)
				return p.String(), err
			}
		}
		if again, err := parse(op.Room); err != nil || again != op.Room {
			t.Fatalf("room %q is %q, %v the second time", op.Room, again, err)
		}
	}
	if op.Name != "" {
		if again, err := parley.ParseName(op.Name); err != nil || again != op.Name {
			t.Fatalf("name %q is %q, %v the second time", op.Name, again, err)
		}
	}
}
