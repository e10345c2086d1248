package quota

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// rooms are those there are, by the hashes of their names, each with who has made it. A room is made
// by who first joins it or sends to it. Who made those that there were before the start is not known,
// so they count among all rooms alone.
//
// Rooms go without a word, by retention or since nobody is in them. So the list is looked up when
// somebody was refused for it, at most so often.
type rooms struct {
	seed   maphash.Seed
	known  atomic.Bool // the list was looked up once: before, nobody is refused
	lists  atomic.Int64
	count  atomic.Int64
	round  atomic.Uint32 // of looking up
	wanted chan struct{}
	shards [shards]roomShard
}

type roomShard struct {
	mu sync.RWMutex
	by map[uint64]made
}

// made says who made a room; nil = not known.
type made struct {
	by    *party
	round uint32 // when it was last seen
}

// How long the list of rooms is good for: so long at least, and so many times what it took to make it,
// since a log with very many rooms looks at them all.
const (
	refreshEvery = 10 * time.Second
	refreshShare = 20
)

func newRooms() *rooms {
	r := &rooms{seed: maphash.MakeSeed(), wanted: make(chan struct{}, 1)}
	for i := range r.shards {
		r.shards[i].by = make(map[uint64]made)
	}
	return r
}

// want asks for the list to be looked up again.
func (r *rooms) want() {
	select {
	case r.wanted <- struct{}{}:
	default: // asked already
	}
}

// enter makes a room known. It says which limit is in the way, if there is one.
func (r *rooms) enter(name string, by *party, perUser, inAll int) (met Limit, ok bool) {
	hash := maphash.String(r.seed, name)
	s := &r.shards[hash%shards]
	s.mu.RLock()
	_, is := s.by[hash]
	s.mu.RUnlock()
	if is || !r.known.Load() {
		return 0, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, is := s.by[hash]; is {
		return 0, true
	}
	if n := by.rooms.Add(1); perUser > 0 && n > int64(perUser) {
		by.rooms.Add(-1)
		r.want()
		return RoomsPerUser, false
	}
	if n := r.count.Add(1); inAll > 0 && n > int64(inAll) {
		by.rooms.Add(-1)
		r.count.Add(-1)
		r.want()
		return Rooms, false
	}
	s.by[hash] = made{by: by, round: r.round.Load()}
	return 0, true
}

// Run looks up which rooms there are, at first and when that matters, until ctx ends. list gives
// their names.
func (q *Quota) Run(ctx context.Context, list func(context.Context) ([]string, error)) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-q.rooms.wanted:
		}
		began := time.Now()
		err := q.rooms.refresh(ctx, list)
		if ctx.Err() != nil {
			return nil
		}
		pause := time.NewTimer(max(refreshEvery, refreshShare*time.Since(began)))
		if err != nil {
			q.rooms.want() // the log may be back by then
		}
		select {
		case <-ctx.Done():
			pause.Stop()
			return nil
		case <-pause.C:
		}
	}
}

// Lists is how often the rooms that there are were looked up; before the first time nobody is refused for
// the limits of rooms.
func (q *Quota) Lists() int64 { return q.rooms.lists.Load() }

// refresh compares the rooms that are known with those that there are. One that was made meanwhile, or
// shortly before and is not in the list yet, is left alone.
func (r *rooms) refresh(ctx context.Context, list func(context.Context) ([]string, error)) error {
	round := r.round.Add(1)
	names, err := list(ctx)
	if err != nil {
		return fmt.Errorf("list the rooms: %w", err)
	}
	for _, name := range names {
		hash := maphash.String(r.seed, name)
		s := &r.shards[hash%shards]
		s.mu.Lock()
		m, is := s.by[hash]
		if !is {
			r.count.Add(1)
		}
		m.round = round
		s.by[hash] = m
		s.mu.Unlock()
	}
	for i := range r.shards {
		r.shards[i].forget(r, round)
	}
	r.known.Store(true)
	r.lists.Add(1)
	return nil
}

// forget forgets the rooms that are gone.
func (s *roomShard) forget(r *rooms, round uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for hash, m := range s.by {
		if round-m.round < 2 {
			continue
		}
		delete(s.by, hash)
		r.count.Add(-1)
		if m.by != nil {
			m.by.rooms.Add(-1)
		}
	}
}
