package work

import (
	"context"
	"fmt"
	"time"

	"parley"
)

// restore reads the journals and begins a life with what they say.
func (g *group) restore(ctx context.Context) error {
	b, found, err := g.replay(ctx)
	if err != nil {
		return err
	}
	if !found {
		if g.begin == nil {
			return errMissing
		}
		b.copied = *g.begin
		if b.lastStep, err = g.found(ctx, b.copied); err != nil {
			return err
		}
	} else if g.manager.shared() {
		if b.lastStep, err = g.takeOver(ctx, b.lastStep); err != nil {
			return err
		}
		b.quiet = time.Now().Add(g.manager.Claims)
	}
	newest, err := g.manager.Journals.Newest(ctx, g.jobsJournal)
	if err != nil {
		return fmt.Errorf("read the jobs: %w", err)
	}
	if newest.Seq > 0 {
		list, err := messages(g.key.room, newest.Data)
		if err != nil {
			return fmt.Errorf("read the jobs: record %d: %w", newest.Seq, err)
		}
		b.tail = newest.Seq
		if n := len(list); n > 0 {
			b.copied = max(b.copied, list[n-1].Seq)
		}
	}
	b.read = min(b.read, b.tail)
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

// replayed is what the steps say.
type replayed struct {
	books
	restored []*job // of the snapshot, less what the steps finished
}

// replay reads the steps. found is false where there is none: there is no such group.
func (g *group) replay(ctx context.Context) (b *replayed, found bool, err error) {
	b = &replayed{books: books{
		open: make(map[uint64]*job), keys: make(map[string][]*job), past: make(map[uint64]past),
		ready: queue{before: byTurn}, timed: queue{before: byTime},
	}}
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
			b.past[d.uint()] = past{finished: true}
		case stepTried:
			seq := d.uint()
			b.past[seq] = past{tries: int(d.uint()), due: d.time()}
		default:
			d.fail()
		}
	}
	return d.err()
}

// readSnapshot begins anew with a snapshot: it has in it what was said before.
func (b *replayed) readSnapshot(d *decoder) {
	clear(b.past)
	b.restored = b.restored[:0]
	b.copied, b.read, b.seen = d.uint(), d.uint(), d.uint()
	for n := d.uint(); n > 0 && !d.bad; n-- {
		j := &job{seq: d.uint(), record: d.uint(), tries: int(d.uint()), at: d.time(), priority: d.byte()}
		j.expires, j.key = d.time(), string(d.bytes())
		b.restored = append(b.restored, j)
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
	b.restored = open
}

// found writes the first record of a group: where it begins.
func (g *group) found(ctx context.Context, after uint64) (seq uint64, err error) {
	first := books{copied: after}
	record, _ := (&group{books: first}).appendSnapshot([]byte{version})
	if seq, err = g.first(ctx, 0, record); err != nil {
		return 0, fmt.Errorf("begin a group: %w", err)
	}
	return seq, nil
}
