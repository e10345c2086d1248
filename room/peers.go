package room

import (
	"crypto/rand"
	"encoding/json"
	"maps"
	"slices"
	"sync"
	"time"

	"parley"
)

// Who is in which room at the other nodes is soft state. Every node tells all others of each
// change, numbers what it tells, and says once a second how far its numbers have come. Who has
// missed one, or has not known the node, asks for all; who has heard nothing of a node for a while
// takes its users for gone. So the state is right a few seconds after whatever has happened.
const (
	presenceTopic = "presence"
	signalTopic   = "signals"

	tellAfter  = 20 * time.Millisecond // changes are gathered for so long
	beatEvery  = time.Second
	leaseFor   = 3 * time.Second // without a beat, a node's users are gone
	allEvery   = 500 * time.Millisecond
	noteUsers  = 512      // names in one note, about
	maxChanges = 64 << 10 // that wait to be told; where there are more, the others ask for all
)

// peers is what this node tells the others of its users, and knows of theirs. A room's mu may be
// held when its mu is taken.
type peers struct {
	hub  *Hub
	bus  parley.Bus
	life string        // of this run: a node that has started again has forgotten what it told
	kick chan struct{} // holds one wish: there is something to tell

	mu      sync.Mutex
	here    map[string]map[string]struct{} // room → users with a session at this node
	changes map[string]map[string]bool     // room → user → is here now; not told yet
	waiting int                            // of them
	all     bool                           // someone wants all
	lost    bool                           // there were too many of them: the others have to ask for all
	nodes   map[string]*peer
	crowds  crowds

	// Owned by run.
	told     uint64 // number of the last note of changes
	toldAll  time.Time
	lastBeat time.Time
}

// peer is another node.
type peer struct {
	life  string
	told  uint64 // number of its last note that was taken
	exact bool   // nothing of it was missed
	beat  time.Time
	asked time.Time
	rooms map[string]map[string]struct{}

	staged map[string]map[string]struct{} // what has come of all, so far
	parts  int
}

// note is what nodes tell each other. One of the kinds:
type note struct {
	Kind  string     `json:"kind"`
	Life  string     `json:"life"`
	Told  uint64     `json:"told"` // this note's number; of a beat, and of all: the last one's
	Rooms []roomNote `json:"rooms,omitempty"`
	Part  int        `json:"part,omitempty"` // of all
	Last  bool       `json:"last,omitempty"` // of all: nothing follows
	To    string     `json:"to,omitempty"`   // of ask: whose users are wanted
}

const (
	noteChange = "change"
	noteBeat   = "beat"
	noteAll    = "all"
	noteAsk    = "ask"
	noteBye    = "bye"
)

// roomNote is users of a room who came and who went.
type roomNote struct {
	Room string   `json:"room"`
	Came []string `json:"came,omitempty"`
	Went []string `json:"went,omitempty"`
}

func newPeers(h *Hub, bus parley.Bus) *peers {
	return &peers{
		hub: h, bus: bus, life: rand.Text(), kick: make(chan struct{}, 1),
		here:    make(map[string]map[string]struct{}),
		changes: make(map[string]map[string]bool),
		nodes:   make(map[string]*peer),
	}
}

