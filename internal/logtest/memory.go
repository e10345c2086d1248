package logtest

import (
	"context"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"parley"
)

// Options of a log in memory. The zero value keeps everything, bounds nothing and reads the
// system's clock.
type Options struct {
	RetainMessages int           // messages a room keeps; 0 = all
	RetainAge      time.Duration // how long; 0 = for ever. It is looked at when a room is used
	Dedupe         time.Duration // how long an id is remembered; 0 = 10 minutes
	MaxInflight    int           // appends without an outcome; beyond it Append waits. 0 = no bound
	Now            func() time.Time
}

// Memory is a parley.Log in memory. All its methods may be called by many goroutines at once.
type Memory struct {
	opts     Options
	inflight chan struct{} // nil: no bound

	mu      sync.Mutex
	seq     uint64 // of the newest message of all rooms
	durable uint64
	held    int
	failed  *parley.Error
	rooms   map[string]*memoryRoom
	many    []*manyFollower // copied on change

	journals map[string][]parley.Record
	record   uint64 // seq of the newest record of all journals
	recorded uint64 // that is durable

	grew func(room string) // nil: nobody wants to know

	ids     map[idKey]idEntry
	waiting []event // behind the watermark
	queue   []event // durable or failed, to be told
	telling bool    // a goroutine empties the queue
}

type memoryRoom struct {
	messages []*parley.Message // what is left
	last     uint64            // seq of the newest ever
	removed  bool              // retention has been here
	gone     uint64            // seq of the newest that it has removed
	follower *memoryFollower
}

type memoryFollower struct {
	deliver func([]*parley.Message)
	turn    sync.Mutex // held while deliver runs; what stop waits for
	last    uint64     // seq of the last message delivered
	stopped bool
}

type idKey struct{ room, from, id string }

type idEntry struct {
	seq uint64
	at  time.Time
}

// event is what has to be told: a message to its room, a receipt to its sender.
type event struct {
	message *parley.Message // nil for a duplicate, and a journal's record
	record  bool
	receipt parley.Receipt
	done    func(parley.Receipt, error)
	err     error
}

var _ parley.Log = (*Memory)(nil)

// New makes an empty log.
func New(o Options) *Memory {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Dedupe == 0 {
		o.Dedupe = 10 * time.Minute
	}
	m := &Memory{opts: o, rooms: make(map[string]*memoryRoom), journals: make(map[string][]parley.Record), ids: make(map[idKey]idEntry)}
	if o.MaxInflight > 0 {
		m.inflight = make(chan struct{}, o.MaxInflight)
	}
	return m
}

// Hold makes durability wait until release is called: nothing appended meanwhile is told or shown.
// Several holds each need their release.
func (l *Memory) Hold() (release func()) {
	l.mu.Lock()
	l.held++
	l.mu.Unlock()
	return sync.OnceFunc(func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.held--
		l.settle()
	})
}

// Fail is a disk that fails for good: what is not durable yet ends with an unknown outcome and is
// never shown, and every append from here on is refused.
func (l *Memory) Fail(cause error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failed = parley.Errorf(parley.Unavailable, "the disk has failed: the message was not stored").Because(cause)
	unknown := parley.Errorf(parley.Unavailable, "the outcome is unknown: the message may or may not have been stored").Because(cause)
	for _, ev := range l.waiting {
		l.queue = append(l.queue, event{record: ev.record, done: ev.done, err: unknown})
	}
	l.waiting = nil
	l.tell()
}

// Append implements parley.Log.
func (l *Memory) Append(ctx context.Context, d parley.Draft, done func(parley.Receipt, error)) error {
	if l.inflight != nil {
		select {
		case l.inflight <- struct{}{}:
		case <-ctx.Done():
			return parley.Errorf(parley.Unavailable, "too many messages are on their way: this one was not stored").Because(ctx.Err())
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		l.land()
		return l.failed
	}
	l.waiting = append(l.waiting, l.store(d, done))
	l.settle()
	return nil
}

// store gives the draft its place. l.mu is held, as in all below.
func (l *Memory) store(d parley.Draft, done func(parley.Receipt, error)) event {
	now := l.opts.Now()
	key := idKey{d.Room, d.From, d.ID}
	if d.Retry {
		if first, ok := l.ids[key]; ok && now.Sub(first.at) < l.opts.Dedupe {
			return event{receipt: parley.Receipt{Seq: first.seq, Duplicate: true}, done: done}
		}
	}
	r := l.room(d.Room)
	l.seq++
	m := &parley.Message{
		Room: d.Room, Seq: l.seq, ID: d.ID, From: d.From, Type: d.Type, Session: d.Session,
		At: now.UTC().Truncate(time.Millisecond), Body: slices.Clone(d.Body),
		Key: d.Key, Priority: d.Priority, Expires: d.Expires,
	}
	if n := len(r.messages); n > 0 {
		m.Prev = r.messages[n-1].Seq
	}
	r.messages, r.last = append(r.messages, m), m.Seq
	l.trim(r, now)
	if d.Retry {
		l.ids[key] = idEntry{m.Seq, now}
	}
	return event{message: m, receipt: parley.Receipt{Seq: m.Seq}, done: done}
}

func (l *Memory) room(name string) *memoryRoom {
	r := l.rooms[name]
	if r == nil {
		r = &memoryRoom{}
		l.rooms[name] = r
	}
	return r
}

// trim is retention.
func (l *Memory) trim(r *memoryRoom, now time.Time) {
	n := 0
	if keep := l.opts.RetainMessages; keep > 0 {
		n = max(0, len(r.messages)-keep)
	}
	for l.opts.RetainAge > 0 && n < len(r.messages) && now.Sub(r.messages[n].At) >= l.opts.RetainAge {
		n++
	}
	if n > 0 {
		r.gone = r.messages[n-1].Seq
		r.messages, r.removed = slices.Clone(r.messages[n:]), true
	}
}

// settle makes durable what waits, unless durability is held.
func (l *Memory) settle() {
	if l.held > 0 || l.failed != nil {
		return
	}
	l.durable, l.recorded = l.seq, l.record
	l.queue = append(l.queue, l.waiting...)
	l.waiting = nil
	l.tell()
}

// tell sees to it that the queue is emptied, in order, by one goroutine.
func (l *Memory) tell() {
	if l.telling || len(l.queue) == 0 {
		return
	}
	l.telling = true
	go func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		for len(l.queue) > 0 {
			batch := l.queue
			l.queue = nil
			l.mu.Unlock()
			l.tellAll(batch)
			l.mu.Lock()
		}
		l.telling = false
	}()
}

