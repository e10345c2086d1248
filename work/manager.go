package work

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"parley"
)

// Rooms is what the books need of the active rooms.
type Rooms interface {
	// Attend keeps a room active and has grew called with what comes behind last, in order, none left
	// out, until leave. grew must not block, and may keep the messages but not the slice.
	Attend(ctx context.Context, room string, grew func([]*parley.Message)) (last uint64, leave func(), err error)
	// PageAfter gives up to limit messages with seq > after, oldest first.
	PageAfter(ctx context.Context, room string, after uint64, limit int) (parley.Page, error)
}

// Config is what the books lie on.
type Config struct {
	Log      parley.Log // New puts a gate in front of it: see Gate
	Journals parley.Journals
	Rooms    Rooms
	Logger   *slog.Logger // default: discard

	RetainMessages int // messages that a room keeps; 0 or less: all
	// Part, where other nodes share the log, says in which part of it a room is. The groups of a part
	// are kept while Hold says so; nil: all are kept here.
	Part func(room string) int

	// Claims is how long the new owner of a group waits for workers to say which jobs they hold, before
	// it gives out any. Default: half a second.
	Claims time.Duration
}

// Bounds of a server.
const (
	maxGroups     = 10_000
	maxRoomGroups = 1_000 // of one room
)

// Manager holds the groups and readers of a server. Its methods may be called from any goroutine.
type Manager struct {
	Config

	ctx     context.Context // ends with Run
	cancel  context.CancelFunc
	running sync.WaitGroup
	nonce   atomic.Uint64 // of the last job given out
	counts  counters
	later   *later
	ready   chan struct{} // closed when what was removed is gone: groups and readers can be come to
	listed  chan struct{} // closed when the groups that there are have been entered
	known   atomic.Int64  // readers that have a journal

	gatesMu sync.RWMutex     // behind mu
	gates   map[string]*gate // of the rooms that have groups

	mu      sync.Mutex
	closed  bool
	groups  map[groupKey]*group
	perRoom map[string]int
	readers map[readerKey]*reader
	erasing map[readerKey]chan struct{} // being removed; closed when that is over
	shares  map[int]*share              // of parts that are held
}

type groupKey struct{ room, name string }

// New makes the books over a log. Run must be called for groups to go on by themselves.
func New(c Config) *Manager {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Claims == 0 {
		c.Claims = claimsFor
	}
	m := &Manager{
		Config:  c,
		groups:  make(map[groupKey]*group),
		perRoom: make(map[string]int),
		readers: make(map[readerKey]*reader),
		erasing: make(map[readerKey]chan struct{}),
		ready:   make(chan struct{}),
		listed:  make(chan struct{}),
		gates:   make(map[string]*gate),
		shares:  make(map[int]*share),
	}
	m.Log = gatedLog{c.Log, m}
	m.nonce.Store(rand.Uint64N(1 << 40)) // another after each start: names of tries do not come again
	m.later = newLater(m)
	m.ctx, m.cancel = context.WithCancel(context.Background())
	return m
}

// Run opens the groups that there are and serves until ctx ends, then waits for all it has
// started.
func (m *Manager) Run(ctx context.Context) error {
	defer func() {
		m.mu.Lock()
		m.closed = true
		m.mu.Unlock()
		m.cancel()
		m.running.Wait()
	}()
	if !m.shared() {
		m.spawn(m.later.run)
	}
	for {
		err := m.openAll(ctx)
		if err == nil {
			break
		}
		m.Logger.Error("the groups cannot be opened now; trying again", "err", err)
		if !sleep(ctx, reloadPause) {
			return nil
		}
	}
	close(m.listed)
	<-ctx.Done()
	return nil
}

// openAll opens the groups that have journals: they copy their rooms' messages with and without
// workers.
func (m *Manager) openAll(ctx context.Context) error {
	if !isClosed(m.ready) {
		if err := m.sweep(ctx); err != nil {
			return err
		}
		close(m.ready)
	}
	names, err := m.Journals.Journals(ctx, stepsPrefix)
	if err != nil {
		return fmt.Errorf("list the journals: %w", err)
	}
	readers, err := m.Journals.Journals(ctx, readerPrefix)
	if err != nil {
		return fmt.Errorf("list the journals: %w", err)
	}
	readers = slices.DeleteFunc(readers, func(journal string) bool { return !counted(journal) })
	m.known.Add(int64(len(readers)))
	if m.shared() {
		return nil // they are opened as their parts are held
	}
	for _, name := range names {
		room, group, ok := strings.Cut(name[len(stepsPrefix):], "\x00")
		if !ok {
			continue
		}
		if _, err := m.enter(groupKey{room, group}, nil); err != nil {
			m.Logger.Error("a group is left closed", "room", room, "group", group, "err", err)
		}
	}
	return nil
}

// Journals of a group.
const (
	stepsPrefix = "steps\x00"
	jobsPrefix  = "jobs\x00"
)

var errEnding = parley.Errorf(parley.Unavailable, "the server is going away")

// enter finds a group or opens it. begin, where not nil, says behind which message one begins that
// is not there yet; without it there has to be one.
func (m *Manager) enter(key groupKey, begin *uint64) (*group, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil, errEnding
	}
	if g := m.groups[key]; g != nil {
		return g, nil
	}
	if begin != nil && (len(m.groups) >= maxGroups || m.perRoom[key.room] >= maxRoomGroups) {
		return nil, parley.Errorf(parley.Conflict, "there are too many groups: a room has at most %d, a server %d", maxRoomGroups, maxGroups)
	}
	g := newGroup(m, key, begin)
	m.guard(g)
	if err := m.spawnGroup(g); err != nil {
		m.unguard(g)
		return nil, err
	}
	m.groups[key] = g
	m.perRoom[key.room]++
	return g, nil
}

// forget lets go of a group that there is not.
func (m *Manager) forget(g *group) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.remove(g)
}

// remove is forget with m.mu held.
func (m *Manager) remove(g *group) {
	if m.groups[g.key] == g {
		delete(m.groups, g.key)
		m.unguard(g)
		if m.perRoom[g.key.room]--; m.perRoom[g.key.room] == 0 {
			delete(m.perRoom, g.key.room)
		}
	}
}

// open finds a group and waits until its journals are read.
func (m *Manager) open(ctx context.Context, room, name string, begin *uint64) (*group, error) {
	if err := m.await(ctx, m.ready); err != nil {
		return nil, err
	}
	g, err := m.enter(groupKey{room, name}, begin)
	if err != nil {
		return nil, err
	}
	select {
	case <-g.opened:
	case <-g.ended:
	case <-m.ctx.Done():
		return nil, errEnding
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if !isClosed(g.opened) {
		return nil, ErrElsewhere
	}
	return g, g.missing
}

// sleep waits for d; false where ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
