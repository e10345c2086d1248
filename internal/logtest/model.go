package logtest

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"parley"
)

// model draws sequences of operations and compares what the log answers with what a plain slice
// of the same messages would. Rooms may be followed or not at any time; that must not show.
func model(t *testing.T, h Harness) {
	round := 0
	rapid.Check(t, func(rt *rapid.T) {
		round++
		m := &modelRun{T: rt, log: h.Log, rooms: make(map[string]*modelRoom)}
		defer m.stopAll()
		for i := range 3 {
			m.names = append(m.names, fmt.Sprintf("model%d.%d", round, i))
			m.rooms[m.names[i]] = &modelRoom{}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"append": m.append,
			"burst":  m.burst,
			"follow": m.follow,
			"read":   m.read,
			"back":   m.back,
			"since":  m.since,
		})
		for name, r := range m.rooms {
			if n := len(r.seqs); r.tail != nil && n > r.from {
				if got := seqsOf(r.tail.until(r.seqs[n-1])); !slices.Equal(got, r.seqs[r.from:]) {
					rt.Fatalf("the tail of %s: %v, want %v", name, got, r.seqs[r.from:])
				}
			}
		}
	})
}

type modelRun struct {
	*rapid.T
	log   parley.Log
	names []string
	rooms map[string]*modelRoom
	ids   int
}

type modelRoom struct {
	seqs []uint64
	tail *listener
	from int // index of the first message of the tail
	stop func()
}

func (m *modelRun) room() (string, *modelRoom) {
	name := rapid.SampledFrom(m.names).Draw(m.T, "room")
	return name, m.rooms[name]
}

func (m *modelRun) append(*rapid.T) {
	name, r := m.room()
	m.ids++
	d := text(name, fmt.Sprint(m.ids))
	d.Retry = rapid.Bool().Draw(m.T, "retry")
	first := put(m.T, m.log, d)
	r.seqs = append(r.seqs, first.Seq)
	if d.Retry && rapid.Bool().Draw(m.T, "again") {
		if again := put(m.T, m.log, d); again.Seq != first.Seq || !again.Duplicate {
			m.Fatalf("repeated: %+v, first %+v", again, first)
		}
	}
}

func (m *modelRun) burst(*rapid.T) {
	n := rapid.IntRange(1, 40).Draw(m.T, "n")
	outs := make([]<-chan outcome, n)
	rooms := make([]*modelRoom, n)
	for i := range n {
		var name string
		name, rooms[i] = m.room()
		m.ids++
		outs[i] = appendAsync(m.T, m.log, text(name, fmt.Sprint(m.ids)))
	}
	for i, c := range outs {
		o := wait(m.T, c)
		if o.err != nil || o.Duplicate {
			m.Fatalf("append: %+v", o)
		}
		rooms[i].seqs = append(rooms[i].seqs, o.Seq)
	}
}

func (m *modelRun) follow(*rapid.T) {
	name, r := m.room()
	if r.tail != nil {
		r.stop()
		r.tail = nil
		return
	}
	ls := &listener{t: m.T, grew: make(chan struct{}, 1)}
	last, stop, err := m.log.Follow(context.Background(), name, ls.deliver)
	if err != nil {
		m.Fatalf("follow %s: %v", name, err)
	}
	r.tail, r.from, r.stop = ls, len(r.seqs), stop
	if want := r.in(len(r.seqs) - 1); last != want {
		m.Fatalf("follow %s: last is %d, want %d", name, last, want)
	}
}

func (m *modelRun) stopAll() {
	for _, r := range m.rooms {
		if r.tail != nil {
			r.stop()
		}
	}
}

// in gives the seq at index i, 0 in front of the first.
func (r *modelRoom) in(i int) uint64 {
	if i < 0 {
		return 0
	}
	return r.seqs[i]
}

// position draws a seq near one of the room's own, or any.
func (m *modelRun) position(r *modelRoom) uint64 {
	if len(r.seqs) == 0 || rapid.IntRange(0, 4).Draw(m.T, "any") == 0 {
		return rapid.Uint64Range(0, 1000).Draw(m.T, "position")
	}
	return rapid.SampledFrom(r.seqs).Draw(m.T, "near") + rapid.Uint64Range(0, 2).Draw(m.T, "off") - 1
}

func (m *modelRun) read(*rapid.T) {
	name, r := m.room()
	after, limit := m.position(r), rapid.IntRange(1, 30).Draw(m.T, "limit")
	p := read(m.T, m.log, name, after, limit)
	first, _ := slices.BinarySearch(r.seqs, after+1)
	end := min(first+limit, len(r.seqs))
	if !slices.Equal(seqsOf(p.Messages), r.seqs[first:end]) || p.More != (end < len(r.seqs)) || p.Trimmed {
		m.Fatalf("read %s after %d, limit %d: %v, more %v, trimmed %v, want %v", name, after, limit, seqsOf(p.Messages), p.More, p.Trimmed, r.seqs[first:end])
	}
	checkChain(m.T, p.Messages)
	if len(p.Messages) > 0 && after > 0 && p.Messages[0].Prev != r.in(first-1) {
		m.Fatalf("read %s after %d: prev of the first is %d, want %d", name, after, p.Messages[0].Prev, r.in(first-1))
	}
}

func (m *modelRun) back(*rapid.T) {
	name, r := m.room()
	before, n := m.position(r), rapid.IntRange(0, 60).Draw(m.T, "n")
	below := len(r.seqs)
	if before > 0 {
		below, _ = slices.BinarySearch(r.seqs, before)
	}
	got, err := m.log.Back(context.Background(), name, before, n)
	if want := r.in(below - n - 1); got != want || err != nil {
		m.Fatalf("back %d before %d in %s: %d, %v, want %d", n, before, name, got, err, want)
	}
}

func (m *modelRun) since(*rapid.T) {
	name, r := m.room()
	for d, want := range map[time.Duration]uint64{-time.Hour: 0, time.Hour: r.in(len(r.seqs) - 1)} {
		if got, err := m.log.Since(context.Background(), name, time.Now().Add(d)); got != want || err != nil {
			m.Fatalf("since %v in %s: %d, %v, want %d", d, name, got, err, want)
		}
	}
}
