package ws

import (
	"context"
	"sync"
	"time"
)

// heartbeat asks connections for a sign of life when nothing was read from them, and cuts those
// that give none: each is looked at once in every interval. A connection that sleeps need not be
// woken for it. They are spread over the interval, so that their pongs do not come all at once.
type heartbeat struct {
	every time.Duration

	mu    sync.Mutex
	slots [beats]map[*conn]struct{}
	turn  int // where the next connection goes
}

const (
	beats     = 32 // in an interval
	mayMiss   = 2  // pings that may be without an answer
	beatEvery = 25 * time.Second
)

func newHeartbeat(every time.Duration) *heartbeat {
	h := &heartbeat{every: every}
	for i := range h.slots {
		h.slots[i] = make(map[*conn]struct{})
	}
	return h
}

// run beats until ctx ends.
func (h *heartbeat) run(ctx context.Context) {
	if h.every < 0 {
		return
	}
	tick := time.NewTicker(max(h.every/beats, time.Millisecond))
	defer tick.Stop()
	for slot := 0; ; slot = (slot + 1) % beats {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, c := range h.list(slot) {
			c.beat()
		}
	}
}

func (h *heartbeat) list(slot int) []*conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	conns := make([]*conn, 0, len(h.slots[slot]))
	for c := range h.slots[slot] {
		conns = append(conns, c)
	}
	return conns
}

// add begins to look after a connection. Its first turn comes in an interval at the most, and is
// no ping: the handshake was a sign of life.
func (h *heartbeat) add(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	c.slot = uint8(h.turn)
	h.turn = (h.turn + 1) % beats
	h.slots[c.slot][c] = struct{}{}
}

// remove ends it.
func (h *heartbeat) remove(c *conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.slots[c.slot], c)
}
