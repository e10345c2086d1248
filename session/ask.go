package session

import (
	"bytes"
	"context"

	"parley"
	"parley/ask"
	"parley/wire"
)

// Operations of those who ask and those who answer.

// serving is a room whose questions come to the session.
type serving struct {
	room string
	*ask.Responder
}

// ask puts a question to those who serve a room. It counts to the sends in flight until it has ended.
func (s *Session) ask(ctx context.Context, op *wire.Op) error {
	if err := s.server.checkSize(op); err != nil {
		return err
	}
	if err := s.slot(ctx, op); err != nil {
		return err
	}
	ref, room := bytes.Clone(op.Ref), op.Room
	err := s.server.Desk.Ask(ask.Asking{
		Question: question(op, s.user), Most: op.Most,
		Got: func(a *parley.Answer) {
			s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.OneAnswer(dst, ref, room, a) })
		},
		End: func(count int, err error) {
			if err != nil {
				s.Refuse(ref, err)
			} else {
				s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Answered(dst, ref, room, count) })
			}
			<-s.slots
		},
	})
	if err != nil {
		<-s.slots
	}
	return err
}

// question makes of an ask what those who answer get.
func question(op *wire.Op, from string) parley.Question {
	return parley.Question{Room: op.Room, From: from, Type: op.Type, Body: bytes.Clone(op.Body), Timeout: op.Timeout}
}

// serve has the questions to a room come to the session.
func (s *Session) serve(_ context.Context, op *wire.Op) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.servings = idle(s.servings)
	if s.serving(op.Room) != nil {
		return parley.Errorf(parley.Conflict, "you serve %s already", op.Room)
	}
	if most := s.server.Bounds().Rooms; len(s.servings) >= most {
		return parley.Errorf(parley.Conflict, "you serve %d rooms, as many as a session may: stop with one first", most)
	}
	r, err := s.server.Desk.Serve(op.Room, func() {
		s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Serving(dst, op.Ref, op.Room) })
	}, func(q *parley.Question) {
		s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Question(dst, q) })
	})
	if err != nil {
		return err
	}
	s.servings = append(s.servings, &serving{op.Room, r})
	return nil
}

// idle gives those of some rooms that are served, or of which there is something to answer.
func idle(all []*serving) []*serving {
	kept := all[:0:0]
	for _, one := range all {
		if !one.Idle() {
			kept = append(kept, one)
		}
	}
	return kept
}

// serving finds the room among those served; s.mu is held.
func (s *Session) serving(room string) *serving {
	for _, one := range s.servings {
		if one.room == room && !one.Stopped() {
			return one
		}
	}
	return nil
}

// stopServing ends what serve has begun.
func (s *Session) stopServing(op *wire.Op) error {
	s.mu.Lock()
	one := s.serving(op.Room)
	s.mu.Unlock()
	if one == nil {
		return parley.Errorf(parley.NotFound, "you do not serve %s", op.Room)
	}
	one.Stop()
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Stopped(dst, op.Ref, op.Room, "") })
	return nil
}

// answer passes an answer on to who asked.
func (s *Session) answer(_ context.Context, op *wire.Op) error {
	if err := s.server.checkSize(op); err != nil {
		return err
	}
	a := &parley.Answer{From: s.user, Type: op.Type, Body: bytes.Clone(op.Body)}
	s.mu.Lock()
	all := s.servings
	s.mu.Unlock()
	err := error(parley.Errorf(parley.NotFound, "you do not serve %s", op.Room))
	for _, one := range all {
		if one.room != op.Room {
			continue
		}
		if err = one.Answer(op.Question, a); err == nil {
			return nil
		}
	}
	return err
}

// Ask asks for a caller, and gives the answers.
func (s *Server) Ask(ctx context.Context, c Caller, op *wire.Op) ([]*parley.Answer, error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return nil, err
	}
	if err := s.checkSize(op); err != nil {
		return nil, err
	}
	var answers []*parley.Answer
	ended := make(chan error, 1)
	err := s.Desk.Ask(ask.Asking{
		Question: question(op, c.user), Most: op.Most,
		Got: func(a *parley.Answer) { answers = append(answers, a) },
		End: func(_ int, err error) { ended <- err },
	})
	if err != nil {
		return nil, err
	}
	select {
	case err := <-ended:
		return answers, err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
