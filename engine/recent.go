package engine

import (
	"sync"
	"time"
)

// maxRecent is how many ids a partition remembers beside the store.
const maxRecent = 32 << 10

// recent is the newest ids of a partition, as the tail has brought them from all nodes. To ask the
// store for a repeated one costs a batch that it refuses; most are repeated soon.
type recent struct {
	window time.Duration

	mu   sync.Mutex
	by   map[string]recentID
	ring []string // the ids by age, from next on
	next int
}

type recentID struct {
	seq uint64
	at  time.Time
}

func newRecent(window time.Duration) *recent {
	return &recent{window: window, by: make(map[string]recentID)}
}

// add knows an id that is stored at seq; the oldest one makes room.
func (r *recent) add(id string, seq uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.ring) < maxRecent {
		r.ring = append(r.ring, id)
	} else {
		delete(r.by, r.ring[r.next])
		r.ring[r.next] = id
		r.next = (r.next + 1) % maxRecent
	}
	r.by[id] = recentID{seq, time.Now()}
}

// find gives the seq of an id that counts still.
func (r *recent) find(id string) (seq uint64, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	one, ok := r.by[id]
	return one.seq, ok && time.Since(one.at) < r.window
}
