package session

import (
	"context"

	"parley"
	"parley/quota"
	"parley/room"
	"parley/wire"
)

// whoLimit is how many users are named in the answer to members.
const whoLimit = room.MaxNamed

func (s *Session) join(ctx context.Context, op *wire.Op) error {
	j := room.Joining{Room: op.Room, Start: op.Start, Echo: !plain(s.enc)}
	if op.Echo != nil {
		j.Echo = *op.Echo
	}
	j.Joined = func(enc wire.Encoding, dst []byte, seq uint64) []byte {
		return enc.Joined(dst, op.Ref, op.Room, seq)
	}
	if op.Presence {
		j.Present = func(enc wire.Encoding, dst []byte, seq uint64, users []string, count int) []byte {
			return enc.JoinedMembers(dst, op.Ref, op.Room, seq, users, count)
		}
	}
	if parley.IsPattern(op.Room) {
		s.joinPattern(&j, func(enc wire.Encoding, dst []byte, at parley.Position) []byte {
			return enc.JoinedMany(dst, op.Ref, op.Room, at)
		})
	}
	return s.enterAs(ctx, op, j, 0)
}

// enterAs is enter for one that may join as a durable reader; has is up to where the client has the room's
// messages already.
func (s *Session) enterAs(ctx context.Context, op *wire.Op, j room.Joining, has uint64) error {
	if op.Reader == "" {
		return s.enter(ctx, j)
	}
	if s.member(j.Room) != nil {
		return s.enter(ctx, j) // which says so
	}
	r, err := s.resume(ctx, op, has)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.readings = append(s.readings, &reading{op.Room, r})
	s.mu.Unlock()
	j.Start = op.Start
	if err = s.enter(ctx, j); err != nil {
		s.mu.Lock()
		s.unread(op.Room)
		s.mu.Unlock()
	}
	return err
}

// plain says whether an encoding is one of plain lines, where a client does not hear itself.
func plain(enc wire.Encoding) bool {
	switch enc.(type) {
	case wire.TextBare, wire.TextNamed:
		return true
	}
	return false
}

// Attach makes the session a member of a room behind the position after, without an answer: what
// happens to a plain client when it connects.
func (s *Session) Attach(ctx context.Context, name string, after uint64) error {
	if err := s.gate(&wire.Op{Kind: wire.Join, Room: name}); err != nil {
		return err
	}
	return s.enter(ctx, room.Joining{Room: name, Start: wire.Start{After: &after}})
}

func (s *Session) enter(ctx context.Context, j room.Joining) error {
	if s.member(j.Room) != nil {
		return parley.Errorf(parley.Conflict, "you are in %s already", j.Room)
	}
	if n := s.count(); n >= s.server.Bounds().Rooms {
		s.server.Quota.Count(quota.RoomsPerSession)
		return parley.Errorf(parley.Conflict, "you are in %d rooms, as many as a session may be in: leave one first", n)
	}
	m, err := s.server.Hub.Join(ctx, s.out, j)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.members = append(s.members, m)
	_, fits := s.fits(m)
	s.mu.Unlock()
	if !fits { // what is granted has changed since the gate
		s.expel()
	}
	return nil
}

func (s *Session) leave(_ context.Context, op *wire.Op) error {
	s.expelling.Lock() // a pattern that is changing goes on in another room of the hub
	defer s.expelling.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, m := range s.members {
		if m.Room() == op.Room {
			m.Leave()
			s.members = append(s.members[:i:i], s.members[i+1:]...)
			s.unread(op.Room)
			s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Left(dst, op.Ref, op.Room) })
			return nil
		}
	}
	return parley.Errorf(parley.NotFound, "you are not in %s", op.Room)
}

// In says whether the session is in a room.
func (s *Session) In(name string) bool { return s.member(name) != nil }

// count is how many rooms the session is in.
func (s *Session) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.members)
}

// member finds the session's membership of a room.
func (s *Session) member(name string) *room.Member {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range s.members {
		if m.Room() == name {
			return m
		}
	}
	return nil
}

func (s *Session) history(ctx context.Context, op *wire.Op) error {
	page, err := s.server.page(ctx, op)
	if err != nil {
		return err
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Page(dst, op.Ref, op.Room, page) })
	return nil
}

func (s *Session) rooms(ctx context.Context, op *wire.Op) error {
	list, more, err := s.server.rooms(ctx, s.principal(), op)
	if err != nil {
		return err
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Rooms(dst, op.Ref, list, more) })
	return nil
}

func (s *Session) whoIsThere(_ context.Context, op *wire.Op) error {
	users, count := s.server.members(op)
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Members(dst, op.Ref, op.Room, users, count) })
	return nil
}
