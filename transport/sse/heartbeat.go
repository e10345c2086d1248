package sse

import (
	"context"
	"sync"
	"time"
)

// heartbeat is a comment, by which both ends and all between see that the connection lives.
const heartbeat = ":\n\n"

// slots are how many parts a round of heartbeats has, so that many streams are not written to at once.
const slots = 40

// beats sees that every stream gets a heartbeat each round.
type beats struct {
	mu    sync.Mutex
	slots [slots]map[*stream]struct{}
	next  int // slot of the next stream
}

func (b *beats) add(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s.slot = b.next
	b.next = (b.next + 1) % slots
	if b.slots[s.slot] == nil {
		b.slots[s.slot] = make(map[*stream]struct{})
	}
	b.slots[s.slot][s] = struct{}{}
}

func (b *beats) remove(s *stream) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.slots[s.slot], s)
}

// run sends heartbeats until ctx ends, to each stream once a round.
func (b *beats) run(ctx context.Context, round time.Duration) {
	tick := time.NewTicker(round / slots)
	defer tick.Stop()
	var due []*stream
	for slot := 0; ; slot = (slot + 1) % slots {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due = b.list(due[:0], slot)
		for _, s := range due {
			s.beat()
		}
		clear(due)
	}
}

func (b *beats) list(dst []*stream, slot int) []*stream {
	b.mu.Lock()
	defer b.mu.Unlock()
	for s := range b.slots[slot] {
		dst = append(dst, s)
	}
	return dst
}
