package engine

import (
	"context"
	"sync"
	"sync/atomic"

	"parley"
)

// follower is one room's live tail. It is live, when what the tail brings is passed on as it
// comes, or it is behind, when that is kept until the log has given what lies before it.
type follower struct {
	place   place
	deliver func([]*parley.Message)
	known   known

	seen atomic.Uint64 // seq of the last message delivered; written in a turn
	live atomic.Bool   // written in a turn

	batch []*parley.Message // owned by the releaser

	// turn is held while deliver runs: it is what makes deliveries follow each other and what
	// stop waits for. Nothing is read or written to a disk in a turn.
	turn    sync.Mutex
	stopped bool
	pending []*parley.Message // kept while behind
	spilled bool              // pending was too small; the log has what fell off
}

// maxPending bounds the live messages that a follower keeps while it is behind.
const maxPendingMessages = 4096

// Follow implements parley.Log.
func (e *Engine) Follow(ctx context.Context, room string, deliver func([]*parley.Message)) (uint64, func(), error) {
	if e.ctx.Err() != nil {
		return 0, nil, errClosed
	}
	f := &follower{place: e.place(room), deliver: deliver}
	f.known.init(e.cfg.RetainMessages)
	if !e.rooms.add(f) {
		return 0, nil, parley.Errorf(parley.Internal, "room %q is followed already", room)
	}
	stop := func() { e.rooms.remove(f) }
	// From here on every release reaches f. What was released before lies at or below the mark
	// read now, and so does last: nothing falls between.
	last, err := e.lastUpTo(ctx, f.place, e.mark.at(f.place.part))
	if err != nil {
		stop()
		return 0, nil, err
	}
	if f.begin(last) {
		e.startCatchUp(f)
	}
	return last, stop, nil
}

// begin lets f go live behind last. True: it is behind and the log has to be read.
func (f *follower) begin(last uint64) (behind bool) {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.seen.Store(last)
	f.known.begin(last)
	return !f.goLive()
}

// take passes on what the tail has brought. True: f has just fallen behind, and whoever calls has
// to see that it catches up.
func (f *follower) take(batch []*parley.Message) (fell bool) {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.stopped {
		return false
	}
	if !f.live.Load() {
		f.keep(batch)
		return false
	}
	if rest := f.pass(batch); len(rest) > 0 {
		f.live.Store(false)
		f.keep(rest)
		return true
	}
	return false
}

// pass delivers the batch as far as it follows on what was seen, in one call where there is no
// gap. A gap is a prev above the last seen; a lower one or none says only that what was between
// has been removed.
func (f *follower) pass(batch []*parley.Message) (rest []*parley.Message) {
	seen, from, i := f.seen.Load(), 0, 0
	for ; i < len(batch); i++ {
		m := batch[i]
		if m.Seq <= seen { // again, or from before
			if i > from {
				f.hand(batch[from:i])
			}
			from = i + 1
			continue
		}
		if m.Prev > seen {
			break
		}
		seen = m.Seq
	}
	if i > from {
		f.hand(batch[from:i])
	}
	return batch[i:]
}

// hand delivers messages that follow on what was seen.
func (f *follower) hand(run []*parley.Message) {
	last := run[len(run)-1].Seq
	f.known.add(run)
	f.seen.Store(last) // before anybody is shown them: who is, may read them at once
	f.deliver(run)     // from here on the slice is not looked at
}

func (f *follower) keep(batch []*parley.Message) {
	if len(f.pending)+len(batch) > maxPendingMessages {
		f.pending, f.spilled = nil, true
		return
	}
	f.pending = append(f.pending, batch...)
}

// goLive passes on what was kept; false where that does not follow on what was seen.
func (f *follower) goLive() bool {
	if f.spilled {
		f.spilled, f.pending = false, nil
		return false
	}
	f.pending = f.pass(f.pending)
	if len(f.pending) > 0 {
		return false
	}
	f.pending = nil
	f.live.Store(true)
	return true
}

// fallBehind makes a live f read the log. False: it does so already, or has been stopped.
func (f *follower) fallBehind() bool {
	f.turn.Lock()
	defer f.turn.Unlock()
	if f.stopped || !f.live.Load() {
		return false
	}
	f.live.Store(false)
	return true
}

// stop waits for a delivery under way; there is none after it.
func (f *follower) stop() {
	f.turn.Lock()
	defer f.turn.Unlock()
	f.stopped, f.pending = true, nil
}

// followers finds the follower of a room by the subject of its live copies.
type followers struct {
	mu sync.RWMutex
	by map[string]*follower
}

func newFollowers() *followers { return &followers{by: make(map[string]*follower)} }

// add fails where the room has a follower.
func (t *followers) add(f *follower) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	live := f.place.live()
	if t.by[live] != nil {
		return false
	}
	t.by[live] = f
	return true
}

func (t *followers) remove(f *follower) {
	f.stop()
	t.mu.Lock()
	defer t.mu.Unlock()
	if live := f.place.live(); t.by[live] == f {
		delete(t.by, live)
	}
}

func (t *followers) find(live string) *follower {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.by[live]
}

// of gives the partition's followers.
func (t *followers) of(p *partition) []*follower {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var out []*follower
	for _, f := range t.by {
		if f.place.part == p {
			out = append(out, f)
		}
	}
	return out
}

func (t *followers) stopAll() {
	t.mu.Lock()
	all := t.by
	t.by = make(map[string]*follower)
	t.mu.Unlock()
	for _, f := range all {
		f.stop()
	}
}

func (t *followers) count() int {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return len(t.by)
}
