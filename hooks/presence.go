package hooks

import (
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"parley/wire"
)

// Bounds of who came and went since a hook was told. What is beyond them is not told.
const (
	maxCrowds     = 1024 // rooms
	maxCrowd      = 200  // users of one; where more come and go, they are counted alone
	presencePause = time.Second
)

// crowds are a hook's news of who comes and goes. They are soft state: kept in memory, told once, lost
// where the receiver does not take them. What comes and goes within a pause is told together.
type crowds struct {
	hook *hook
	kick chan struct{}

	mu    sync.Mutex
	rooms map[string]*crowd
}

// crowd is what has changed in a room.
type crowd struct {
	changed map[string]bool // users; whether they are here now
	many    bool            // too many to name
	count   int
}

// seen notes that a user came or went.
func (c *crowds) seen(room, user string, here bool, count int) {
	t := c.hook.target.Load()
	if t == nil || !t.presence || !t.wants(room) {
		return
	}
	c.mu.Lock()
	r := c.rooms[room]
	if r == nil && len(c.rooms) >= maxCrowds {
		c.mu.Unlock()
		c.hook.counts.dropped.Add(1)
		return
	}
	if r == nil {
		r = &crowd{changed: make(map[string]bool)}
		if c.rooms == nil {
			c.rooms = make(map[string]*crowd)
		}
		c.rooms[room] = r
	}
	r.note(user, here, count)
	c.mu.Unlock()
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

func (r *crowd) note(user string, here bool, count int) {
	r.count = count
	if was, ok := r.changed[user]; ok && was != here {
		delete(r.changed, user) // undone
		return
	}
	if r.changed[user] = here; len(r.changed) > maxCrowd {
		r.many, r.changed = true, make(map[string]bool)
	}
}

// frame is what is told; empty where all was undone.
func (r *crowd) frame(room string) []byte {
	p := wire.Presence{Count: r.count}
	for _, user := range slices.Sorted(maps.Keys(r.changed)) {
		switch {
		case r.many:
		case r.changed[user]:
			p.Joined = append(p.Joined, user)
		default:
			p.Left = append(p.Left, user)
		}
	}
	if !r.many && len(r.changed) == 0 {
		return nil
	}
	return []byte(strings.TrimSuffix(string(wire.JSONLines{}.Presence(nil, room, p)), "\n"))
}

// run tells what has changed, one room after the other, until the server goes away.
func (c *crowds) run() {
	s := c.hook.sender
	pause := time.NewTimer(0)
	defer pause.Stop()
	for {
		select {
		case <-c.kick:
		case <-s.leaving:
			return
		}
		pause.Reset(presencePause)
		select {
		case <-pause.C:
		case <-s.leaving:
			return
		}
		c.mu.Lock()
		rooms := c.rooms
		c.rooms = nil
		c.mu.Unlock()
		for _, room := range slices.Sorted(maps.Keys(rooms)) {
			if !s.left() {
				c.tell(room, rooms[room])
			}
		}
	}
}

func (c *crowds) tell(room string, r *crowd) {
	t, frame := c.hook.target.Load(), r.frame(room)
	if t == nil || frame == nil {
		return
	}
	if c.hook.held() || t.post(c.hook.sender.ctx, roomID(room)+":presence:"+ulid.Make().String(), frame).fate != taken {
		c.hook.counts.dropped.Add(1)
		return
	}
	c.hook.counts.sent.Add(1)
}
