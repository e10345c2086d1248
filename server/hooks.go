package server

import (
	"time"

	"parley/hooks"
	"parley/wire"
)

// hookList says how hooks fare, as clients are told.
func hookList(sender *hooks.Sender) func() []wire.HookEntry {
	return func() []wire.HookEntry {
		stats := sender.Stats()
		list := make([]wire.HookEntry, len(stats))
		for i, s := range stats {
			list[i] = wire.HookEntry{
				Hook: s.Hook, To: s.To, Rooms: s.Rooms, Pending: s.Behind, LagMS: s.Lag.Milliseconds(), Sent: s.Sent, Dead: s.Dead, Gone: s.Gone,
				LastSuccess: known(s.LastSuccess), FailingSince: known(s.FailingSince), Why: s.Why,
			}
		}
		return list
	}
}

// known is a time as a frame has it; nil = never.
func known(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC().Truncate(time.Millisecond)
	return &t
}
