package quota

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"sync/atomic"
)

// party is an address or a user: what all sessions of it share.
type party struct {
	key partyKey

	connections int // that hold it; guarded by its shard's mu

	connects, logins bucket       // an address's
	tries            atomic.Int32 // likewise: credentials looked at now
	told             bucket       // likewise: what its refused connections were told
	sends            bucket       // a user's, over all sessions
	joins, history   bucket       // likewise
	operations       bucket       // likewise
	own              own          // in a session's stead, for single requests
	rooms            atomic.Int64
}

// partyKey is an address, with no user; a user who is known, with no address; or a name that was
// given on this machine, with the address.
type partyKey struct {
	addr netip.Addr
	user string
}

// parties finds the parties by their keys. A shard keeps those that nobody holds too, since a bucket
// that is not full must not be forgotten, but no more than so many: beyond that it drops any of
// them. Those that are held, or have rooms, are as many as connections and rooms allow.
type parties struct {
	seed   maphash.Seed
	shards [shards]partyShard
}

// Bounds of what is remembered of those who are not here.
const (
	shards     = 32
	shardKeeps = 2048
)

type partyShard struct {
	mu   sync.Mutex
	byID map[partyKey]*party
	next int // parties at which those that nobody holds are dropped
}

func newParties() *parties {
	p := &parties{seed: maphash.MakeSeed()}
	for i := range p.shards {
		p.shards[i] = partyShard{byID: make(map[partyKey]*party), next: shardKeeps}
	}
	return p
}

func (p *parties) shard(key partyKey) *partyShard {
	return &p.shards[maphash.Comparable(p.seed, key)%shards]
}

// find finds a party, or makes it.
func (p *parties) find(key partyKey) *party {
	s := p.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(key)
}

// hold finds a party, or makes it, and keeps it for a connection until release. If it has most already
// (0 = no limit) there is none.
func (p *parties) hold(key partyKey, most int) *party {
	s := p.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a := s.find(key)
	if most > 0 && a.connections >= most {
		return nil
	}
	a.connections++
	return a
}

// release lets go of a party.
func (p *parties) release(a *party) {
	s := p.shard(a.key)
	s.mu.Lock()
	defer s.mu.Unlock()
	a.connections--
}

// find finds a party, or makes it. s.mu is held.
func (s *partyShard) find(key partyKey) *party {
	a := s.byID[key]
	if a == nil {
		if len(s.byID) >= s.next {
			s.drop()
		}
		a = &party{key: key}
		s.byID[key] = a
	}
	return a
}

// drop forgets parties that nobody holds, in no order, until there is room. s.mu is held.
func (s *partyShard) drop() {
	for key, a := range s.byID {
		if len(s.byID) <= shardKeeps*3/4 {
			break
		}
		if a.connections == 0 && a.rooms.Load() == 0 {
			delete(s.byID, key)
		}
	}
	s.next = max(shardKeeps, len(s.byID)+shardKeeps/4) // so that it is worth looking at all of them
}

// ours is the part of an address that one client has: an IPv4 address, or an IPv6 /64, since whoever
// has one address of it has them all.
func ours(addr netip.Addr) netip.Addr {
	addr = addr.Unmap().WithZone("")
	if !addr.Is6() {
		return addr
	}
	p, _ := addr.Prefix(64) // of an IPv6 address there is always one
	return p.Addr()
}
