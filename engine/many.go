package engine

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"parley"
)

// manyFollower is a live tail of all rooms that match lets through. Every seq of a partition belongs
// to one of its rooms, so what it has been told of a partition is all up to a seq; where live copies
// have left a hole, it reads the partition's stream until it is where the tail is.
type manyFollower struct {
	match   func(room string) bool
	deliver parley.DeliverMany
	id      uint64      // rises from one to the next; set when it is added
	gone    atomic.Bool // it has been removed

	// turn is held while deliver runs, as a follower's is.
	turn    sync.Mutex
	stopped bool
	parts   []manyPart
}

// manyPart is how far a manyFollower is in one partition; guarded by turn, but for batch.
type manyPart struct {
	seen     uint64 // all up to here was told
	behind   bool   // it reads the log
	released uint64 // meanwhile the tail has come so far

	batch []*parley.Message // owned by the releaser
}

// lullMessages is how far a partition moves on before a manyFollower that nothing of it matched is
// told so.
const lullMessages = 4096

// manyFollowers are the live tails of many rooms.
type manyFollowers struct {
	version atomic.Uint64 // rises with every change; 0 = there has never been one

	mu   sync.Mutex
	last uint64          // id
	all  []*manyFollower // by id; copied on change
}

func (t *manyFollowers) add(f *manyFollower) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	f.id = t.last
	t.all = append(t.all[:len(t.all):len(t.all)], f)
	t.version.Add(1)
}

func (t *manyFollowers) remove(f *manyFollower) {
	f.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	var rest []*manyFollower
	for _, other := range t.all {
		if other != f {
			rest = append(rest, other)
		}
	}
	t.all = rest
	f.gone.Store(true)
	t.version.Add(1)
}

// list gives the tails there are. It does not change any more.
func (t *manyFollowers) list() (all []*manyFollower, version uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.all, t.version.Load()
}

func (t *manyFollowers) stopAll() {
	all, _ := t.list()
	for _, f := range all {
		t.remove(f)
	}
}

// Part implements parley.Log.
func (e *Engine) Part(room string) int { return partitionOf(room, len(e.roomParts())) }

// roomParts are the partitions that hold rooms: a position has a seq for each.
func (e *Engine) roomParts() []*partition { return e.parts[:e.cfg.Partitions] }

// FollowMany implements parley.Log.
func (e *Engine) FollowMany(_ context.Context, match func(string) bool, deliver parley.DeliverMany) (parley.Position, func(), error) {
	if e.ctx.Err() != nil {
		return nil, nil, errClosed
	}
	f := &manyFollower{match: match, deliver: deliver, parts: make([]manyPart, e.cfg.Partitions)}
	at := make(parley.Position, e.cfg.Partitions)
	f.turn.Lock()
	defer f.turn.Unlock()
	e.many.add(f)
	// As in Follow: a release that does not know f yet has begun with a mark no higher than this.
	for i, p := range e.roomParts() {
		at[i] = e.mark.at(p)
		f.parts[i].seen = at[i]
	}
	return at, func() { e.many.remove(f) }, nil
}

// stop waits for a delivery under way; there is none after it.
func (f *manyFollower) stop() {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.stopped = true
}

// take passes on what the tail has brought of a partition, whose copies up to upTo have come without
// a hole behind whole. True: f has fallen behind, and whoever calls has to see that it catches up.
func (f *manyFollower) take(part int, batch []*parley.Message, whole, upTo uint64) (fell bool) {
	f.turn.Lock()
	defer f.turn.Unlock()
	p := &f.parts[part]
	switch {
	case f.stopped:
		return false
	case p.behind:
		p.released = max(p.released, upTo)
		return false
	case p.seen < whole && upTo > p.seen:
		p.behind, p.released = true, upTo
		return true
	}
	f.pass(part, batch, upTo)
	return false
}

// pass delivers what was not told yet, and that the partition has been told up to upTo.
func (f *manyFollower) pass(part int, batch []*parley.Message, upTo uint64) {
	p := &f.parts[part]
	fresh := batch[:0]
	for _, m := range batch {
		if m.Seq > p.seen {
			p.seen = m.Seq
			fresh = append(fresh, m)
		}
	}
	if p.seen = max(p.seen, upTo); len(fresh) > 0 || upTo > 0 {
		f.deliver(part, p.seen, fresh)
	}
}

// startManyCatchUp has f, which is behind in a partition, read the log until it is where the tail is.
func (e *Engine) startManyCatchUp(f *manyFollower, part int) {
	e.counts.gapFills.Add(1)
	e.spawn(func() {
		if e.catchers.Acquire(e.ctx, 1) != nil {
			return
		}
		defer e.catchers.Release(1)
		e.catchUpMany(f, part)
	})
}

