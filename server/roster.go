package server

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"time"

	"parley"
)

// The nodes of a cluster tell each other of themselves over the bus: where clients may come, and how
// many are there.
const (
	rosterTopic = "servers"
	rosterEvery = time.Second
	rosterFresh = 3 * time.Second // who is silent for longer is not there
	rosterMeet  = time.Second     // for the others before the first client comes
	rosterLease = time.Minute     // a node that is away for longer is told to clients no more
	rosterMost  = 64              // addresses of one node, and nodes
)

// listing is what a node says of itself.
type listing struct {
	Servers  []string `json:"servers"`
	Ready    bool     `json:"ready"`
	Leaving  bool     `json:"leaving,omitempty"` // it sends its clients away, or has done
	Sessions int      `json:"sessions"`
	Rooms    int      `json:"rooms"` // active ones
}

// heard is a listing of another node.
type heard struct {
	listing
	at time.Time
}

func (h *heard) fresh(now time.Time) bool { return now.Sub(h.at) < rosterFresh }

// roster is what is known of all nodes.
type roster struct {
	bus    parley.Bus
	self   func() listing // what this node says; Leaving is the roster's
	logger *slog.Logger
	tell   chan struct{} // holds one wish: the others should hear of this node at once
	met    chan struct{} // holds one wish: another node was heard of

	mu      sync.Mutex
	nodes   map[string]heard
	leaving bool
}

func newRoster(bus parley.Bus, self func() listing, logger *slog.Logger) *roster {
	return &roster{bus: bus, self: self, logger: logger, tell: make(chan struct{}, 1), met: make(chan struct{}, 1), nodes: make(map[string]heard)}
}

// run tells the others of this node, and hears of them, until ctx ends.
func (r *roster) run(ctx context.Context) {
	stop, err := r.bus.Subscribe(rosterTopic, r.hear)
	if err != nil {
		r.logger.Error("nothing is known of other nodes, and clients are told of none", "error", err)
		return
	}
	defer stop()
	tick := time.NewTicker(rosterEvery)
	defer tick.Stop()
	for {
		if data, err := json.Marshal(r.own()); err == nil { // of strings and numbers nothing fails
			r.bus.Publish(rosterTopic, data)
		}
		select {
		case <-tick.C:
		case <-r.tell:
		case <-ctx.Done():
			return
		}
	}
}

// own is what this node says of itself.
func (r *roster) own() listing {
	l := r.self()
	r.mu.Lock()
	l.Leaving = r.leaving
	r.mu.Unlock()
	return l
}

// leave has the others send nobody here any more.
func (r *roster) leave() {
	r.mu.Lock()
	r.leaving = true
	r.mu.Unlock()
	r.wish()
}

func (r *roster) wish() { wish(r.tell) }

func wish(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// meet waits, not for long, until as many other nodes are known as there should be: a client that
// comes early could not be told where else to go when this node dies.
func (r *roster) meet(others int) {
	if r == nil {
		return
	}
	timer := time.NewTimer(rosterMeet)
	defer timer.Stop()
	for len(r.others()) < others {
		select {
		case <-r.met:
		case <-timer.C:
			return
		}
	}
}

func (r *roster) hear(from string, data []byte) {
	var l listing
	if err := json.Unmarshal(data, &l); err != nil || len(l.Servers) > rosterMost {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.nodes[from]; !known {
		if len(r.nodes) >= rosterMost {
			return
		}
		r.wish() // it has to hear of this node too
	}
	r.nodes[from] = heard{l, time.Now()}
	wish(r.met)
}

// others gives what is known of the other nodes, by their names.
func (r *roster) others() map[string]heard {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make(map[string]heard, len(r.nodes))
	for node, h := range r.nodes {
		if time.Since(h.at) > rosterLease {
			delete(r.nodes, node)
			continue
		}
		all[node] = h
	}
	return all
}

// servers gives the addresses of all nodes that clients may come to, this one's first.
func (r *roster) servers() []string {
	var others []string
	for _, h := range r.others() {
		if !h.Leaving {
			others = append(others, h.Servers...)
		}
	}
	slices.Sort(others)
	return slices.Compact(append(slices.Clone(r.self().Servers), others...))
}

// elsewhere gives the addresses of the nodes that take clients now, but for this one.
func (r *roster) elsewhere() (servers []string) {
	now := time.Now()
	for _, h := range r.others() {
		if h.Ready && !h.Leaving && h.fresh(now) {
			servers = append(servers, h.Servers...)
		}
	}
	slices.Sort(servers)
	return slices.Compact(servers)
}
