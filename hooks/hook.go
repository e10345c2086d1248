package hooks

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley"
)

// The pace of what is looked for again.
const (
	listEvery = 30 * time.Second // rooms that the tail has missed are found after so long
	listAgain = time.Second      // after a failure
)

// hook is one that is or was configured.
type hook struct {
	sender *Sender
	name   string
	counts counters
	crowds crowds
	target atomic.Pointer[target] // nil: it rests
	kick   chan struct{}

	began   time.Time      // what rooms held before is not posted
	workers sync.WaitGroup // started by run
	places  sync.WaitGroup // being written; the log sees to it that each has an outcome in time

	mu      sync.Mutex
	lanes   map[string]*lane
	ready   []*lane // to be worked on, in this order
	working int
	round   int       // of listing
	relist  bool      // the rooms are listed at once
	pause   time.Time // the receiver wants nothing before
	gone    bool      // the receiver wants nothing any more: until the configuration is read again

	success time.Time // the last; zero: none yet
	failing time.Time // since when nothing was taken; zero: the last was
	why     string
}

// lane is a room on its way to a hook.
type lane struct {
	room string

	// Guarded by the hook's mu.
	state  laneState
	grown  bool        // there may be more since the work began
	at     uint64      // seq up to which all is done
	listed int         // the last round that found the room
	timer  *time.Timer // of a lane that waits
	behind time.Time   // when the message that is next was sent; zero: none is owed

	moves uint64 // of rooms between nodes, as of its last turn

	place // owned by the worker at work on it
}

// laneState is where a lane stands.
type laneState uint8

const (
	idle    laneState = iota
	queued            // for a worker
	atWork            // of one
	waiting           // for its next try
)

func newHook(s *Sender, name string, began time.Time) *hook {
	h := &hook{sender: s, name: name, began: began, kick: make(chan struct{}, 1), lanes: make(map[string]*lane)}
	h.crowds.hook, h.crowds.kick = h, make(chan struct{}, 1)
	return h
}

// aim gives the hook other settings, nil for none.
func (h *hook) aim(t *target) {
	old := h.target.Load()
	if t != nil && t.same(old) {
		t = old // its connections stay
	}
	h.target.Store(t)
	if old != nil && old != t {
		h.sender.running.Go(old.close) // not while the tail may wait for us
	}
	h.mu.Lock()
	h.relist, h.gone, h.pause = true, false, time.Time{}
	if t != old { // how the old one fared says nothing of it
		h.failing, h.why = time.Time{}, ""
	}
	for _, l := range h.lanes { // what did not work may work now
		if l.state == waiting {
			l.timer.Stop()
			h.queue(l)
		}
	}
	h.mu.Unlock()
	h.wake()
}

func (h *hook) wake() {
	select {
	case h.kick <- struct{}{}:
	default: // it will look anyway
	}
}

// grew notes that a room has more.
func (h *hook) grew(room string) {
	t := h.target.Load()
	if t == nil || !t.wants(room) {
		return
	}
	h.mu.Lock()
	h.more(h.lane(room))
	h.mu.Unlock()
	h.wake()
}

// lane finds a room's lane or makes it; h.mu is held, as in the next two.
func (h *hook) lane(room string) *lane {
	l := h.lanes[room]
	if l == nil {
		l = &lane{room: room, listed: h.round}
		h.lanes[room] = l
	}
	return l
}

// more has a lane looked at.
func (h *hook) more(l *lane) {
	if l.state == idle {
		h.queue(l)
	} else {
		l.grown = true
	}
}

// queue has a lane wait for a worker.
func (h *hook) queue(l *lane) {
	l.state, l.timer = queued, nil
	h.ready = append(h.ready, l)
}

// run is the hook's goroutine: it lists the rooms from time to time and sets workers to work. In the end
// it waits for them.
func (h *hook) run() {
	ctx := h.sender.ctx
	defer h.finish()
	list, pause := time.NewTimer(listEvery), time.NewTimer(listEvery)
	defer list.Stop()
	defer pause.Stop()
	for {
		if h.listsNow() {
			list.Reset(h.list(ctx))
		}
		if wait := h.dispatch(ctx); wait > 0 {
			pause.Reset(wait)
		}
		select {
		case <-h.sender.leaving:
			return
		case <-ctx.Done():
			return
		case <-list.C:
			h.listSoon()
		case <-pause.C:
		case <-h.kick:
		}
	}
}

func (h *hook) listSoon() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.relist = true
}

func (h *hook) listsNow() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.relist
	h.relist = false
	return now
}

