package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sync/singleflight"

	"parley"
)

// Engine is a parley.Log on one node's disk, or on those of a cluster. All its methods may be called by many goroutines.
type Engine struct {
	// Fixed at birth.
	cfg      Config
	log      *slog.Logger
	disk     *disk
	parts    []*partition // those of the rooms, then as many of journals
	mark     *watermark
	rooms    *followers
	many     manyFollowers
	inflight *semaphore.Weighted
	catchers *semaphore.Weighted
	batches  *batcher // nil on one node alone
	bus      *bus     // likewise
	adopted  bool     // set in Open alone

	// Each does its own locking.
	store   atomic.Pointer[store]
	slots   slots
	health  health
	flights singleflight.Group
	watched watched
	counts  counters
	grew    atomic.Pointer[func(room string)] // nil: nobody wants to know

	// Kicks hold one wish each: who finds one there need not add another.
	syncKick, releaseKick, safetyKick, reopenKick chan struct{}

	ctx     context.Context // ends when Close begins to stop what runs
	cancel  context.CancelFunc
	running sync.WaitGroup
	life    sync.Mutex   // spawn against Close
	close   func() error // once
}

var _ parley.Log = (*Engine)(nil)

// ErrInUse says that another process owns the data directory.
var ErrInUse = errors.New("engine: the data directory is in use by another process")

// ErrAlone says that a data directory holds the log of one node alone, and is to be opened in a
// cluster without Adopt.
var ErrAlone = errors.New("the messages in it were stored by one node alone; a cluster takes them over only where it is told to adopt them")

// ErrLeft says that the log could not be closed in order within its time. Nothing is lost by that: what was
// acknowledged is on disk. But the directory stays locked until the process ends, as it should now.
var ErrLeft = errors.New("engine: the log has not closed in time and is left as it is; what was acknowledged is on disk")

// Open starts the log in c.Dir, making it where there is none. What a crash has left in the page
// cache alone is synced before anything is shown. ctx bounds the start only.
func Open(ctx context.Context, c Config) (*Engine, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	d, err := openDisk(&c)
	if err != nil {
		return nil, err
	}
	e := newEngine(c, d)
	if err := e.start(ctx); err != nil {
		e.cancel()
		if st := e.store.Load(); st != nil {
			st.close()
		}
		return nil, errors.Join(err, d.close())
	}
	e.running.Go(e.runSync)
	e.running.Go(e.runRelease)
	e.running.Go(e.runKeeper)
	if e.batches != nil {
		for _, q := range e.batches.queues {
			e.running.Go(func() { e.batches.run(q) })
		}
		e.running.Go(e.runWatch)
	}
	return e, nil
}

func newEngine(c Config, d *disk) *Engine {
	e := &Engine{
		cfg: c, log: c.Logger, disk: d,
		mark:        newWatermark(2 * c.Partitions),
		rooms:       newFollowers(),
		inflight:    semaphore.NewWeighted(int64(c.MaxInflight)),
		catchers:    semaphore.NewWeighted(catchUpsAtOnce),
		syncKick:    make(chan struct{}, 1),
		releaseKick: make(chan struct{}, 1),
		safetyKick:  make(chan struct{}, 1),
		reopenKick:  make(chan struct{}, 1),
	}
	for i := range c.Partitions {
		e.parts = append(e.parts, newPartition(i))
	}
	for i := range c.Partitions {
		e.parts = append(e.parts, newJournalPartition(i, c.Partitions+i))
	}
	if c.replicated() {
		e.batches, e.bus = newBatcher(e), newBus(e)
		e.watched.kick, e.watched.by = make(chan struct{}, 1), make([]seen, len(e.parts))
	}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.close = sync.OnceValue(e.shut)
	return e
}

// start opens the store, syncs what it holds and lets the watermark begin there.
func (e *Engine) start(ctx context.Context) error {
	lasts, err := e.openStore(ctx)
	if err != nil {
		return err
	}
	if err := e.disk.sync(); err != nil {
		return fmt.Errorf("engine: sync %s: %w", e.cfg.Dir, err)
	}
	for i, p := range e.parts {
		p.found(lasts[i])
		e.mark.advance(p, lasts[i])
		p.tailed.Store(lasts[i])
		p.told.Store(lasts[i])
		p.lastMark = lasts[i]
	}
	e.watched.whole = time.Now()
	return nil
}

// openStore begins a life of the store and gives the last seq of each partition.
func (e *Engine) openStore(ctx context.Context) (lasts []uint64, err error) {
	st, err := openStore(ctx, &e.cfg, e.disk.storeMustSync, e.storeBroke)
	if err != nil {
		return nil, fmt.Errorf("engine: %s: %w", filepath.Clean(e.cfg.Dir), err)
	}
	err = st.subscribe(e.parts, e.onAck, e.onLive)
	if err == nil && e.batches != nil {
		err = errors.Join(e.subscribeVotes(st), e.bus.again(st))
	}
	if err == nil && e.cfg.Cluster != nil && e.cfg.Cluster.Adopt && !e.adopted {
		e.adopted, err = e.adopt(ctx, st)
		if e.adopted {
			st.close() // it knows the ids in what it has taken in only once it is opened anew
			return e.openStore(ctx)
		}
	}
	for _, p := range e.parts {
		var last uint64
		if err == nil {
			last, err = st.prepareAt(ctx, p, &e.cfg)
		}
		lasts = append(lasts, last)
	}
	if err == nil && e.batches != nil {
		err = e.caughtUp(ctx, st)
	}
	if err != nil {
		st.close()
		return nil, err
	}
	e.store.Store(st)
	return lasts, nil
}

// Close refuses new appends, waits for those under way as long as they may take, stops the tail
// and closes the log; ErrLeft where that takes too long. It may be called again.
func (e *Engine) Close() error { return e.close() }

func (e *Engine) shut() error {
	e.health.closing.Store(true)
	if e.health.refuses() == errClosed { // nothing else is wrong: what is under way will end
		ctx, cancel := context.WithTimeout(context.Background(), e.cfg.AppendTimeout+timeoutEvery)
		_ = e.inflight.Acquire(ctx, int64(e.cfg.MaxInflight)) // never released: nothing comes after
		cancel()
	}
	e.HandOver()
	e.life.Lock()
	e.cancel()
	e.life.Unlock()
	e.running.Wait()
	e.failHeld(errClosed, func(*slot) bool { return true })
	e.rooms.stopAll()
	e.many.stopAll()
	closed := e.store.Load().closeWithin(e.cfg.closeWithin)
	err := e.disk.sync()
	if err != nil {
		err = fmt.Errorf("engine: sync %s: %w", e.cfg.Dir, err)
	}
	if !closed {
		return errors.Join(err, ErrLeft)
	}
	return errors.Join(err, e.disk.close())
}

// Ready says why messages cannot be stored now; nil when they can.
func (e *Engine) Ready() error {
	e.checkSpace(time.Now())
	if err := e.health.refuses(); err != nil {
		return err
	}
	return nil
}

// spawn runs fn in a goroutine that Close waits for; not at all once Close has come so far.
func (e *Engine) spawn(fn func()) {
	e.life.Lock()
	defer e.life.Unlock()
	if e.ctx.Err() == nil {
		e.running.Go(fn)
	}
}

func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
