package engine

import (
	"sync/atomic"
	"time"
)

// Stats are counts since Open, but for the last three, which are of the moment.
type Stats struct {
	Appended    uint64        // appends that became durable
	Duplicates  uint64        // repeated ids, answered with the first seq
	Refused     uint64        // appends not stored
	Unknown     uint64        // appends that ended with an unknown outcome
	Waited      uint64        // appends that had to wait for room in flight
	Delivered   uint64        // live messages given to followers by the tail
	Syncs       uint64        // rounds of the group commit
	SyncTime    time.Duration // spent in them
	GapFills    uint64        // followers that read the log since the tail had left a gap
	SafetyFinds uint64        // followers that the safety check found behind
	Unreadable  uint64        // records left out because they could not be decoded
	Broke       uint64        // write errors of the store
	Reopened    uint64        // times the store was opened again after one
	BusLost     uint64        // messages to or from other nodes, not of the log, that were dropped
	Batches     uint64        // batches that this node sent to the store, where messages are replicated
	Groups      uint64        // batches of nodes that were in them: those of others go with its own

	InFlight  int // appends without an outcome
	Following int // rooms with a live tail
	Unsynced  int // messages written but not durable
}

type counters struct {
	appended, duplicates, refused, unknown, waited, delivered atomic.Uint64
	syncs, gapFills, safetyFinds, unreadable, broke, reopened atomic.Uint64
	busLost, batches, groups                                  atomic.Uint64
	syncTime                                                  atomic.Int64
}

// Stats gives the counts; each is exact, though not all of the same instant.
func (e *Engine) Stats() Stats {
	c := &e.counts
	s := Stats{
		Appended: c.appended.Load(), Duplicates: c.duplicates.Load(), Refused: c.refused.Load(),
		Unknown: c.unknown.Load(), Waited: c.waited.Load(), Delivered: c.delivered.Load(),
		Syncs: c.syncs.Load(), SyncTime: time.Duration(c.syncTime.Load()),
		GapFills: c.gapFills.Load(), SafetyFinds: c.safetyFinds.Load(), Unreadable: c.unreadable.Load(),
		Broke: c.broke.Load(), Reopened: c.reopened.Load(), BusLost: c.busLost.Load() + e.bus.dropped(),
		Batches: c.batches.Load(), Groups: c.groups.Load(),
		InFlight: e.slots.count(), Following: e.rooms.count(),
	}
	for _, p := range e.parts {
		if mark, written := e.mark.at(p), p.written(); written > mark {
			s.Unsynced += int(written - mark)
		}
	}
	return s
}
