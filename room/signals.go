package room

import (
	"time"

	"parley"
	"parley/wire"
)

// Bounds of the signals of a room that wait for the round before them. One beyond is dropped.
const (
	maxSignals     = 64
	maxSignalBytes = 64 << 10
)

// signals are what a room's members have signalled. They are not stored: a round writes all that
// wait to the members whose sockets take them now. Rounds over a big room keep a distance, so that
// signals get a small part of the flushers' time however many there are.
type signals struct {
	room *Room
	task task

	// Guarded by the room's mu.
	queue []signal
	bytes int // of their bodies

	// Owned by the flusher at work on it.
	batch []signal
	ended time.Time // when the last round did
	took  time.Duration
	round round
}

type signal struct {
	session parley.SessionID // its sender's, who does not get it
	from    string
	body    []byte
}

func (s *signals) state() *task { return &s.task }

// Signal sends compact JSON to the other members, as the session's user and without storing it.
// The body is kept. Members that cannot take it now lose it, and where the room's members signal
// too much it is dropped.
func (m *Member) Signal(body []byte) {
	m.room.mu.Lock()
	user := m.user
	m.room.mu.Unlock()
	one := signal{m.out.session, user, body}
	m.room.signal(one)
	m.room.hub.passOn(m.room.name, one)
}

// DropSignal counts a signal that its session was too fast with.
func (h *Hub) DropSignal() { h.stats.signalsDropped.Add(1) }

// signal takes a signal for the members here; wherever it comes from, this is the way in.
func (r *Room) signal(one signal) {
	r.mu.Lock()
	s := r.signals
	if s == nil {
		s = &signals{room: r}
		r.signals = s
	}
	fits := len(s.queue) < maxSignals && s.bytes+len(one.body) <= maxSignalBytes
	if fits {
		s.queue = append(s.queue, one)
		s.bytes += len(one.body)
	}
	r.mu.Unlock()
	if !fits {
		r.hub.DropSignal()
		return
	}
	r.hub.stats.signals.Add(1)
	r.hub.flushers.add(s)
}

// The distance between two rounds.
const (
	signalTimes = 3 // rounds that it is long
	signalMost  = 50 * time.Millisecond
)

// flush is a flusher's work on a room's signals: a shard of the members.
func (s *signals) flush() (later time.Duration) {
	now := time.Now()
	if !s.round.on() {
		if later = s.begin(now); !s.round.on() {
			return later
		}
	}
	s.round.step(s)
	s.ended = time.Now()
	s.took += s.ended.Sub(now)
	s.room.hub.flushers.add(s) // for the next shard, or what has come meanwhile
	return 0
}

// begin takes the signals that wait for a round; later says that it is too early.
func (s *signals) begin(now time.Time) (later time.Duration) {
	r := s.room
	r.mu.Lock()
	defer r.mu.Unlock()
	s.batch = nil
	if len(s.queue) == 0 {
		return 0
	}
	later = min(signalTimes*s.took, signalMost) - now.Sub(s.ended)
	if s.took >= gatherFrom && later > 0 {
		return later
	}
	s.batch, s.queue, s.bytes = s.queue, nil, 0
	s.took, s.round.shards = 0, r.shards
	return 0
}

func (s *signals) encode(enc wire.Encoding) (all span) {
	for _, one := range s.batch {
		all.add(one.session, func(dst []byte) []byte { return enc.Signal(dst, s.room.name, one.from, one.body) })
	}
	return all
}

// offer writes the signals of others to a member, as far as the socket takes them.
func (s *signals) offer(m *Member, f *made) {
	o := m.out
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.off() || m.gone {
		return
	}
	takes := o.takes(f.enc)
	for i := 0; i < len(f.span.marks); {
		var end int
		i, end = others(f.span.marks, i, o.session)
		if takes && i < end {
			i += m.writeRun(o, &f.span, i, end)
			takes = !o.full
		}
		if !o.off() {
			s.room.hub.stats.signalsLost.Add(int64(end - i))
		}
		i = end
	}
	o.settle()
}
