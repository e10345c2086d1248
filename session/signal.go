package session

import (
	"bytes"
	"context"

	"parley"
	"parley/wire"
)

// signal passes a value on to the other members of a room, without storing it or answering.
func (s *Session) signal(_ context.Context, op *wire.Op) error {
	if len(op.Body) > wire.MaxSignal {
		return parley.Errorf(parley.TooLarge, "a signal has at most %d bytes; this one has %d", wire.MaxSignal, len(op.Body))
	}
	m := s.member(op.Room)
	if m == nil {
		return parley.Errorf(parley.NotFound, "you are not in %s", op.Room)
	}
	allowed, err := s.account.Signal()
	if allowed {
		m.Signal(bytes.Clone(op.Body))
		return nil
	}
	s.server.Hub.DropSignal()
	return err
}