func (e *Engine) catchUpMany(f *manyFollower, part int) {
	p := e.parts[part]
	wait := backOff{}
	for {
		f.turn.Lock()
		after, stopped := f.parts[part].seen, f.stopped
		f.turn.Unlock()
		if stopped {
			return
		}
		page, err := e.readPart(e.ctx, p, f.match, after, e.mark.at(p), parley.MaxPage)
		if err != nil {
			if e.ctx.Err() != nil {
				return
			}
			e.log.Warn("catch up", "stream", p.stream, "error", err)
			if !wait.sleep(e.ctx) {
				return
			}
			continue
		}
		wait = backOff{}
		if f.absorb(part, page.messages, page.next) {
			return
		}
	}
}

// absorb delivers what the log held up to upTo. True: f is where the tail is, or stopped.
func (f *manyFollower) absorb(part int, page []*parley.Message, upTo uint64) bool {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.stopped {
		return true
	}
	f.pass(part, page, upTo)
	p := &f.parts[part]
	p.behind = p.seen < p.released
	return !p.behind
}

// manyRoutes say which tails take a room's messages, so that a room is matched once with each tail and not
// with every message. Owned by the releaser.
type manyRoutes struct {
	all     []*manyFollower
	version uint64
	by      map[string]*manyRoute // by the subject of live copies

	touched []*manyFollower
	whole   []uint64 // by partition: behind here, copies have come without a hole
	lull    []uint64 // by partition: up to here all were told
}

// manyRoute is that of one room.
type manyRoute struct {
	room    string
	to      []*manyFollower
	newest  uint64 // id of the last tail that was matched
	version uint64 // of the tails that it is of
}

// maxRoutes bounds the rooms that are remembered; beyond it they are forgotten and matched again.
const maxRoutes = 1 << 17

// refresh learns of the tails that have come and gone.
func (t *manyRoutes) refresh(e *Engine) {
	if e.many.version.Load() == t.version {
		return
	}
	t.all, t.version = e.many.list()
	if t.by == nil || len(t.all) == 0 {
		t.by = make(map[string]*manyRoute)
	}
	if t.whole == nil {
		t.whole, t.lull = make([]uint64, e.cfg.Partitions), make([]uint64, e.cfg.Partitions)
	}
}

// noRoute is that of a room whose messages no tail takes.
var noRoute = new(manyRoute)

// find gives the route of a room's live copies.
func (t *manyRoutes) find(live string) *manyRoute {
	if len(t.all) == 0 {
		return noRoute
	}
	route := t.by[live]
	if route == nil {
		room, err := roomOf(live)
		if err != nil {
			return noRoute
		}
		if len(t.by) >= maxRoutes {
			clear(t.by)
		}
		route = &manyRoute{room: room}
		t.by[live] = route
	}
	if route.version != t.version {
		route.update(t.all)
		route.version = t.version
	}
	return route
}

// update drops the tails that are gone, and matches those that have come.
func (r *manyRoute) update(all []*manyFollower) {
	r.to = slices.DeleteFunc(r.to, func(f *manyFollower) bool { return f.gone.Load() })
	first, _ := slices.BinarySearchFunc(all, r.newest+1, func(f *manyFollower, id uint64) int { return cmp.Compare(f.id, id) })
	for _, f := range all[first:] {
		if r.newest = f.id; f.match(r.room) {
			r.to = append(r.to, f)
		}
	}
}

// add keeps a message for the tails that take it.
func (t *manyRoutes) add(part int, to []*manyFollower, m *parley.Message) {
	for _, f := range to {
		p := &f.parts[part]
		if len(p.batch) == 0 {
			t.touched = append(t.touched, f)
		}
		p.batch = append(p.batch, m)
	}
}

// release gives every tail its messages of this release in one call. hole says that copies up to upTo
// have not all come: then no tail may go on before it has looked into the log.
func (t *manyRoutes) release(e *Engine, part int, upTo uint64, hole bool) {
	if len(t.all) == 0 {
		return
	}
	if hole {
		t.whole[part] = upTo
	}
	for _, f := range t.touched {
		p := &f.parts[part]
		e.counts.delivered.Add(uint64(len(p.batch)))
		if f.take(part, p.batch, t.whole[part], upTo) {
			e.startManyCatchUp(f, part)
		}
		clear(p.batch)
		p.batch = p.batch[:0]
	}
	clear(t.touched)
	t.touched = t.touched[:0]
	if !hole && upTo < t.lull[part]+lullMessages {
		return
	}
	t.lull[part] = upTo
	for _, f := range t.all {
		if f.take(part, nil, t.whole[part], upTo) {
			e.startManyCatchUp(f, part)
		}
	}
}
