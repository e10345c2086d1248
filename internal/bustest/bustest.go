// Package bustest is a bus between nodes of one process, for tests: some may be cut off, and it may
// lose what it carries.
package bustest

import (
	"slices"
	"sync"

	"parley"
)

// queued is how many publications wait for a subscriber; those beyond are lost.
const queued = 4096

// Wires are between all nodes of a test.
type Wires struct {
	mu    sync.Mutex
	nodes []*bus
	cut   map[string]bool
	loses func(from, to string, data []byte) bool
}

// bus is one node's end.
type bus struct {
	wires *Wires
	node  string
	subs  map[*sub]struct{} // guarded by the wires' mu
}

type sub struct {
	topic string
	queue chan publication
}

type publication struct {
	from string
	data []byte
}

// New makes wires that lose nothing.
func New() *Wires { return &Wires{cut: make(map[string]bool)} }

// Bus gives a node its end. A node may be given another when it starts again, once the subscriptions
// of the first have stopped.
func (w *Wires) Bus(node string) parley.Bus {
	w.mu.Lock()
	defer w.mu.Unlock()
	b := &bus{wires: w, node: node, subs: make(map[*sub]struct{})}
	w.nodes = append(w.nodes, b)
	return b
}

// Cut cuts a node off from all others, or no longer.
func (w *Wires) Cut(node string, off bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut[node] = off
}

// Losing has the wires lose what which says; nil: nothing. which is called by one goroutine at a time.
func (w *Wires) Losing(which func(from, to string, data []byte) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.loses = which
}

func (b *bus) Node() string { return b.node }

func (b *bus) Publish(topic string, data []byte) {
	w := b.wires
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, to := range w.nodes {
		if to.node == b.node || w.cut[to.node] || w.cut[b.node] || (w.loses != nil && w.loses(b.node, to.node, data)) {
			continue
		}
		for s := range to.subs {
			if s.topic == topic {
				select {
				case s.queue <- publication{b.node, slices.Clone(data)}:
				default:
				}
			}
		}
	}
}

func (b *bus) Subscribe(topic string, deliver func(string, []byte)) (func(), error) {
	s := &sub{topic: topic, queue: make(chan publication, queued)}
	b.wires.mu.Lock()
	b.subs[s] = struct{}{}
	b.wires.mu.Unlock()
	var done sync.WaitGroup
	done.Go(func() {
		for p := range s.queue {
			deliver(p.from, p.data)
		}
	})
	return func() {
		b.wires.mu.Lock()
		delete(b.subs, s)
		close(s.queue)
		b.wires.mu.Unlock()
		done.Wait()
	}, nil
}
