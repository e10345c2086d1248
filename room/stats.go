package room

import "sync/atomic"

// counters are what a hub counts.
type counters struct {
	messages atomic.Int64
	gaps     atomic.Int64
	lagReads atomic.Int64
	parked   atomic.Int64

	presence       atomic.Int64
	presenceLate   atomic.Int64
	signals        atomic.Int64
	signalsLost    atomic.Int64
	signalsDropped atomic.Int64

	statuses atomic.Int64
}

// Stats are a hub's counters since it began, and gauges of now.
type Stats struct {
	Messages int64 // delivered by the log to active rooms
	Gaps     int64 // gap frames told to members
	LagReads int64 // pages read from the log for members behind their ring
	Parked   int64 // outlets whose socket is full or whose cursor is behind its ring, now
	Rooms    int   // active rooms, now

	Presence       int64 // presence frames, each for all members of a room that asked
	PresenceLate   int64 // of these, how often a member could not take one: it is told all anew
	Signals        int64 // taken for a room's members
	SignalsLost    int64 // of these, how often a member could not take one
	SignalsDropped int64 // not taken: of a session, or a room, that signals too much

	Statuses int64 // sessions told that messages cannot be stored, or can again
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

		Presence:       h.stats.presence.Load(),
		PresenceLate:   h.stats.presenceLate.Load(),
		Signals:        h.stats.signals.Load(),
		SignalsLost:    h.stats.signalsLost.Load(),
		SignalsDropped: h.stats.signalsDropped.Load(),

		Statuses: h.stats.statuses.Load(),
	}
}
