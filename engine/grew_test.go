package engine_test

import (
	"fmt"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

// Every room that grows is named, followed or not, when what is new in it can be read.
func TestRoomsThatGrowAreNamed(t *testing.T) {
	t.Parallel()
	e := open(t, engine.Config{})
	named := make(chan string, 100)
	stop := e.Grew(func(room string) { named <- room })
	tl := follow(t, e, "Ωμέγα.1")
	defer tl.stop()
	done := make(chan error, 1)
	for i := range 20 {
		room := fmt.Sprintf("Ωμέγα.%d", i%5)
		appendWait(t, e, parley.Draft{Room: room, ID: fmt.Sprint(i), From: "ada", Body: []byte("x")}, done)
		select {
		case got := <-named:
			if got != room {
				t.Fatalf("%s has grown, and %s is named", room, got)
			}
		case <-time.After(time.Minute):
			t.Fatalf("%s is not named", room)
		}
		if page, err := e.Read(t.Context(), room, 0, 100); err != nil || len(page.Messages) != i/5+1 {
			t.Errorf("%s has %d messages, want %d; %v", room, len(page.Messages), i/5+1, err)
		}
	}
	stop()
	appendWait(t, e, parley.Draft{Room: "a", ID: "last", From: "ada", Body: []byte("x")}, done)
	appendWait(t, e, parley.Draft{Room: "a", ID: "past", From: "ada", Body: []byte("x")}, done)
	select {
	case room := <-named:
		t.Errorf("%s is named, though nobody wants to know", room)
	default:
	}
}
