package peers

import (
	"crypto/rand"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"parley"
)

const (
	tellAfter  = 20 * time.Millisecond // changes are gathered for so long
	beatEvery  = time.Second
	leaseFor   = 3 * time.Second // without a beat, a node is taken for gone
	allEvery   = 500 * time.Millisecond
	maxChanges = 64 << 10 // that wait to be told; where there are more, the others ask for all
)

// Table is one node's end of a table. Its methods may be called from any goroutine, with any lock held that
// Changed and Gone do not take.
type Table struct {
	config Config
	life   string        // of this run: a node that has started again has forgotten what it told
	kick   chan struct{} // holds one wish: there is something to tell

	mu      sync.Mutex
	here    names                      // at this node
	changes map[string]map[string]bool // room → name → is here now; not told yet
	waiting int                        // of them
	all     bool                       // someone wants all
	lost    bool                       // there were too many of them: the others have to ask for all
	nodes   map[string]*peer

	// Owned by Run.
	told     uint64 // number of the last note of changes
	toldAll  time.Time
	lastBeat time.Time
}

// Config is what a table is made of.
type Config struct {
	Bus    parley.Bus
	Topic  string // all that is said of this table is said there
	Logger *slog.Logger

	// Changed, if not nil, is told of names that may have come to other nodes, or gone from them. Gone, if
	// not nil, is told of a node that has ended, has fallen silent, or has ended and begun anew. Both are
	// called without the table's lock, by few goroutines at a time.
	Changed func([]Change)
	Gone    func(node string)
}

// Change is names of a room that came and that went.
type Change struct {
	Room string   `json:"room"`
	Came []string `json:"came,omitempty"`
	Went []string `json:"went,omitempty"`
}

// names are sets of them by room.
type names map[string]map[string]struct{}

func (n names) put(room, name string) {
	if n[room] == nil {
		n[room] = make(map[string]struct{})
	}
	n[room][name] = struct{}{}
}

func (n names) take(room, name string) {
	delete(n[room], name)
	if len(n[room]) == 0 {
		delete(n, room)
	}
}

// whole lists all of them as having come.
func (n names) whole() (all []Change) {
	for room, of := range n {
		all = append(all, Change{Room: room, Came: slices.Collect(maps.Keys(of))})
	}
	return all
}

// New makes a table in which nothing is.
func New(c Config) *Table {
	return &Table{
		config: c, life: rand.Text(), kick: make(chan struct{}, 1),
		here: make(names), changes: make(map[string]map[string]bool), nodes: make(map[string]*peer),
	}
}

// Set puts a name into a room at this node, or takes it out.
func (t *Table) Set(room, name string, here bool) {
	t.mu.Lock()
	if here {
		t.here.put(room, name)
	} else {
		t.here.take(room, name)
	}
	if t.waiting >= maxChanges {
		t.changes, t.waiting, t.lost = make(map[string]map[string]bool), 0, true
	}
	of := t.changes[room]
	if of == nil {
		of = make(map[string]bool)
		t.changes[room] = of
	}
	if _, again := of[name]; !again {
		t.waiting++
	}
	of[name] = here
	t.mu.Unlock()
	select {
	case t.kick <- struct{}{}:
	default:
	}
}

// At counts the other nodes where a name is in a room.
func (t *Table) At(room, name string) (nodes int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, of := range t.nodes {
		if _, ok := of.rooms[room][name]; ok {
			nodes++
		}
	}
	return nodes
}

// Anywhere says whether a name is in a room at any node, this one too.
func (t *Table) Anywhere(room, name string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.here[room][name]; ok {
		return true
	}
	for _, of := range t.nodes {
		if _, ok := of.rooms[room][name]; ok {
			return true
		}
	}
	return false
}

