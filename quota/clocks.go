package quota

import (
	"hash/maphash"
	"sync"
	"time"
)

// clocks say when each user may send again to each room that is in slow mode. A shard keeps so many:
// beyond that those that have run down go, and then any of them, which lets a user send early.
type clocks struct {
	seed   maphash.Seed
	began  time.Time // what clocks count from
	shards [shards]clockShard
}

type clockShard struct {
	mu   sync.Mutex
	next map[uint64]time.Duration // by the hash of the user and the room: when the next send is allowed
}

const shardClocks = 4096

func newClocks() *clocks {
	c := &clocks{seed: maphash.MakeSeed(), began: time.Now()}
	for i := range c.shards {
		c.shards[i].next = make(map[uint64]time.Duration)
	}
	return c
}

// clockKey is whose clock it is, and of which room.
type clockKey struct {
	user partyKey
	room string
}

// take winds the clock of a user in a room, or says how long it still runs.
func (c *clocks) take(user partyKey, room string, every time.Duration, now time.Time) (wait time.Duration) {
	hash := maphash.Comparable(c.seed, clockKey{user, room})
	s := &c.shards[hash%shards]
	at := now.Sub(c.began)
	s.mu.Lock()
	defer s.mu.Unlock()
	if next, is := s.next[hash]; is && next > at {
		return min(next-at, every) // it may have been wound for longer, under another limit
	}
	if len(s.next) >= shardClocks {
		s.drop(at)
	}
	s.next[hash] = at + every
	return 0
}

// drop makes room for more clocks. s.mu is held.
func (s *clockShard) drop(at time.Duration) {
	for hash, next := range s.next {
		if next <= at {
			delete(s.next, hash)
		}
	}
	for hash := range s.next {
		if len(s.next) <= shardClocks*3/4 {
			return
		}
		delete(s.next, hash)
	}
}
