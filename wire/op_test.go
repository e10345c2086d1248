package wire_test

import (
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/wire"
)

// refused checks that a line is answered with bad_request and, where it has the ref 9, with that.
func refused(t *testing.T, line string) {
	t.Helper()
	op, err := wire.ParseOp([]byte(line))
	wantCode(t, err, parley.BadRequest)
	if want := "9"; strings.Contains(line, `"ref":9`) && string(op.Ref) != want {
		t.Errorf("the error bears the ref %q, want %q", op.Ref, want)
	}
}

func TestMistypedFieldsAreRefused(t *testing.T) {
	ops := map[string][]string{
		`{"op":"hello","ref":9,%s}`:                       {"token string", "name string"},
		`{"op":"join","room":"lobby","ref":9,%s}`:         {"after number", "last number", "since string", "echo bool", "presence bool"},
		`{"op":"join","ref":9,%s}`:                        {"room string"},
		`{"op":"leave","ref":9,%s}`:                       {"room string"},
		`{"op":"send","body":"hi","ref":9,%s}`:            {"room string"},
		`{"op":"send","room":"lobby","ref":9,%s}`:         {"body string"},
		`{"op":"send","room":"a","body":"hi","ref":9,%s}`: {"id string", "type string"},
		`{"op":"history","room":"lobby","ref":9,%s}`:      {"after number", "before number", "limit number"},
		`{"op":"history","ref":9,%s}`:                     {"room string"},
		`{"op":"members","ref":9,%s}`:                     {"room string"},
		`{"op":"signal","body":1,"ref":9,%s}`:             {"room string"},
		`{"op":"rooms","ref":9,%s}`:                       {"after_room string", "limit number"},
	}
	values := map[string]string{
		"null": "null", "string": `"5"`, "number": "5", "bool": "true", "array": "[5]", "object": `{"a":5}`,
	}
	for pattern, fields := range ops {
		for _, field := range fields {
			name, takes, _ := strings.Cut(field, " ")
			for kind, value := range values {
				if kind == takes {
					continue
				}
				line := fmt.Sprintf(pattern, `"`+name+`":`+value)
				t.Run(line, func(t *testing.T) { refused(t, line) })
			}
		}
	}
}

func TestNumbersOutOfRangeAreRefused(t *testing.T) {
	seqs := []string{"-1", "1.0", "1e3", "0.5", "9223372036854775808", "99999999999999999999", `"1"`}
	for _, seq := range seqs {
		for _, pattern := range []string{
			`{"op":"join","room":"lobby","ref":9,"after":%s}`,
			`{"op":"history","room":"lobby","ref":9,"after":%s}`,
			`{"op":"history","room":"lobby","ref":9,"before":%s}`,
		} {
			refused(t, fmt.Sprintf(pattern, seq))
		}
	}
	for _, limit := range []string{"0", "-1", "1001", "1.5", "1e2", "99999999999999999999"} {
		refused(t, `{"op":"history","room":"lobby","ref":9,"limit":`+limit+`}`)
		refused(t, `{"op":"rooms","ref":9,"limit":`+limit+`}`)
	}
	for _, last := range []string{"0", "-1", "1000001", "1.5", "1e2"} {
		refused(t, `{"op":"join","room":"lobby","ref":9,"last":`+last+`}`)
	}
}

func TestNumbersAtTheirEndsAreTaken(t *testing.T) {
	parse := func(line string) wire.Op { return mustParse(t, line) }
	if op := parse(`{"op":"join","room":"lobby","after":9223372036854775807}`); *op.Start.After != math.MaxInt64 {
		t.Errorf("after is %d", *op.Start.After)
	}
	if op := parse(`{"op":"history","room":"lobby","before":0}`); *op.Before != 0 {
		t.Errorf("before is %d", *op.Before)
	}
	if op := parse(`{"op":"join","room":"lobby","last":1}`); op.Start.Last != 1 {
		t.Errorf("last is %d", op.Start.Last)
	}
	if op := parse(`{"op":"join","room":"lobby","last":1000000}`); op.Start.Last != wire.MaxLast {
		t.Errorf("last is %d", op.Start.Last)
	}
	if op := parse(`{"op":"rooms","limit":1000}`); op.Limit != parley.MaxPage {
		t.Errorf("limit is %d", op.Limit)
	}
}

func mustParse(t *testing.T, line string) wire.Op {
	t.Helper()
	op, err := wire.ParseOp([]byte(line))
	if err != nil {
		t.Fatalf("%s: %v", line, err)
	}
	return op
}