// finish waits for the workers, and for what they have done to be written down, and lets go of everything.
func (h *hook) finish() {
	h.workers.Wait()
	h.places.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.lanes {
		if l.timer != nil {
			l.timer.Stop()
		}
		l.close()
	}
	if t := h.target.Load(); t != nil {
		t.close()
	}
}

// listChunk is how many rooms are looked at before others have their turn: the tail must not wait.
const listChunk = 1024

// list looks for rooms that have more than was posted, and says when to do so again.
func (h *hook) list(ctx context.Context) (again time.Duration) {
	t := h.target.Load()
	h.mu.Lock()
	h.round++
	h.mu.Unlock()
	if t != nil {
		infos, err := h.sender.Log.Rooms(ctx)
		if err != nil {
			if ctx.Err() == nil {
				h.sender.Logger.Warn("a hook cannot list the rooms now; trying again", "hook", h.name, "err", err)
			}
			return listAgain
		}
		infos = slices.DeleteFunc(infos, func(i parley.RoomInfo) bool { return !t.wants(i.Name) || !h.sender.keeps(i.Name) })
		for chunk := range slices.Chunk(infos, listChunk) {
			h.listed(chunk)
		}
	}
	h.forget()
	return listEvery
}

// listed looks at the lanes of rooms that there are.
func (h *hook) listed(infos []parley.RoomInfo) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, info := range infos {
		l := h.lane(info.Name)
		if l.listed = h.round; info.Seq > l.at {
			h.more(l)
		}
	}
}

// forget lets go of the lanes of rooms that are not there or not wanted any more. Where they were is on
// disk.
func (h *hook) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for name, l := range h.lanes {
		if l.state == idle && l.listed != h.round {
			delete(h.lanes, name)
		}
	}
}

// dispatch sets workers to work, as many as may be, and says when to look again: 0 = when it is told.
func (h *hook) dispatch(ctx context.Context) (wait time.Duration) {
	t := h.target.Load()
	h.mu.Lock()
	defer h.mu.Unlock()
	if t == nil || h.gone || len(h.ready) == 0 {
		return 0
	}
	if wait = time.Until(h.pause); wait > 0 {
		return wait
	}
	for h.working < t.Concurrency && len(h.ready) > 0 {
		l := h.ready[0]
		h.ready[0] = nil
		h.ready = h.ready[1:]
		l.state, l.grown = atWork, false
		h.working++
		h.workers.Go(func() { h.turn(ctx, l) })
	}
	return 0
}

// turn is a worker's work on a lane.
func (h *hook) turn(ctx context.Context, l *lane) {
	t := h.target.Load()
	wanted := t != nil && t.wants(l.room)
	wait, more := time.Duration(0), false
	if moves := h.sender.moves.Load(); l.moves != moves { // another node may have gone on in the room
		l.moves = moves
		h.lose(l)
	}
	if wanted && h.sender.keeps(l.room) {
		wait, more = h.work(ctx, t, l)
	}
	if wanted && t != h.target.Load() { // what was waited for may work now
		wait, more = 0, true
	}
	if !h.sender.keeps(l.room) { // another node goes on where its reader is
		wait, more = 0, false
		h.lose(l)
	}
	h.mu.Lock()
	h.working--
	l.grown = l.grown && wanted
	switch {
	case wait > 0:
		l.state = waiting
		l.timer = time.AfterFunc(wait, func() { h.ripe(l) })
	case more || l.grown:
		h.queue(l)
	default:
		l.state, l.behind = idle, time.Time{}
		l.close()
	}
	h.mu.Unlock()
	if t != nil && t != h.target.Load() {
		t.close()
	}
	h.wake()
}

// lose has a lane begin anew, from where its reader is, when this node keeps its room again.
func (h *hook) lose(l *lane) {
	l.close()
	l.place = place{}
	h.mu.Lock()
	defer h.mu.Unlock()
	l.at = 0
}

// ripe ends a lane's wait.
func (h *hook) ripe(l *lane) {
	h.mu.Lock()
	if l.state == waiting {
		h.queue(l)
	}
	h.mu.Unlock()
	h.wake()
}

// rest has the hook post nothing before a time, as the receiver asks for.
func (h *hook) rest(until time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if until.After(h.pause) {
		h.pause = until
	}
}

// retire has the hook post nothing until the configuration is read again.
func (h *hook) retire() {
	h.mu.Lock()
	first := !h.gone
	h.gone = true
	h.mu.Unlock()
	if first {
		h.sender.Logger.Error("a hook's receiver answers 410 Gone: nothing is posted to it until the configuration is read again", "hook", h.name)
	}
}
