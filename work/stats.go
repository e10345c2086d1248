package work

import "sync/atomic"

// Stats are counts since the start, but for the last two, which are of the moment.
type Stats struct {
	Copied  uint64 // messages that became jobs, for each group
	Given   uint64 // jobs given to workers
	Done    uint64
	Retried uint64
	Failed  uint64
	Lost    uint64 // tries that ended with their worker's connection or deadline
	Dead    uint64 // dead letters
	Back    uint64 // dead letters that were put back
	Freed   uint64 // jobs that came back from a worker that had not begun them
	Expired uint64 // jobs that nobody wanted in time
	Missed  uint64 // times that a room did not keep messages until they were copied
	Reloads uint64 // times that a group read its journals again after a failure

	Groups  int
	Readers int // in use
}

type counters struct {
	copied, given, done, retried, failed, lost, dead, expired, missed, reloads, returned, freed atomic.Uint64
}

// Stats reads the counts.
func (m *Manager) Stats() Stats {
	c := &m.counts
	s := Stats{
		Copied: c.copied.Load(), Given: c.given.Load(), Done: c.done.Load(), Retried: c.retried.Load(),
		Failed: c.failed.Load(), Lost: c.lost.Load(), Dead: c.dead.Load(), Expired: c.expired.Load(),
		Missed: c.missed.Load(), Reloads: c.reloads.Load(),
		Back: c.returned.Load(), Freed: c.freed.Load(),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	s.Groups, s.Readers = len(m.groups), len(m.readers)
	return s
}
