package work

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"parley"
)

// restore reads the journals and begins a life with what they say.
func (g *group) restore(ctx context.Context) error {
	b, found, err := g.replay(ctx)
	if err != nil {
		return err
	}
	if b.gone != nil {
		if err := g.manager.erase(ctx, g.erasure(b.lastStep, *b.gone)); err != nil {
			return err
		}
		if b, found, err = g.replay(ctx); err != nil {
			return err
		}
	}
	if found && g.manager.shared() {
		if b.lastStep, err = g.takeOver(ctx, b.lastStep); err != nil {
			return err
		}
		b.quiet = time.Now().Add(g.manager.Claims)
	}
	newest, err := g.manager.Journals.Newest(ctx, g.jobsJournal)
	if err != nil {
		return fmt.Errorf("read the jobs: %w", err)
	}
	if !found {
		if g.begin == nil {
			return errMissing
		}
		b.copied, b.read, b.seen = *g.begin, newest.Seq, *g.begin // what is there is of a group that was removed
		if b.lastStep, err = g.found(ctx, &b.books); err != nil {
			return err
		}
	}
	if newest.Seq > 0 {
		last, err := readLoaded(g.key.room, newest)
		if err != nil {
			return err
		}
		b.tail, b.newest, b.total = newest.Seq, newest.Seq, last.total()
		if b.tail > b.read { // of others the snapshot knows, or they are of a group that was removed
			b.copied = max(b.copied, last.copied())
		}
	}
	b.read = min(b.read, b.tail)
	if b.shown, err = g.countRead(ctx, &b.books); err != nil {
		return err
	}
	b.grown = true
	g.mu.Lock()
	defer g.mu.Unlock()
	open := b.restored
	b.restored = nil
	g.books, g.fault = b.books, nil
	now := time.Now()
	for _, j := range open {
		g.enter(j, now)
	}
	return nil
}

// countRead counts the messages in the records up to the last one that was read: what the one behind has in
// front of it. That one itself is kept for as long as it is the last.
func (g *group) countRead(ctx context.Context, b *books) (uint64, error) {
	if b.read == b.tail {
		return b.total, nil
	}
	next, err := g.recordBehind(ctx, b.read)
	return next.before, err
}

// replayed is what the steps say.
type replayed struct {
	books
	restored []*job          // of the snapshot, less what the steps finished
	returned map[uint64]*job // that were dead letters
	gone     *uint64         // the group is removed, with its jobs up to this record
}

// replay reads the steps. found is false where there is none: there is no such group.
func (g *group) replay(ctx context.Context) (b *replayed, found bool, err error) {
	b = &replayed{books: books{
		open: make(map[uint64]*job), keys: make(map[string][]*job), past: make(map[uint64]past),
		ready: queue{before: byTurn}, timed: queue{before: byTime},
	}, returned: make(map[uint64]*job)}
	for after, more := uint64(0), true; more; {
		var records []parley.Record
		if records, more, err = g.manager.Journals.Records(ctx, g.steps, after, 64); err != nil {
			return nil, false, fmt.Errorf("read the steps: %w", err)
		}
		for _, r := range records {
			if err := b.apply(r.Data); err != nil {
				return nil, false, fmt.Errorf("read the steps: record %d: %w", r.Seq, err)
			}
			after, found = r.Seq, true
			b.lastStep = r.Seq
		}
	}
	b.settle()
	return b, found, nil
}

// apply does what a record of steps says.
func (b *replayed) apply(record []byte) error {
	d := open(record)
	b.since += len(record)
	for d.more() {
		switch d.byte() {
		case stepSnapshot:
			b.readSnapshot(d)
			b.since, b.snapshot = 0, len(record)
		case stepFinished:
			b.say(d.uint(), past{finished: true})
		case stepDead:
			b.say(d.uint(), past{finished: true})
			b.dead++
		case stepTried:
			b.say(d.uint(), past{tries: int(d.uint()), due: d.time()})
		case stepBack:
			j := readBack(d)
			b.returned[j.seq] = j
		case stepLetter:
			if prev, seq := d.uint(), d.uint(); seq > 0 && prev < seq {
				b.back.add(prev, seq)
			} else {
				d.fail()
			}
		case stepLetters:
			b.back.read(d)
		case stepGone:
			upTo := d.uint()
			b.gone = &upTo
		default:
			d.fail()
		}
	}
	return d.err()
}

// readSnapshot begins anew with a snapshot: it has in it what was said before.
func (b *replayed) readSnapshot(d *decoder) {
	clear(b.past)
	clear(b.returned)
	b.restored, b.back = b.restored[:0], letters{}
	b.copied, b.read, b.seen, b.dead = d.uint(), d.uint(), d.uint(), d.uint()
	for n := d.uint(); n > 0 && !d.bad; n-- {
		j := &job{seq: d.uint(), record: d.uint(), tries: int(d.uint()), at: d.time(), priority: d.byte()}
		j.expires, j.key = d.time(), string(d.bytes())
		b.restored = append(b.restored, j)
	}
}

// say notes what a step says of a job. One that was a dead letter has an earlier life, in which it is
// finished: what is said of it since is of the later one.
func (b *replayed) say(seq uint64, p past) {
	j := b.returned[seq]
	switch {
	case j == nil:
		b.past[seq] = p
	case p.finished:
		delete(b.returned, seq)
	default:
		j.tries, j.at = p.tries, p.due
	}
}

// settle applies the steps behind the snapshot to the jobs in it.
func (b *replayed) settle() {
	open := b.restored[:0]
	for _, j := range b.restored {
		p, known := b.past[j.seq]
		delete(b.past, j.seq)
		if p.finished {
			continue
		}
		if known {
			j.tries, j.at = p.tries, p.due
		}
		open = append(open, j)
	}
	for _, seq := range slices.Sorted(maps.Keys(b.returned)) {
		open = append(open, b.returned[seq])
	}
	b.restored = open
}

// found writes the first record of a group: where it begins.
func (g *group) found(ctx context.Context, b *books) (seq uint64, err error) {
	first := books{copied: b.copied, read: b.read, seen: b.seen}
	record, _ := (&group{books: first}).appendSnapshot([]byte{version})
	if seq, err = g.first(ctx, 0, record); err != nil {
		return 0, fmt.Errorf("begin a group: %w", err)
	}
	return seq, nil
}
