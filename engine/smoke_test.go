package engine_test

import (
	"testing"
	"time"
	"fmt"

	"parley"
	"parley/engine"
)

func TestSmoke(t *testing.T) {
	start := time.Now()
	e, err := engine.Open(t.Context(), engine.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Log("open", time.Since(start))
	got := make(chan *parley.Message, 100)
	last, stop, err := e.Follow(t.Context(), "lobby", func(ms []*parley.Message) {
		for _, m := range ms {
			got <- m
		}
	})
	t.Log(last, err)
	for i := range 3 {
		s := time.Now()
		done := make(chan error, 1)
		e.Append(t.Context(), parley.Draft{Room: "lobby", ID: fmt.Sprint(i/2), From: "ada", Body: []byte("hi"), Retry: true}, func(r parley.Receipt, err error) { t.Log(r, err, time.Since(s)); done <- err })
		<-done
	}
	t.Log(<-got, <-got)
	stop()
	p, err := e.Read(t.Context(), "lobby", 0, 10)
	t.Logf("%+v %v", p, err)
	at, err := e.Back(t.Context(), "lobby", 0, 1)
	t.Log(at, err)
	at, err = e.Since(t.Context(), "lobby", start)
	t.Log(at, err)
	rooms, err := e.Rooms(t.Context())
	t.Log(rooms, err)
	t.Logf("%+v", e.Stats())
	s := time.Now()
	t.Log(e.Close(), time.Since(s))
}
