package client

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"parley"
	"parley/wire"
)

// Handler does one job. nil is done, an error made by [Fail] a dead letter, any other error a retry,
// after the delay that [RetryAfter] says or the server's own. ctx ends with that of Work, and when
// the job is another worker's by now.
type Handler func(ctx context.Context, job *parley.Job) error

// WorkOption sets something of a [Client.Work].
type WorkOption func(*workOptions)

type workOptions struct {
	parallel int
	op       wire.Op
	lost     func(*parley.Job, error)
}

// Parallel says how many jobs are handled at a time, 1 to [wire.MaxPrefetch]; 1 by default.
func Parallel(n int) WorkOption { return func(o *workOptions) { o.parallel = n } }

// Prefetch says how many jobs are held, those being handled included. The default is as many as are
// handled at a time: a job that waits here could be done elsewhere. More of them keep short jobs coming.
// Those that were not begun when the connection ends have not been tried.
func Prefetch(n int) WorkOption { return func(o *workOptions) { o.op.Prefetch = n } }

// Deadline says after which silence a job is taken from this worker; 30 s by default. As long as its
// handler runs, the client says in time that it is busy: the deadline is for workers that are gone.
func Deadline(d time.Duration) WorkOption { return func(o *workOptions) { o.op.Deadline = d } }

// Tries says how often a job is given out before it is a dead letter; 5 by default.
func Tries(n int) WorkOption { return func(o *workOptions) { o.op.Tries = n } }

// BeginAt says where a group begins that is not there yet: with [After], [Last] or [Since]. By default
// with the oldest message that is left.
func BeginAt(at ReadOption) WorkOption {
	return func(o *workOptions) {
		r := newReading([]ReadOption{at})
		o.op.Start = wire.Start{After: r.after, Last: r.last, Since: r.since}
	}
}

// OnLost has report called, by any goroutine, with a job that was handled and whose outcome the server
// did not take, since it is finished or another worker's by now.
func OnLost(report func(*parley.Job, error)) WorkOption {
	return func(o *workOptions) { o.lost = report }
}

// failure is an error that makes a dead letter.
type failure struct{ error }

func (f failure) Unwrap() error { return f.error }

// Fail makes of an error one for which a job is not tried again: its text is the dead letter's reason.
func Fail(err error) error { return failure{err} }

// delayed is an error with a time to try again.
type delayed struct {
	error
	delay time.Duration
}

func (d delayed) Unwrap() error { return d.error }

// RetryAfter makes of an error one for which a job is tried again, though not before a delay.
func RetryAfter(d time.Duration, err error) error { return delayed{err, d} }

// Work takes jobs of a group and has handle do each, until ctx ends, which is its error then, or the
// server refuses for good. It goes on after lost connections. When ctx ends it takes no more, gives back
// what was not begun, which costs these jobs no try, waits for the handlers, and reports what they did.
//
// A job is done at least once: again, perhaps elsewhere, if the answer to its end was lost.
func (c *Client) Work(ctx context.Context, room, group string, handle Handler, opts ...WorkOption) error {
	o := workOptions{parallel: 1, lost: func(*parley.Job, error) {}}
	o.op = wire.Op{Kind: wire.Take, Tries: wire.DefaultTries, Deadline: wire.DefaultDeadline}
	for _, set := range opts {
		set(&o)
	}
	if o.op.Prefetch == 0 {
		o.op.Prefetch = o.parallel
	}
	if o.parallel < o.op.Prefetch {
		o.op.Parallel = o.parallel
	}
	o.op.Room, o.op.Group = room, group
	if o.parallel < 1 || o.parallel > wire.MaxPrefetch {
		return parley.Errorf(parley.BadRequest, "from 1 to %d jobs are handled at a time", wire.MaxPrefetch)
	}
	if _, err := wire.ParseOp(wire.AppendOp(nil, o.op)); err != nil {
		return err
	}
	var err error
	if o.op.Room, err = parley.ParseRoom(room); err != nil {
		return err
	}
	if o.op.Group, err = parley.ParseRoom(group); err != nil {
		return err
	}
	w := &worker{
		client: c, options: o, handle: handle,
		jobs: make(chan handed, 2*wire.MaxPrefetch),
		wake: make(chan struct{}, 1),
	}
	return w.run(ctx)
}

// worker is a call of Work: connections come and go under it.
type worker struct {
	// Fixed at birth.
	client  *Client
	options workOptions
	handle  Handler
	jobs    chan handed
	wake    chan struct{} // of one: the session is over

	mu      sync.Mutex
	sess    *session // where it takes
	leaving bool     // no job is begun any more
}

// handed is a job, and the connection by which it came.
type handed struct {
	job  *parley.Job
	sess *session
}

func (w *worker) run(ctx context.Context) error {
	var handlers sync.WaitGroup
	working, stop := context.WithCancel(ctx)
	for range w.options.parallel {
		handlers.Go(func() { w.handleAll(working) })
	}
	err := w.take(ctx)
	stop()
	left := w.leave()
	handlers.Wait()
	left()
	return err
}