// note notes that a user has its first session in a room at this node, or none any more.
func (p *peers) note(room, user string, present bool) {
	p.mu.Lock()
	if present {
		put(p.here, room, user)
	} else {
		take(p.here, room, user)
	}
	p.observe(room, user)
	if p.waiting >= maxChanges {
		p.changes, p.waiting, p.lost = make(map[string]map[string]bool), 0, true
	}
	of := p.changes[room]
	if of == nil {
		of = make(map[string]bool)
		p.changes[room] = of
	}
	if _, again := of[user]; !again {
		p.waiting++
	}
	of[user] = present
	p.mu.Unlock()
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func put(rooms map[string]map[string]struct{}, room, user string) {
	if rooms[room] == nil {
		rooms[room] = make(map[string]struct{})
	}
	rooms[room][user] = struct{}{}
}

func take(rooms map[string]map[string]struct{}, room, user string) {
	delete(rooms[room], user)
	if len(rooms[room]) == 0 {
		delete(rooms, room)
	}
}

// run tells and listens until stopped, and then says goodbye.
func (p *peers) run(stopped <-chan struct{}) error {
	stop, err := p.bus.Subscribe(presenceTopic, p.hear)
	if err != nil {
		return err
	}
	defer stop()
	stopSignals, err := p.bus.Subscribe(signalTopic, p.hub.hearSignal)
	if err != nil {
		return err
	}
	defer stopSignals()
	defer p.publish(&note{Kind: noteBye})
	p.beat(time.Now())
	tick := time.NewTicker(beatEvery / 4)
	defer tick.Stop()
	for {
		select {
		case <-stopped:
			return nil
		case now := <-tick.C:
			if now.Sub(p.lastBeat) >= beatEvery {
				p.beat(now)
			}
			p.tell(now)
			p.expire(now)
		case <-p.kick:
			gathered := time.NewTimer(tellAfter)
			select {
			case <-gathered.C:
			case <-stopped:
			}
			gathered.Stop()
			p.tell(time.Now())
		}
	}
}

func (p *peers) publish(n *note) {
	n.Life = p.life
	data, err := json.Marshal(n)
	if err != nil {
		return // of strings nothing fails
	}
	p.bus.Publish(presenceTopic, data)
}

func (p *peers) beat(now time.Time) {
	p.lastBeat = now
	p.publish(&note{Kind: noteBeat, Told: p.told})
}

// tell publishes what has changed, or all where that is wanted.
func (p *peers) tell(now time.Time) {
	p.mu.Lock()
	changes := p.changes
	p.changes, p.waiting = make(map[string]map[string]bool), 0
	if p.lost {
		p.lost = false
		p.told++ // a number that nobody hears
	}
	var all []roomNote
	tellAll := p.all && now.Sub(p.toldAll) >= allEvery
	if tellAll {
		p.all = false
		for room, users := range p.here {
			all = append(all, roomNote{Room: room, Came: slices.Collect(maps.Keys(users))})
		}
	}
	p.mu.Unlock()
	var changed []roomNote
	for room, users := range changes {
		n := roomNote{Room: room}
		for user, present := range users {
			if present {
				n.Came = append(n.Came, user)
			} else {
				n.Went = append(n.Went, user)
			}
		}
		changed = append(changed, n)
	}
	for part := range split(changed) {
		p.told++
		p.publish(&note{Kind: noteChange, Told: p.told, Rooms: part})
	}
	if !tellAll {
		return
	}
	p.toldAll = now
	parts := slices.Collect(split(all))
	if len(parts) == 0 {
		parts = [][]roomNote{nil}
	}
	for i, part := range parts {
		p.publish(&note{Kind: noteAll, Told: p.told, Rooms: part, Part: i, Last: i == len(parts)-1})
	}
}

// split cuts what is to be told into notes of some hundred names.
func split(rooms []roomNote) func(yield func([]roomNote) bool) {
	return func(yield func([]roomNote) bool) {
		var part []roomNote
		names := 0
		for _, r := range rooms {
			for len(r.Came)+len(r.Went) > 0 {
				came := r.Came[:min(len(r.Came), noteUsers-names)]
				went := r.Went[:min(len(r.Went), noteUsers-names-len(came))]
				part = append(part, roomNote{r.Room, came, went})
				r.Came, r.Went = r.Came[len(came):], r.Went[len(went):]
				if names += len(came) + len(went); names < noteUsers {
					continue
				}
				if !yield(part) {
					return
				}
				part, names = nil, 0
			}
		}
		if len(part) > 0 {
			yield(part)
		}
	}
}

// hear takes what another node tells.
func (p *peers) hear(from string, data []byte) {
	var n note
	if err := json.Unmarshal(data, &n); err != nil {
		p.hub.logger.Warn("note of another node", "node", from, "error", err)
		return
	}
	now := time.Now()
	p.mu.Lock()
	of := p.nodes[from]
	if of == nil || of.life != n.Life {
		if n.Kind == noteBye {
			p.mu.Unlock()
			return
		}
		fresh := &peer{life: n.Life, rooms: make(map[string]map[string]struct{})}
		if of != nil {
			fresh.rooms = of.rooms // until it has told all
		}
		of = fresh
		p.nodes[from] = of
	}
	of.beat = now
	changed, ask := p.learn(from, of, &n, now)
	p.mu.Unlock()
	if ask {
		p.publish(&note{Kind: noteAsk, To: from})
	}
	p.apply(changed)
}

// learn takes a note and gives the users of rooms whom it may have changed, and whether all should
// be asked for. The mu is held.
func (p *peers) learn(from string, of *peer, n *note, now time.Time) (changed []roomNote, ask bool) {
	switch n.Kind {
	case noteAsk:
		p.all = p.all || n.To == p.bus.Node()
		return nil, false
	case noteBye:
		delete(p.nodes, from)
		return whole(of.rooms), false
	case noteBeat:
		of.exact = of.exact && n.Told == of.told
	case noteChange:
		of.exact = of.exact && n.Told == of.told+1
		of.told = n.Told
		if of.exact {
			of.take(n.Rooms)
			changed = n.Rooms
		}
	case noteAll:
		changed = of.stage(n)
	}
	ask = !of.exact && of.staged == nil && now.Sub(of.asked) >= beatEvery/2
	if ask {
		of.asked = now
	}
	return changed, ask
}

// take takes users who came and went.
func (of *peer) take(rooms []roomNote) {
	for _, r := range rooms {
		for _, user := range r.Came {
			put(of.rooms, r.Room, user)
		}
		for _, user := range r.Went {
			take(of.rooms, r.Room, user)
		}
	}
}

// stage takes a part of all, and with the last one puts it in the place of what was known.
func (of *peer) stage(n *note) (changed []roomNote) {
	if of.exact {
		return nil
	}
	if n.Part == 0 {
		of.staged, of.parts = make(map[string]map[string]struct{}), 0
	}
	if of.staged == nil || n.Part != of.parts {
		of.staged = nil // a part was lost: it is asked for again
		return nil
	}
	of.parts++
	for _, r := range n.Rooms {
		for _, user := range r.Came {
			put(of.staged, r.Room, user)
		}
	}
	if !n.Last {
		return nil
	}
	changed = append(whole(of.rooms), whole(of.staged)...)
	of.rooms, of.staged = of.staged, nil
	of.told, of.exact = n.Told, true
	return changed
}

// whole lists all users of some rooms.
func whole(rooms map[string]map[string]struct{}) (all []roomNote) {
	for room, users := range rooms {
		all = append(all, roomNote{Room: room, Came: slices.Collect(maps.Keys(users))})
	}
	return all
}

// expire forgets the nodes that have fallen silent.
func (p *peers) expire(now time.Time) {
	var gone []roomNote
	p.mu.Lock()
	for name, of := range p.nodes {
		if now.Sub(of.beat) > leaseFor {
			p.hub.logger.Warn("nothing is heard of a node, its users are taken for gone", "node", name)
			delete(p.nodes, name)
			gone = append(gone, whole(of.rooms)...)
		}
	}
	p.mu.Unlock()
	p.apply(gone)
}

// apply lets the active rooms know of users who may have come or gone.
func (p *peers) apply(changed []roomNote) {
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

// at counts the other nodes where a user is in a room.
func (p *peers) at(room, user string) (nodes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, of := range p.nodes {
		if _, ok := of.rooms[room][user]; ok {
			nodes++
		}
	}
	return nodes
}

// users lists who is in a room at other nodes, each once.
func (p *peers) users(room string) []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	users := make(map[string]struct{})
	for _, of := range p.nodes {
		maps.Copy(users, of.rooms[room])
	}
	return slices.Sorted(maps.Keys(users))
}

// settleRemote brings what the room knows of a user at other nodes up to date. The room's mu is
// held.
func (r *Room) settleRemote(user string) {
	is, was := r.hub.peers.at(r.name, user), r.remote[user]
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
	for _, user := range r.hub.peers.users(r.name) {
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
			p.note(r.name, user, true)
		}
	}
	r.appear(user)
}

func (r *Room) depart(user string) {
	if p := r.hub.peers; p != nil {
		if r.local[user]--; r.local[user] == 0 {
			delete(r.local, user)
			p.note(r.name, user, false)
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
