package hooks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"parley"
	"parley/work"
)

// Tail says which rooms have grown. It is the one thing hooks need of the log beside what is in it:
// whatever follows many rooms at once can stand here.
type Tail interface {
	// Grew has told called with a room's name after it has grown, until stop. told must not block. It
	// is a hint: a call may be missing, which is found when the rooms are listed the next time.
	Grew(told func(room string)) (stop func())
}

// Rooms is what hooks need of the active rooms.
type Rooms interface {
	// PageAfter gives up to limit messages with seq > after, oldest first.
	PageAfter(ctx context.Context, room string, after uint64, limit int) (parley.Page, error)
	// Observe has seen called whenever a user comes into a room here or leaves it, with how many are
	// there then, until stop. seen must not block.
	Observe(seen func(room, user string, here bool, count int)) (stop func())
}

// Config is what hooks lie on.
type Config struct {
	Log      parley.Log
	Journals parley.Journals // when each hook began
	Work     *work.Manager   // where it is in each room
	Tail     Tail
	Rooms    Rooms
	Logger   *slog.Logger // default: discard

	// Keeps, where other nodes have the same hooks, says whether this one posts what is of a room; nil:
	// all of it. Where that changes, Moved is to be called.
	Keeps func(room string) bool
}

// Sender carries out the hooks that post. Its methods may be called from any goroutine.
type Sender struct {
	Config

	ctx     context.Context // ends what is under way
	cancel  context.CancelFunc
	leaving chan struct{} // closed when nothing new is begun
	leave   func()
	running sync.WaitGroup // a goroutine or two of each hook

	moves atomic.Uint64 // of rooms between nodes

	mu     sync.Mutex
	closed bool
	hooks  map[string]*hook // those that were configured before too: they rest
	stops  []func()         // of the tail and of presence
}

// New makes a sender without hooks. Run must be called for it to end.
func New(c Config) *Sender {
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sender{Config: c, hooks: make(map[string]*hook), leaving: make(chan struct{})}
	s.leave = sync.OnceFunc(func() { close(s.leaving) })
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Run serves until ctx ends, then cuts off what is under way and waits for all that was started.
func (s *Sender) Run(ctx context.Context) error {
	<-ctx.Done()
	s.cancel()
	s.end()
	return nil
}

// Drain begins nothing more and waits for the requests under way, which are cut off when ctx ends. What
// was not posted is posted after the next start.
func (s *Sender) Drain(ctx context.Context) {
	defer context.AfterFunc(ctx, s.cancel)()
	s.end()
}

func (s *Sender) end() {
	s.mu.Lock()
	s.closed = true
	stops := s.stops
	s.stops = nil
	s.mu.Unlock()
	for _, stop := range stops {
		stop()
	}
	s.leave()
	s.running.Wait()
}

// Prepare reads what the hooks of a configuration need, and writes down when those begin that are new.
// After that the change cannot fail any more; apply puts it into force and returns at once. A hook that
// is not in it rests: where it is in its rooms is kept for when it is there again. What is the user's to
// mend is a *Mistake.
func (s *Sender) Prepare(ctx context.Context, out []Out) (apply func(), err error) {
	plan := make([]planned, len(out))
	letters := make(map[string]bool)
	for i := range out {
		t, err := newTarget(i, out[i].filled())
		if err != nil {
			return nil, err
		}
		plan[i].target, t.letters = t, letters
		letters[t.Dead] = true
	}
	for i := range plan {
		if plan[i].began, err = s.beginning(ctx, plan[i].Name); err != nil {
			return nil, err
		}
	}
	return func() { s.apply(plan) }, nil
}

// planned is a hook that is to be in force.
type planned struct {
	*target
	began time.Time
}

func (s *Sender) apply(plan []planned) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	if len(plan) > 0 && s.stops == nil {
		s.stops = []func(){s.Tail.Grew(s.grew), s.Rooms.Observe(s.seen)}
	}
	stays := make(map[string]bool, len(plan))
	for _, p := range plan {
		stays[p.Name] = true
		h := s.hooks[p.Name]
		if h == nil {
			h = newHook(s, p.Name, p.began)
			s.hooks[p.Name] = h
			s.running.Go(h.run)
			s.running.Go(h.crowds.run)
		}
		h.aim(p.target)
	}
	for name, h := range s.hooks {
		if !stays[name] {
			h.aim(nil)
		}
	}
}

// journalPrefix begins the name of the journal that says when a hook began: version, milliseconds.
const journalPrefix = "hook\x00"

const journalVersion = 1

// beginning finds out when a hook began, and writes it down the first time. A room in which the hook is
// nowhere yet, be it after a crash, is posted from then on.
func (s *Sender) beginning(ctx context.Context, name string) (time.Time, error) {
	record, err := s.Journals.Newest(ctx, journalPrefix+name)
	if err != nil {
		return time.Time{}, fmt.Errorf("read the journal of the hook %s: %w", name, err)
	}
	if record.Seq > 0 {
		ms, n := binary.Varint(record.Data[1:]) // no record is empty
		if n <= 0 || record.Data[0] != journalVersion {
			return time.Time{}, fmt.Errorf("the journal of the hook %s cannot be read", name)
		}
		return time.UnixMilli(ms), nil
	}
	ms := time.Now().UnixMilli()
	done := make(chan error, 1)
	first := binary.AppendVarint([]byte{journalVersion}, ms)
	err = s.Journals.WriteNext(ctx, journalPrefix+name, 0, first, func(_ uint64, err error) { done <- err })
	if err == nil {
		select {
		case err = <-done:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if errors.Is(err, parley.ErrOvertaken) { // another node has just written it
		return s.beginning(ctx, name)
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("write the journal of the hook %s: %w", name, err)
	}
	return time.UnixMilli(ms), nil
}

// Moved has the rooms looked at again, since this node may keep others than before. It does not block.
func (s *Sender) Moved() {
	s.moves.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hooks {
		h.listSoon()
		h.wake()
	}
}

// keeps says whether this node posts what is of a room.
func (s *Sender) keeps(room string) bool { return s.Keeps == nil || s.Keeps(room) }

// grew is told that a room has grown.
func (s *Sender) grew(room string) {
	if !s.keeps(room) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hooks {
		h.grew(room)
	}
}

// seen is told that somebody has come or gone.
func (s *Sender) seen(room, user string, here bool, count int) {
	if !s.keeps(room) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.hooks {
		h.crowds.seen(room, user, here, count)
	}
}

// left says whether nothing new is to be begun.
func (s *Sender) left() bool {
	select {
	case <-s.leaving:
		return true
	default:
		return false
	}
}

// same says whether two hooks are configured alike, secrets included.
func (t *target) same(o *target) bool {
	return o != nil && reflect.DeepEqual(t.Out, o.Out) && reflect.DeepEqual(t.secret, o.secret) &&
		reflect.DeepEqual(t.headers, o.headers) && reflect.DeepEqual(t.letters, o.letters) && string(t.authorities) == string(o.authorities)
}
