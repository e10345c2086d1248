package hooks

import (
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Stats are counts of one hook since the start, but for the last three, which are of the moment.
type Stats struct {
	Hook    string
	Sent    uint64 // requests that were taken
	Failed  uint64 // tries that were not
	Retried uint64 // tries beyond the first
	Dead    uint64 // dead letters
	Missed  uint64 // times that a room did not keep its messages until they were posted
	Dropped uint64 // news of presence that were not told
	Forgot  uint64 // places that could not be written down

	Behind int           // rooms with messages that are still to be posted
	Lag    time.Duration // age of the oldest of these
	Gone   bool          // its receiver wants nothing any more
}

type counters struct {
	sent, failed, retried, dead, missed, dropped, forgot atomic.Uint64
}

// Stats reads the counts of the hooks in force, by name.
func (s *Sender) Stats() []Stats {
	s.mu.Lock()
	hooks := make([]*hook, 0, len(s.hooks))
	for _, h := range s.hooks {
		if h.target.Load() != nil {
			hooks = append(hooks, h)
		}
	}
	s.mu.Unlock()
	all := make([]Stats, len(hooks))
	for i, h := range hooks {
		all[i] = h.stats(time.Now())
	}
	slices.SortFunc(all, func(a, b Stats) int { return strings.Compare(a.Hook, b.Hook) })
	return all
}

func (h *hook) stats(now time.Time) Stats {
	c := &h.counts
	s := Stats{
		Hook: h.name, Sent: c.sent.Load(), Failed: c.failed.Load(), Retried: c.retried.Load(), Dead: c.dead.Load(),
		Missed: c.missed.Load(), Dropped: c.dropped.Load(), Forgot: c.forgot.Load(),
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Gone = h.gone
	for _, l := range h.lanes {
		if l.state == idle {
			continue
		}
		s.Behind++
		if !l.behind.IsZero() {
			s.Lag = max(s.Lag, now.Sub(l.behind))
		}
	}
	return s
}
