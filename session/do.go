package session

import (
	"bytes"
	"context"
	"errors"

	"parley"
	"parley/quota"
	"parley/wire"
)

// handlers carry out each operation. An error is answered with the operation's ref.
var handlers = map[wire.Kind]func(*Session, context.Context, *wire.Op) error{
	wire.Hello:     (*Session).hello,
	wire.Join:      (*Session).join,
	wire.Leave:     (*Session).leave,
	wire.Send:      (*Session).send,
	wire.History:   (*Session).history,
	wire.ListRooms: (*Session).rooms,
	wire.Members:   (*Session).whoIsThere,
	wire.Signal:    (*Session).signal,
	wire.Ping:      (*Session).ping,
	wire.Revoke:    (*Session).revoke,
	wire.Drain:     (*Session).drain,
	wire.Take:      (*Session).take,
	wire.Stop:      (*Session).stop,
	wire.Done:      settles((*Session).done),
	wire.Retry:     settles((*Session).settle),
	wire.Release:   settles((*Session).settle),
	wire.Fail:      settles((*Session).settle),
	wire.Busy:      (*Session).busy,
	wire.Ask:       (*Session).ask,
	wire.Serve:     (*Session).serve,
	wire.Answer:    (*Session).answer,

	wire.ListGroups:  (*Session).groups,
	wire.ListReaders: (*Session).readers,
	wire.ListHooks:   (*Session).listHooks,
	wire.Remove:      (*Session).remove,

	wire.Quit: func(*Session, context.Context, *wire.Op) error { return ErrEnd },
}

// Do carries out one operation and sees that it is answered. It waits while the session has too
// much in flight or too many answers unread. The operation may share memory with the caller's
// buffer: nothing of it is kept. The error is ErrEnd,
// ErrRefused or ctx's.
func (s *Session) Do(ctx context.Context, op *wire.Op) error {
	if err := s.Paced(ctx); err != nil {
		return err
	}
	if s.ended.Load() != nil { // it was told why; what it had sent before does not count any more
		return ErrRefused
	}
	handle, ok := handlers[op.Kind]
	if !ok {
		s.Refuse(op.Ref, parley.Errorf(parley.BadRequest, "no operation %q", op.Kind))
		return nil
	}
	err := s.gate(op)
	if err == nil {
		err = handle(s, ctx, op)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrEnd), errors.Is(err, ErrRefused):
		return err
	case ctx.Err() != nil:
		return ctx.Err()
	}
	s.Refuse(op.Ref, err)
	return calm(ctx, s.account, err)
}

// send appends a message to its room's log and answers when it is durable. Beyond the bound of
// sends in flight it waits, and with it the reading of the connection: back-pressure.
func (s *Session) send(ctx context.Context, op *wire.Op) error {
	d, err := s.server.draft(op)
	if err != nil {
		return err
	}
	d.From, d.Session = s.user, s.id
	if err := s.slot(ctx, op); err != nil {
		return err
	}
	s.sends(op.Room)
	ref, name := bytes.Clone(op.Ref), op.Room
	err = s.server.put(ctx, op, d, func(r parley.Receipt, err error) {
		if err != nil {
			s.Refuse(ref, err)
		} else {
			s.out.Ack(ref, name, r)
		}
		<-s.slots
	})
	if err != nil {
		<-s.slots
	}
	return err
}

// slot takes a place among the sends in flight, or waits for one. Who may not send any more after the
// wait does not get it.
func (s *Session) slot(ctx context.Context, op *wire.Op) error {
	if s.slots == nil {
		s.slots = make(chan struct{}, s.server.Bounds().Inflight)
	}
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	s.server.Quota.Count(quota.Inflight)
	select {
	case s.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	err := s.server.permit(s.principal(), op)
	if err != nil {
		<-s.slots
	}
	return err
}

func (s *Session) ping(_ context.Context, op *wire.Op) error {
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Pong(dst, op.Ref) })
	return nil
}
