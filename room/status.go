package room

import "parley/wire"

// Announce tells all members whether messages can be stored: each session once, however many rooms it is
// in, when that is not so any more, and those that were told so when it is again. Who joins a room
// meanwhile is told then. One caller at a time.
func (h *Hub) Announce(s wire.Status) {
	h.status.Store(&s) // before anybody is told: who joins from here on finds it
	for _, r := range h.active() {
		r.mu.Lock()
		shards := r.shards
		r.mu.Unlock()
		for _, shard := range shards {
			for _, m := range *shard.members.Load() {
				m.out.announce()
			}
		}
	}
}

// announce tells the session, unless its client does not read just now: the pump does it then.
func (o *Outlet) announce() {
	o.mu.Lock()
	told := !o.off() && !o.pumping && o.inform()
	o.mu.Unlock()
	if told {
		o.hub.flushers.add(o)
	}
}

// inform queues the hub's status where the session has not been told of it. The mu is held.
func (o *Outlet) inform() bool {
	s := o.hub.status.Load()
	if s == nil || s.Available != o.warned {
		return false
	}
	o.warned = !s.Available
	o.replies = o.enc.Status(o.replies, *s)
	o.hub.stats.statuses.Add(1)
	return true
}
