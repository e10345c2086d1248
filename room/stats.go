package room

import "sync/atomic"

// counters are what a hub counts.
type counters struct {
	messages atomic.Int64
	gaps     atomic.Int64
	lagReads atomic.Int64
	parked   atomic.Int64
}

// Stats are a hub's counters since it began, and gauges of now.
type Stats struct {
	Messages int64 // delivered by the log to active rooms
	Gaps     int64 // gap frames told to members
	LagReads int64 // pages read from the log for members behind their ring
	Parked   int64 // outlets whose socket is full or whose cursor is behind its ring, now
	Rooms    int   // active rooms, now
}

// Stats reads the counters.
func (h *Hub) Stats() Stats {
	h.mu.Lock()
	rooms := len(h.rooms)
	h.mu.Unlock()
	return Stats{
		Messages: h.stats.messages.Load(),
		Gaps:     h.stats.gaps.Load(),
		LagReads: h.stats.lagReads.Load(),
		Parked:   h.stats.parked.Load(),
		Rooms:    rooms,
	}
}
