package work

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strconv"
	"time"

	"parley"
)

// maxHeld bounds the bytes of bodies that one worker holds beside its first job.
const maxHeld = 1 << 20

// Taking is how a worker joins a group.
type Taking struct {
	Room, Group string
	Prefetch    int           // jobs it holds at once, 1 or more
	Parallel    int           // of these, how many it has begun at most: those given first; 0 = all
	Tries       int           // how often a job is given out that it does not finish
	Deadline    time.Duration // how long it has for each

	// Begin says behind which message the group begins if it is not there yet.
	Begin func(context.Context) (after uint64, err error)

	// Taken, if not nil, is called before the first job is given.
	Taken func()

	// Holds names jobs that the worker was given by an owner before this one, and still holds, the one that
	// it was given first in front.
	Holds []string

	// Give is called with each job, one at a time, until Stop or Leave has returned. It must not
	// block, nor call into this package.
	Give func(*parley.Job)
}

// Taker is a worker's place in a group. Its methods may be called from any goroutine.
type Taker struct {
	group *group
	give  func(*parley.Job)

	// Guarded by the group's mu.
	terms
	jobs    map[*job]int // that it holds, with the bytes of each
	bytes   int
	late    int    // jobs that were taken from it, since it last finished one: it may be at them still
	turns   uint64 // jobs that it was given ever
	stopped bool
	left    bool
	queued  bool // among the hungry
}

// terms are what a worker has said of itself.
type terms struct {
	prefetch, parallel, tries int
	deadline                  time.Duration
}

func (t *Taking) terms() terms { return terms{t.Prefetch, t.Parallel, t.Tries, t.Deadline} }

// Take gives jobs of a group to a worker, until Stop or Leave.
func (m *Manager) Take(ctx context.Context, t Taking) (*Taker, error) {
	if _, err := parley.ParseRoom(t.Room + deadSuffix); err != nil {
		return nil, parley.Errorf(parley.BadRequest, "the name %q is too long for a room with workers: its dead letters have a room too", t.Room)
	}
	g, err := m.lock(ctx, &t)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if isClosed(g.ended) {
		return nil, ErrElsewhere
	}
	taker := &Taker{
		group: g, give: t.Give, terms: t.terms(), jobs: make(map[*job]int), turns: uint64(len(t.Holds)),
	}
	if t.Taken != nil {
		t.Taken()
	}
	g.takers++
	g.claim(taker, t.Holds)
	g.offer(taker)
	g.wake()
	return taker, nil
}

// lock finds the group that a worker joins, and locks it. One that is being removed is waited for: another
// begins then.
func (m *Manager) lock(ctx context.Context, t *Taking) (*group, error) {
	for {
		begin, err := m.beginning(ctx, t)
		if err != nil {
			return nil, err
		}
		g, err := m.open(ctx, t.Room, t.Group, begin)
		if err == errMissing { // somebody has just removed it, or looked for it in vain
			continue
		}
		if err != nil {
			return nil, err
		}
		g.mu.Lock()
		r := g.removal
		if r == nil {
			return g, nil
		}
		g.mu.Unlock()
		if err := g.awaitRemoval(ctx, r); err != nil {
			return nil, err
		}
	}
}

// beginning works out where a group begins; nil where one is open.
func (m *Manager) beginning(ctx context.Context, t *Taking) (*uint64, error) {
	m.mu.Lock()
	there := m.groups[groupKey{t.Room, t.Group}] != nil
	m.mu.Unlock()
	if there {
		return nil, nil
	}
	var after uint64
	if t.Begin != nil {
		var err error
		if after, err = t.Begin(ctx); err != nil {
			return nil, err
		}
	}
	return &after, nil
}

// Change sets what Take was given: how many jobs, how often and for how long.
func (t *Taker) Change(to Taking) {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	t.terms = to.terms()
	t.group.offer(t)
	t.group.wake()
}

// Holds is how many jobs the worker holds.
func (t *Taker) Holds() int {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	return len(t.jobs)
}

// Stop ends the giving. What the worker holds stays its own.
func (t *Taker) Stop() {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	t.stop()
}

func (t *Taker) stop() {
	if t.stopped {
		return
	}
	t.stopped = true
	if t.group.takers--; t.group.takers == 0 {
		t.group.rest()
	}
	if t.queued {
		t.queued = false
		i := slices.Index(t.group.hungry, t)
		t.group.hungry = slices.Delete(t.group.hungry, i, i+1)
	}
}

// rest lets go of what is in memory for workers, since there are none. g.mu is held.
func (g *group) rest() {
	for _, j := range g.open {
		g.forgetBody(j)
	}
	g.fresh = nil
}

// Leave is Stop for a worker that is gone: what it holds is given to others at once. What it cannot have
// begun has not been tried.
func (t *Taker) Leave() {
	g, now := t.group, time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	t.stop()
	t.left = true
	for i, j := range t.inOrder() {
		g.unqueue(j)
		if t.parallel == 0 || i+t.late < t.parallel {
			g.giveUp(j, "connection lost", now)
		} else {
			g.free(j, now)
		}
	}
	g.wake()
}