func TestJoinTakesOneStart(t *testing.T) {
	starts := []string{`"after":1`, `"last":1`, `"since":"10m"`}
	for i, a := range starts {
		op := mustParse(t, `{"op":"join","room":"lobby",`+a+`}`)
		if !op.Start.Replays() {
			t.Errorf("%s is no replay", a)
		}
		for _, b := range starts[i+1:] {
			refused(t, `{"op":"join","room":"lobby","ref":9,`+a+`,`+b+`}`)
		}
	}
	if op := mustParse(t, `{"op":"join","room":"lobby"}`); op.Start.Replays() {
		t.Error("a join without a start is a replay")
	}
	if op := mustParse(t, `{"op":"join","room":"lobby","after":0}`); !op.Start.Replays() {
		t.Error("a join from the start is no replay")
	}
}

func TestParseSince(t *testing.T) {
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	taken := map[string]time.Time{
		"10m":                       now.Add(-10 * time.Minute),
		"24h":                       now.Add(-24 * time.Hour),
		"1h30m":                     now.Add(-90 * time.Minute),
		"0s":                        now,
		"2026-11-22T06:00:00Z":      now.Add(-time.Hour),
		"2026-11-22T08:00:00+02:00": now.Add(-time.Hour),
		"2026-11-22T06:59:59.5Z":    now.Add(-time.Second / 2),
		"2027-01-01T00:00:00Z":      time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	for s, want := range taken {
		if got, err := wire.ParseSince(s, now); err != nil || !got.Equal(want) {
			t.Errorf("%q is %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{
		"", "10", "-10m", "ten minutes", "10 m", "yesterday", "2026-11-22", "2026-11-22T07:00:00",
		"2026-02-30T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "99999999h",
	} {
		_, err := wire.ParseSince(s, now)
		if err == nil {
			t.Errorf("%q is taken", s)
			continue
		}
		wantCode(t, err, parley.BadRequest)
	}
}

func TestRefHasABound(t *testing.T) {
	long := `"` + strings.Repeat("r", wire.MaxRef-2) + `"`
	if op := mustParse(t, `{"op":"ping","ref":`+long+`}`); string(op.Ref) != long {
		t.Error("a ref of 1,024 bytes is not echoed")
	}
	op, err := wire.ParseOp([]byte(`{"op":"ping","ref":"r` + long[1:] + `}`))
	wantCode(t, err, parley.BadRequest)
	if op.Ref != nil {
		t.Errorf("a ref of 1,025 bytes is echoed")
	}
}

func TestMembersOfAFrameHaveABound(t *testing.T) {
	frame := func(more int) string {
		var b strings.Builder
		b.WriteString(`{"op":"ping"`)
		for i := range more {
			fmt.Fprintf(&b, `,"k%d":%d`, i, i)
		}
		return b.String() + "}"
	}
	mustParse(t, frame(63))
	refused(t, frame(64))
}

func TestInvalidUTF8IsRefusedWithItsRef(t *testing.T) {
	refused(t, "{\"op\":\"send\",\"room\":\"lobby\",\"ref\":9,\"body\":\"\xff\"}")
	refused(t, "{\"op\":\"send\",\"room\":\"lobby\",\"ref\":9,\"body\":\"\xed\xa0\x80\"}")
	op, err := wire.ParseOp([]byte("{\"op\":\"ping\",\"ref\":\"\xff\"}"))
	wantCode(t, err, parley.BadRequest)
	if op.Ref != nil {
		t.Errorf("a ref that is no UTF-8 is echoed: %q", op.Ref)
	}
}

func TestHalfASurrogateBecomesTheReplacementCharacter(t *testing.T) {
	op := mustParse(t, `{"op":"send","room":"lobby","body":"a\ud83d"}`)
	if string(op.Body) != "a\ufffd" {
		t.Errorf("body %q", op.Body)
	}
}

func TestBase64IsStrict(t *testing.T) {
	for name, body := range map[string]string{
		"no padding":                 "AP+",
		"half of it":                 "AP8",
		"too much padding":           "AP+A=",
		"padding alone":              "====",
		"the URL alphabet":           "AP-_",
		"a line end":                 `AP+A\n`,
		"a carriage return":          `AP\r+A`,
		"a space":                    "AP +A",
		"bits behind the last byte":  "AP9=",
		"a character of another set": "AP+é",
	} {
		t.Run(name, func(t *testing.T) {
			refused(t, `{"op":"send","room":"lobby","type":"binary","ref":9,"body":"`+body+`"}`)
		})
	}
	for body, want := range map[string]string{"AP8=": "\x00\xff", "AA==": "\x00", `\u0041A==`: "\x00", `AA\/\/`: "\x00\x0f\xff"} {
		op := mustParse(t, `{"op":"send","room":"lobby","type":"binary","body":"`+body+`"}`)
		if string(op.Body) != want {
			t.Errorf("%s is %q, want %q", body, op.Body, want)
		}
	}
}

func TestIDs(t *testing.T) {
	for _, id := range []string{"c", "c1-7", `a b`, strings.Repeat("i", 128), "~!#$%&'()*+,-./:;<=>?@[]^_`{|}"} {
		op := mustParse(t, `{"op":"send","room":"lobby","body":"hi","id":"`+id+`"}`)
		if op.ID != id {
			t.Errorf("id %q, want %q", op.ID, id)
		}
	}
	for _, id := range []string{"", `a\nb`, `\u007f`, "é", strings.Repeat("i", 129), `\u0000`} {
		refused(t, `{"op":"send","room":"lobby","body":"hi","ref":9,"id":"`+id+`"}`)
	}
}

// The body of a JSON message is its sender's business: nothing in it is looked at.
func TestKeysInABodyMayStandTwice(t *testing.T) {
	op := mustParse(t, `{"op":"send","room":"lobby","type":"json","body":{"op":1,"op":2,"room":{"ref":[]}}}`)
	if want := `{"op":1,"op":2,"room":{"ref":[]}}`; string(op.Body) != want {
		t.Errorf("body %s, want %s", op.Body, want)
	}
}

// Nobody may make a room's history unreadable to clients whose readers stop at some depth.
func TestJSONBodiesHaveABoundOfDepth(t *testing.T) {
	send := func(depth int, open, inner, end string) string {
		return `{"op":"send","room":"lobby","ref":9,"type":"json","body":` +
			strings.Repeat(open, depth) + inner + strings.Repeat(end, depth) + `}`
	}
	mustParse(t, send(wire.MaxDepth, "[", "", "]"))
	mustParse(t, send(wire.MaxDepth, `{"[":`, "1", "}"))
	mustParse(t, send(1, "[", strings.Repeat("[],", 1000)+`"[[[["`, "]"))
	refused(t, send(wire.MaxDepth+1, "[", "", "]"))
	refused(t, send(wire.MaxDepth+1, `{"a":`, "1", "}"))
}

func TestAppendOpWritesWhatDocsSay(t *testing.T) {
	seq := func(n uint64) *uint64 { return &n }
	no := false
	for want, op := range map[string]wire.Op{
		`{"op":"hello","ref":"k3xq9","token":"t0p","name":"ada"}`: {Kind: wire.Hello, Ref: []byte(`"k3xq9"`), Token: "t0p", Name: "ada"},
		`{"op":"join","ref":1,"room":"lobby","after":0}`:          {Kind: wire.Join, Ref: []byte("1"), Room: "lobby", Start: wire.Start{After: seq(0)}},
		`{"op":"join","room":"lobby","last":20,"echo":false}`:     {Kind: wire.Join, Room: "lobby", Start: wire.Start{Last: 20}, Echo: &no},
		`{"op":"join","room":"lobby","since":"2026-11-22T07:00:00Z"}`: {
			Kind: wire.Join, Room: "lobby", Start: wire.Start{Since: time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)},
		},
		`{"op":"leave","room":"lobby"}`:                          {Kind: wire.Leave, Room: "lobby"},
		`{"op":"send","room":"lobby","id":"c1-7","body":"a\"b"}`: {Kind: wire.Send, Room: "lobby", ID: "c1-7", Body: []byte(`a"b`)},
		`{"op":"send","room":"lobby","type":"json","body":{"t":21}}`: {
			Kind: wire.Send, Room: "lobby", Type: parley.JSON, Body: []byte(`{"t":21}`),
		},
		`{"op":"send","room":"lobby","type":"binary","body":"AP8="}`: {
			Kind: wire.Send, Room: "lobby", Type: parley.Binary, Body: []byte("\x00\xff"),
		},
		`{"op":"history","room":"lobby","before":813,"limit":50}`: {Kind: wire.History, Room: "lobby", Before: seq(813), Limit: 50},
		`{"op":"history","room":"lobby","after":7}`:               {Kind: wire.History, Room: "lobby", After: seq(7)},
		`{"op":"rooms","limit":100,"after_room":"lobby"}`:         {Kind: wire.ListRooms, AfterRoom: "lobby", Limit: 100},
		`{"op":"members","room":"lobby"}`:                         {Kind: wire.Members, Room: "lobby"},
		`{"op":"ping","ref":5}`:                                   {Kind: wire.Ping, Ref: []byte("5")},
	} {
		if diff := cmp.Diff(want, string(wire.AppendOp(nil, op))); diff != "" {
			t.Errorf("wrong bytes (-want +got):\n%s", diff)
		}
	}
}
