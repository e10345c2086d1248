package room

import (
	"sync"
	"sync/atomic"
	"time"

	"parley"
	"parley/wire"
)

// shardSize is how many members one walk serves. A big room has many shards, so that all
// flushers work on it.
const shardSize = 256

// Room is an active room. Its methods are called by the hub, by outlets and by the log's tail.
type Room struct {
	hub  *Hub
	key  string // under which the hub knows it: its name, but for a pattern's room
	name string
	many *many         // what a pattern's room has beside; nil for a room
	stop func()        // ends the tail; set when ready is closed
	err  error         // why the room could not be activated; set when ready is closed
	done chan struct{} // closed when the room is inactive for good

	ready chan struct{} // closed when the room is active, or will not be

	// guarded by hub.mu
	users  int       // members, watches and calls under way: the room stays while there are any
	idle   time.Time // since when there are none
	ending bool

	mu     sync.Mutex
	ring   ring
	shards []*shard
	count  int // members

	attendants []*func([]*parley.Message) // copied on change

	present  map[string]int // the users who are here, with how many sessions each
	local    map[string]int // in a cluster: of these, the sessions at this node
	remote   map[string]int // and the users at others, once each
	presence *presence      // nil until a member asks for it
	signals  *signals       // nil until a member signals
}

// shard is a part of a room's members that is walked at once.
type shard struct {
	task    task
	members atomic.Pointer[[]*Member] // copied on change: a walk needs no lock

	// Owned by the flusher that walks it.
	ended  time.Time     // when the last walk did
	took   time.Duration // how long it was
	walked uint64        // index up to which it went
}

// view shows what a strand holds now.
func (r *Room) view(s *strand) view {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := s.view()
	v.told = r.ring.at
	return v
}

func (r *Room) lastSeq() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ring.last
}

// add puts a member's cursor behind the position after and lets it into a shard; live: behind the
// newest. It returns the seq of the room's newest message at that moment, and who is there then if
// the member asks for presence. The outlet's mu is held.
func (r *Room) add(m *Member, after uint64, live bool) (seq uint64, all wire.Presence) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	last := r.ring.last
	s := r.ring.strand(m.out.enc, int(r.hub.strandLimit.Load()), now)
	s.members++
	m.strand.Store(s)
	m.index, m.seq = s.next, last
	if !live {
		m.seq = after
		if after > last {
			m.skip = after
		} else if after < last {
			r.locate(m, now)
		}
	}
	r.enroll(m)
	m.user = m.out.user
	r.watch(m)
	r.arrive(m.user)
	if m.watches {
		all = r.all(m)
	}
	return last, all
}

// locate puts the cursor of a member that asks for messages which are there already on the ring,
// if the ring has them all and retention would have kept them; otherwise the log is read.
func (r *Room) locate(m *Member, now time.Time) {
	index, ok := m.strand.Load().place(m.seq)
	if ok {
		msgs, all := r.ring.since(m.seq)
		ok = all && r.hub.kept(msgs, now)
	}
	m.index, m.lagging = index, !ok
}

// enroll puts the member into the newest shard with a place, looking at few.
func (r *Room) enroll(m *Member) {
	r.count++
	if n := len(r.shards); n > 0 {
		for _, s := range r.shards[max(0, n-2):] {
			if len(*s.members.Load()) < shardSize {
				s.join(m)
				return
			}
		}
	}
	s := new(shard)
	s.members.Store(new([]*Member))
	s.join(m)
	r.shards = append(r.shards[:len(r.shards):len(r.shards)], s)
}

func (s *shard) join(m *Member) {
	old := *s.members.Load()
	members := make([]*Member, len(old)+1)
	copy(members, old)
	members[len(old)] = m
	s.members.Store(&members)
	m.shard = s
}

// remove takes the member out of its shard, and an empty shard out of the room.
func (r *Room) remove(m *Member) {
	r.mu.Lock()
	old := *m.shard.members.Load()
	members := make([]*Member, 0, len(old)-1)
	for _, other := range old {
		if other != m {
			members = append(members, other)
		}
	}
	m.shard.members.Store(&members)
	if len(members) == 0 {
		shards := make([]*shard, 0, len(r.shards))
		for _, s := range r.shards {
			if s != m.shard {
				shards = append(shards, s)
			}
		}
		r.shards = shards
	}
	r.count--
	if r.many == nil {
		r.unwatch(m)
		r.depart(m.user)
	}
	r.unuse(m.strand.Load())
	r.mu.Unlock()
	r.hub.release(r)
}

// unuse drops a strand when its last member has gone.
func (r *Room) unuse(s *strand) {
	if s.members--; s.members == 0 {
		r.ring.drop(s)
	}
}

// recode moves a member to the strand of another encoding. The outlet's mu is held.
func (r *Room) recode(m *Member, enc wire.Encoding) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.ring.strand(enc, int(r.hub.strandLimit.Load()), now)
	s.members++
	if old := m.strand.Swap(s); old != s {
		r.unuse(old)
	} else {
		s.members-- // two encodings are one to a pattern's members
	}
}