// take takes, and takes again on each new connection, until ctx ends or the server refuses.
func (w *worker) take(ctx context.Context) error {
	var wait backoff
	for {
		s, err := w.client.session(ctx)
		if err != nil {
			return err
		}
		w.mu.Lock()
		w.sess = s
		w.mu.Unlock()
		select {
		case <-w.wake: // the end of the one before
		default:
		}
		if !s.employ(w) {
			continue
		}
		reply := make(replyChan, 1)
		s.ask(w.options.op, reply)
		var f *wire.Frame
		select {
		case f = <-reply:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		switch {
		case f == nil:
			continue
		case f.Op != "error":
			wait.reset()
		case temporary(f.Err()):
			s.dismiss(w)
			if !sleep(ctx, wait.next(f.Err())) {
				return gaveUp(ctx, f.Err())
			}
			continue
		default:
			return f.Err()
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// leave has no more jobs come, and gives back those that were not begun, now and until the server has
// heard of it. That is what the returned function waits for, as long as it takes to report an outcome.
func (w *worker) leave() (wait func()) {
	w.mu.Lock()
	s := w.sess
	w.leaving = true
	w.mu.Unlock()
	if s == nil {
		return func() {}
	}
	stopped := make(replyChan, 1)
	s.ask(wire.Op{Kind: wire.Stop, Room: w.options.op.Room, Group: w.options.op.Group}, stopped)
	for more := true; more; {
		select {
		case h := <-w.jobs:
			w.release(h)
		default:
			more = false
		}
	}
	late := time.NewTimer(reportWithin)
	return func() {
		defer late.Stop()
		select {
		case <-stopped:
		case <-late.C:
		}
		s.dismiss(w)
	}
}

// release gives back a job that was not begun. One that came by a connection which has ended is another's
// by now.
func (w *worker) release(h handed) {
	h.sess.ask(wire.Op{Kind: wire.Release, Room: h.job.Room, Job: h.job.Job}, nil)
}

// deliver takes a job that came on s. It must not wait: what there is no room for is given back.
func (w *worker) deliver(s *session, j *parley.Job) {
	w.mu.Lock()
	defer w.mu.Unlock()
	h := handed{j, s}
	if w.leaving {
		w.release(h)
		return
	}
	select {
	case w.jobs <- h:
	default:
		w.release(h)
	}
}

// lost takes the end of a connection: what came by it and was not begun is another's by now.
func (w *worker) lost() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) handleAll(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		default:
		}
		select {
		case h := <-w.jobs:
			switch {
			case h.sess.ended():
			case ctx.Err() != nil:
				w.release(h)
			default:
				w.do(ctx, h.job)
			}
		case <-ctx.Done():
			return
		}
	}
}

// reportWithin bounds how long the outcome of a job is reported, once ctx has ended.
const reportWithin = 5 * time.Second

// do handles a job and reports how it went.
func (w *worker) do(ctx context.Context, j *parley.Job) {
	doing, stop := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.keep(doing, stop, j)
	}()
	err := w.handle(doing, j)
	stop(nil)
	<-ended
	report, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(reportWithin, cancel) })()
	if err := w.report(report, j, err); err != nil {
		w.options.lost(j, err)
	}
}

// keep says in time that the worker is busy, until ctx ends.
func (w *worker) keep(ctx context.Context, stop context.CancelCauseFunc, j *parley.Job) {
	op := wire.Op{Kind: wire.Busy, Room: j.Room, Job: j.Job}
	for sleep(ctx, j.Deadline/3) {
		_, err := w.client.call(ctx, func(ref []byte) []byte {
			op.Ref = ref
			return wire.AppendOp(nil, op)
		})
		var refusal *parley.Error
		if errors.As(err, &refusal) && refusal.Code == parley.Conflict {
			stop(refusal)
			return
		}
	}
}

// report says what became of a job, and waits until the server has taken it.
func (w *worker) report(ctx context.Context, j *parley.Job, outcome error) error {
	op := wire.Op{Kind: wire.Done, Room: j.Room, Job: j.Job}
	var fail failure
	var later delayed
	switch {
	case outcome == nil:
	case errors.As(outcome, &fail):
		op.Kind, op.Reason = wire.Fail, clipReason(outcome.Error())
	default:
		op.Kind, op.Reason = wire.Retry, clipReason(outcome.Error())
		if errors.As(outcome, &later) {
			op.Delay = &later.delay
		}
	}
	_, err := w.client.call(ctx, func(ref []byte) []byte {
		op.Ref = ref
		return wire.AppendOp(nil, op)
	})
	return err
}

func clipReason(s string) string {
	if len(s) > wire.MaxReason {
		s = strings.ToValidUTF8(s[:wire.MaxReason], "")
	}
	return s
}

// workKey is what a session's jobs are told apart by.
type workKey struct{ room, group string }

func (w *worker) key() workKey { return workKey{w.options.op.Room, w.options.op.Group} }

// employ has the jobs of the worker's group go to it, from now on; unless the session is over.
func (s *session) employ(w *worker) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.workers[w.key()] = w
	}
	return !s.over
}

func (s *session) dismiss(w *worker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.workers[w.key()] == w {
		delete(s.workers, w.key())
	}
}

func (s *session) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over
}

func (s *session) onJob(f *wire.Frame) {
	s.answered.Store(true)
	j, err := f.DecodeJob()
	if err != nil {
		s.client.opts.log.Warn("a job that this client cannot read", "err", err)
		return
	}
	s.mu.Lock()
	w := s.workers[workKey{j.Room, j.Group}]
	s.mu.Unlock()
	if w != nil {
		w.deliver(s, j)
	}
}
