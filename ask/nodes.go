package ask

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"parley"
	"parley/peers"
)

// A question goes to another node by that node's own topic. The node puts it to those who serve there as
// if it were asked there, passes their answers back, and says when its part is over. Nothing is sent
// twice: what the bus loses costs who asked its time, or a part of it.
//
// Whom to ask a table says (package peers), which may be a moment behind. So where it knows nobody, all nodes
// are asked before that is said to anybody.
const (
	servingTopic = "serving"
	nodeTopic    = "ask." // and the node's name

	// Where one answer is wanted, and those who were asked have not given it in this part of the time,
	// all others are asked too.
	patience = 4

	youngFor = 2 * time.Second        // a node that has just begun may not know of the others,
	grace    = 250 * time.Millisecond // and waits so long before it says that there is nobody
)

// nodes are the others of a cluster, as a desk knows them. What is not fixed, the desk's mu guards.
type nodes struct {
	desk   *Desk
	bus    parley.Bus
	table  *peers.Table // rooms served at other nodes, with one name each: ""
	logger *slog.Logger
	begun  time.Time

	turn   int // of those who could be asked next
	hosted map[origin]*question
}

// origin is where a question comes from, and its id there.
type origin struct{ node, id string }

// away is what is asked of other nodes.
type away struct {
	ends   time.Time
	waits  map[string]int      // nodes that are asked, and whose part is not over; how many answers came
	tried  map[string]struct{} // all that were asked
	later  time.Duration       // how long it goes on after all are asked; 0: they are
	young  bool                // it waits for this node to know of others
	waited bool                // it has
}

func (a *away) over() bool { return len(a.waits) == 0 && !a.young }

// passed is what nodes pass each other: this as a line of JSON, and behind it the body as it is.
type passed struct {
	Kind    string        `json:"kind"`
	ID      string        `json:"id"` // of the question, where it was asked
	Room    string        `json:"room,omitempty"`
	From    string        `json:"from,omitempty"`
	Type    parley.Type   `json:"type,omitempty"`
	Timeout time.Duration `json:"timeout,omitempty"` // that is left
	Most    int           `json:"most,omitempty"`
	Code    parley.Code   `json:"code,omitempty"`  // why a part is over without an answer
	Count   int           `json:"count,omitempty"` // of answers in a part that is over

	body []byte
}

const (
	passAsk    = "ask"
	passAnswer = "answer"
	passOver   = "over"   // no more answers come
	passEnough = "enough" // no more answers are wanted
)

// NewAmong makes a desk of one node of a cluster. Run must be called for it to know of the others.
func NewAmong(bus parley.Bus, logger *slog.Logger) *Desk {
	d := New()
	n := &nodes{desk: d, bus: bus, logger: logger, begun: time.Now(), hosted: make(map[origin]*question)}
	n.table = peers.New(peers.Config{Bus: bus, Topic: servingTopic, Logger: logger, Gone: n.gone})
	d.nodes = n
	return d
}

// Run passes questions on to other nodes, and answers theirs, until ctx ends. On one node alone there
// is nothing to do.
func (d *Desk) Run(ctx context.Context) error {
	n := d.nodes
	if n == nil {
		return nil
	}
	stop, err := n.bus.Subscribe(nodeTopic+n.bus.Node(), n.hear)
	if err != nil {
		return err
	}
	defer stop()
	return n.table.Run(ctx.Done())
}

// serving notes whether anybody at this node serves a room. The desk's mu is held, as in all below that
// do not take it.
func (n *nodes) serving(room string, here bool) {
	if n != nil {
		n.table.Set(room, "", here)
	}
}

// begin asks the nodes that are to be asked at first, and says when to look at the question again.
func (n *nodes) begin(q *question) (within time.Duration) {
	within = q.Question.Timeout
	q.away = &away{ends: time.Now().Add(within)}
	switch {
	case q.Most > 1:
		all, _ := n.table.Nodes(q.Question.Room)
		n.ask(q, all)
		if q.over() {
			n.more(q)
		}
		return within
	case q.over():
		n.more(q)
	}
	q.away.later = within - within/patience
	return within / patience
}

// more asks the next who could answer, and says whether there is any.
func (n *nodes) more(q *question) bool {
	all, serving := n.untried(q)
	switch {
	case len(serving) > 0:
		n.turn++
		n.ask(q, []string{serving[n.turn%len(serving)]})
	case len(all) > 0: // the table may be behind
		n.ask(q, all)
	case !q.away.waited && time.Since(n.begun) < youngFor:
		q.away.young, q.away.waited = true, true
		time.AfterFunc(grace, func() { n.grown(q) })
	}
	return !q.away.over()
}

