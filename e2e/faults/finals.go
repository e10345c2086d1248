package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"parley/e2e/history"
)

// agreeWithin is how long nodes may take to hold the same, once all is well, and readers to have it.
const agreeWithin = 40 * time.Second

// finals is what each room holds at each node: by node, then by room.
type finals []map[string][]history.Item

// settle waits until all nodes hold the same, every reader has it, and nothing came meanwhile: what
// was sent under the last fault may be stored long after. It writes down what the nodes hold then.
func (r *run) settle() {
	var held finals
	r.within(agreeWithin, func() bool {
		held = r.readFinals()
		if !held.agree(r.rooms) {
			return false
		}
		r.within(time.Second, func() bool { return r.caughtUp(held[0]) })
		return r.caughtUp(held[0]) && held.equal(r.readFinals())
	})
	for i, n := range r.nodes {
		for _, room := range r.rooms {
			if items, ok := held[i][room]; ok {
				r.rec.Add(history.Event{Type: "ok", Op: "final", Room: room, Node: n.name(), Items: items})
			} else {
				n.trouble("%s could not be read within %v", room, agreeWithin)
			}
		}
	}
}

// readFinals reads all rooms from all nodes.
func (r *run) readFinals() finals {
	held := make(finals, len(r.nodes))
	for i, n := range r.nodes {
		held[i] = make(map[string][]history.Item)
		if err := r.readAll(n, func(room string, items []history.Item) { held[i][room] = items }); err != nil {
			r.rec.Add(history.Event{Type: "info", Op: "final", Node: n.name(), Reason: err.Error()})
		}
	}
	return held
}

// agree says whether all nodes hold the same of every room.
func (f finals) agree(rooms []string) bool {
	for _, at := range f {
		if len(at) != len(rooms) || !maps.EqualFunc(at, f[0], slices.Equal[[]history.Item]) {
			return false
		}
	}
	return true
}

func (f finals) equal(g finals) bool {
	return slices.EqualFunc(f, g, func(a, b map[string][]history.Item) bool {
		return maps.EqualFunc(a, b, slices.Equal[[]history.Item])
	})
}

// readAll reads every room from a node.
func (r *run) readAll(n *node, take func(room string, items []history.Item)) error {
	l, err := dialTCP(n.tcp(), "auditor")
	if err != nil {
		return err
	}
	defer l.hangUp()
	for _, room := range r.rooms {
		items, err := readRoom(l, room)
		if err != nil {
			return fmt.Errorf("%s: %w", room, err)
		}
		take(room, items)
	}
	return nil
}

var errOther = errors.New("the node states another end than it gives")

// readRoom reads a room in pages and compares the end with what the node states.
func readRoom(l link, room string) (items []history.Item, err error) {
	items = []history.Item{}
	for after, more := uint64(0), true; more; {
		page, err := ask(l, fmt.Sprintf(`{"op":"history","room":%q,"after":%d,"limit":1000}`, room, after), "page")
		if err != nil {
			return nil, err
		}
		for _, m := range page.Messages {
			if m.Prev != after {
				return nil, fmt.Errorf("the prev of %d is %d, want %d", m.Seq, m.Prev, after)
			}
			msg, _, _ := strings.Cut(m.text(), " ")
			items = append(items, history.Item{Seq: m.Seq, Msg: msg, Hash: history.Hash(m.text())})
			after = m.Seq
		}
		more = page.More
	}
	joined, err := ask(l, fmt.Sprintf(`{"op":"join","room":%q}`, room), "joined")
	if err == nil {
		_, err = ask(l, fmt.Sprintf(`{"op":"leave","room":%q}`, room), "left")
	}
	if err != nil {
		return nil, err
	}
	if n := len(items); (n == 0 && joined.Seq != 0) || (n > 0 && joined.Seq != items[n-1].Seq) {
		return nil, errOther
	}
	return items, nil
}

// ask does one operation and waits for its answer. One that asks too often is told when to come back.
func ask(l link, op, want string) (*frame, error) {
	if err := l.say(op); err != nil {
		return nil, err
	}
	for until := time.Now().Add(answerWithin); ; {
		f, err := l.next(until)
		if err != nil {
			return nil, err
		}
		switch {
		case f.Op == want:
			return f, nil
		case f.Op == "error" && f.Code == "rate_limited":
			<-time.After(time.Duration(f.RetryMS) * time.Millisecond)
			if err := l.say(op); err != nil {
				return nil, err
			}
		case f.Op == "error":
			return nil, errors.New(f.raw)
		}
	}
}

// everybodyStays notes the readers that have not come back though all was well for long.
func (r *run) everybodyStays() {
	for _, c := range r.readers {
		if !c.stays.Load() {
			r.trouble("%s (%s) has not come back to %s", c.name, c.transport, c.room)
		}
	}
}

// presence asks every node who is in each room, until that is right or they have had time.
func (r *run) presence() {
	want := make(map[string][]string)
	for _, c := range r.readers {
		want[c.room] = append(want[c.room], c.name)
	}
	for _, list := range want {
		slices.Sort(list)
	}
	shown := make([]map[string][]string, len(r.nodes))
	r.within(membersWithin, func() bool {
		right := true
		for i, n := range r.nodes {
			users, err := r.members(n)
			if err != nil {
				right = false
				continue
			}
			shown[i] = users
			for _, room := range r.rooms {
				right = right && slices.Equal(users[room], want[room])
			}
		}
		return right
	})
	for i, n := range r.nodes {
		for _, room := range r.rooms {
			r.rec.Add(history.Event{Type: "ok", Op: "members", Node: n.name(), Room: room, Users: shown[i][room], Want: want[room]})
		}
	}
}

// members gives the users that a node shows in each room, sorted.
func (r *run) members(n *node) (map[string][]string, error) {
	l, err := dialTCP(n.tcp(), "auditor")
	if err != nil {
		return nil, err
	}
	defer l.hangUp()
	users := make(map[string][]string)
	for _, room := range r.rooms {
		f, err := ask(l, fmt.Sprintf(`{"op":"members","room":%q}`, room), "members")
		if err != nil {
			return nil, err
		}
		for _, m := range f.Members {
			users[room] = append(users[room], m.User)
		}
		slices.Sort(users[room])
	}
	return users, nil
}
