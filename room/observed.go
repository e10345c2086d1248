package room

// Who observes presence in a cluster wants to know of rooms that nobody at this node is in as well:
// what peers know of all nodes is compared with what the observer was told.

// crowds is who is where, on all nodes, as the observer knows it: room → users. Guarded by the mu of
// peers.
type crowds map[string]map[string]struct{}

// observe tells the observer of a user who has come or gone, on all nodes taken together. p.mu is held.
func (p *peers) observe(room, user string) {
	seen := p.hub.observer.Load()
	if seen == nil {
		p.crowds = nil
		return
	}
	if p.crowds == nil {
		p.crowds = p.gathered()
		return // what was before is no news
	}
	_, is := p.here[room][user]
	for _, of := range p.nodes {
		_, there := of.rooms[room][user]
		is = is || there
	}
	if _, was := p.crowds[room][user]; is == was {
		return
	}
	if is {
		put(p.crowds, room, user)
	} else {
		take(p.crowds, room, user)
	}
	(*seen)(room, user, is, len(p.crowds[room]))
}

// gathered is who is where by now. p.mu is held.
func (p *peers) gathered() crowds {
	all := make(crowds)
	add := func(rooms map[string]map[string]struct{}) {
		for room, users := range rooms {
			for user := range users {
				put(all, room, user)
			}
		}
	}
	add(p.here)
	for _, of := range p.nodes {
		add(of.rooms)
	}
	return all
}

// observeAll is observe for users who may have come or gone.
func (p *peers) observeAll(changed []roomNote) {
	if p.hub.observer.Load() == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, n := range changed {
		for _, user := range n.Came {
			p.observe(n.Room, user)
		}
		for _, user := range n.Went {
			p.observe(n.Room, user)
		}
	}
}

// observeFrom begins to observe: who is there already is no news.
func (p *peers) observeFrom() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.crowds = p.gathered()
}
