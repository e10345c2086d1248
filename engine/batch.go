package engine

import (
	"crypto/rand"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"parley"
)

// Bounds of a batch: JetStream's own of its messages, and bytes that replicas take in at once.
const (
	maxBatch      = 1000
	maxBatchBytes = 4 << 20
)

// batcher is the committer where messages are replicated: what gathers for a partition while one
// batch is being committed goes as the next, so that a majority's syncs are shared by many. One
// batch of a partition is outstanding at a time, since one that has to be sent again must not be
// overtaken by a later one.
type batcher struct {
	engine *Engine
	queues []*queue

	life string        // distinguishes the ids below from those of other nodes and other lives
	ids  atomic.Uint64 // given so far
}

// queue is what waits for its batch. What is in flight bounds it.
type queue struct {
	part *partition
	wake chan struct{} // holds one wish: something waits
	vote chan struct{} // holds one wish: the partition has another leader
	acks chan ackedBatch

	lead *lead // where this node commits for others too

	known *recent // ids that need not be asked for

	failed time.Time // when an attempt last got no good answer; owned by run

	mu      sync.Mutex
	waiting []entry
}

// entry is an append on its way to the store.
type entry struct {
	token   uint64
	subject string
	msgID   string // by which the store knows it again; "" = the batch's first such vouches for it
	own     bool   // msgID is ours: that it is known already is nothing the sender need hear
	record  []byte
	behind  *uint64   // not nil: the seq that the subject's last message has to have
	due     time.Time // when its outcome has to be told
}

func newBatcher(e *Engine) *batcher {
	b := &batcher{engine: e, life: "~" + rand.Text()[:12]}
	for _, p := range e.parts {
		b.queues = append(b.queues, &queue{
			part: p, wake: make(chan struct{}, 1), vote: make(chan struct{}, 1), acks: make(chan ackedBatch, 1),
			known: newRecent(e.cfg.Dedupe), lead: newLead(),
		})
	}
	return b
}

// commit implements committer: the order of calls is the order of the partition.
func (b *batcher) commit(pl place, token uint64, msgID string, record []byte) error {
	b.enqueue(pl, entry{token: token, subject: pl.subject, msgID: msgID, record: record})
	return nil
}

// commitBehind is commit for a record that is stored only right behind the one with the given seq.
func (b *batcher) commitBehind(pl place, token, behind uint64, record []byte) error {
	b.enqueue(pl, entry{token: token, subject: pl.subject, behind: &behind, record: record})
	return nil
}

func (b *batcher) enqueue(pl place, one entry) {
	q := b.queues[pl.part.index]
	one.record, one.due = append([]byte(nil), one.record...), time.Now().Add(b.engine.cfg.AppendTimeout)
	q.mu.Lock()
	q.waiting = append(q.waiting, one)
	q.mu.Unlock()
	kick(q.wake)
}

// run commits what waits for one partition, until the engine stops.
func (b *batcher) run(q *queue) {
	var leading sync.WaitGroup
	leading.Go(func() { b.runLead(q) })
	defer leading.Wait()
	for {
		select {
		case <-q.wake:
		case <-b.engine.ctx.Done():
			return
		}
		for batch := q.take(); len(batch) > 0 && b.engine.ctx.Err() == nil; batch = q.take() {
			began := time.Now()
			b.settle(q, b.repeats(q, batch), false)
			b.await(q.wake, q.length, len(batch)+q.length(), time.Since(began)/awaitPart)
		}
	}
}

// repeats settles the entries whose ids have been stored not long ago, and gives the others.
func (b *batcher) repeats(q *queue, batch []entry) []entry {
	rest := batch[:0]
	for _, one := range batch {
		seq, ok := q.known.find(one.msgID)
		if one.msgID == "" || !ok {
			rest = append(rest, one)
			continue
		}
		q.part.wrote(one.token, storeAck{seq: seq, duplicate: true})
		b.engine.written(q.part, seq)
	}
	return rest
}