// tellAll is called without l.mu: first each room's follower is given its messages in one call,
// then the senders their receipts.
func (l *Memory) tellAll(batch []event) {
	byRoom := make(map[string][]*parley.Message)
	for _, ev := range batch {
		if m := ev.message; m != nil {
			byRoom[m.Room] = append(byRoom[m.Room], m)
		}
	}
	for room, ms := range byRoom {
		l.mu.Lock()
		f, grew := l.rooms[room].follower, l.grew
		l.mu.Unlock()
		if f != nil {
			f.take(ms)
		}
		if grew != nil {
			grew(room)
		}
	}
	l.tellMany(batch)
	for _, ev := range batch {
		if !ev.record {
			l.land()
		}
		ev.done(ev.receipt, ev.err)
	}
}

func (l *Memory) land() {
	if l.inflight != nil {
		<-l.inflight
	}
}

func (f *memoryFollower) take(ms []*parley.Message) {
	f.turn.Lock()
	defer f.turn.Unlock()
	ms = ms[above(ms, f.last):]
	if !f.stopped && len(ms) > 0 {
		f.last = ms[len(ms)-1].Seq
		f.deliver(ms)
	}
}

// Follow implements parley.Log.
func (l *Memory) Follow(_ context.Context, room string, deliver func([]*parley.Message)) (uint64, func(), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.room(room)
	if r.follower != nil {
		return 0, nil, parley.Errorf(parley.Internal, "room %q is followed already", room)
	}
	var last uint64
	if shown := l.shown(room); len(shown) > 0 {
		last = shown[len(shown)-1].Seq
	}
	f := &memoryFollower{deliver: deliver, last: last}
	r.follower = f
	return last, func() {
		f.turn.Lock()
		f.stopped = true
		f.turn.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if r.follower == f {
			r.follower = nil
		}
	}, nil
}

// Grew has told called with a room's name after it has grown, until stop, as the engine's does.
func (l *Memory) Grew(told func(room string)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.grew = told
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.grew = nil
	}
}

// shown gives what is left of the room and durable.
func (l *Memory) shown(name string) []*parley.Message {
	r := l.rooms[name]
	if r == nil {
		return nil
	}
	l.trim(r, l.opts.Now())
	return r.messages[:above(r.messages, l.durable)]
}

// above gives the index of the first message with a seq above seq.
func above(ms []*parley.Message, seq uint64) int {
	return sort.Search(len(ms), func(i int) bool { return ms[i].Seq > seq })
}

// Read implements parley.Log.
func (l *Memory) Read(ctx context.Context, room string, after uint64, limit int) (page parley.Page, err error) {
	if err := ctx.Err(); err != nil {
		return page, parley.Errorf(parley.Unavailable, "the log cannot be read now").Because(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := l.shown(room)
	i, bytes := above(shown, after), 0
	limit = min(max(limit, 1), parley.MaxPage)
	for _, m := range shown[i:] {
		if len(page.Messages) == limit || bytes >= parley.MaxPageBytes {
			page.More = true
			break
		}
		bytes += len(m.Body)
		page.Messages = append(page.Messages, m)
	}
	if r := l.rooms[room]; r != nil && i == 0 && after > 0 && after < r.last {
		page.Trimmed = r.removed
	}
	return page, nil
}

// Back implements parley.Log.
func (l *Memory) Back(ctx context.Context, room string, before uint64, n int) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, parley.Errorf(parley.Unavailable, "the log cannot be read now").Because(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	shown := l.shown(room)
	if before > 0 {
		shown = shown[:above(shown, before-1)]
	}
	if i := len(shown) - 1 - max(n, 0); i >= 0 {
		return shown[i].Seq, nil
	}
	return 0, nil
}

// Since implements parley.Log.
func (l *Memory) Since(ctx context.Context, room string, t time.Time) (after uint64, err error) {
	if err := ctx.Err(); err != nil {
		return 0, parley.Errorf(parley.Unavailable, "the log cannot be read now").Because(err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, m := range l.shown(room) {
		if !m.At.Before(t) {
			break
		}
		after = m.Seq
	}
	return after, nil
}

// Rooms implements parley.Log.
func (l *Memory) Rooms(context.Context) ([]parley.RoomInfo, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []parley.RoomInfo
	for name := range l.rooms {
		if shown := l.shown(name); len(shown) > 0 {
			out = append(out, parley.RoomInfo{Name: name, Seq: shown[len(shown)-1].Seq, Messages: uint64(len(shown))})
		}
	}
	slices.SortFunc(out, func(a, b parley.RoomInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Ready implements parley.Log.
func (l *Memory) Ready() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	return nil
}
