package client

import (
	"container/list"
	"context"
	"fmt"
	"sync"
	"time"

	"parley"
	"parley/wire"
)

// outbox holds the messages that are not acknowledged, in the order they are to be stored. It
// outlives connections: what was sent on one and not acknowledged is sent on the next, in the
// same order, under the same ids and before anything newer. It is bounded: put blocks when full.
//
// Where the server refuses one for now (unavailable, rate_limited), nothing more is sent until
// all that is under way has its answer and a pause has passed; then it goes on from the oldest.
type outbox struct {
	// Fixed at birth.
	slots  chan struct{} // one token for each message held
	kick   chan struct{} // tells the writer that take may give something
	closed chan struct{}

	mu       sync.Mutex
	queue    list.List // of *Pending
	byRef    map[uint64]*list.Element
	next     *list.Element // the first that is not sent on this connection; nil = all are
	window   int           // how many may be sent and not answered
	again    time.Duration // how long after its first sending a message may be sent again
	inflight int           // sent and not answered
	held     bool          // only messages that were sent before may be sent
	resume   time.Time     // when refused: not to go on before; else zero
	timer    *time.Timer   // kicks at resume
	wait     backoff
	obstacle error // why there is no connection
	fault    error // why it is closed
}

// maxBatch bounds what is handed to the link at once, in bytes.
const maxBatch = 64 << 10

func newOutbox(messages int) *outbox {
	return &outbox{
		slots:  make(chan struct{}, messages),
		kick:   make(chan struct{}, 1),
		closed: make(chan struct{}),
		byRef:  make(map[uint64]*list.Element),
	}
}

// put queues p, waiting while the outbox is full. When ctx ends later, p is given up.
func (o *outbox) put(ctx context.Context, p *Pending) error {
	select {
	case o.slots <- struct{}{}:
	default:
		select {
		case o.slots <- struct{}{}:
		case <-o.closed:
			return o.fault
		case <-ctx.Done():
			return fmt.Errorf("the outbox is full: %w", gaveUp(ctx, o.reason()))
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fault != nil {
		<-o.slots
		return o.fault
	}
	e := o.queue.PushBack(p)
	o.byRef[p.ref] = e
	if o.next == nil {
		o.next = e
		o.wake()
	}
	if ctx.Done() != nil {
		p.release = context.AfterFunc(ctx, func() { o.abandon(ctx, p) })
	}
	return nil
}

func (o *outbox) reason() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.obstacle
}

// attach readies the outbox for a connection.
func (o *outbox) attach(s *session) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.window, o.obstacle = s.limits.Inflight, nil
	// Beyond the dedupe window it could be stored twice; a tenth is for the way and the clocks.
	o.again = s.limits.Dedupe * 9 / 10
	o.wake()
}

// detach takes back what was sent on a connection that has ended.
func (o *outbox) detach(obstacle error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.inflight, o.obstacle = 0, obstacle
	for e := o.queue.Front(); e != nil; {
		p, here := e.Value.(*Pending), e
		e = e.Next()
		if p.sent = false; p.settled() {
			o.remove(here)
		}
	}
	o.next = o.queue.Front()
}

// take appends the frames that may be sent now.
func (o *outbox) take(frames [][]byte) [][]byte {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.resume.IsZero() {
		if o.inflight > 0 || time.Now().Before(o.resume) {
			return frames
		}
		o.resume = time.Time{}
		o.next = o.queue.Front()
	}
	for size := 0; o.next != nil && o.inflight < o.window && size < maxBatch; {
		here := o.next
		p := here.Value.(*Pending)
		first := p.firstSent.IsZero()
		if first && o.held {
			break
		}
		o.next = here.Next()
		switch {
		case first:
			p.firstSent = time.Now()
		case time.Since(p.firstSent) > o.again:
			p.settle(Receipt{}, fmt.Errorf("%w, and it is too late to send it again", ErrUnknown))
			o.remove(here)
			continue
		}
		p.sent = true
		o.inflight++
		size += len(p.frame)
		frames = append(frames, p.frame)
	}
	return frames
}

// answer takes the answer to a send; it says whether it was one.
func (o *outbox) answer(ref uint64, f *wire.Frame) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	e, ok := o.byRef[ref]
	if !ok {
		return false
	}
	p := e.Value.(*Pending)
	if !p.sent {
		return true // answered before: the server's mistake
	}
	o.inflight--
	var refusal *parley.Error
	if f.Op != "ack" {
		refusal = f.Err()
	}
	switch {
	case refusal == nil:
		o.wait.reset()
		p.settle(Receipt{Room: p.room, ID: p.id, Seq: f.Seq, Duplicate: f.Duplicate}, nil)
		o.remove(e)
	case temporary(refusal) && !p.settled():
		p.sent, p.refusal = false, refusal
		o.pause(refusal)
	default:
		p.settle(Receipt{}, refusal)
		o.remove(e)
	}
	o.wake()
	return true
}

// pause stops sending until what is under way is answered and some time has passed.
func (o *outbox) pause(refusal *parley.Error) {
	if !o.resume.IsZero() {
		return // one pause for all that were refused together
	}
	d := o.wait.next(refusal)
	o.resume = time.Now().Add(d)
	if o.timer != nil {
		o.timer.Stop()
	}
	o.timer = time.AfterFunc(d, o.wake)
}

// abandon gives p up, since its ctx has ended. One that is under way keeps its place until it is
// answered, but is not sent again.
func (o *outbox) abandon(ctx context.Context, p *Pending) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if p.settled() {
		return
	}
	err := o.obstacle
	if p.refusal != nil {
		err = p.refusal
	}
	err = gaveUp(ctx, err)
	if !p.firstSent.IsZero() {
		err = fmt.Errorf("%w: %w", ErrUnknown, err)
	}
	p.settle(Receipt{}, err)
	if e, ok := o.byRef[p.ref]; ok && !p.sent {
		o.remove(e)
		o.wake()
	}
}

// hold has only messages sent that were sent before, until the hold is released.
func (o *outbox) hold(on bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = on
	o.wake()
}

// snapshot gives the messages that are held now and fit.
func (o *outbox) snapshot(fits func(*Pending) bool) []*Pending {
	o.mu.Lock()
	defer o.mu.Unlock()
	var held []*Pending
	for e := o.queue.Front(); e != nil; e = e.Next() {
		if p := e.Value.(*Pending); fits(p) {
			held = append(held, p)
		}
	}
	return held
}

// close fails all that is held, and all that would come.
func (o *outbox) close(fault error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fault = fault
	if o.timer != nil {
		o.timer.Stop()
	}
	for e := o.queue.Front(); e != nil; e = o.queue.Front() {
		p := e.Value.(*Pending)
		err := fault
		if !p.firstSent.IsZero() {
			err = fmt.Errorf("%w: %w", ErrUnknown, fault)
		}
		p.settle(Receipt{}, err)
		o.remove(e)
	}
	close(o.closed)
}

func (o *outbox) remove(e *list.Element) {
	if o.next == e {
		o.next = e.Next()
	}
	p := o.queue.Remove(e).(*Pending)
	p.frame = nil // a caller may keep p for long
	delete(o.byRef, p.ref)
	<-o.slots
}

func (o *outbox) wake() {
	select {
	case o.kick <- struct{}{}:
	default:
	}
}
