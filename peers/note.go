package peers

import (
	"encoding/json"
	"time"
)

const noteNames = 512 // in one note, about

// peer is another node.
type peer struct {
	life  string
	told  uint64 // number of its last note that was taken
	exact bool   // nothing of it was missed
	beat  time.Time
	asked time.Time
	rooms names

	staged names // what has come of all, so far
	parts  int
}

// note is what nodes tell each other. One of the kinds:
type note struct {
	Kind  string   `json:"kind"`
	Life  string   `json:"life"`
	Told  uint64   `json:"told"` // this note's number; of a beat, and of all: the last one's
	Rooms []Change `json:"rooms,omitempty"`
	Part  int      `json:"part,omitempty"` // of all
	Last  bool     `json:"last,omitempty"` // of all: nothing follows
	To    string   `json:"to,omitempty"`   // of ask: whose names are wanted
}

const (
	noteChange = "change"
	noteBeat   = "beat"
	noteAll    = "all"
	noteAsk    = "ask"
	noteBye    = "bye"
)

func (t *Table) publish(n *note) {
	n.Life = t.life
	data, err := json.Marshal(n)
	if err != nil {
		return // of strings nothing fails
	}
	t.config.Bus.Publish(t.config.Topic, data)
}

// split cuts what is to be told into notes of some hundred names.
func split(rooms []Change) func(yield func([]Change) bool) {
	return func(yield func([]Change) bool) {
		var part []Change
		names := 0
		for _, r := range rooms {
			for len(r.Came)+len(r.Went) > 0 {
				came := r.Came[:min(len(r.Came), noteNames-names)]
				went := r.Went[:min(len(r.Went), noteNames-names-len(came))]
				part = append(part, Change{r.Room, came, went})
				r.Came, r.Went = r.Came[len(came):], r.Went[len(went):]
				if names += len(came) + len(went); names < noteNames {
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
func (t *Table) hear(from string, data []byte) {
	var n note
	if err := json.Unmarshal(data, &n); err != nil {
		t.config.Logger.Warn("note of another node", "node", from, "topic", t.config.Topic, "error", err)
		return
	}
	now := time.Now()
	t.mu.Lock()
	of := t.nodes[from]
	anew := of != nil && of.life != n.Life
	if n.Kind == noteBye && (of == nil || anew) { // it says nothing of the life that is known
		t.mu.Unlock()
		return
	}
	if of == nil || anew {
		fresh := &peer{life: n.Life, rooms: make(names)}
		if of != nil {
			fresh.rooms = of.rooms // until it has told all
		}
		of = fresh
		t.nodes[from] = of
	}
	of.beat = now
	changed, ask := t.learn(from, of, &n, now)
	t.mu.Unlock()
	if ask {
		t.publish(&note{Kind: noteAsk, To: from})
	}
	t.changed(changed)
	if anew || n.Kind == noteBye {
		t.gone(from)
	}
}

// learn takes a note and gives the names that it may have changed, and whether all should be asked
// for. The mu is held.
func (t *Table) learn(from string, of *peer, n *note, now time.Time) (changed []Change, ask bool) {
	switch n.Kind {
	case noteAsk:
		t.all = t.all || n.To == t.config.Bus.Node()
	case noteBye:
		delete(t.nodes, from)
		return of.rooms.whole(), false
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
	patience := beatEvery / 2
	if of.staged != nil {
		patience = 2 * beatEvery // what is still to come may be lost
	}
	ask = !of.exact && now.Sub(of.asked) >= patience
	if ask {
		of.asked = now
	}
	return changed, ask
}

// take takes names that came and went.
func (of *peer) take(rooms []Change) {
	for _, r := range rooms {
		for _, name := range r.Came {
			of.rooms.put(r.Room, name)
		}
		for _, name := range r.Went {
			of.rooms.take(r.Room, name)
		}
	}
}

// stage takes a part of all, and with the last one puts it in the place of what was known.
func (of *peer) stage(n *note) (changed []Change) {
	if of.exact {
		return nil
	}
	if n.Part == 0 {
		of.staged, of.parts = make(names), 0
	}
	if of.staged == nil || n.Part != of.parts {
		of.staged = nil // a part was lost: it is asked for again
		return nil
	}
	of.parts++
	for _, r := range n.Rooms {
		for _, name := range r.Came {
			of.staged.put(r.Room, name)
		}
	}
	if !n.Last {
		return nil
	}
	changed = append(of.rooms.whole(), of.staged.whole()...)
	of.rooms, of.staged = of.staged, nil
	of.told, of.exact = n.Told, true
	return changed
}
