package hooks

import (
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Stats are counts of one hook since the start, but for the last ones, which are of the moment.
type Stats struct {
	Hook    string
	To      string   // scheme and host of its URL: the rest may hold a secret
	Rooms   []string // patterns
	Sent    uint64   // requests that were taken
	Failed  uint64   // tries that were not
	Retried uint64   // tries beyond the first
	Dead    uint64   // dead letters
	Missed  uint64   // times that a room did not keep its messages until they were posted
	Dropped uint64   // news of presence that were not told
	Forgot  uint64   // places that could not be written down

	Behind int           // rooms with messages that are still to be posted
	Lag    time.Duration // age of the oldest of these
	Gone   bool          // its receiver wants nothing any more

	LastSuccess  time.Time // when it last took a request; zero: not since the start
	FailingSince time.Time // when it first did not, since then; zero: it did
	Why          string    // it did not the last time; for people, and nothing that is secret
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
	if t := h.target.Load(); t != nil {
		s.To = t.origin()
		for _, p := range t.Rooms {
			s.Rooms = append(s.Rooms, p.String())
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	s.Gone = h.gone
	s.LastSuccess, s.FailingSince, s.Why = h.success, h.failing, h.why
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

// fared notes how a try went; why is "" where it was taken.
func (h *hook) fared(now time.Time, why string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.why = why; {
	case why == "":
		h.success, h.failing = now, time.Time{}
	case h.failing.IsZero():
		h.failing = now
	}
}

// origin is the part of the URL that is nobody's secret.
func (t *target) origin() string {
	u, err := url.Parse(t.URL)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}
