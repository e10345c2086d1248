package engine

import (
	"context"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"parley"
)

// weightUnit is how many bytes of a body count as one append in flight.
const weightUnit = 4 << 10

var records = sync.Pool{New: func() any { return new([]byte) }}

// Append implements parley.Log. One that waits for its turn gives up with ctx.
func (e *Engine) Append(ctx context.Context, d parley.Draft, done func(parley.Receipt, error)) error {
	if len(d.Body) > maxRecord-weightUnit {
		return parley.Errorf(parley.TooLarge, "a message has at most %d bytes", maxRecord-weightUnit)
	}
	s := slot{place: e.place(d.Room), done: done}
	return e.append(ctx, s, len(d.Body), func(token uint64) error { return e.commit(s.place, token, &d) })
}

// append holds a slot for s, whose body has so many bytes, and has commit write it.
func (e *Engine) append(ctx context.Context, s slot, bytes int, commit func(token uint64) error) error {
	now := time.Now()
	e.checkSpace(now)
	if err := e.health.refuses(); err != nil {
		e.counts.refused.Add(1)
		return err
	}
	weight := int64(1 + bytes/weightUnit)
	if !e.inflight.TryAcquire(weight) {
		e.counts.waited.Add(1)
		if err := e.inflight.Acquire(ctx, weight); err != nil {
			e.counts.refused.Add(1)
			return errBusy.Because(err)
		}
		now = time.Now()
	}
	s.weight, s.since = weight, now
	token := e.slots.take(s)
	// Whoever makes the engine refuse looks for held slots only after he has said so: either he
	// finds this one, or it is seen here that he did.
	if err := e.health.refuses(); err != nil {
		return e.refuse(token, err)
	}
	if err := commit(token); err != nil {
		return e.refuse(token, errNot.Because(err))
	}
	return nil
}

func (e *Engine) commit(pl place, token uint64, d *parley.Draft) error {
	var msgID string
	if d.Retry {
		msgID = messageID(d.Room, d.From, d.ID)
	}
	buf := records.Get().(*[]byte)
	*buf = appendRecord((*buf)[:0], d)
	err := e.committer().commit(pl, token, msgID, *buf)
	if cap(*buf) <= maxPooled {
		records.Put(buf)
	}
	return err
}

const maxPooled = 128 << 10 // a rare large body does not stay

// committer is what writes records: on one node each by itself, made durable by the syncer, and in
// a cluster in batches that a majority has synced.
type committer interface {
	// commit takes the record's place in its partition's order, and keeps nothing of it.
	commit(pl place, token uint64, msgID string, record []byte) error
}

func (e *Engine) committer() committer {
	if e.batches != nil {
		return e.batches
	}
	return e.store.Load()
}

// refuse takes back an append that was not published. Where its slot has been let go already,
// done has told the outcome and Append must not.
func (e *Engine) refuse(token uint64, err error) error {
	s, ok := e.slots.drop(token)
	if !ok {
		return nil
	}
	e.inflight.Release(s.weight)
	e.counts.refused.Add(1)
	return err
}

// onAck takes the store's answer to an append: a written one waits for the watermark.
func (e *Engine) onAck(name string, m *nats.Msg) {
	if e.batches != nil {
		e.batches.answer(name, m)
		return
	}
	token, ok := parseToken(name)
	if !ok {
		return
	}
	s, ok := e.slots.look(token)
	if !ok {
		return
	}
	a, err := parseAck(m.Data)
	if err != nil {
		e.log.Warn("append refused by the store", "room", s.place.room, "error", err)
		if s, ok := e.slots.drop(token); ok {
			e.counts.refused.Add(1)
			e.inflight.Release(s.weight)
			s.done(parley.Receipt{}, errNot.Because(err))
		}
		return
	}
	s.place.part.wrote(token, a)
	e.written(s.place.part, a.seq)
}

// failHeld ends, with an unknown outcome, the appends for which which is true.
func (e *Engine) failHeld(because error, which func(*slot) bool) {
	for _, s := range e.slots.dropIf(which) {
		e.counts.unknown.Add(1)
		e.inflight.Release(s.weight)
		s.done(parley.Receipt{}, errUnknown.Because(because))
	}
}
