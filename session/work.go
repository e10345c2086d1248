package session

import (
	"bytes"
	"context"
	"sync"
	"time"

	"parley"
	"parley/auth"
	"parley/wire"
	"parley/work"
)

// Operations of readers and workers.

// taking is a session's place in a group.
type taking struct {
	room, group string
	work.Worker
	stopped bool
}

// reading is a room that the session reads as a durable reader.
type reading struct {
	room string
	*work.Reader
}

// take has jobs of a group come to the session.
func (s *Session) take(ctx context.Context, op *wire.Op) error {
	taken := func() {
		s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Taking(dst, op.Ref, op.Room, op.Group) })
	}
	s.mu.Lock()
	s.dropIdle()
	if t := s.taking(op); t != nil {
		s.mu.Unlock()
		t.Change(s.server.takingOf(op))
		taken()
		return nil
	}
	n := len(s.takings)
	s.mu.Unlock()
	if most := s.server.Bounds().Rooms; n >= most {
		return parley.Errorf(parley.Conflict, "you take from %d groups, as many as a session may: stop with one first", n)
	}
	t := s.server.takingOf(op)
	t.Taken = taken
	t.Give = func(j *parley.Job) {
		s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Job(dst, j) })
	}
	taker, err := s.server.Work.Take(ctx, t)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.takings = append(s.takings, &taking{room: op.Room, group: op.Group, Worker: taker})
	stays := s.mayWork(op.Room)
	s.mu.Unlock()
	if !stays { // what is granted has changed since the gate
		s.expel()
	}
	return nil
}

// takingOf makes of a take what the books are told, but for whom the jobs go to.
func (s *Server) takingOf(op *wire.Op) work.Taking {
	return work.Taking{
		Room: op.Room, Group: op.Group, Prefetch: op.Prefetch, Parallel: op.Parallel, Tries: op.Tries, Deadline: op.Deadline,
		Begin: func(ctx context.Context) (uint64, error) {
			if !op.Start.Replays() {
				return 0, nil
			}
			return s.Hub.Begin(ctx, op.Room, op.Start)
		},
	}
}

// taking finds the session's place in a group; s.mu is held, as in the next three.
func (s *Session) taking(op *wire.Op) *taking {
	for _, t := range s.takings {
		if t.room == op.Room && t.group == op.Group && !t.stopped {
			return t
		}
	}
	return nil
}

// dropIdle lets go of the groups that the session has stopped with and holds nothing of.
func (s *Session) dropIdle() {
	kept := s.takings[:0]
	for _, t := range s.takings {
		if !t.stopped || t.Holds() > 0 {
			kept = append(kept, t)
		}
	}
	clear(s.takings[len(kept):])
	s.takings = kept
}

// mayWork says whether the session may work in a room.
func (s *Session) mayWork(room string) bool {
	return s.server.permit(s.who, &wire.Op{Kind: wire.Take, Room: room}) == nil
}

// stop ends what take has begun.
func (s *Session) stop(_ context.Context, op *wire.Op) error {
	if op.Group == "" {
		return s.stopServing(op)
	}
	s.mu.Lock()
	t := s.taking(op)
	if t != nil {
		t.stopped = true
	}
	s.mu.Unlock()
	if t == nil {
		return parley.Errorf(parley.NotFound, "you take nothing of %s from %s", op.Group, op.Room)
	}
	t.Stop()
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Stopped(dst, op.Ref, op.Room, op.Group) })
	return nil
}

// receive is who waits for what an operation stores to be durable.
type receive func(parley.Receipt, error)

// of is who waits for a step.
func (r receive) of() work.Told {
	return func(seq uint64, err error) { r(parley.Receipt{Seq: seq}, err) }
}

// settles carries out what finishes a job or moves a reader, and answers when it is durable. It counts
// to the sends in flight.
func settles(do func(s *Session, ctx context.Context, op *wire.Op, told receive) error) func(*Session, context.Context, *wire.Op) error {
	return func(s *Session, ctx context.Context, op *wire.Op) error {
		if err := s.slot(ctx, op); err != nil {
			return err
		}
		ref, room := bytes.Clone(op.Ref), op.Room
		err := do(s, ctx, op, func(r parley.Receipt, err error) {
			if err != nil {
				s.Refuse(ref, err)
			} else {
				s.out.Ack(ref, room, r)
			}
			<-s.slots
		})
		if err != nil {
			<-s.slots
		}
		return err
	}
}

// busy gives the worker of a job more time.
func (s *Session) busy(ctx context.Context, op *wire.Op) error {
	d, err := s.server.Work.Busy(ctx, op.Room, op.Job, op.Deadline)
	if err != nil {
		return err
	}
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Busy(dst, op.Ref, op.Room, op.Job, d) })
	return nil
}

// settle does what an operation says of a job.
func (s *Server) settle(ctx context.Context, op *wire.Op, told receive) error {
	switch {
	case op.Letter != 0:
		return s.Work.PutBack(ctx, op.Room, op.Letter, told)
	case op.Kind == wire.Retry:
		return s.Work.Retry(ctx, op.Room, op.Job, op.Delay, op.Reason, told.of())
	case op.Kind == wire.Release:
		return s.Work.Release(ctx, op.Room, op.Job, told.of())
	case op.Kind == wire.Fail:
		return s.Work.Fail(ctx, op.Room, op.Job, op.Reason, told.of())
	}
	return s.Work.Done(ctx, op.Room, op.Job, told.of())
}

func (s *Session) settle(ctx context.Context, op *wire.Op, told receive) error {
	return s.server.settle(ctx, op, told)
}

