package work

import (
	"cmp"
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"parley"
)

// Messages that are due later lie in a journal until then: in it is each message with its time, and what
// of them is gone. When one is due it is sent to its room under an id, so that one which is sent again
// after a crash is stored once.
const (
	laterJournal = "later"
	maxLater     = 100_000 // messages
	maxSending   = 64      // that are on their way at a time
	laterPause   = time.Second
)

// Kinds of records of the journal.
const (
	laterMessage = 'm' // due room id from type priority expires key body
	laterGone    = 'g' // seqs of records
)

// later is the messages that are due later.
type later struct {
	manager *Manager
	kick    chan struct{} // of one
	ready   chan struct{} // closed when the journal was read

	mu      sync.Mutex
	waiting dueQueue
	pending map[uint64]bool     // seqs of records that are not gone
	ids     map[[16]byte]uint64 // of those whose sender may send them again; 0 = being written
	writing int                 // on their way into the journal
	sending int
	gone    []uint64 // not written yet
	fading  bool     // a record of gone ones is on its way
	last    uint64   // the newest record of gone ones
	trimmed uint64
	read    uint64 // the last record that was read
	records int    // of gone ones, since the journal was trimmed
}

// due is a message that waits.
type due struct {
	at  time.Time
	seq uint64
	id  [16]byte
}

type dueQueue []due

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].at.Before(q[j].at) }
func (q dueQueue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *dueQueue) Push(x any) { *q = append(*q, x.(due)) }

// Pop implements heap.Interface.
func (q *dueQueue) Pop() any {
	n := len(*q) - 1
	d := (*q)[n]
	*q = (*q)[:n]
	return d
}

func newLater(m *Manager) *later {
	return &later{
		manager: m, kick: make(chan struct{}, 1), ready: make(chan struct{}),
		pending: make(map[uint64]bool), ids: make(map[[16]byte]uint64),
	}
}

// Later keeps a message until it is due. told is called once it is kept for good, unless Later fails
// itself. A draft that its sender may send again is kept once; told says so.
func (m *Manager) Later(ctx context.Context, d parley.Draft, at time.Time, told func(parley.Receipt, error)) error {
	if m.shared() {
		return m.postLater(ctx, &d, at, told)
	}
	l := m.later
	select {
	case <-l.ready:
	case <-m.ctx.Done():
		return errEnding
	case <-ctx.Done():
		return ctx.Err()
	}
	id := idOf(&d)
	l.mu.Lock()
	if seq, known := l.ids[id]; known {
		l.mu.Unlock()
		if seq == 0 {
			return parley.Errorf(parley.Unavailable, "the message is being stored")
		}
		told(parley.Receipt{Duplicate: true}, nil)
		return nil
	}
	if len(l.pending)+l.writing >= maxLater {
		l.mu.Unlock()
		return parley.Errorf(parley.Unavailable, "too many messages are due later: at most %d", maxLater)
	}
	l.writing++
	l.ids[id] = 0
	l.mu.Unlock()
	wrote := func(seq uint64, err error) {
		l.mu.Lock()
		l.writing--
		if err != nil {
			delete(l.ids, id)
		} else {
			l.add(due{at, seq, id})
		}
		l.mu.Unlock()
		l.wake()
	}
	err := m.Journals.Write(ctx, laterJournal, appendLater([]byte{version, laterMessage}, &d, at), func(seq uint64, err error) {
		wrote(seq, err)
		told(parley.Receipt{}, err)
	})
	if err != nil {
		wrote(0, err)
	}
	return err
}

// idOf is what a message is known by: two that are the same to the log are the same here.
func idOf(d *parley.Draft) (id [16]byte) {
	b := appendString(nil, d.Room)
	b = appendString(appendString(b, d.From), d.ID)
	sum := sha256.Sum256(b)
	copy(id[:], sum[:])
	return id
}

// add has a message wait. l.mu is held.
func (l *later) add(d due) {
	heap.Push(&l.waiting, d)
	l.pending[d.seq] = true
	l.ids[d.id] = d.seq
}

func appendLater(b []byte, d *parley.Draft, at time.Time) []byte {
	b = appendTime(b, at)
	b = appendString(appendString(appendString(b, d.Room), d.ID), d.From)
	b = append(b, byte(d.Type), d.Priority)
	b = appendTime(b, d.Expires)
	b = appendString(b, d.Key)
	return appendString(b, d.Body)
}

// readLater reads a record of the journal: a message, or what is gone.
func readLater(record []byte) (d parley.Draft, at time.Time, gone []uint64, err error) {
	r := open(record)
	if r.byte() == laterGone {
		for r.more() {
			gone = append(gone, r.uint())
		}
		return d, at, gone, r.err()
	}
	at = r.time()
	d.Room, d.ID, d.From = string(r.bytes()), string(r.bytes()), string(r.bytes())
	d.Type, d.Priority = r.typ(), r.byte()
	d.Expires = r.time()
	d.Key, d.Body, d.Retry = string(r.bytes()), r.bytes(), true
	return d, at, nil, r.err()
}

// run sends what is due until ctx ends.
func (l *later) run(ctx context.Context) {
	for l.restore(ctx) != nil {
		l.manager.Logger.Error("what is due later cannot be read now; trying again")
		if !sleep(ctx, reloadPause) {
			return
		}
	}
	close(l.ready)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-l.kick:
		case <-timer.C:
		case <-ctx.Done():
			return
		}
		timer.Reset(l.sendDue(ctx))
		l.fade(ctx)
	}
}

