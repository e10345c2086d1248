package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"parley"
)

// A batch read asks for so many bytes at once: enough for a page of the largest bodies allowed in
// one, and for a thousand small ones with their subjects.
const batchBytes = 3 * parley.MaxPageBytes

// Known seqs are asked for so many at a time, the more the smaller the bodies are.
const (
	askLeast = 8
	askMost  = 128
)

// Read implements parley.Log. It shows what is durable and told when it is called; reads that must
// give the same share one.
func (e *Engine) Read(ctx context.Context, room string, after uint64, limit int) (parley.Page, error) {
	limit = min(max(limit, 1), parley.MaxPage)
	pl := e.place(room)
	f := e.rooms.find(pl.live())
	bound := e.bound(pl, f)
	if after >= bound {
		return parley.Page{}, nil
	}
	key := fmt.Sprintf("read %s %d %d %d", pl.subject, after, bound, limit)
	v, err := e.shared(ctx, key, func(ctx context.Context) (any, error) {
		if err := e.fence(ctx, pl.part, bound); err != nil {
			return nil, err
		}
		return e.readRoom(ctx, pl, f, after, bound, limit)
	})
	if err != nil {
		return parley.Page{}, err
	}
	page := v.(parley.Page)
	page.Messages = slices.Clone(page.Messages)
	return page, nil
}

// bound gives the seq up to which the room is shown now: all that receipts may have named and the
// tail has shown, which is at or below the watermark. Where the room is followed and the tail is
// not behind, that is the last message it has shown: it bounds the same messages, but changes with
// this room alone, so that more reads are alike and known seqs suffice.
func (e *Engine) bound(pl place, f *follower) uint64 {
	told := pl.part.told.Load()
	if f == nil {
		return told
	}
	if pl.part.missed.Load() || pl.part.tailed.Load() < told || !f.live.Load() {
		return max(told, f.seen.Load())
	}
	return f.seen.Load()
}

// shared runs fn once for all who ask for the same at the same time. fn goes on when one of them
// gives up.
func (e *Engine) shared(ctx context.Context, key string, fn func(context.Context) (any, error)) (any, error) {
	if err := ctx.Err(); err != nil {
		return nil, errUnreachable.Because(err)
	}
	done := e.flights.DoChan(key, func() (any, error) {
		ctx, cancel := context.WithTimeout(e.ctx, answerWithin)
		defer cancel()
		return fn(ctx)
	})
	select {
	case r := <-done:
		return r.Val, r.Err
	case <-ctx.Done():
		return nil, errUnreachable.Because(ctx.Err())
	}
}

// readRoom reads by known seqs where these reach far enough, otherwise by searching the log.
func (e *Engine) readRoom(ctx context.Context, pl place, f *follower, after, bound uint64, limit int) (parley.Page, error) {
	if f != nil {
		page, ok, err := e.readKnown(ctx, pl, f, after, bound, limit)
		if ok || err != nil {
			return page, err
		}
	}
	page, err := e.readLog(ctx, pl, after, bound, limit)
	if err != nil || f == nil || len(page.Messages) == 0 {
		return page, err
	}
	removed := page.Trimmed
	if after == 0 {
		removed, err = e.mayBeTrimmed(ctx, pl)
	}
	floor := after
	if removed || err != nil {
		floor = page.Messages[0].Seq - 1 // there may have been more above after
	}
	f.known.learn(floor, page.Messages, !page.More)
	return page, nil
}

// readKnown reads by the seqs that the follower knows. ok is false where it knows too few.
func (e *Engine) readKnown(ctx context.Context, pl place, f *follower, after, bound uint64, limit int) (page parley.Page, ok bool, err error) {
	front, seqs, ok := f.known.above(after, limit+1)
	if !ok {
		return page, false, nil
	}
	if n := len(seqs); n <= limit && (n == 0 || seqs[n-1] < bound) && f.seen.Load() < bound {
		return page, false, nil // what lies between the last shown and the bound is not known
	}
	for len(seqs) > 0 && seqs[len(seqs)-1] > bound {
		seqs = seqs[:len(seqs)-1]
	}
	if len(seqs) > limit {
		seqs, page.More = seqs[:limit], true
	}
	bytes := 0
	for rest := seqs; len(rest) > 0; {
		chunk := rest[:min(len(rest), askLeast+f.known.within(parley.MaxPageBytes-bytes), askMost)]
		rest = rest[len(chunk):]
		answers, err := e.store.Load().quick.bySeq(ctx, pl.part.stream, chunk)
		if err != nil {
			return page, false, err
		}
		if len(answers) < len(chunk) { // retention has been here: the log itself says what is left
			return page, false, nil
		}
		for i, a := range answers {
			if bytes >= parley.MaxPageBytes {
				page.More = true
				return e.linkKnown(ctx, pl, page, front)
			}
			m, err := decode(a, pl.room)
			if err != nil {
				e.unreadable(err)
				continue
			}
			bytes += len(m.Body)
			if i > 0 || len(page.Messages) > 0 {
				m.Prev = prevIn(seqs, m.Seq)
			}
			page.Messages = append(page.Messages, m)
		}
	}
	return e.linkKnown(ctx, pl, page, front)
}