// inOrder gives the jobs that a worker holds, the one that it was given first in front.
func (t *Taker) inOrder() []*job {
	return slices.SortedFunc(maps.Keys(t.jobs), func(a, b *job) int { return cmp.Compare(a.turn, b.turn) })
}

// begun says whether a worker may have begun a job that it holds: it begins them in the order given.
func (t *Taker) begun(j *job) bool {
	before := t.late
	for other := range t.jobs {
		if other.turn < j.turn {
			before++
		}
	}
	return t.parallel == 0 || before < t.parallel
}

// drop takes a job from its holder. The group's mu is held, as in all below.
func (t *Taker) drop(j *job) {
	t.bytes -= t.jobs[j]
	delete(t.jobs, j)
	j.holder = nil
	t.group.offer(t)
}

// room says whether a worker can take another job, of so many bytes.
func (t *Taker) room(bytes int) bool {
	return !t.stopped && len(t.jobs) < t.prefetch && (len(t.jobs) == 0 || t.bytes+bytes <= maxHeld)
}

// offer puts a worker among the hungry if it has room.
func (g *group) offer(t *Taker) {
	if !t.queued && t.room(0) {
		t.queued = true
		g.hungry = append(g.hungry, t)
	}
}

// hand gives out what can be given, and takes back what is overdue.
func (g *group) hand(ctx context.Context) (again bool, err error) {
	for {
		g.mu.Lock()
		if g.fault != nil {
			g.mu.Unlock()
			return false, nil
		}
		now := time.Now()
		if now.Before(g.quiet) {
			g.mu.Unlock()
			return false, nil
		}
		g.honour(now)
		g.tick(now)
		seq, record := g.giveAll(now)
		few := g.ready.Len() == 0 && len(g.hungry) > 0 && g.takers > 0 && g.read < g.tail && len(g.open) < window
		g.mu.Unlock()
		if record == 0 {
			return few, nil
		}
		if _, err := g.fetch(ctx, seq, record); err != nil {
			return false, err
		}
	}
}

// tick deals with the jobs whose time has come.
func (g *group) tick(now time.Time) {
	for j := g.timed.first(); j != nil && !j.at.After(now); j = g.timed.first() {
		g.timed.remove(j)
		switch {
		case j.state == held && j.holder.begun(j):
			j.holder.late++
			g.giveUp(j, "deadline", now)
		case j.state == held:
			g.free(j, now)
		default:
			j.at = time.Time{}
			g.place(j, now)
		}
	}
}

// giveUp ends a try that was not finished. The job is in no queue.
func (g *group) giveUp(j *job, reason string, now time.Time) {
	t := j.holder
	t.drop(j)
	j.tries++
	g.manager.counts.lost.Add(1)
	if j.tries >= t.tries {
		g.doom(j, reason, nil)
		return
	}
	j.at = time.Time{}
	g.tried(j, nil)
	g.place(j, now)
}

// free takes back a job that was given and not begun. It is as if it had not been given: there is
// nothing to write down. The job is in no queue.
func (g *group) free(j *job, now time.Time) {
	j.holder.drop(j)
	g.manager.counts.freed.Add(1)
	j.at = time.Time{}
	g.place(j, now)
}

// giveAll gives ready jobs to hungry workers. Where the next one's message has to be read first,
// it returns which.
func (g *group) giveAll(now time.Time) (seq, record uint64) {
	for len(g.hungry) > 0 {
		j := g.ready.first()
		switch {
		case j == nil:
			return 0, 0
		case !j.expires.IsZero() && !j.expires.After(now):
			g.manager.counts.expired.Add(1)
			g.ready.remove(j)
			g.finish(j, now, nil)
			continue
		case g.claimed(j, now):
			continue
		case j.message == nil:
			return j.seq, j.record
		}
		t := g.hungry[0]
		if t.room(len(j.message.Body)) {
			g.ready.remove(j)
			g.giveTo(t, j, now)
		} else {
			g.hungry[0] = nil
			g.hungry = g.hungry[1:]
			t.queued = false
		}
		if n := len(g.hungry); n > 1 && g.hungry[0] == t { // in turn
			copy(g.hungry, g.hungry[1:])
			g.hungry[n-1] = t
		}
	}
	return 0, 0
}

func (g *group) giveTo(t *Taker, j *job, now time.Time) {
	m := j.message
	g.forgetBody(j)
	t.jobs[j] = len(m.Body)
	t.bytes += len(m.Body)
	j.state, j.holder, j.at = held, t, now.Add(t.deadline)
	j.nonce, j.turn = g.manager.nonce.Add(1), t.turns
	t.turns++
	g.timed.add(j)
	g.manager.counts.given.Add(1)
	t.give(&parley.Job{
		Message: m, Group: g.key.name, Job: g.nameOf(j), Tries: j.tries + 1, Deadline: t.deadline,
	})
}

// nameOf names the try of a job that is under way.
func (g *group) nameOf(j *job) string {
	b := make([]byte, 0, len(g.key.name)+32)
	b = append(append(b, g.key.name...), '.')
	b = append(strconv.AppendUint(b, j.seq, 10), '.')
	return string(strconv.AppendUint(b, j.nonce, 36))
}