// All gives who is in which room at any node, this one too. It is the caller's own.
func (t *Table) All() map[string]map[string]struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(names)
	add := func(n names) {
		for room, of := range n {
			for name := range of {
				all.put(room, name)
			}
		}
	}
	add(t.here)
	for _, of := range t.nodes {
		add(of.rooms)
	}
	return all
}

// Names lists who is in a room at other nodes, each once, by name.
func (t *Table) Names(room string) []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[string]struct{})
	for _, of := range t.nodes {
		maps.Copy(all, of.rooms[room])
	}
	return slices.Sorted(maps.Keys(all))
}

// Nodes lists the other nodes that are there, by name. in says which of them have anything in the room.
func (t *Table) Nodes(room string) (all []string, in map[string]bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in = make(map[string]bool)
	for node, of := range t.nodes {
		all = append(all, node)
		in[node] = len(of.rooms[room]) > 0
	}
	slices.Sort(all)
	return all, in
}

// Run tells and listens until stopped, and then says goodbye.
func (t *Table) Run(stopped <-chan struct{}) error {
	stop, err := t.config.Bus.Subscribe(t.config.Topic, t.hear)
	if err != nil {
		return err
	}
	defer stop()
	defer t.publish(&note{Kind: noteBye})
	t.beat(time.Now())
	tick := time.NewTicker(beatEvery / 4)
	defer tick.Stop()
	for {
		select {
		case <-stopped:
			return nil
		case now := <-tick.C:
			if now.Sub(t.lastBeat) >= beatEvery {
				t.beat(now)
			}
			t.tell(now)
			t.expire(now)
		case <-t.kick:
			gathered := time.NewTimer(tellAfter)
			select {
			case <-gathered.C:
			case <-stopped:
			}
			gathered.Stop()
			t.tell(time.Now())
		}
	}
}

func (t *Table) beat(now time.Time) {
	t.lastBeat = now
	t.publish(&note{Kind: noteBeat, Told: t.told})
}

// tell publishes what has changed, or all where that is wanted.
func (t *Table) tell(now time.Time) {
	t.mu.Lock()
	changes := t.changes
	t.changes, t.waiting = make(map[string]map[string]bool), 0
	if t.lost {
		t.lost = false
		t.told++ // a number that nobody hears
	}
	var all []Change
	tellAll := t.all && now.Sub(t.toldAll) >= allEvery
	if tellAll {
		t.all = false
		all = t.here.whole()
	}
	t.mu.Unlock()
	var changed []Change
	for room, of := range changes {
		n := Change{Room: room}
		for name, here := range of {
			if here {
				n.Came = append(n.Came, name)
			} else {
				n.Went = append(n.Went, name)
			}
		}
		changed = append(changed, n)
	}
	for part := range split(changed) {
		t.told++
		t.publish(&note{Kind: noteChange, Told: t.told, Rooms: part})
	}
	if !tellAll {
		return
	}
	t.toldAll = now
	parts := slices.Collect(split(all))
	if len(parts) == 0 {
		parts = [][]Change{nil}
	}
	for i, part := range parts {
		t.publish(&note{Kind: noteAll, Told: t.told, Rooms: part, Part: i, Last: i == len(parts)-1})
	}
}

// expire forgets the nodes that have fallen silent.
func (t *Table) expire(now time.Time) {
	gone := make(map[string]*peer)
	t.mu.Lock()
	for node, of := range t.nodes {
		if now.Sub(of.beat) > leaseFor {
			delete(t.nodes, node)
			gone[node] = of
		}
	}
	t.mu.Unlock()
	for node, of := range gone {
		t.config.Logger.Warn("nothing is heard of a node, what it told is forgotten", "node", node, "topic", t.config.Topic)
		t.changed(of.rooms.whole())
		t.gone(node)
	}
}

func (t *Table) changed(all []Change) {
	if t.config.Changed != nil && len(all) > 0 {
		t.config.Changed(all)
	}
}

func (t *Table) gone(node string) {
	if t.config.Gone != nil {
		t.config.Gone(node)
	}
}