// done finishes a job, or moves a reader.
func (s *Session) done(ctx context.Context, op *wire.Op, told receive) error {
	if op.Job != "" {
		return s.server.settle(ctx, op, told)
	}
	s.mu.Lock()
	var r *work.Reader
	for _, reading := range s.readings {
		if reading.room == op.Room && (op.Reader == "" || op.Reader == reading.Name()) {
			r = reading.Reader
		}
	}
	s.mu.Unlock()
	switch {
	case r != nil:
		return r.Done(ctx, *op.Seq, told.of())
	case op.Reader == "":
		return parley.Errorf(parley.NotFound, "you have not joined %s as a reader", op.Room)
	}
	return s.server.move(ctx, op, told)
}

// move moves a reader that nobody need have joined as.
func (s *Server) move(ctx context.Context, op *wire.Op, told receive) error {
	r, _, _, err := s.Work.Reader(ctx, op.Room, op.Reader)
	if err != nil {
		return err
	}
	defer r.Close() // its write goes on
	return r.Done(ctx, *op.Seq, told.of())
}

// advance is move for who waits.
func (s *Server) advance(ctx context.Context, op *wire.Op) (position uint64, err error) {
	r, err := await(ctx, func(told receive) error { return s.move(ctx, op, told) })
	return r.Seq, err
}

// resume finds where a reader is and has the join begin there, or behind what the client has already if
// that is more. One that has never been anywhere begins where the join says, and is there from now on.
func (s *Session) resume(ctx context.Context, op *wire.Op, has uint64) (*work.Reader, error) {
	r, at, there, err := s.server.Work.Reader(ctx, op.Room, op.Reader)
	if err != nil {
		return nil, err
	}
	if !there {
		if at, err = s.server.Hub.Begin(ctx, op.Room, op.Start); err == nil {
			_, err = await(ctx, func(told receive) error { return r.Done(ctx, at, told.of()) })
		}
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	at = max(at, has)
	op.Start = wire.Start{After: &at}
	return r, nil
}

// await waits for what is told of a step.
func await(ctx context.Context, step func(receive) error) (parley.Receipt, error) {
	type outcome struct {
		receipt parley.Receipt
		err     error
	}
	c := make(chan outcome, 1)
	if err := step(func(r parley.Receipt, err error) { c <- outcome{r, err} }); err != nil {
		return parley.Receipt{}, err
	}
	select {
	case o := <-c:
		return o.receipt, o.err
	case <-ctx.Done():
		return parley.Receipt{}, ctx.Err()
	}
}

// quitWork gives the jobs that the session holds to others, and lets its readers go.
func (s *Session) quitWork() {
	s.mu.Lock()
	takings, readings, servings := s.takings, s.readings, s.servings
	s.takings, s.readings, s.servings = nil, nil, nil
	s.mu.Unlock()
	for _, t := range takings {
		t.Leave()
	}
	for _, r := range readings {
		r.Close()
	}
	for _, one := range servings {
		one.Leave()
	}
}

// unread lets go of the reader by which the session is in a room; s.mu is held.
func (s *Session) unread(room string) {
	for i, r := range s.readings {
		if r.room == room {
			r.Close()
			s.readings = append(s.readings[:i:i], s.readings[i+1:]...)
			return
		}
	}
}

// banned is what a session may not do any more.
type banned struct {
	room string
	end  func()
}

// banWork takes the session out of the groups and away from the questions of rooms that it may not
// work in any more; s.mu is held.
func (s *Session) banWork() (gone []banned) {
	kept := s.takings[:0:0]
	for _, t := range s.takings {
		if s.mayWork(t.room) {
			kept = append(kept, t)
		} else {
			gone = append(gone, banned{t.room, t.Leave})
		}
	}
	s.takings = kept
	served := s.servings[:0:0]
	for _, one := range s.servings {
		if s.mayWork(one.room) {
			served = append(served, one)
		} else {
			gone = append(gone, banned{one.room, one.Leave})
		}
	}
	s.servings = served
	return gone
}

// Take gives a caller jobs of a group, as soon as there is one, at most as many as prefetch says;
// none if none comes within wait. They are the caller's until their deadline, whatever becomes of
// its connection.
func (s *Server) Take(ctx context.Context, c Caller, op *wire.Op, wait time.Duration) ([]*parley.Job, error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	var jobs []*parley.Job
	some := make(chan struct{})
	t := s.takingOf(op)
	t.Give = func(j *parley.Job) {
		mu.Lock()
		defer mu.Unlock()
		if jobs = append(jobs, j); len(jobs) == 1 {
			close(some)
		}
	}
	taker, err := s.Work.Take(ctx, t)
	if err != nil {
		return nil, err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-some:
	case <-timer.C:
	case <-ctx.Done():
		taker.Leave() // nobody is there to be told of what it holds
		return nil, ctx.Err()
	}
	taker.Stop()
	mu.Lock()
	defer mu.Unlock()
	return jobs, nil
}

// Settle does what a caller says of a job, or of a dead letter, and returns when that is durable: the
// job's seq, and for a letter whether it was put back before.
func (s *Server) Settle(ctx context.Context, c Caller, op *wire.Op) (parley.Receipt, error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return parley.Receipt{}, err
	}
	return await(ctx, func(told receive) error { return s.settle(ctx, op, told) })
}

// Busy gives a caller more time for a job, and says how much.
func (s *Server) Busy(ctx context.Context, c Caller, op *wire.Op) (time.Duration, error) {
	if err := s.Admit(ctx, c, op); err != nil {
		return 0, err
	}
	return s.Work.Busy(ctx, op.Room, op.Job, op.Deadline)
}

// finishing is what a done takes: to work, or to read what was said.
func finishing(op *wire.Op) auth.Right {
	if op.Job != "" {
		return auth.Work
	}
	return auth.Join | auth.History
}
