package session

import (
	"context"
	"time"

	"github.com/oklog/ulid/v2"

	"parley"
	"parley/auth"
	"parley/quota"
	"parley/room"
	"parley/wire"
)

// The operations of clients that ask for one thing and go, as over HTTP: the same checks and the
// same answers as those of a connection, without one.

// Send stores one message of a caller's and returns when it is durable, with the id it has.
func (s *Server) Send(ctx context.Context, c Caller, op *wire.Op) (id string, r parley.Receipt, err error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return "", r, err
	}
	return s.store(ctx, c.user, op)
}

func (s *Server) store(ctx context.Context, from string, op *wire.Op) (id string, r parley.Receipt, err error) {
	d, err := s.draft(op)
	if err != nil {
		return "", r, err
	}
	d.From = from
	r, err = await(ctx, func(told receive) error { return s.put(ctx, op, d, told) })
	return d.ID, r, err
}

// draft makes of a send what the log is given, but for who sends it.
func (s *Server) draft(op *wire.Op) (parley.Draft, error) {
	if err := s.checkSize(op); err != nil {
		return parley.Draft{}, err
	}
	d := parley.Draft{Room: op.Room, ID: op.ID, Retry: op.ID != "", Type: op.Type, Body: op.Body, Key: op.JobKey, Priority: uint8(op.Priority)}
	if op.TTL > 0 {
		from := time.Now()
		if op.Due.After(from) {
			from = op.Due
		}
		d.Expires = from.Add(op.TTL)
	}
	if d.ID == "" {
		d.ID = ulid.Make().String()
	}
	return d, nil
}

// put stores a draft at once, or keeps it until it is due.
func (s *Server) put(ctx context.Context, op *wire.Op, d parley.Draft, done func(parley.Receipt, error)) error {
	if op.Due.IsZero() {
		return s.Log.Append(ctx, d, done)
	}
	return s.Work.Later(ctx, d, op.Due, done)
}

// checkSize holds a body against its limit.
func (s *Server) checkSize(op *wire.Op) error {
	if most := s.Bounds().Message; len(op.Body) > most {
		s.Quota.Count(quota.Message)
		return parley.Errorf(parley.TooLarge, "a body has at most %d bytes; this one has %d", most, len(op.Body))
	}
	return nil
}

// Page gives the page that a history asks for.
func (s *Server) Page(ctx context.Context, c Caller, op *wire.Op) (parley.Page, error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return parley.Page{}, err
	}
	return s.page(ctx, op)
}

func (s *Server) page(ctx context.Context, op *wire.Op) (parley.Page, error) {
	switch {
	case op.After != nil:
		return s.Hub.PageAfter(ctx, op.Room, *op.After, op.Limit)
	case op.Before == nil:
		return s.Hub.PageBefore(ctx, op.Room, 0, op.Limit)
	case *op.Before > 0:
		return s.Hub.PageBefore(ctx, op.Room, *op.Before, op.Limit)
	}
	return parley.Page{}, nil
}

// Rooms gives the rooms that a listing asks for, of those that the caller may see.
func (s *Server) Rooms(ctx context.Context, c Caller, op *wire.Op) (list []wire.RoomEntry, more bool, err error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return nil, false, err
	}
	return s.rooms(ctx, c.who, op)
}

func (s *Server) rooms(ctx context.Context, who *auth.Principal, op *wire.Op) (list []wire.RoomEntry, more bool, err error) {
	list, more, err = s.Hub.Rooms(ctx, op.AfterRoom, op.Limit, func(name string) bool {
		return name != revokedRoom && sees(who, name)
	})
	for i := range list {
		if !who.Grants.Allows(auth.Members, list[i].Room) {
			list[i].Members = 0
		}
	}
	return list, more, err
}

// Listen makes the session a member of a room for a client that sends nothing more: a join whose
// answer is the transport's. joined, as room.Joining has it, appends that. Where the join asks for
// presence, who is there follows it as a presence frame. A client that goes on as a reader, and has the
// messages up to one already, does not get these again; when joined is called, op.Start is where it begins.
func (s *Session) Listen(ctx context.Context, op *wire.Op, has uint64, joined func(dst []byte, seq uint64) []byte) error {
	if err := s.gate(op); err != nil {
		return err
	}
	j := room.Joining{
		Room: op.Room, Start: op.Start, Echo: true,
		Joined: func(_ wire.Encoding, dst []byte, seq uint64) []byte { return joined(dst, seq) },
	}
	if op.Presence {
		j.Present = func(enc wire.Encoding, dst []byte, seq uint64, users []string, count int) []byte {
			return enc.Presence(joined(dst, seq), op.Room, wire.Presence{Members: users, Count: count})
		}
	}
	return s.enterAs(ctx, op, j, has)
}

// TooManyRooms is the answer to who wants to be in more rooms than a session may be in.
func TooManyRooms(most int) error {
	return parley.Errorf(parley.Conflict, "a session is in at most %d rooms", most)
}

// Members names some of the users in the room that is asked for, and counts all.
func (s *Server) Members(ctx context.Context, c Caller, op *wire.Op) (users []string, count int, err error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return nil, 0, err
	}
	users, count = s.members(op)
	return users, count, nil
}

func (s *Server) members(op *wire.Op) (users []string, count int) {
	return s.Hub.Members(op.Room, whoLimit)
}
