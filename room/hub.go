package room

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"parley"
	"parley/wire"
)

// Config is what a hub can be told. The zero value of a field means its default.
type Config struct {
	// What the log keeps of a room: a ring never replays more. Messages, and their age.
	RetainMessages int           // default 100,000
	RetainAge      time.Duration // default 30 days

	// Bus, in a cluster, carries presence and signals between its nodes; nil: there are no others.
	Bus parley.Bus

	Linger     time.Duration // how long a room without members keeps its ring; default 10 s
	RingMemory int           // bytes all rings may take together; default 256 MiB
	Lag        int           // bytes of a room kept in each encoding, however few rooms there are; default 4 MiB
	Flushers   int           // default GOMAXPROCS
	Logger     *slog.Logger
}

func (c *Config) fill() {
	if c.RetainMessages == 0 {
		c.RetainMessages = 100_000
	}
	if c.RetainAge == 0 {
		c.RetainAge = 30 * 24 * time.Hour
	}
	if c.Linger == 0 {
		c.Linger = 10 * time.Second
	}
	if c.RingMemory == 0 {
		c.RingMemory = 256 << 20
	}
	if c.Lag == 0 {
		c.Lag = maxStrand
	}
	if c.Flushers == 0 {
		c.Flushers = runtime.GOMAXPROCS(0)
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
}

// maxReads bounds the pages that laggards read from the log at once, and so the memory they take: a
// page is some megabytes on its way through the engine.
const maxReads = 8

// Hub holds the active rooms and what serves them all. Its methods may be called from any goroutine.
type Hub struct {
	log    parley.Log
	config Config
	logger *slog.Logger

	peers       *remote // nil where there are no other nodes
	flushers    *flushers
	pumps       sync.WaitGroup
	reads       chan struct{} // laggards reading now
	strandLimit atomic.Int64  // bytes a strand may keep now
	stats       counters
	observer    atomic.Pointer[func(room, user string, here bool, count int)] // nil: none
	status      atomic.Pointer[wire.Status]                                   // what was announced last; nil: nothing yet

	ctx    context.Context // ends with Run
	cancel context.CancelFunc

	vacated chan struct{} // of one: there are vacant rooms

	mu     sync.Mutex
	rooms  map[string]*Room
	vacant []*Room // patterns' rooms that their last member has left
}

// NewHub makes a hub over a log. Run must be called for anything to be written.
func NewHub(log parley.Log, config Config) *Hub {
	config.fill()
	h := &Hub{
		log: log, config: config, logger: config.Logger,
		flushers: newFlushers(),
		reads:    make(chan struct{}, maxReads),
		vacated:  make(chan struct{}, 1),
		rooms:    make(map[string]*Room),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.strandLimit.Store(int64(h.share(1)))
	if config.Bus != nil {
		h.peers = newRemote(h, config.Bus)
	}
	return h
}

// Run serves the rooms until ctx ends, then waits for all it has started. Sessions should be gone
// by then: what is still owed to them is not written any more.
func (h *Hub) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for range h.config.Flushers {
		wg.Go(h.flushers.run)
	}
	if h.peers != nil {
		wg.Go(func() {
			if err := h.peers.run(ctx); err != nil {
				h.logger.Error("presence and signals stay at this node", "error", err)
			}
		})
	}
	tick := time.NewTicker(min(time.Second, h.config.Linger))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			h.cancel()
			h.flushers.close()
			wg.Wait()
			h.pumps.Wait()
			h.closeRooms()
			return nil
		case now := <-tick.C:
			h.sweep(now)
		case <-h.vacated:
			h.endVacant()
		}
	}
}

// Joining is how a session enters a room.
type Joining struct {
	Room  string
	Start wire.Start
	Echo  bool

	// Joined, if not nil, appends the answer to the join: it is written before any message of the
	// room. seq is the room's newest at that moment.
	Joined func(enc wire.Encoding, dst []byte, seq uint64) []byte

	// Present, if not nil, asks for presence frames: it appends the answer in Joined's place. There
	// are count users, their names are nil if they are more than MaxNamed.
	Present func(enc wire.Encoding, dst []byte, seq uint64, users []string, count int) []byte

	// Of a pattern: what it shows. JoinedMany, in Joined's place, is given the cursor that it begins at; nil
	// where it begins in some rooms at places of their own.
	Many       *Many
	JoinedMany func(enc wire.Encoding, dst []byte, at parley.Position) []byte
}