// What a batch costs hardly depends on its size, and most of those who have just been answered
// come again at once: the next batch waits a little for them, in proportion to what the last took.
const (
	awaitPart = 2 // of the last batch's time is waited at most
	awaitMost = 2 * time.Millisecond
)

// await waits, when a batch has ended, until about as many are there as were under way then.
func (b *batcher) await(wake <-chan struct{}, there func() int, wanted int, most time.Duration) {
	if wanted < 2 { // nobody else is here
		return
	}
	timer := time.NewTimer(min(most, awaitMost))
	defer timer.Stop()
	for there() < wanted-wanted/8 {
		select {
		case <-wake:
		case <-timer.C:
			return
		case <-b.engine.ctx.Done():
			return
		}
	}
}

func (q *queue) length() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting)
}

// take removes the next batch from what waits. An id that is in it already ends it, and so does a
// record that has to come right behind one in it: the store would refuse the whole batch.
func (q *queue) take() []entry {
	q.mu.Lock()
	defer q.mu.Unlock()
	n, bytes := 0, 0
	ids, subjects := make(map[string]bool), make(map[string]bool)
	for n < min(len(q.waiting), maxBatch) {
		one := &q.waiting[n]
		bytes += len(one.record)
		if n > 0 && (bytes > maxBatchBytes || ids[one.msgID] || one.behind != nil && subjects[one.subject]) {
			break
		}
		if q.part.quiet {
			subjects[one.subject] = true
		}
		if one.msgID != "" {
			ids[one.msgID] = true
		}
		n++
	}
	batch := q.waiting[:n:n]
	if q.waiting = q.waiting[n:]; len(q.waiting) == 0 {
		q.waiting = nil
	}
	return batch
}

// settle brings about an outcome for every entry, in order: it sends the batch until it is known
// to be stored, or refused, or until its time has run out. unsure: it may be stored already.
func (b *batcher) settle(q *queue, batch []entry, unsure bool) {
	batch = b.drop(batch, unsure)
	if len(batch) == 0 {
		return
	}
	sentinel := b.vouch(batch)
	for {
		ack := b.attempt(q, batch)
		switch ack.verdict {
		case stored:
			b.stored(q.part, batch, ack)
			return
		case refused:
			if !unsure {
				b.fail(batch, errNot.Because(ack.err))
				return
			}
		case repeated:
			if len(batch) > 1 {
				b.separate(q, batch, unsure, sentinel)
				return
			}
		case overtaken:
			b.exclude(q, batch)
			return
		case lost:
			unsure = true
		case absent:
		}
		if !b.pause(q, batch[0].due) {
			b.giveUp(batch, unsure, ack.err)
			return
		}
	}
}

// drop leaves out, and fails, what nobody waits for any more.
func (b *batcher) drop(batch []entry, unsure bool) []entry {
	now := time.Now()
	for i := range batch {
		if now.Before(batch[i].due) {
			return batch[i:] // those behind are due later
		}
		b.giveUp(batch[i:i+1], unsure, errTimeout)
	}
	return nil
}

// vouch gives the first entry that has no id one of ours, and its place, or -1. A batch is stored
// whole or not at all: that the store knows this id says it of all the others that have none. The
// store remembers each id for a long time, so there should be few.
func (b *batcher) vouch(batch []entry) (sentinel int) {
	for i := range batch {
		if one := &batch[i]; one.msgID == "" {
			one.msgID, one.own = b.life+strconv.FormatUint(b.ids.Add(1), tokenBase), true
		}
		if batch[i].own {
			return i
		}
	}
	return -1
}

