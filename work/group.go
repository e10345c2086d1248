package work

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"parley"
)

// Bounds of a group in memory.
const (
	window    = 4096    // unfinished jobs in view
	lookahead = 1024    // of those, how many wait to be given out before no more are loaded
	maxBodies = 1 << 20 // bytes of bodies of jobs that wait
)

// reloadPause is how long a group waits before it reads its journals again.
const reloadPause = 500 * time.Millisecond

// group is the jobs of one room for one name. Its goroutine reads and writes the journals; workers
// come and go under mu.
type group struct {
	manager     *Manager
	key         groupKey
	begin       *uint64 // behind which message it begins if it is not there yet
	jobsJournal string
	steps       string        // the other journal's name
	gate        *gate         // of its room
	kick        chan struct{} // of one: there may be something to do
	opened      chan struct{} // closed when the journals were read for the first time
	ended       chan struct{} // closed when it is kept here no more
	missing     error         // set before opened is closed: there is no such group
	writes      sync.WaitGroup

	mu    sync.Mutex
	fault error // a write failed: this life is over
	books
	takers int      // that may be given more
	hungry []*Taker // those of them that have room for it, the longest waiting first

	removal *removal // it is to go; nobody can take then
}

// books are what the journals say, as far as it is in memory. Guarded by the group's mu.
type books struct {
	open  map[uint64]*job // loaded and not finished, by seq
	ready queue           // of these, those that may be given out
	timed queue           // those that wait for a time: a deadline, or when they are due again
	keys  map[string][]*job
	past  map[uint64]past // what the steps say of jobs that are not loaded yet
	back  letters         // dead letters that were put back
	bytes int             // of bodies in memory

	claims map[uint64]claim // jobs that workers hold of another owner, by seq
	quiet  time.Time        // until then nothing is given out: claims may come

	// The journal of jobs.
	copied  uint64   // seq of the last message that is in it
	inbox   inbox    // what comes behind it, as far as it is in memory
	total   uint64   // messages of the room that were ever in it
	shown   uint64   // of these, those of the records up to read
	tail    uint64   // its last record of what the room had
	newest  uint64   // its last record of any kind
	read    uint64   // the last one that was loaded
	seen    uint64   // seq of the last message that was
	fresh   []loaded // what comes right behind read, while that is in memory
	grown   bool     // the room may have messages behind copied
	goal    uint64   // seq of the room's last message when this life began
	copying bool
	bulk    int // bytes written since the last snapshot

	// The journal of steps.
	lastStep uint64        // its last record
	pending  []byte        // steps that are not on their way yet
	told     []func(error) // who waits for these
	flushing bool
	graves   []grave
	dead     uint64 // dead letters since the group began
	returns  []*returning
	since    int    // bytes written since the last snapshot
	records  int    // of both journals, written since
	snapshot int    // bytes of that
	trimJobs uint64 // records up to here are not needed any more; likewise steps
	trimStep uint64
}

func newGroup(m *Manager, key groupKey, begin *uint64) *group {
	return &group{
		manager: m, key: key, begin: begin,
		jobsJournal: jobsPrefix + key.room + "\x00" + key.name,
		steps:       stepsPrefix + key.room + "\x00" + key.name,
		kick:        make(chan struct{}, 1),
		opened:      make(chan struct{}),
		ended:       make(chan struct{}),
	}
}

// run serves the group until ctx ends. A life that fails is followed by another.
func (g *group) run(ctx context.Context) {
	defer close(g.ended)
	for ctx.Err() == nil {
		err := g.life(ctx)
		g.writes.Wait() // nothing of the old life comes into the new one
		if err == errRemoved {
			err = g.eraseAll(ctx)
		}
		g.end(err)
		if err == errMissing || err == errRemoved {
			return
		}
		if ctx.Err() == nil {
			g.manager.counts.reloads.Add(1)
			g.manager.Logger.Warn("a group reads its journals again", "room", g.key.room, "group", g.key.name, "err", err)
			sleep(ctx, reloadPause)
		}
	}
}

// life reads the journals and serves until something fails.
func (g *group) life(ctx context.Context) error {
	if err := g.restore(ctx); err != nil {
		return err
	}
	last, leave, err := g.manager.Rooms.Attend(ctx, g.key.room, g.roomGrew)
	if err != nil {
		return fmt.Errorf("attend the room: %w", err)
	}
	defer leave()
	g.mu.Lock()
	g.grown = g.grown || last > g.copied
	g.goal = last
	g.inbox.begin(last)
	g.gate.copied(g, g.copied, g.copied >= g.goal)
	g.mu.Unlock()
	if !isClosed(g.opened) {
		close(g.opened)
	}
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		next, err := g.work(ctx)
		if err != nil {
			return err
		}
		timer.Reset(next)
		select {
		case <-g.kick:
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// work does all there is to do now, and says after what time there is more by the clock.
func (g *group) work(ctx context.Context) (next time.Duration, err error) {
	for again := true; again; {
		again = false
		for _, step := range []func(context.Context) (bool, error){g.removed, g.load, g.hand, g.copyOn, g.takeBack, g.bury, g.flush, g.trim} {
			more, err := step(ctx)
			if err != nil {
				return 0, err
			}
			again = again || more
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	next = time.Hour
	if j := g.timed.first(); j != nil {
		next = max(0, time.Until(j.at))
	}
	if quiet := time.Until(g.quiet); quiet > 0 {
		next = quiet
	}
	return next, g.fault
}

// end ends a life: who waits is told, and nobody holds a job any more.
func (g *group) end(because error) {
	g.mu.Lock()
	told := g.told
	for _, grave := range g.graves {
		told = append(told, grave.told)
	}
	for _, r := range g.returns {
		told = append(told, r.outcome(false))
	}
	for _, j := range g.open {
		if j.holder != nil {
			j.holder.drop(j)
		}
	}
	g.books, g.fault = books{}, errReloading
	if because == errRemoved {
		g.fault = errNoJob
	}
	g.mu.Unlock()
	if because == errRemoved {
		g.manager.forget(g)
		close(g.removal.done)
	}
	if because == errMissing {
		g.manager.forget(g)
		if !isClosed(g.opened) {
			g.missing = because
			close(g.opened)
		}
	}
	never := error(errReloading)
	if g.manager.shared() { // it was on no way yet, and who asks again is told more
		never = ErrElsewhere
	}
	for _, tell := range told {
		if tell != nil {
			tell(never)
		}
	}
}

var (
	errMissing   = parley.Errorf(parley.NotFound, "there is no such group")
	errRemoved   = errors.New("the group is removed")
	errReloading = parley.Errorf(parley.Unavailable, "the outcome is unknown: the job may be given out again")
)

// roomGrew is called by the room's tail.
func (g *group) roomGrew(batch []*parley.Message) {
	g.mu.Lock()
	g.grown = true
	g.inbox.add(batch)
	g.mu.Unlock()
	g.wake()
}

// wake has the goroutine look for what there is to do.
func (g *group) wake() {
	select {
	case g.kick <- struct{}{}:
	default:
	}
}

// failed notes a write without a known outcome. g.mu is held.
func (g *group) failed(err error) {
	if g.fault == nil {
		g.fault = err
	}
	g.wake()
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
