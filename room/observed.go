package room

import (
	"sync"

	"parley/peers"
)

// Who observes presence in a cluster wants to know of rooms that nobody at this node is in as well:
// what the table of all nodes says is compared with what the observer was told.

// crowds is who is where, on all nodes, as the observer knows it.
type crowds struct {
	mu    sync.Mutex // a room's may be held when it is taken
	rooms map[string]map[string]struct{}
}

// observe tells the observer of a user who has come or gone, on all nodes taken together.
func (p *remote) observe(room, user string) {
	if p.hub.observer.Load() == nil {
		return
	}
	p.crowds.mu.Lock()
	defer p.crowds.mu.Unlock()
	seen := p.hub.observer.Load()
	if seen == nil {
		return
	}
	is := p.Anywhere(room, user)
	if _, was := p.crowds.rooms[room][user]; is == was {
		return
	}
	if is {
		p.crowds.put(room, user)
	} else {
		p.crowds.take(room, user)
	}
	(*seen)(room, user, is, len(p.crowds.rooms[room]))
}

func (c *crowds) put(room, user string) {
	if c.rooms[room] == nil {
		c.rooms[room] = make(map[string]struct{})
	}
	c.rooms[room][user] = struct{}{}
}

func (c *crowds) take(room, user string) {
	delete(c.rooms[room], user)
	if len(c.rooms[room]) == 0 {
		delete(c.rooms, room)
	}
}

// observeAll is observe for users who may have come or gone.
func (p *remote) observeAll(changed []peers.Change) {
	for _, n := range changed {
		for _, user := range n.Came {
			p.observe(n.Room, user)
		}
		for _, user := range n.Went {
			p.observe(n.Room, user)
		}
	}
}

// observeWith begins to observe: who is there already is no news.
func (p *remote) observeWith(begin func()) {
	p.crowds.mu.Lock()
	defer p.crowds.mu.Unlock()
	p.crowds.rooms = p.All()
	begin()
}