// separate settles a batch of which the store knows an id: a sender's that is repeated, or ours,
// where an attempt whose outcome was not heard has stored it all. Halves keep the order, and find
// one among a thousand in twenty steps.
func (b *batcher) separate(q *queue, batch []entry, unsure bool, sentinel int) {
	if !unsure || sentinel < 0 {
		half := (len(batch) + 1) / 2
		b.settle(q, batch[:half], unsure)
		b.settle(q, batch[half:], unsure)
		return
	}
	for i := range sentinel {
		b.settle(q, batch[i:i+1], true)
	}
	first, ok := b.settleOne(q, batch[sentinel])
	rest := batch[sentinel+1:]
	switch {
	case !ok: // and of the rest nobody knows more
		b.fail(rest, errUnknown.Because(errTimeout))
	case first.duplicate:
		b.stored(q.part, rest, ackedBatch{seq: first.seq + uint64(len(rest))})
	default:
		b.settle(q, rest, false)
	}
}

// exclude settles a batch in which a record does not come right behind the one that it has to: that
// one fails, the others do not suffer. Nothing of the batch is stored, nor can an earlier attempt at
// it still be: the store looks at its ids first, and a subject's last message never comes back.
func (b *batcher) exclude(q *queue, batch []entry) {
	if len(batch) == 1 {
		b.fail(batch, parley.ErrOvertaken)
		return
	}
	half := (len(batch) + 1) / 2
	b.settle(q, batch[:half], false)
	b.settle(q, batch[half:], false)
}

// settleOne is settle for one entry, and says what came of it; not ok: that is not known.
func (b *batcher) settleOne(q *queue, one entry) (ack storeAck, ok bool) {
	batch := []entry{one}
	for {
		a := b.attempt(q, batch)
		switch a.verdict {
		case stored:
			b.stored(q.part, batch, a)
			return storeAck{a.seq, a.duplicate}, true
		case refused, lost, repeated, overtaken, absent:
		}
		if !b.pause(q, one.due) {
			b.giveUp(batch, true, a.err)
			return storeAck{}, false
		}
	}
}

// stored passes the seqs of a batch on; the last one's is known, and they are contiguous.
func (b *batcher) stored(p *partition, batch []entry, ack ackedBatch) {
	if len(batch) == 0 {
		return
	}
	first := ack.seq - uint64(len(batch)) + 1
	for i := range batch {
		p.wrote(batch[i].token, storeAck{seq: first + uint64(i), duplicate: ack.duplicate && !batch[i].own})
	}
	b.engine.written(p, ack.seq)
}

// giveUp ends entries whose time has run out.
func (b *batcher) giveUp(batch []entry, unsure bool, because error) {
	if unsure {
		b.fail(batch, errUnknown.Because(because))
	} else {
		b.fail(batch, errNoQuorum.Because(because))
	}
}

func (b *batcher) fail(batch []entry, err *parley.Error) {
	for i := range batch {
		s, ok := b.engine.slots.drop(batch[i].token)
		if !ok {
			continue
		}
		if err.Message == errUnknown.Message {
			b.engine.counts.unknown.Add(1)
		} else {
			b.engine.counts.refused.Add(1)
		}
		b.engine.inflight.Release(s.weight)
		s.done(parley.Receipt{}, err)
	}
}

// retryPause is the time between two attempts; a new leader ends it.
const retryPause = 20 * time.Millisecond

// heard notes the id of a message that the tail has brought.
func (b *batcher) heard(p *partition, id string, seq uint64) {
	if id != "" && id[0] != b.life[0] { // those we gave are never repeated by senders
		b.queues[p.index].known.add(id, seq)
	}
}

// pause waits before the next attempt. False: there is no time for one.
func (b *batcher) pause(q *queue, due time.Time) bool {
	left := time.Until(due)
	if left <= 0 {
		return false
	}
	t := time.NewTimer(min(retryPause, left))
	defer t.Stop()
	select {
	case <-t.C:
		return time.Now().Before(due)
	case <-q.vote:
		return true
	case <-b.engine.ctx.Done():
		return false
	}
}
