package engine

import (
	"context"
	"fmt"
	"time"

	"parley"
)

// Back implements parley.Log.
func (e *Engine) Back(ctx context.Context, room string, before uint64, n int) (uint64, error) {
	pl := e.place(room)
	f := e.rooms.find(pl.live())
	bound := e.bound(pl, f)
	if before > 0 {
		bound = min(bound, before-1)
	}
	if bound == 0 {
		return 0, nil
	}
	if err := e.fence(ctx, pl.part, bound); err != nil {
		return 0, err
	}
	if n <= 0 {
		return e.lastUpTo(ctx, pl, bound)
	}
	key := fmt.Sprintf("back %s %d %d", pl.subject, bound, n)
	v, err := e.shared(ctx, key, func(ctx context.Context) (any, error) {
		if f != nil && f.seen.Load() >= bound {
			if after, ok, err := e.backKnown(ctx, pl, f, bound, n); ok || err != nil {
				return after, err
			}
		}
		return e.backLog(ctx, pl, bound, n)
	})
	if err != nil {
		return 0, err
	}
	return v.(uint64), nil
}

// backKnown answers from the known seqs, if the one it comes to is still there.
func (e *Engine) backKnown(ctx context.Context, pl place, f *follower, bound uint64, n int) (uint64, bool, error) {
	after, ok := f.known.back(bound+1, n)
	if !ok || after == 0 {
		return 0, ok, nil
	}
	there, err := e.store.Load().quick.bySeq(ctx, pl.part.stream, []uint64{after})
	return after, len(there) == 1, err
}

// stepBack is up to how many messages are gone back over one by one. A step is exact whatever is
// appended meanwhile and costs about as much as one cut of the search.
const stepBack = 8

// backLog finds the seq of the room's message with exactly n behind it up to bound, 0 where there
// are not more than n. It cuts the stretch in two by asking how many messages lie from a seq on.
func (e *Engine) backLog(ctx context.Context, pl place, bound uint64, n int) (uint64, error) {
	if n <= stepBack {
		at := bound
		for range n + 1 {
			seq, err := e.lastUpTo(ctx, pl, at)
			if err != nil || seq == 0 {
				return 0, err
			}
			at = seq - 1
		}
		return at + 1, nil
	}
	low, err := e.cut(ctx, pl, bound, n)
	if err != nil || low == 0 {
		return 0, err
	}
	return e.countBack(ctx, pl, low, bound, n)
}

// cut finds a seq from which on the room has more than n messages up to bound, though not many
// more; 0 where there are not so many. Messages appended meanwhile count at both ends, so only
// those between two questions make it inexact: it aims a few too low.
func (e *Engine) cut(ctx context.Context, pl place, bound uint64, n int) (uint64, error) {
	total, first, err := e.countFrom(ctx, pl, 1)
	if err != nil || total == 0 {
		return 0, err
	}
	beyond, _, err := e.countFrom(ctx, pl, bound+1)
	if err != nil {
		return 0, err
	}
	want := uint64(n) + 1
	if total < beyond+want {
		return 0, nil
	}
	low, high := first, bound+1
	for lowCount := total - beyond; lowCount > want+want/8 && high-low > 1; {
		mid := guess(low, high, lowCount, want)
		count, seq, err := e.countFrom(ctx, pl, mid)
		if err != nil {
			return 0, err
		}
		if beyond, _, err = e.countFrom(ctx, pl, bound+1); err != nil {
			return 0, err
		}
		if count >= beyond+want && seq <= bound {
			low, lowCount = seq, count-beyond
		} else {
			high = mid
		}
	}
	return low, nil
}

// guess gives a seq strictly between low and high from which on about want messages lie, if the
// count that lie from low on are spread evenly; it keeps off the ends so that each question cuts.
func guess(low, high, count, want uint64) uint64 {
	span := high - low
	off := uint64(float64(span) * float64(count-want) / float64(count))
	margin := span / 16
	return low + min(max(off, margin, 1), span-max(margin, 1))
}

// countBack reads from low to bound and gives the seq of the message with n behind it.
func (e *Engine) countBack(ctx context.Context, pl place, low, bound uint64, n int) (uint64, error) {
	var seqs []uint64
	for next := low; next <= bound; {
		answers, err := e.store.Load().slow.batch(ctx, pl.part.stream,
			request{Seq: next, Next: pl.subject, Batch: parley.MaxPage, MaxBytes: batchBytes})
		if err != nil {
			return 0, err
		}
		for _, a := range answers {
			if seq := headerNumber(a.Header, hdrSeq); seq <= bound {
				seqs = append(seqs, seq)
			}
		}
		if len(answers) == 0 || headerNumber(answers[len(answers)-1].Header, hdrPending) == 0 {
			break
		}
		next = headerNumber(answers[len(answers)-1].Header, hdrSeq) + 1
	}
	if len(seqs) > n {
		return seqs[len(seqs)-n-1], nil
	}
	if len(seqs) == 0 {
		return 0, nil
	}
	// The count has moved under the search, or retention has: the rest of the way is walked.
	at := seqs[0]
	for missing := n - len(seqs) + 1; missing > 0; missing-- {
		seq, err := e.lastUpTo(ctx, pl, at-1)
		if err != nil || seq == 0 {
			return 0, err
		}
		at = seq
	}
	return at, nil
}

// Since implements parley.Log. Times count in milliseconds, as At does.
func (e *Engine) Since(ctx context.Context, room string, t time.Time) (uint64, error) {
	pl := e.place(room)
	bound := e.bound(pl, e.rooms.find(pl.live()))
	if bound == 0 {
		return 0, nil
	}
	if err := e.fence(ctx, pl.part, bound); err != nil {
		return 0, err
	}
	from := sinceFrom(t)
	if from.Before(time.Unix(0, 0)) {
		return 0, nil // before any message; the store's clock counts from there
	}
	answers, err := e.store.Load().slow.batch(ctx, pl.part.stream, request{StartTime: &from, Next: pl.subject, Batch: 1})
	if err != nil {
		return 0, err
	}
	if len(answers) > 0 {
		if seq := headerNumber(answers[0].Header, hdrSeq); seq <= bound {
			return e.lastUpTo(ctx, pl, seq-1)
		}
	}
	return e.lastUpTo(ctx, pl, bound)
}

// sinceFrom gives the first millisecond that is not before t.
func sinceFrom(t time.Time) time.Time {
	from := t.Truncate(time.Millisecond)
	if from.Before(t) {
		from = from.Add(time.Millisecond)
	}
	return from
}
