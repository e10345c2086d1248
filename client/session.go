package client

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"parley"
	"parley/wire"
)

// How long a server may be silent before it is asked for a sign of life, and how long then.
const (
	pingAfter  = 15 * time.Second
	pongWithin = 10 * time.Second
)

// session is one connection, from its welcome to its end. ask, join and forget may be called by
// any goroutine. Lock order: subscription.mu before session.mu.
type session struct {
	// Fixed at birth.
	client *Client
	link   link
	addr   string
	user   string
	token  string // that hello showed
	limits parley.Limits
	born   time.Time

	answered atomic.Bool   // something came beyond errors
	kick     chan struct{} // of one: there is something to write

	// Owned by the reader; read after serve has returned.
	fault error // the last error of the server that answers nothing

	mu       sync.Mutex
	over     bool
	queue    [][]byte // operations to write, sends apart
	waiting  map[uint64]answerer
	audience map[string]*subscription

	workers   map[workKey]*worker
	consulted map[string]*answering // by room
}

// answerer is told of the answer to one operation, or that there will be none: once, by a
// goroutine that must not be made to wait. That of an ask is told of each answer, and of their end.
type answerer interface {
	answer(f *wire.Frame)
	lost()
}

func newSession(c *Client, l link, addr, token string, welcome *wire.Frame) *session {
	return &session{
		client:   c,
		link:     l,
		addr:     addr,
		user:     welcome.User,
		token:    token,
		limits:   limitsOf(welcome),
		born:     time.Now(),
		kick:     c.out.kick,
		waiting:  make(map[uint64]answerer),
		audience: make(map[string]*subscription),

		workers:   make(map[workKey]*worker),
		consulted: make(map[string]*answering),
	}
}

// serve reads and writes until the connection or ctx ends, and says why it did. Its goroutines
// have ended when it returns. The caller owes a call of end.
func (s *session) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	wg.Go(func() { cancel(s.write(ctx)) })
	wg.Go(func() {
		cancel(s.watch(ctx))
		s.link.Close() // which ends the reader, and a write under way
	})
	if s.client.opts.token != nil && !s.client.opts.fixed {
		wg.Go(func() { s.refresh(ctx) })
	}
	cancel(s.read())
	wg.Wait()
	if s.fault != nil {
		return s.fault
	}
	return context.Cause(ctx)
}

// end tells all who wait for an answer that none will come. It follows serve, when the client has
// let go of the session, so that nobody who is told comes back to it.
func (s *session) end() {
	s.mu.Lock()
	s.over = true
	waiting, audience := s.waiting, s.audience
	workers, consulted := s.workers, s.consulted
	s.workers, s.consulted = nil, nil
	s.waiting, s.audience, s.queue = nil, nil, nil
	s.mu.Unlock()
	for _, w := range waiting {
		w.lost()
	}
	for _, sub := range audience {
		sub.lost(s)
	}
	for _, w := range workers {
		w.lost()
	}
	for _, a := range consulted {
		select {
		case a.wake <- struct{}{}:
		default:
		}
	}
}

// useful says whether the session was more than a connection made and lost.
func (s *session) useful() bool { return s.answered.Load() || time.Since(s.born) >= goodLife }

// ask has an operation written, behind those asked before. Where w is set, it is told of the
// answer, also when the session is over already. ask returns the ref, by which to forget.
func (s *session) ask(op wire.Op, w answerer) uint64 {
	return s.askWith(w, func(ref []byte) []byte {
		op.Ref = ref
		return wire.AppendOp(nil, op)
	})
}

// askWith is ask for an operation that encode writes.
func (s *session) askWith(w answerer, encode func(ref []byte) []byte) uint64 {
	ref := s.client.refs.Add(1)
	frame := encode(strconv.AppendUint(nil, ref, 10))
	s.mu.Lock()
	over := s.over
	if !over {
		s.queue = append(s.queue, frame)
		if w != nil {
			s.waiting[ref] = w
		}
	}
	s.mu.Unlock()
	switch {
	case !over:
		s.wake()
	case w != nil:
		w.lost()
	}
	return ref
}

// forget lets an operation's answer go by.
func (s *session) forget(ref uint64) {
	s.mu.Lock()
	delete(s.waiting, ref)
	s.mu.Unlock()
}