// Join makes a session a member of a room.
func (h *Hub) Join(ctx context.Context, o *Outlet, j Joining) (*Member, error) {
	if j.Many != nil {
		return h.joinMany(ctx, o, j)
	}
	r, err := h.acquire(ctx, j.Room)
	if err != nil {
		return nil, err
	}
	after, exact, err := h.startOf(ctx, r, j.Start)
	if err != nil {
		h.release(r)
		return nil, err
	}
	m := &Member{room: r, out: o, echo: j.Echo, watches: j.Present != nil, exact: exact}
	o.mu.Lock()
	if o.off() {
		o.mu.Unlock()
		h.release(r)
		return nil, context.Canceled
	}
	seq, all := r.add(m, after, !j.Start.Replays())
	o.members = append(o.members, m)
	switch {
	case j.Present != nil:
		o.replies = j.Present(o.enc, o.replies, seq, all.Members, all.Count)
	case j.Joined != nil:
		o.replies = j.Joined(o.enc, o.replies, seq)
	}
	if !o.pumping {
		o.inform()
	}
	o.mu.Unlock()
	h.flushers.add(o)
	return m, nil
}

// Begin works out the position that a start means now: behind the newest message where it is live.
func (h *Hub) Begin(ctx context.Context, room string, s wire.Start) (after uint64, err error) {
	r, err := h.acquire(ctx, room)
	if err != nil {
		return 0, err
	}
	defer h.release(r)
	if !s.Replays() {
		return r.lastSeq(), nil
	}
	after, _, err = h.startOf(ctx, r, s)
	return after, err
}

// startOf works out the position a member starts behind, and whether what is not there behind it
// is no gap: it was worked out to replay what is left, rather than asked for.
func (h *Hub) startOf(ctx context.Context, r *Room, s wire.Start) (after uint64, exact bool, err error) {
	switch {
	case s.After != nil:
		return *s.After, *s.After == 0, nil
	case s.Last > 0:
		after, err = h.back(ctx, r, 0, s.Last)
	case !s.Since.IsZero():
		after, err = h.log.Since(ctx, r.name, s.Since)
	}
	return after, s.Replays(), err
}

// Watch keeps a room active and remembers a place in it: that of someone who will join in a moment,
// as of now.
type Watch struct {
	Seq  uint64 // the room's newest message when the watch began
	room *Room
	once sync.Once
}

// Watch begins a watch.
func (h *Hub) Watch(ctx context.Context, room string) (*Watch, error) {
	r, err := h.acquire(ctx, room)
	if err != nil {
		return nil, err
	}
	return &Watch{Seq: r.lastSeq(), room: r}, nil
}

// Close ends the watch. It may be called more than once.
func (w *Watch) Close() { w.once.Do(func() { w.room.hub.release(w.room) }) }