// prevIn gives the seq in front of seq, 0 where it is the first.
func prevIn(seqs []uint64, seq uint64) uint64 {
	if i, ok := slices.BinarySearch(seqs, seq); ok && i > 0 {
		return seqs[i-1]
	}
	return 0
}

// linkKnown gives the first message its prev: front, or where that is not known the log's word.
// All messages behind front were there, so nothing was removed.
func (e *Engine) linkKnown(ctx context.Context, pl place, page parley.Page, front uint64) (parley.Page, bool, error) {
	if len(page.Messages) == 0 {
		return page, true, nil
	}
	first := page.Messages[0]
	if first.Prev == 0 && front == 0 {
		var err error
		if front, err = e.lastUpTo(ctx, pl, first.Seq-1); err != nil {
			return page, false, err
		}
	}
	if first.Prev == 0 {
		first.Prev = front
	}
	return page, true, nil
}

// readLog searches the log for the room's messages above after, up to bound.
func (e *Engine) readLog(ctx context.Context, pl place, after, bound uint64, limit int) (parley.Page, error) {
	page, err := e.scan(ctx, pl, after, bound, limit)
	if err != nil || after == 0 {
		return page, err // in front of all that is left there is nothing
	}
	upTo := after
	if len(page.Messages) > 0 {
		upTo = page.Messages[0].Seq - 1
	}
	front, err := e.lastUpTo(ctx, pl, upTo)
	if err != nil {
		return parley.Page{}, err
	}
	if len(page.Messages) > 0 {
		page.Messages[0].Prev = front
	}
	if front == 0 {
		page.Trimmed, err = e.mayBeTrimmed(ctx, pl)
	}
	return page, err
}

// scan gives the messages with their prevs, but for the first of them.
func (e *Engine) scan(ctx context.Context, pl place, after, bound uint64, limit int) (page parley.Page, err error) {
	bytes, prev := 0, uint64(0)
	for next := after + 1; next <= bound; {
		answers, err := e.store.Load().slow.batch(ctx, pl.part.stream,
			request{Seq: next, Next: pl.subject, Batch: limit + 1 - len(page.Messages), MaxBytes: batchBytes})
		if err != nil {
			return parley.Page{}, err
		}
		for _, a := range answers {
			seq := headerNumber(a.Header, hdrSeq)
			if seq > bound {
				return page, nil
			}
			if len(page.Messages) == limit || bytes >= parley.MaxPageBytes {
				page.More = true
				return page, nil
			}
			next = seq + 1
			m, err := decode(a, pl.room)
			if err != nil {
				e.unreadable(err)
				continue
			}
			m.Prev, prev = prev, m.Seq
			bytes += len(m.Body)
			page.Messages = append(page.Messages, m)
		}
		if len(answers) == 0 || headerNumber(answers[len(answers)-1].Header, hdrPending) == 0 {
			return page, nil
		}
	}
	return page, nil
}

// lastUpTo gives the seq of the room's newest message at or below upTo, 0 where there is none.
func (e *Engine) lastUpTo(ctx context.Context, pl place, upTo uint64) (uint64, error) {
	last, err := e.store.Load().quick.lasts(ctx, pl.part.stream, []string{pl.subject}, upTo)
	if err != nil || len(last) == 0 {
		return 0, err
	}
	return last[0].seq, nil
}

// mayBeTrimmed is false where nothing of the room can have been removed: no limit of age has ever
// been reached, and the room holds less than any limit of number there ever was.
func (e *Engine) mayBeTrimmed(ctx context.Context, pl place) (bool, error) {
	if time.Since(pl.part.created) >= pl.part.minAge {
		return true, nil
	}
	n, _, err := e.countFrom(ctx, pl, 1)
	return int64(n) >= pl.part.minMessages, err
}

// countFrom gives how many messages the room has from seq on, durable or not, and the first one's seq.
func (e *Engine) countFrom(ctx context.Context, pl place, seq uint64) (n, first uint64, err error) {
	answers, err := e.store.Load().slow.batch(ctx, pl.part.stream, request{Seq: seq, Next: pl.subject, Batch: 1})
	if err != nil || len(answers) == 0 {
		return 0, 0, err
	}
	h := answers[0].Header
	return headerNumber(h, hdrPending) + 1, headerNumber(h, hdrSeq), nil
}
