package logtest

import (
	"context"
	"hash/fnv"
	"slices"
	"sync"
	"time"

	"parley"
)

// memoryParts is in how many parts a log in memory numbers its messages. Seqs count over all of
// them, which a reader of one part cannot tell.
const memoryParts = 3

// memoryScan is how many messages a page of many rooms looks at.
const memoryScan = 500

type manyFollower struct {
	match   func(string) bool
	deliver parley.DeliverMany
	turn    sync.Mutex // as a memoryFollower's
	seen    [memoryParts]uint64
	stopped bool
}

// Part implements parley.Log.
func (l *Memory) Part(room string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(room)) // a hash takes all
	return int(h.Sum32() % memoryParts)
}

// FollowMany implements parley.Log.
func (l *Memory) FollowMany(_ context.Context, match func(string) bool, deliver parley.DeliverMany) (parley.Position, func(), error) {
	f := &manyFollower{match: match, deliver: deliver}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := make(parley.Position, memoryParts)
	for i := range at {
		at[i], f.seen[i] = l.durable, l.durable
	}
	l.many = append(slices.Clone(l.many), f)
	return at, func() {
		f.turn.Lock()
		f.stopped = true
		f.turn.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.many = slices.DeleteFunc(slices.Clone(l.many), func(other *manyFollower) bool { return other == f })
	}, nil
}

// tellMany gives the tails of many rooms what has become durable. It is called without l.mu.
func (l *Memory) tellMany(batch []event) {
	l.mu.Lock()
	many := l.many
	l.mu.Unlock()
	for _, f := range many {
		f.take(l, batch)
	}
}

func (f *manyFollower) take(l *Memory, batch []event) {
	f.turn.Lock()
	defer f.turn.Unlock()
	var byPart [memoryParts][]*parley.Message
	var upTo [memoryParts]uint64
	for _, ev := range batch {
		m := ev.message
		if m == nil {
			continue
		}
		part := l.Part(m.Room)
		upTo[part] = m.Seq
		if m.Seq > f.seen[part] && f.match(m.Room) {
			byPart[part] = append(byPart[part], m)
		}
	}
	for part, ms := range byPart {
		if !f.stopped && upTo[part] > f.seen[part] {
			f.seen[part] = upTo[part]
			f.deliver(part, upTo[part], ms)
		}
	}
}

// ReadMany implements parley.Log.
func (l *Memory) ReadMany(ctx context.Context, match func(string) bool, after parley.Position, limit int) (parley.ManyPage, error) {
	if err := ctx.Err(); err != nil {
		return parley.ManyPage{}, parley.Errorf(parley.Unavailable, "the log cannot be read now").Because(err)
	}
	if len(after) != memoryParts {
		return parley.ManyPage{}, parley.Errorf(parley.BadRequest, "a cursor is one that this server gave")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	page := parley.ManyPage{Next: slices.Clone(after)}
	bytes := 0
	for i, m := range l.behind(after) {
		if i == memoryScan || len(page.Messages) == max(limit, 1) || bytes >= parley.MaxPageBytes {
			page.More = true
			return page, nil
		}
		part := l.Part(m.Room)
		if page.Next[part] = m.Seq; !match(m.Room) {
			continue
		}
		bytes += len(m.Body)
		first := !slices.ContainsFunc(page.Messages, func(o *parley.Message) bool { return o.Room == m.Room })
		if first && after[part] > 0 && l.rooms[m.Room].gone > after[part] {
			page.Trimmed = append(page.Trimmed, m.Room)
		}
		page.Messages = append(page.Messages, m)
	}
	for i := range page.Next {
		page.Next[i] = max(page.Next[i], l.durable)
	}
	return page, nil
}

// behind gives what is left behind a position and durable, of all rooms, by seq. l.mu is held.
func (l *Memory) behind(after parley.Position) []*parley.Message {
	var all []*parley.Message
	for name := range l.rooms {
		shown := l.shown(name)
		all = append(all, shown[above(shown, after[l.Part(name)]):]...)
	}
	slices.SortFunc(all, func(a, b *parley.Message) int { return int(a.Seq) - int(b.Seq) })
	return all
}

// SinceMany implements parley.Log.
func (l *Memory) SinceMany(ctx context.Context, t time.Time) (parley.Position, error) {
	if err := ctx.Err(); err != nil {
		return nil, parley.Errorf(parley.Unavailable, "the log cannot be read now").Because(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := make(parley.Position, memoryParts)
	for i := range at {
		at[i] = l.durable
	}
	for _, m := range l.behind(make(parley.Position, memoryParts)) {
		if part := l.Part(m.Room); !m.At.Before(t) && at[part] >= m.Seq {
			at[part] = m.Seq - 1
		}
	}
	return at, nil
}