// restore reads the journal.
func (l *later) restore(ctx context.Context) error {
	l.mu.Lock()
	l.waiting, l.read = nil, 0
	clear(l.pending)
	clear(l.ids)
	l.mu.Unlock()
	return l.readOn(ctx)
}

// readOn reads what is in the journal behind what was read. Beyond a number of messages the rest waits
// there.
func (l *later) readOn(ctx context.Context) error {
	for more := true; more; {
		l.mu.Lock()
		after, full := l.read, l.manager.shared() && len(l.pending) >= maxLater
		l.mu.Unlock()
		if full {
			return nil
		}
		var records []parley.Record
		var err error
		if records, more, err = l.manager.Journals.Records(ctx, laterJournal, after, 64); err != nil {
			return err
		}
		l.take(records)
	}
	return nil
}

// take takes records of the journal.
func (l *later) take(records []parley.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range records {
		l.read = r.Seq
		d, at, gone, err := readLater(r.Data)
		switch {
		case err != nil:
			l.manager.Logger.Error("a message that is due later is left out: it cannot be read", "seq", r.Seq)
		case d.Room != "":
			l.add(due{at, r.Seq, idOf(&d)})
		}
		for _, seq := range gone {
			delete(l.pending, seq)
		}
	}
}

// sendDue sends what is due, and says after what time there is more.
func (l *later) sendDue(ctx context.Context) time.Duration {
	most := time.Hour
	if l.manager.shared() {
		most = laterLook
		if err := l.readOn(ctx); err != nil { // another may have sent it all
			return most
		}
	}
	for ctx.Err() == nil {
		l.mu.Lock()
		if len(l.waiting) == 0 || l.sending >= maxSending {
			l.mu.Unlock()
			break
		}
		next := l.waiting[0]
		if !l.pending[next.seq] { // it is gone already
			heap.Pop(&l.waiting)
			l.forgetID(next)
			l.mu.Unlock()
			continue
		}
		if wait := time.Until(next.at); wait > 0 {
			l.mu.Unlock()
			return min(wait, most)
		}
		heap.Pop(&l.waiting)
		l.sending++
		l.mu.Unlock()
		if err := l.send(ctx, next); err != nil {
			l.sent(next, err)
		}
	}
	return most
}

func (l *later) send(ctx context.Context, next due) error {
	records, _, err := l.manager.Journals.Records(ctx, laterJournal, next.seq-1, 1)
	if err != nil {
		return err
	}
	if len(records) == 0 || records[0].Seq != next.seq { // another node has sent it and trimmed the journal
		l.sent(next, nil)
		return nil
	}
	d, _, _, err := readLater(records[0].Data)
	if err != nil {
		return err
	}
	return l.manager.Log.Append(ctx, d, func(_ parley.Receipt, err error) { l.sent(next, err) })
}

// sent notes what came of sending a message: one that was not stored is sent again.
func (l *later) sent(d due, err error) {
	l.mu.Lock()
	l.sending--
	if err != nil {
		d.at = time.Now().Add(laterPause)
		heap.Push(&l.waiting, d)
	} else {
		l.gone = append(l.gone, d.seq)
		l.forgetID(d)
	}
	l.mu.Unlock()
	l.wake()
}

// forgetID has an id be new again, unless it is another message's by now. l.mu is held.
func (l *later) forgetID(d due) {
	if l.ids[d.id] == d.seq {
		delete(l.ids, d.id)
	}
}

// fade writes which messages are gone, all of a moment in one record, and trims the journal up to the
// first that is not.
func (l *later) fade(ctx context.Context) {
	l.mu.Lock()
	gone := l.gone
	if l.fading || len(gone) == 0 {
		l.mu.Unlock()
		return
	}
	l.gone, l.fading = nil, true
	l.mu.Unlock()
	record := []byte{version, laterGone}
	for _, seq := range gone {
		record = binary.AppendUvarint(record, seq)
	}
	faded := func(seq uint64, err error) {
		l.mu.Lock()
		l.fading = false
		if err != nil {
			l.gone = append(l.gone, gone...)
		} else {
			for _, one := range gone {
				delete(l.pending, one)
			}
			l.records++
			l.last = seq
		}
		l.mu.Unlock()
		if err == nil {
			l.wake()
		}
	}
	if err := l.manager.Journals.Write(ctx, laterJournal, record, faded); err != nil {
		faded(0, err)
	}
	l.trim(ctx)
}

// trim removes what stands in front of the first message that waits, now and then.
func (l *later) trim(ctx context.Context) {
	const often = 64
	l.mu.Lock()
	if l.records < often {
		l.mu.Unlock()
		return
	}
	l.records = 0
	upTo := l.last // nothing waits; what is written since has a later seq
	if seqs := keys(l.pending); len(seqs) > 0 {
		upTo = slices.MinFunc(seqs, cmp.Compare[uint64]) - 1
	}
	if l.manager.shared() { // what others have written since is not read yet
		upTo = min(upTo, l.read)
	}
	trim := upTo > l.trimmed
	l.trimmed = max(l.trimmed, upTo)
	l.mu.Unlock()
	if trim {
		_ = l.manager.Journals.Trim(ctx, laterJournal, upTo) // the next time will do
	}
}

func keys(m map[uint64]bool) []uint64 {
	out := make([]uint64, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	return out
}

func (l *later) wake() {
	select {
	case l.kick <- struct{}{}:
	default:
	}
}