// Attend keeps a room active and has grew called with each batch of messages behind last, the room's newest
// now, in order, none left out, until leave, which waits for no call under way. grew must not block. It
// may keep the messages but not the slice.
func (h *Hub) Attend(ctx context.Context, room string, grew func([]*parley.Message)) (last uint64, leave func(), err error) {
	r, err := h.acquire(ctx, room)
	if err != nil {
		return 0, nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.attendants = append(r.attendants[:len(r.attendants):len(r.attendants)], &grew)
	return r.ring.last, sync.OnceFunc(func() {
		r.mu.Lock()
		rest := make([]*func([]*parley.Message), 0, len(r.attendants))
		for _, other := range r.attendants {
			if other != &grew {
				rest = append(rest, other)
			}
		}
		r.attendants = rest
		r.mu.Unlock()
		h.release(r)
	}), nil
}

// Observe has seen called whenever a user comes into a room or leaves it, at whichever node, with how
// many are there then, until stop. seen must not block, nor call into this package. There is one observer at a time.
func (h *Hub) Observe(seen func(room, user string, here bool, count int)) (stop func()) {
	begin := func() { h.observer.Store(&seen) }
	if h.peers != nil {
		h.peers.observeWith(begin)
	} else {
		begin()
	}
	return func() { h.observer.CompareAndSwap(&seen, nil) }
}

// Members lists at most limit of a room's users, each once however many sessions it has there, and
// counts all of them.
func (h *Hub) Members(room string, limit int) (users []string, count int) {
	r := h.find(room)
	if r == nil || !isClosed(r.ready) {
		if h.peers == nil {
			return nil, 0
		}
		users = h.peers.Names(room)
		return users[:min(len(users), limit)], len(users)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.who(limit), len(r.present)
}

// acquire finds a room and keeps it active until release; it activates it where it is not.
func (h *Hub) acquire(ctx context.Context, name string) (*Room, error) {
	return h.acquireAs(ctx, name, name, nil)
}

// acquireAs is acquire for a room that goes by a key, or a pattern's room.
func (h *Hub) acquireAs(ctx context.Context, key, name string, what *Many) (*Room, error) {
	for {
		h.mu.Lock()
		r := h.rooms[key]
		if r != nil && r.ending {
			h.mu.Unlock()
			select { // the old tail ends before a new one begins
			case <-r.done:
				continue
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		fresh := r == nil
		if fresh {
			r = &Room{hub: h, key: key, name: name, ready: make(chan struct{}), done: make(chan struct{})}
			if what == nil {
				r.present = make(map[string]int)
			} else {
				r.many = &many{Many: *what}
			}
			h.rooms[key] = r
		}
		r.users++
		h.mu.Unlock()
		if fresh {
			go h.activate(r)
		}
		select {
		case <-r.ready:
		case <-ctx.Done():
			h.release(r)
			return nil, ctx.Err()
		}
		if r.err != nil {
			return nil, r.err
		}
		return r, nil
	}
}

// activateTime bounds how long a room's activation may take.
const activateTime = 10 * time.Second

// activate starts the room's tail. It is not bound to the session that came first, since others
// wait for it too.
func (h *Hub) activate(r *Room) {
	ctx, cancel := context.WithTimeout(h.ctx, activateTime)
	defer cancel()
	stop, err := h.follow(ctx, r)
	if err != nil {
		h.mu.Lock()
		delete(h.rooms, r.key)
		h.mu.Unlock()
		r.err = parley.Errorf(parley.Unavailable, "the room cannot be opened now").Because(err)
		close(r.done)
		close(r.ready)
		return
	}
	r.stop = stop
	if r.many == nil {
		r.seed()
	}
	close(r.ready)
}

// follow starts the room's tail.
func (h *Hub) follow(ctx context.Context, r *Room) (stop func(), err error) {
	if r.many != nil {
		return h.followMany(ctx, r)
	}
	early := &opening{room: r}
	last, stop, err := h.log.Follow(ctx, r.name, early.deliver)
	if err == nil {
		early.open(last)
	}
	return stop, err
}

// opening holds what the tail delivers before Follow has said where it starts.
type opening struct {
	room *Room

	mu    sync.Mutex
	early []*parley.Message
	ready bool
}

func (p *opening) deliver(batch []*parley.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ready {
		p.early = append(p.early, batch...)
		return
	}
	p.room.deliver(batch)
}

func (p *opening) open(last uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.room.mu.Lock()
	p.room.ring.last = last
	p.room.mu.Unlock()
	if len(p.early) > 0 {
		p.room.deliver(p.early)
		p.early = nil
	}
	p.ready = true
}

// release lets go of an acquired room.
func (h *Hub) release(r *Room) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if r.users--; r.users > 0 {
		return
	}
	r.idle = time.Now()
	if r.many == nil {
		return
	}
	h.vacant = append(h.vacant, r)
	select {
	case h.vacated <- struct{}{}:
	default: // it will look anyway
	}
}

// sweep ends the rooms that have been without members for a while, and shares the memory of rings
// out among the others.
func (h *Hub) sweep(now time.Time) {
	var ended []*Room
	h.mu.Lock()
	for _, r := range h.rooms {
		if r.users == 0 && !r.ending && r.err == nil && now.Sub(r.idle) >= h.config.Linger && isClosed(r.ready) {
			r.ending = true
			ended = append(ended, r)
		}
	}
	active := len(h.rooms) - len(ended)
	h.mu.Unlock()
	limit := h.share(active)
	if h.strandLimit.Swap(int64(limit)) > int64(limit) {
		h.shrink(limit)
	}
	for _, r := range ended {
		h.end(r)
	}
	h.tellCursors()
}

// share is how many bytes each strand may keep when so many rooms are active.
func (h *Hub) share(active int) int {
	return min(max(h.config.RingMemory/max(1, active), minStrand), max(h.config.Lag, minStrand))
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (h *Hub) end(r *Room) {
	r.stop()
	h.mu.Lock()
	delete(h.rooms, r.key)
	h.mu.Unlock()
	close(r.done)
}

// shrink trims the rings of rooms in which nothing happens, when there is less memory for each.
func (h *Hub) shrink(limit int) {
	for _, r := range h.active() {
		r.mu.Lock()
		r.ring.trim(ringMessages, limit)
		for _, s := range r.ring.strands {
			s.trim(limit)
		}
		r.mu.Unlock()
	}
}

// active lists the rooms that are active now.
func (h *Hub) active() []*Room {
	h.mu.Lock()
	defer h.mu.Unlock()
	rooms := make([]*Room, 0, len(h.rooms))
	for _, r := range h.rooms {
		rooms = append(rooms, r)
	}
	return rooms
}

// closeRooms ends every room's tail.
func (h *Hub) closeRooms() {
	for _, r := range h.active() {
		<-r.ready
		if r.stop != nil {
			h.end(r)
		}
	}
}
