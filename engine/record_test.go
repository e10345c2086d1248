package engine_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"parley"
	"parley/engine"
)

func FuzzRecordRoundTrip(f *testing.F) {
	f.Add("id", "ada", byte(0), uint64(1), []byte("hi"), "", byte(0), int64(0))
	f.Add("", "", byte(2), uint64(1<<64-1), []byte{}, "key", byte(9), int64(1795330800123))
	f.Fuzz(func(t *testing.T, id, from string, typ byte, session uint64, body []byte, key string, priority byte, expires int64) {
		d := parley.Draft{ID: id, From: from, Type: parley.Type(typ % 3), Session: parley.SessionID(session), Body: body, Key: key, Priority: priority}
		if expires > 0 && expires < 1<<45 {
			d.Expires = time.UnixMilli(expires)
		}
		m, err := engine.DecodeRecord(engine.AppendRecord(nil, d))
		if err != nil {
			t.Fatal(err)
		}
		if m.ID != d.ID || m.From != d.From || m.Type != d.Type || m.Session != d.Session || !bytes.Equal(m.Body, d.Body) ||
			m.Key != d.Key || m.Priority != d.Priority || !m.Expires.Equal(d.Expires) {
			t.Errorf("%+v came back as %+v", d, m)
		}
	})
}

func FuzzDecodeRecord(f *testing.F) {
	f.Add([]byte{})
	f.Add(engine.AppendRecord(nil, parley.Draft{ID: "id", From: "ada", Body: []byte("hi")}))
	f.Add(append(append([]byte{1, 0}, make([]byte, 8)...), 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01))
	f.Add(append(append([]byte{1, 0}, make([]byte, 8)...), 3, 3, 'a', 'b'))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := engine.DecodeRecord(b)
		if err != nil {
			return
		}
		again, err := engine.DecodeRecord(engine.AppendRecord(nil, parley.Draft{ID: m.ID, From: m.From, Type: m.Type, Session: m.Session, Body: m.Body, Key: m.Key, Priority: m.Priority, Expires: m.Expires}))
		if err != nil || again.ID != m.ID || again.From != m.From || !bytes.Equal(again.Body, m.Body) || again.Key != m.Key {
			t.Errorf("%x: %+v, then %+v, %v", b, m, again, err)
		}
	})
}

func TestAnswersOfTheStore(t *testing.T) {
	for _, test := range []struct {
		in        string
		seq       uint64
		duplicate bool
		plain, ok bool
	}{
		{`{"stream":"rooms_0","seq":12}`, 12, false, true, true},
		{`{"stream":"rooms_0", "seq":12}`, 12, false, true, true},
		{`{"stream":"rooms_0","seq":7,"duplicate": true}`, 7, true, true, true},
		{`{"stream":"rooms_0","seq":7,"duplicate":true}`, 7, true, false, true},
		{`{"stream":"rooms_0","domain":"d","seq":7}`, 7, false, true, true},
		{`{"stream":"rooms_0","seq":7,"batch":"x","count":2}`, 7, false, false, true},
		{`{"stream":"rooms_0","seq":0}`, 0, false, false, false},
		{`{"stream":"rooms_0","seq":}`, 0, false, false, false},
		{`{"error":{"code":503,"err_code":10023,"description":"insufficient resources"},"stream":"rooms_0","seq":0}`, 0, false, false, false},
		{`{"stream":"rooms_0","seq":99999999999999999999999}`, 0, false, false, false},
		{`no JSON`, 0, false, false, false},
		{``, 0, false, false, false},
	} {
		seq, duplicate, plain := engine.ParsePlainAck([]byte(test.in))
		if plain != test.plain || plain && (seq != test.seq || duplicate != test.duplicate) {
			t.Errorf("%s by hand: %d, %v, %v", test.in, seq, duplicate, plain)
		}
		seq, duplicate, err := engine.ParseAck([]byte(test.in))
		if (err == nil) != test.ok || err == nil && (seq != test.seq || duplicate != test.duplicate) {
			t.Errorf("%s: %d, %v, %v", test.in, seq, duplicate, err)
		}
	}
}

func TestMessageIDsOfDifferentTriplesDiffer(t *testing.T) {
	seen := make(map[string][3]string)
	for _, triple := range [][3]string{
		{"a", "b", "c"},
		{"ab", "", "c"},
		{"a", "bc", ""},
		{"", "ab", "c"},
		{"a", "", "bc"},
		{"", "", "abc"},
		{"abc", "", ""},
		{strings.Repeat("a", 200), "b", "c"},
		{"\x01a", "b", "c"},
	} {
		id := engine.MessageID(triple[0], triple[1], triple[2])
		if len(id) != 22 {
			t.Errorf("%q: %q has %d characters", triple, id, len(id))
		}
		if other, ok := seen[id]; ok {
			t.Errorf("%q and %q are alike", triple, other)
		}
		seen[id] = triple
	}
}

func TestSubjectsHoldNoByteOfAUsers(t *testing.T) {
	e := open(t, engine.Config{})
	for _, room := range []string{"lobby", "a.b", "*", ">", "a b", "$JS.API", "雪", "a\r\nPUB x 1", strings.Repeat("ä", 128), ""} {
		subject := engine.Subject(e, room)
		parts := strings.Split(subject, ".")
		if len(parts) != 3 || parts[0] != "room" || strings.ContainsAny(parts[2], " *>\r\n\t$") {
			t.Errorf("%q lies at %q", room, subject)
		}
		if got, err := engine.RoomOf(subject); got != room || err != nil {
			t.Errorf("%q came back as %q, %v", room, got, err)
		}
	}
}

// The store appends its headers behind what a publisher sent, and a library's Get returns the
// first: a message with its own Nats-Sequence would have been shown at a place it does not have.
func TestForgedHeadersAreNotBelieved(t *testing.T) {
	m, err := engine.Decode(&nats.Msg{
		Header: nats.Header{
			"Nats-Sequence":   {"999", "12"},
			"Nats-Time-Stamp": {"1999-01-01T00:00:00Z", "2026-11-22T07:00:00.123456789Z"},
		},
		Data: engine.AppendRecord(nil, parley.Draft{ID: "1"}),
	}, "lobby")
	if err != nil {
		t.Fatal(err)
	}
	if got := m.At.Format("2006-01-02T15:04:05.999999999Z07:00"); m.Seq != 12 || got != "2026-11-22T07:00:00.123Z" {
		t.Errorf("seq %d at %s", m.Seq, got)
	}
}