// untried lists the nodes that were not asked, and those of them where somebody serves the room.
func (n *nodes) untried(q *question) (all, serving []string) {
	nodes, in := n.table.Nodes(q.Question.Room)
	for _, node := range nodes {
		if _, tried := q.away.tried[node]; tried {
			continue
		}
		all = append(all, node)
		if in[node] {
			serving = append(serving, node)
		}
	}
	return all, serving
}

// widen asks all who serve the room and were not asked.
func (n *nodes) widen(q *question) {
	_, serving := n.untried(q)
	n.ask(q, serving)
}

// grown ends the wait of a node that has just begun.
func (n *nodes) grown(q *question) {
	d := n.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[q.Question.ID] == q {
		q.away.young = false
		d.settle(q)
	}
}

// ask asks some nodes.
func (n *nodes) ask(q *question, nodes []string) {
	left := time.Until(q.away.ends)
	if len(nodes) == 0 || left <= 0 {
		return
	}
	if q.away.tried == nil {
		q.away.waits, q.away.tried = make(map[string]int, len(nodes)), make(map[string]struct{}, len(nodes))
	}
	p := passed{
		Kind: passAsk, ID: q.Question.ID, Room: q.Question.Room, From: q.Question.From, Type: q.Question.Type,
		Timeout: left, Most: q.Most - q.count, body: q.Question.Body,
	}
	for _, node := range nodes {
		q.away.waits[node], q.away.tried[node] = 0, struct{}{}
		n.pass(node, &p)
	}
}

// enough lets the nodes whose part is not over know that no more is wanted.
func (n *nodes) enough(q *question) {
	for node := range q.away.waits {
		n.pass(node, &passed{Kind: passEnough, ID: q.Question.ID})
	}
}

func (n *nodes) pass(node string, p *passed) {
	head, err := json.Marshal(p)
	if err != nil {
		return // of strings and numbers nothing fails
	}
	n.bus.Publish(nodeTopic+node, append(append(head, '\n'), p.body...))
}

// hear takes what another node passes.
func (n *nodes) hear(from string, data []byte) {
	head, body, _ := bytes.Cut(data, []byte{'\n'})
	p := passed{body: body}
	if err := json.Unmarshal(head, &p); err != nil {
		n.logger.Warn("question of another node", "node", from, "error", err)
		return
	}
	d := n.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	switch p.Kind {
	case passAsk:
		n.host(origin{from, p.ID}, &p)
	case passEnough:
		n.dismiss(origin{from, p.ID})
	case passAnswer:
		if q := n.awaits(from, &p); q != nil {
			q.away.waits[from]++
			d.got(q, &parley.Answer{From: p.From, Type: p.Type, Body: p.body})
		}
	case passOver:
		if q := n.awaits(from, &p); q != nil {
			q.full = q.full || p.Code == parley.Unavailable
			q.lost = q.lost || p.Count > q.away.waits[from]
			delete(q.away.waits, from)
			d.settle(q)
		}
	}
}

// awaits finds the question of which a node's part is not over.
func (n *nodes) awaits(node string, p *passed) *question {
	q := n.desk.open[p.ID]
	if q == nil || q.away == nil {
		return nil
	}
	if _, waits := q.away.waits[node]; !waits {
		return nil
	}
	return q
}

// host puts another node's question to those who serve here.
func (n *nodes) host(of origin, p *passed) {
	q := n.desk.begin(&Asking{
		Question: parley.Question{Room: p.Room, From: p.From, Type: p.Type, Body: p.body, Timeout: p.Timeout},
		Most:     p.Most,
		Got: func(a *parley.Answer) {
			n.pass(of.node, &passed{Kind: passAnswer, ID: of.id, From: a.From, Type: a.Type, body: a.Body})
		},
		End: func(count int, err error) {
			delete(n.hosted, of)
			if count < p.Most { // else who asked knows
				n.pass(of.node, part(of, count, err))
			}
		},
	})
	if err := n.desk.start(q, p.Timeout); err != nil {
		n.pass(of.node, part(of, 0, err))
		return
	}
	n.hosted[of] = q
}

// part says that this node's part of a question is over.
func part(of origin, count int, err error) *passed {
	p := &passed{Kind: passOver, ID: of.id, Count: count}
	if err != nil {
		p.Code = parley.AsError(err).Code
	}
	return p
}

// dismiss lets go of another node's question.
func (n *nodes) dismiss(of origin) {
	if q := n.hosted[of]; q != nil {
		delete(n.hosted, of)
		n.desk.close(q)
	}
}

// gone ends the part of a node that is there no more, and what it asked.
func (n *nodes) gone(node string) {
	d := n.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	for of := range n.hosted {
		if of.node == node {
			n.dismiss(of)
		}
	}
	for _, q := range d.open {
		if q.away == nil {
			continue
		}
		if _, waits := q.away.waits[node]; waits {
			delete(q.away.waits, node)
			d.settle(q)
		}
	}
}
