package sse_test

import (
	"bufio"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"parley"
	"parley/internal/logtest"
	"parley/transport/sse"
	"parley/wire"
)

// A stream of a pattern can be cut behind any event: its id goes on behind it, in every room.
func TestAPatternIsResumedByItsIDs(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	var want []string // by room, since rooms have no order between them
	for i := range 12 {
		room := fmt.Sprintf("orders.%d", i%4)
		f.send(room, fmt.Sprint(i))
		f.send("others", fmt.Sprint(i))
		want = append(want, fmt.Sprintf("%s %d", room, i))
	}
	slices.Sort(want)
	var got []string
	query, id := "room=orders.**&after=0", ""
	for len(got) < len(want) {
		var headers []string
		if id != "" {
			headers = []string{"Last-Event-ID: " + id}
		}
		s := f.open(query, headers...)
		for n := 0; n < 1+len(got)%3; { // some events, then it is cut
			e, err := s.next()
			if err != nil {
				t.Fatal(err)
			}
			if e.ID != "" {
				id = e.ID
			}
			if e.Name != "message" {
				continue
			}
			m, err := wire.ParseFrame([]byte(e.Data))
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, m.Room+" "+strings.Trim(string(m.Body), `"`))
			n++
			if len(got) == len(want) {
				break
			}
		}
		_ = s.conn.Close()
	}
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A pattern beside rooms that it does not cover: an id has the places of all.
func TestAPatternAmongRooms(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	f.send("a", "1")
	f.send("b.x", "2")
	s := f.open("room=a&room=b.*")
	if first, start := s.began(), s.began(); first != "a:1" || !strings.HasPrefix(start, "a:1,b.*:") {
		t.Fatalf("begins at %s, then %s", first, start)
	}
	f.send("b.y", "3")
	f.send("a", "4")
	ids := map[string]string{}
	for range 2 {
		e, err := s.next()
		for err == nil && e.Name != "message" {
			e, err = s.next()
		}
		if err != nil {
			t.Fatal(err)
		}
		m, _ := wire.ParseFrame([]byte(e.Data))
		ids[m.Room] = e.ID
	}
	_ = s.conn.Close()
	back := f.open("room=a&room=b.*", "Last-Event-ID: "+ids["b.y"])
	f.send("b.y", "5")
	f.send("a", "6")
	seen := ""
	for !strings.Contains(seen, "5") || !strings.Contains(seen, "6") {
		e, err := back.next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Name == "message" {
			m, _ := wire.ParseFrame([]byte(e.Data))
			seen += strings.Trim(string(m.Body), `"`)
		}
	}
	for _, again := range []string{"1", "2", "3"} {
		if strings.Contains(seen, again) {
			t.Errorf("%s came again: %s", again, seen)
		}
	}
}

// In silence a client learns of later places by ids alone.
func TestCursorsAreIDsWithoutAnEvent(t *testing.T) {
	at := parley.Position{5, 0, 7}
	in := bufio.NewReader(strings.NewReader(string(wire.SSE{}.Cursor(nil, "a.*", at))))
	s := &stream{t: t, in: in}
	e, err := s.next()
	if err != nil || e.ID != at.String() || e.Data != "" || e.Name != "" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestWhatCannotBeAskedOfPatterns(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	for name, query := range map[string]string{
		"a pattern and its room":     "room=a.*&room=a.b",
		"two patterns with a room":   "room=a.*&room=*.b",
		"no pattern":                 "room=a**",
		"the newest":                 "room=a.*&last=5",
		"who is there":               "room=a.*&presence=true",
		"one seq":                    "room=a.*&after=7",
		"what is no cursor":          "room=a.*&cursor=%26",
		"a cursor of a room":         "room=a&cursor=BQAH",
		"a cursor and since":         "room=a.*&cursor=BQAH&since=1h",
		"a seq in place of a cursor": "room=a.*&after=a.*:%26",
	} {
		if s := f.open(query, "Connection: close"); s.head.StatusCode != http.StatusTeapot {
			t.Errorf("%s: %d", name, s.head.StatusCode)
		}
	}
}
