package sse_test

import (
	"strings"
	"testing"

	"parley/internal/logtest"
	"parley/transport/sse"
)

// nextFrame reads blocks up to one with data, which is its frame, and gives the ids that came before.
func (s *stream) nextFrame() (frame, ids string) {
	s.t.Helper()
	for {
		e, err := s.next()
		if err != nil {
			s.t.Fatal(err)
		}
		if e.Data != "" {
			if !strings.HasPrefix(e.Data, `{"op":"`+e.Name+`"`) {
				s.t.Errorf("an event %s with %s", e.Name, e.Data)
			}
			return e.Data, ids
		}
		ids += e.ID
	}
}

func TestWhoIsThere(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	f.send("lobby", "a")
	ada := f.open("room=lobby&presence=true&name=ada")
	frame, ids := ada.nextFrame()
	if want := `{"op":"presence","room":"lobby","members":[{"user":"ada"}],"count":1}`; frame != want || ids != "1" {
		t.Errorf("at the join: %s behind the id %q", frame, ids)
	}
	deaf := f.open("room=lobby&presence=false&name=deaf")
	deaf.began()
	if frame, _ = ada.nextFrame(); frame != `{"op":"presence","room":"lobby","joined":[{"user":"deaf"}],"left":[],"count":2}` {
		t.Errorf("one who comes: %s", frame)
	}
	f.send("lobby", "b")
	deaf.want("2 message b")
	ada.want("2 message b")
	_ = deaf.conn.Close()
	if frame, _ = ada.nextFrame(); frame != `{"op":"presence","room":"lobby","joined":[],"left":[{"user":"deaf"}],"count":1}` {
		t.Errorf("one who goes: %s", frame)
	}
}

func TestWhoIsThereInSeveralRooms(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	s := f.open("room=a&room=b&presence=true&name=ada&after=0")
	got := map[string]bool{}
	for range 2 {
		frame, _ := s.nextFrame()
		got[frame] = true
	}
	for _, room := range []string{"a", "b"} {
		if !got[`{"op":"presence","room":"`+room+`","members":[{"user":"ada"}],"count":1}`] {
			t.Errorf("%s is missing: %v", room, got)
		}
	}
	f.send("b", "x")
	s.want("a:0,b:1 message x")
}
