package engine_test

import (
	"fmt"
	"testing"
	"time"

	"parley/engine"
)

func TestTheBusReachesTheOthers(t *testing.T) {
	cl := newCluster(t, engine.Config{Partitions: 3})
	type heard struct{ at, from, data string }
	all := make(chan heard, 1000)
	var stops []func()
	for _, e := range cl.nodes {
		bus := e.Bus()
		stop, err := bus.Subscribe("a topic: *.>", func(from string, data []byte) { all <- heard{bus.Node(), from, string(data)} })
		if err != nil {
			t.Fatal(err)
		}
		stops = append(stops, stop)
	}
	// Interest takes a moment to get around.
	for end := time.Now().Add(20 * time.Second); len(all) < 2; tick() {
		if time.Now().After(end) {
			t.Fatal("nothing came")
		}
		cl.nodes[0].Bus().Publish("a topic: *.>", []byte("are you there"))
		cl.nodes[0].Bus().Publish("another", []byte("not for you"))
	}
	for i := range 100 {
		cl.nodes[0].Bus().Publish("a topic: *.>", fmt.Append(nil, i))
	}
	next := map[string]int{"n2": 0, "n3": 0}
	for next["n2"] < 100 || next["n3"] < 100 {
		h := <-all
		var i int
		if _, err := fmt.Sscan(h.data, &i); err != nil {
			continue
		}
		if h.from != "n1" || i != next[h.at] {
			t.Fatalf("%+v, and %d is due", h, next[h.at])
		}
		next[h.at]++
	}
	for _, stop := range stops {
		stop()
	}
}

func TestTheStatusShowsNodesAndLeaders(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, engine.Config{Partitions: 3})
	even := func(s *engine.Status) bool {
		leads := 0
		for _, n := range s.Nodes {
			if n.Leads == 2 && n.Alive { // one of rooms, one of journals
				leads++
			}
		}
		return leads == 3
	}
	for end := time.Now().Add(40 * time.Second); !even(cl.nodes[1].Status()); tick() {
		if time.Now().After(end) {
			t.Fatalf("leaders were not spread: %+v", cl.nodes[1].Status())
		}
	}
	cl.close(2)
	for end := time.Now().Add(40 * time.Second); ; tick() {
		s := cl.nodes[0].Status()
		if s.Nodes[0].Alive && s.Nodes[1].Alive && !s.Nodes[2].Alive && s.Nodes[0].Leads+s.Nodes[1].Leads == 6 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("with the third node gone: %+v", s)
		}
	}
	cl.open(2)
	for end := time.Now().Add(40 * time.Second); !even(cl.nodes[0].Status()); tick() {
		if time.Now().After(end) {
			t.Fatalf("leaders were not spread again: %+v", cl.nodes[0].Status())
		}
	}
}
