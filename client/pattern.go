package client

import (
	"maps"

	"parley"
	"parley/wire"
)

// Patterns: Client.Room of a pattern, as orders.**, gives the messages of all rooms that fit, each
// with its Room. It can be read with Messages, and nothing else. Its place is not a seq but a cursor.

// Behind reads what came behind a cursor, as [OnCursor] gave it. For [Room.Messages] of a pattern.
func Behind(cursor string) ReadOption { return func(r *reading) { r.cursor = cursor } }

// OnCursor has f called, by the goroutine that iterates, with the cursor behind the messages that it has
// been given: a program that keeps it can go on there with [Behind]. It comes now and then, not
// behind each message. For [Room.Messages] of a pattern.
func OnCursor(f func(cursor string)) ReadOption { return func(r *reading) { r.onCursor = f } }

// many is what a subscription of a pattern has in place of a seq. Guarded by its mu, but for pattern.
type many struct {
	pattern parley.Pattern // fixed

	cursor parley.Position   // of the last frame that bore one; nil = none came yet
	since  map[string]uint64 // the last seq of each room of which something came behind it
}

// newMany gives nil for a room.
func newMany(room string) *many {
	p, err := parley.ParsePattern(room)
	if err != nil || !parley.IsPattern(room) {
		return nil
	}
	return &many{pattern: p, since: make(map[string]uint64)}
}

// start is where to go on, once that is known.
func (p *many) start() (wire.Start, bool) {
	if p.cursor == nil {
		return wire.Start{}, false
	}
	s := wire.Start{Cursor: p.cursor}
	if len(p.since) > 0 {
		s.Places = maps.Clone(p.since)
	}
	return s, true
}

// at notes a cursor that a frame bears; none is as well.
func (p *many) at(text string) {
	if at, err := parley.ParsePosition(text); err == nil {
		p.cursor = at
		clear(p.since)
	}
}

// deliverMany is deliver for a pattern. The subscription's mu is held.
func (sub *subscription) deliverMany(m *parley.Message) {
	if m.Seq <= sub.many.since[m.Room] {
		return
	}
	if !sub.noEcho || !sub.client.identity.wrote(m) {
		if !sub.push(event{message: m}) {
			return
		}
	}
	sub.many.since[m.Room] = m.Seq
}

// moved takes the server's word for where the subscription is.
func (sub *subscription) moved(s *session, cursor string) {
	sub.mu.Lock()
	defer sub.mu.Unlock()
	if sub.state != member || sub.sess != s || sub.many == nil {
		return
	}
	if sub.onCursor != nil && !sub.push(event{cursor: cursor}) {
		return
	}
	sub.many.at(cursor)
}

// overlaps says whether two subscriptions, one of a pattern at least, have a room in common: one connection
// would not tell whose a message is.
func (sub *subscription) overlaps(other *subscription) bool {
	a, b := sub.many, other.many
	switch {
	case a != nil && b != nil:
		_, common := a.pattern.Intersect(b.pattern)
		return common
	case a != nil:
		return a.pattern.Match(other.room)
	case b != nil:
		return b.pattern.Match(sub.room)
	}
	return false
}

// covering finds who listens to a pattern that covers a room. The session's mu is held.
func (s *session) covering(room string) *subscription {
	for _, sub := range s.audience {
		if sub.many != nil && sub.many.pattern.Match(room) {
			return sub
		}
	}
	return nil
}

func (s *session) onCursor(f *wire.Frame) {
	if sub := s.listener(f.Room); sub != nil {
		sub.moved(s, f.Cursor)
	}
}

// parseRooms reads a room's name or a pattern.
func parseRooms(name string) (string, error) {
	if !parley.IsPattern(name) {
		return parley.ParseRoom(name)
	}
	p, err := parley.ParsePattern(name)
	return p.String(), err
}

// cursors checks what Messages was asked for that only a pattern has.
func (r *reading) cursors(room string) error {
	if r.cursor == "" && r.onCursor == nil {
		return nil
	}
	if !parley.IsPattern(room) {
		return parley.Errorf(parley.BadRequest, "Behind and OnCursor are for patterns")
	}
	if r.cursor == "" {
		return nil
	}
	_, err := parley.ParsePosition(r.cursor)
	return err
}
