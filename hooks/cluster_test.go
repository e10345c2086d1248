package hooks_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"parley/hooks"
	"parley/internal/logtest"
)

// keepers says which of two nodes keeps which room.
type keepers struct {
	mu sync.Mutex
	by map[string]int
}

func (k *keepers) of(node int) func(room string) bool {
	return func(room string) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.by[room] == node
	}
}

// tails tells each of two nodes which rooms have grown, as each node's own log does.
type tails struct {
	log *logtest.Memory

	mu   sync.Mutex
	told []func(room string)
}

// Grew implements hooks.Tail.
func (l *tails) Grew(told func(room string)) (stop func()) {
	l.mu.Lock()
	l.told = append(l.told, told)
	l.mu.Unlock()
	return l.log.Grew(func(room string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		for _, tell := range l.told {
			tell(room)
		}
	})
}

// twoNodes are senders with the same hook over one log.
func twoNodes(t *testing.T, k *keepers) (nodes [2]*bench) {
	log := logtest.New(logtest.Options{})
	tail := &tails{log: log}
	for i := range nodes {
		b := &bench{t: t, log: log, tail: tail, lame: &lameLog{Log: log}, keeps: k.of(i), ids: i * 1_000_000}
		nodes[i] = b
	}
	first := newBenchOn(t, logtest.Options{}) // for its key
	for _, b := range nodes {
		b.key = first.key
		b.start()
		t.Cleanup(func() { b.stop() })
	}
	return nodes
}

// Each message is posted by the node that keeps its room, once. Where rooms go to the other node it goes
// on, and none is left out.
func TestNodesShareAHook(t *testing.T) {
	t.Parallel()
	k := &keepers{by: map[string]int{"a": 0, "b": 1}}
	s := newSink(t, nil)
	nodes := twoNodes(t, k)
	for _, b := range nodes {
		b.use(b.hook("h", s.url, "*"))
	}
	const n = 200
	got := make(map[string]int) // by unique id
	gather := func(most int) {
		t.Helper()
		for len(got) < most {
			got[s.next().unique]++
		}
	}
	for i := range n {
		nodes[i%2].say([]string{"a", "b"}[i/2%2], fmt.Sprint(i))
	}
	gather(n)
	for _, b := range nodes {
		b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 })
	}
	s.none()
	for id, times := range got {
		if times > 1 {
			t.Errorf("%s came %d times", id, times)
		}
	}
	for round := range 10 {
		for i := range 20 {
			nodes[i%2].say([]string{"a", "b"}[i/2%2], fmt.Sprint(round, i))
		}
		k.mu.Lock()
		k.by["a"], k.by["b"] = round%2, (round+1)%2
		k.mu.Unlock()
		for _, b := range nodes {
			b.sender.Moved()
		}
	}
	gather(n + 200)
	for _, b := range nodes {
		b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 })
	}
	again := 0
	for end := time.After(100 * time.Millisecond); ; {
		select {
		case r := <-s.requests:
			got[r.unique]++
			continue
		case <-end:
		}
		break
	}
	for _, times := range got {
		again += times - 1
	}
	t.Logf("%d posted again", again)
}
