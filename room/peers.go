package room

import (
	"context"
	"encoding/json"

	"parley"
	"parley/peers"
)

// Who is in which room at the other nodes is soft state (package peers): right a few seconds after
// whatever has happened.
const (
	presenceTopic = "presence"
	signalTopic   = "signals"
)

// remote is what this node tells the others of its users, and knows of theirs. A room's mu may be held
// when it is called.
type remote struct {
	*peers.Table
	hub    *Hub
	bus    parley.Bus
	crowds crowds
}

func newRemote(h *Hub, bus parley.Bus) *remote {
	p := &remote{hub: h, bus: bus}
	p.Table = peers.New(peers.Config{Bus: bus, Topic: presenceTopic, Logger: h.logger, Changed: p.apply})
	return p
}

// set notes that a user has its first session in a room at this node, or none any more.
func (p *remote) set(room, user string, here bool) {
	p.Set(room, user, here)
	p.observe(room, user)
}

// run tells and listens until ctx ends.
func (p *remote) run(ctx context.Context) error {
	stop, err := p.bus.Subscribe(signalTopic, p.hub.hearSignal)
	if err != nil {
		return err
	}
	defer stop()
	return p.Run(ctx.Done())
}

// apply lets the active rooms know of users who may have come or gone.
func (p *remote) apply(changed []peers.Change) {
	p.observeAll(changed)
	for _, n := range changed {
		r := p.hub.find(n.Room)
		if r == nil {
			continue
		}
		r.mu.Lock()
		for _, user := range n.Came {
			r.settleRemote(user)
		}
		for _, user := range n.Went {
			r.settleRemote(user)
		}
		r.mu.Unlock()
	}
}

// settleRemote brings what the room knows of a user at other nodes up to date. The room's mu is
// held.
func (r *Room) settleRemote(user string) {
	is, was := r.hub.peers.At(r.name, user), r.remote[user]
	switch {
	case is > 0 && was == 0:
		if r.remote == nil {
			r.remote = make(map[string]int)
		}
		r.remote[user] = 1
		r.appear(user)
	case is == 0 && was > 0:
		delete(r.remote, user)
		r.vanish(user)
	}
}

// seed lets a room that has just become active know who is in it at other nodes.
func (r *Room) seed() {
	if r.hub.peers == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, user := range r.hub.peers.Names(r.name) {
		r.settleRemote(user)
	}
}

// arrive and depart take one of this node's sessions in and out. The room's mu is held.
func (r *Room) arrive(user string) {
	if p := r.hub.peers; p != nil {
		if r.local == nil {
			r.local = make(map[string]int)
		}
		if r.local[user]++; r.local[user] == 1 {
			p.set(r.name, user, true)
		}
	}
	r.appear(user)
}

func (r *Room) depart(user string) {
	if p := r.hub.peers; p != nil {
		if r.local[user]--; r.local[user] == 0 {
			delete(r.local, user)
			p.set(r.name, user, false)
		}
	}
	r.vanish(user)
}

// remoteSignal is a signal on its way to other nodes.
type remoteSignal struct {
	Room    string           `json:"room"`
	Session parley.SessionID `json:"session"`
	From    string           `json:"from"`
	Body    json.RawMessage  `json:"body"`
}

// passOn sends a signal to the other nodes, whose members get it as this node's do.
func (h *Hub) passOn(room string, s signal) {
	if h.peers == nil {
		return
	}
	data, err := json.Marshal(remoteSignal{room, s.session, s.from, s.body})
	if err != nil {
		h.DropSignal()
		return
	}
	h.peers.bus.Publish(signalTopic, data)
}

// hearSignal takes a signal from another node.
func (h *Hub) hearSignal(from string, data []byte) {
	var s remoteSignal
	if err := json.Unmarshal(data, &s); err != nil {
		h.logger.Warn("signal of another node", "node", from, "error", err)
		return
	}
	if r := h.find(s.Room); r != nil {
		r.signal(signal{s.Session, s.From, s.Body})
	}
}

// find gives an active room; nil where it is not.
func (h *Hub) find(room string) *Room {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.rooms[room]
}
