package work

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"parley"
)

// A room's retention removes messages by their number, whoever may still need them. So that none goes
// before each group of the room has its copy, a message waits to be stored while as many as the room
// keeps, less one, are not copied yet. In a room of the usual size that never happens.

// Bounds of the waiting.
const (
	maxUncopied = 16_384           // messages of a room, at most
	gateWait    = 30 * time.Second // longer than any write may take
)

// gatedLog is a log in which rooms do not grow ahead of their groups.
type gatedLog struct {
	parley.Log
	manager *Manager
}

// Gate is the log that everybody has to append to: what is stored past it may be removed before a group
// has seen it.
func (m *Manager) Gate() parley.Log { return m.Log }

// Append implements parley.Log.
func (l gatedLog) Append(ctx context.Context, d parley.Draft, done func(parley.Receipt, error)) error {
	gt, err := l.manager.gateOf(ctx, d.Room)
	if err != nil {
		return err
	}
	if gt == nil {
		return l.Log.Append(ctx, d, done)
	}
	if err := gt.enter(ctx); err != nil {
		return err
	}
	err = l.Log.Append(ctx, d, func(r parley.Receipt, err error) {
		gt.stored(r.Seq) // 0 where it failed
		done(r, err)
	})
	if err != nil {
		gt.stored(0)
	}
	return err
}

var errUncopied = parley.Errorf(parley.Unavailable, "the groups of the room are behind: the message was not stored")

// gateOf gives the gate of a room that has groups. Which have is known soon after the start.
func (m *Manager) gateOf(ctx context.Context, room string) (*gate, error) {
	if m.shared() {
		return m.gateHere(room), nil
	}
	select {
	case <-m.listed:
	default:
		timer := time.NewTimer(gateWait)
		defer timer.Stop()
		select {
		case <-m.listed:
		case <-m.ctx.Done():
			return nil, errEnding
		case <-timer.C:
			return nil, errUncopied
		case <-ctx.Done():
			return nil, errUncopied.Because(ctx.Err())
		}
	}
	return m.gateHere(room), nil
}

// gateHere gives the gate of a room whose groups are kept here. In a cluster no message waits for groups
// that another node keeps, nor for those of a part that this node is only about to keep: what they miss
// they say.
func (m *Manager) gateHere(room string) *gate {
	m.gatesMu.RLock()
	defer m.gatesMu.RUnlock()
	return m.gates[room]
}

// guard has a room wait for a group from now on. Where the group was there before, what its room had
// before this is waited for too.
func (m *Manager) guard(g *group) {
	limit := maxUncopied
	if m.RetainMessages > 0 {
		limit = min(limit, max(1, m.RetainMessages-1)) // the last one copied stays, to show that none is missing
	}
	m.gatesMu.Lock()
	defer m.gatesMu.Unlock()
	gt := m.gates[g.key.room]
	if gt == nil {
		gt = &gate{limit: limit, waits: &m.counts.waited, groups: make(map[*group]place), moved: make(chan struct{})}
		m.gates[g.key.room] = gt
	}
	g.gate = gt
	gt.mu.Lock()
	gt.groups[g] = place{behind: g.begin == nil || !isClosed(m.listed)}
	gt.mu.Unlock()
}

// unguard forgets a group that there is not.
func (m *Manager) unguard(g *group) {
	m.gatesMu.Lock()
	defer m.gatesMu.Unlock()
	gt := g.gate
	gt.mu.Lock()
	delete(gt.groups, g)
	last := len(gt.groups) == 0
	gt.move()
	gt.mu.Unlock()
	if last && m.gates[g.key.room] == gt {
		delete(m.gates, g.key.room)
	}
}

// gate counts the messages of a room that a group has not copied yet. Its methods may be called from any
// goroutine, under a group's mu too.
type gate struct {
	limit int
	waits *atomic.Uint64 // counts the messages that have waited

	mu      sync.Mutex
	groups  map[*group]place
	flying  int           // messages without an outcome
	seqs    []uint64      // of stored ones that a group has not copied
	waiting int           // messages that wait
	moved   chan struct{} // closed when there may be room
	given   bool          // a message has waited in vain: none does until all is copied
}

// place is how far a group has copied its room.
type place struct {
	copied uint64
	behind bool // it has yet to reach what was there when the server started
}

// enter waits until one more message can be stored.
func (gt *gate) enter(ctx context.Context) error {
	var late <-chan time.Time
	for {
		gt.mu.Lock()
		if gt.given || (gt.flying+len(gt.seqs) < gt.limit && !gt.behind()) {
			gt.flying++
			gt.mu.Unlock()
			return nil
		}
		moved := gt.moved
		gt.waiting++
		gt.mu.Unlock()
		if late == nil {
			gt.waits.Add(1)
			timer := time.NewTimer(gateWait)
			defer timer.Stop()
			late = timer.C
		}
		select {
		case <-moved:
		case <-late:
			gt.give()
			return nil
		case <-ctx.Done():
			return errUncopied.Because(ctx.Err())
		}
	}
}

// give opens the gate, for one that has waited and all who do: a group that cannot be written must not
// keep its room from being used for good. What it misses then it says.
func (gt *gate) give() {
	gt.mu.Lock()
	defer gt.mu.Unlock()
	gt.given = true
	gt.flying++
	gt.move()
}

// stored notes the outcome of a message: its seq, 0 if it was not stored or nobody knows.
func (gt *gate) stored(seq uint64) {
	gt.mu.Lock()
	defer gt.mu.Unlock()
	gt.flying--
	if seq > gt.floor() && len(gt.seqs) < gt.limit {
		gt.seqs = append(gt.seqs, seq)
	} else {
		gt.move()
	}
}

// copied notes how far a group is, and whether that is all that was there when it was opened.
func (gt *gate) copied(g *group, seq uint64, all bool) {
	gt.mu.Lock()
	defer gt.mu.Unlock()
	p, ok := gt.groups[g]
	if !ok {
		return
	}
	gt.groups[g] = place{copied: seq, behind: p.behind && !all}
	floor := gt.floor()
	gt.seqs = slices.DeleteFunc(gt.seqs, func(seq uint64) bool { return seq <= floor })
	if len(gt.seqs) == 0 && !gt.behind() {
		gt.given = false
	}
	gt.move()
}

// floor is the seq up to which all groups have copied the room. gt.mu is held, as in all below.
func (gt *gate) floor() uint64 {
	floor := ^uint64(0)
	for _, p := range gt.groups {
		floor = min(floor, p.copied)
	}
	return floor
}

func (gt *gate) behind() bool {
	for _, p := range gt.groups {
		if p.behind {
			return true
		}
	}
	return false
}

// move has those who wait look again.
func (gt *gate) move() {
	if gt.waiting == 0 {
		return
	}
	gt.waiting = 0
	close(gt.moved)
	gt.moved = make(chan struct{})
}
