package wire_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/wire"
)

func sample() *parley.Message {
	return &parley.Message{
		Room: "lobby", Seq: 813, Prev: 812, ID: "c1-7", From: "ada", Session: 7,
		At: time.Date(2026, 11, 22, 7, 0, 0, 123e6, time.UTC), Body: []byte("hi"),
	}
}

func TestAtIsUTCWithMilliseconds(t *testing.T) {
	east := time.FixedZone("", 5*3600+30*60)
	for want, at := range map[string]time.Time{
		"2026-11-22T07:00:00.123Z": time.Date(2026, 11, 22, 7, 0, 0, 123_999_999, time.UTC),
		"2026-11-22T01:30:00.000Z": time.Date(2026, 11, 22, 7, 0, 0, 0, east),
		"2026-12-31T23:59:59.009Z": time.Date(2027, 1, 1, 5, 29, 59, 9e6, east),
		"1970-01-01T00:00:00.000Z": time.Unix(0, 0),
		"0001-01-01T00:00:00.000Z": {},
		"9999-12-31T23:59:59.999Z": time.Date(9999, 12, 31, 23, 59, 59, 999e6, time.UTC),
	} {
		m := sample()
		m.At = at
		if line := string(wire.JSONLines{}.Message(nil, m)); !strings.Contains(line, `"at":"`+want+`"`) {
			t.Errorf("%v: want %s in %s", at, want, line)
		}
	}
}

// A message is the same for whoever receives it: neither the session that sent it nor anything
// of the reader's may be in it.
func TestAMessageDoesNotShowItsSession(t *testing.T) {
	a, b := sample(), sample()
	b.Session = 8
	for name, enc := range map[string]wire.Encoding{"json": wire.JSONLines{}, "bare": wire.TextBare{}, "named": wire.TextNamed{}} {
		if !bytes.Equal(enc.Message(nil, a), enc.Message(nil, b)) {
			t.Errorf("%s: two sessions, two encodings", name)
		}
	}
}

func TestAMessageIsAppendedWithoutAllocating(t *testing.T) {
	at := sample()
	at.Body = []byte(strings.Repeat("x", 128))
	for name, enc := range map[string]wire.Encoding{"json": wire.JSONLines{}, "bare": wire.TextBare{}, "named": wire.TextNamed{}} {
		dst := enc.Message(nil, at)
		if n := testing.AllocsPerRun(100, func() { dst = enc.Message(dst[:0], at) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func TestInvalidUTF8NeverReachesAJSONFrame(t *testing.T) {
	m := sample()
	m.Body, m.From = []byte("a\xff\xfeb"), "x\xff"
	line := wire.JSONLines{}.Message(nil, m)
	if !json.Valid(line) || bytes.ContainsRune(line, 0xff) {
		t.Fatalf("not JSON: %q", line)
	}
	if got := decode(t, line); string(got.Body) != "a\ufffdb" || got.From != "x\ufffd" {
		t.Errorf("from %q, body %q", got.From, got.Body)
	}
}

func TestFramesOfANewerServerAreRead(t *testing.T) {
	f, err := wire.ParseFrame([]byte(`{"op":"confetti","room":"lobby","seq":1,"colour":"red"}`))
	if err != nil {
		t.Fatal(err)
	}
	if f.Op != "confetti" || f.Room != "lobby" || f.Seq != 1 {
		t.Errorf("read %+v", f)
	}
}

func TestFramesThatAreNoneAreRefused(t *testing.T) {
	for _, line := range []string{"", "hi", `"message"`, `{"op":`, `{"op":"ack","seq":-1}`, `{"op":"ack","seq":"1"}`, "[]"} {
		if _, err := wire.ParseFrame([]byte(line)); err == nil {
			t.Errorf("%q is taken", line)
		}
	}
}

func TestMessagesWithABrokenBodyAreRefused(t *testing.T) {
	for _, line := range []string{
		`{"op":"message","type":"text","body":1}`,
		`{"op":"message","type":"text"}`,
		`{"op":"message","type":"json"}`,
		`{"op":"message","type":"binary","body":"x"}`,
		`{"op":"message","type":"binary","body":null,"seq":1}`,
		`{"op":"message","type":"xml","body":"x"}`,
	} {
		f, err := wire.ParseFrame([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		if m, err := f.Decode(); err == nil {
			t.Errorf("%s is taken as %+v", line, m)
		}
	}
}

func TestAnErrorFrameIsAnError(t *testing.T) {
	sent := parley.Errorf(parley.Unavailable, "100%% busy")
	sent.Retry = 1500 * time.Millisecond
	f, err := wire.ParseFrame(wire.JSONLines{}.Error(nil, nil, sent))
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Err(); got.Code != sent.Code || got.Message != sent.Message || got.Retry != sent.Retry {
		t.Errorf("read %+v, sent %+v", got, sent)
	}
}

func TestListsAreRead(t *testing.T) {
	f, err := wire.ParseFrame(wire.JSONLines{}.Members(nil, []byte("6"), "lobby", []string{"ada"}, 201))
	if err != nil {
		t.Fatal(err)
	}
	if f.Count != 201 || len(f.Members) != 1 || f.Members[0].User != "ada" {
		t.Errorf("members: read %+v", f)
	}
	entry := wire.RoomEntry{Room: "lobby", Seq: 813, Messages: 812, Members: 3}
	f, err = wire.ParseFrame(wire.JSONLines{}.Rooms(nil, nil, []wire.RoomEntry{entry}, true))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.Rooms) != 1 || f.Rooms[0] != entry || !f.More {
		t.Errorf("rooms: read %+v", f)
	}
}