// listen has the messages of the subscription's room go to it, from now on; unless the session is
// over.
func (s *session) listen(sub *subscription) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.over {
		s.audience[sub.room] = sub
	}
	return !s.over
}

// unlisten ends what listen began, where nobody else listens meanwhile.
func (s *session) unlisten(sub *subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.audience[sub.room] == sub {
		delete(s.audience, sub.room)
	}
}

func (s *session) listener(room string) *subscription {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sub := s.audience[room]; sub != nil {
		return sub
	}
	return s.covering(room)
}

// wake has the writer look for what there is to write.
func (s *session) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// write writes operations and sends as they come, until ctx ends.
func (s *session) write(ctx context.Context) error {
	var frames [][]byte
	for {
		s.mu.Lock()
		frames = append(frames[:0], s.queue...)
		clear(s.queue)
		s.queue = s.queue[:0]
		s.mu.Unlock()
		frames = s.client.out.take(frames)
		if len(frames) > 0 {
			if err := s.link.WriteFrames(frames); err != nil {
				return fmt.Errorf("write: %w", err)
			}
			clear(frames)
			continue
		}
		select {
		case <-s.kick:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch waits until ctx ends, or the server gives no sign of life.
func (s *session) watch(ctx context.Context) error {
	asked := false
	for {
		silence := time.Since(s.link.Heard())
		wait := pingAfter - silence
		switch {
		case silence < pingAfter:
			asked = false
		case !asked:
			s.ask(wire.Op{Kind: wire.Ping}, nil)
			asked, wait = true, pongWithin
		case silence >= pingAfter+pongWithin:
			return errSilent
		default:
			wait = pingAfter + pongWithin - silence
		}
		if !sleep(ctx, wait) {
			return ctx.Err()
		}
	}
}

// read takes in frames until the link ends.
func (s *session) read() error {
	for {
		line, err := s.link.ReadFrame()
		if err != nil {
			return fmt.Errorf("read: %w", err)
		}
		f, err := wire.ParseFrame(line)
		if err != nil {
			return err
		}
		handle, ok := handlers[f.Op]
		if !ok {
			handle = (*session).onAnswer
		}
		handle(s, f)
	}
}

// handlers are for the frames that are not simply the answer to an operation.
var handlers = map[string]func(*session, *wire.Frame){
	"message": (*session).onMessage,
	"gap":     (*session).onGap,
	"cursor":  (*session).onCursor,
	"error":   (*session).onError,
	"left":    (*session).onLeft,

	"presence": (*session).onPresence,
	"signal":   (*session).onSignal,

	"job":      (*session).onJob,
	"question": (*session).onQuestion,
	"status":   (*session).onStatus,
}

func (s *session) onMessage(f *wire.Frame) {
	s.answered.Store(true)
	if sub := s.listener(f.Room); sub != nil {
		m, err := f.Decode()
		sub.deliver(s, m, err)
	}
}

func (s *session) onGap(f *wire.Frame) {
	if sub := s.listener(f.Room); sub != nil {
		sub.gap(s, f.Room, f.After, f.Next)
	}
}

// onLeft takes an answer, or the server's word that the client may not be in a room any more.
func (s *session) onLeft(f *wire.Frame) {
	if f.Ref != nil {
		s.onAnswer(f)
	} else if sub := s.listener(f.Room); sub != nil {
		sub.expelled(s)
	}
}

// onStatus takes whether the server can store messages. Sends and readers wait by themselves.
func (s *session) onStatus(f *wire.Frame) {
	st := s.client.Status()
	if st.Unavailable = f.Message; f.Available {
		st.Unavailable = ""
	}
	s.client.setStatus(st, s, nil)
}

// onError takes an error that answers nothing as the reason for the end that follows it.
func (s *session) onError(f *wire.Frame) {
	if f.Ref == nil {
		s.fault = f.Err()
		return
	}
	s.onAnswer(f)
}

func (s *session) onAnswer(f *wire.Frame) {
	ref, err := strconv.ParseUint(string(f.Ref), 10, 64)
	if err != nil {
		return // an operation of a newer server
	}
	if f.Op != "error" {
		s.answered.Store(true)
	}
	if s.client.out.answer(ref, f) {
		return
	}
	s.mu.Lock()
	w := s.waiting[ref]
	if f.Op != "answer" { // more of them may come, and an end
		delete(s.waiting, ref)
	}
	s.mu.Unlock()
	if w != nil {
		w.answer(f)
	}
}
