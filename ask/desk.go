package ask

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"parley"
)

// Bounds of a desk.
const (
	maxResponders  = 1000    // of a room
	maxWaiting     = 1024    // questions that wait for one responder
	maxWaitingSize = 1 << 20 // bytes of their bodies, beside the first
	maxAnswerSize  = 4 << 20 // bytes of the answers to one question; one that reaches them ends
)

// Desk knows who serves which room, and which questions are open. Its methods may be called from
// any goroutine.
type Desk struct {
	mu    sync.Mutex
	rooms map[string][]*Responder
	open  map[string]*question
	boot  string // makes ids of different lives different
	next  uint64
	nodes *nodes // the others; nil on one node alone
}

// Responder is somebody who serves a room.
type Responder struct {
	desk *Desk
	room string
	put  func(*parley.Question)

	// Guarded by the desk's mu.
	waiting map[*question]struct{}
	size    int
	stopped bool
}

// Asking is a question and who waits for its answers. Got and End are called one at a time, and must
// neither block nor call into this package.
type Asking struct {
	Question parley.Question // its ID is the desk's to give
	Most     int             // answers that are enough

	Got func(*parley.Answer)
	End func(count int, err error) // once, behind the last answer
}

// question is one that is open.
type question struct {
	*Asking
	asked map[*Responder]struct{} // and have not answered
	away  *away                   // what is asked of other nodes; nil: nothing ever
	timer *time.Timer
	count int
	size  int

	put  bool // to somebody at this node
	full bool // somebody had too many questions
	lost bool // an answer, between two nodes
}

// New makes a desk of one node alone, that nobody serves at.
func New() *Desk {
	return &Desk{
		rooms: make(map[string][]*Responder), open: make(map[string]*question),
		boot: strconv.FormatUint(uint64(rand.Uint32()), 36),
	}
}

// Serve has questions to a room put to somebody, until Stop or Leave. put must not block, nor call
// into this package. serving is called before the first question.
func (d *Desk) Serve(room string, serving func(), put func(*parley.Question)) (*Responder, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.rooms[room]) >= maxResponders {
		return nil, parley.Errorf(parley.Conflict, "at most %d sessions serve a room", maxResponders)
	}
	r := &Responder{desk: d, room: room, put: put, waiting: make(map[*question]struct{})}
	serving()
	if d.rooms[room] = append(d.rooms[room], r); len(d.rooms[room]) == 1 {
		d.nodes.serving(room, true)
	}
	return r, nil
}

// Stop ends the questions. Those that were put can still be answered.
func (r *Responder) Stop() {
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	r.stop()
}

func (r *Responder) stop() {
	if r.stopped {
		return
	}
	r.stopped = true
	rest := slices.DeleteFunc(slices.Clone(r.desk.rooms[r.room]), func(other *Responder) bool { return other == r })
	if r.desk.rooms[r.room] = rest; len(rest) == 0 {
		delete(r.desk.rooms, r.room)
		r.desk.nodes.serving(r.room, false)
	}
}

// Stopped says whether Stop was called, or Leave.
func (r *Responder) Stopped() bool {
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	return r.stopped
}

// Idle says whether it was, and there is nothing left to answer.
func (r *Responder) Idle() bool {
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	return r.stopped && len(r.waiting) == 0
}

// Leave is Stop for somebody who is gone and will answer nothing more.
func (r *Responder) Leave() {
	r.desk.mu.Lock()
	defer r.desk.mu.Unlock()
	r.stop()
	for q := range r.waiting {
		r.drop(q)
		r.desk.settle(q)
	}
}

// Ask puts a question to those who serve its room. The error says that nobody can be asked; End is
// never called then. In a cluster all nodes are asked where more than one answer is wanted, and else those
// at this node first.
func (d *Desk) Ask(a Asking) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.begin(&a)
	within := a.Question.Timeout
	if d.nodes != nil {
		within = d.nodes.begin(q)
	}
	return d.start(q, within)
}

// begin puts a question to those at this node who serve its room. The desk's mu is held, as in all
// below.
func (d *Desk) begin(a *Asking) *question {
	d.next++
	a.Question.ID = d.boot + "." + strconv.FormatUint(d.next, 36)
	all := d.rooms[a.Question.Room]
	q := &question{Asking: a, asked: make(map[*Responder]struct{}, len(all))}
	for _, r := range all {
		if r.take(q) {
			r.put(&a.Question)
			q.put = true
		}
	}
	q.full = len(all) > 0 && !q.put
	return q
}

// start opens a question that somebody was asked, and looks at it again within that time.
func (d *Desk) start(q *question, within time.Duration) error {
	if q.over() {
		return q.failure()
	}
	d.open[q.Question.ID] = q
	q.timer = time.AfterFunc(within, func() { d.late(q) })
	return nil
}

// over says whether nobody is left who could answer.
func (q *question) over() bool {
	return len(q.asked) == 0 && (q.away == nil || q.away.over())
}

// failure is why a question that is over has no answer; nil where it has.
func (q *question) failure() error {
	room := q.Question.Room
	switch {
	case q.count > 0:
		return nil
	case q.lost:
		return parley.Errorf(parley.Timeout, "what was answered was lost on its way")
	case q.full:
		return parley.Errorf(parley.Unavailable, "those who serve %s have too many questions now", room)
	case q.put:
		return parley.Errorf(parley.NoResponders, "those who served %s have gone away", room)
	}
	return parley.Errorf(parley.NoResponders, "nobody serves %s now", room)
}

// take notes a question as put to the responder, where it has room for it.
func (r *Responder) take(q *question) bool {
	size := len(q.Question.Body)
	if n := len(r.waiting); n >= maxWaiting || (n > 0 && r.size+size > maxWaitingSize) {
		return false
	}
	r.waiting[q] = struct{}{}
	r.size += size
	q.asked[r] = struct{}{}
	return true
}

// drop notes that nothing is to be expected from the responder any more.
func (r *Responder) drop(q *question) {
	delete(r.waiting, q)
	delete(q.asked, r)
	r.size -= len(q.Question.Body)
}

// late ends a question whose time is over, or asks more nodes.
func (d *Desk) late(q *question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.open[q.Question.ID] != q:
	case q.away != nil && q.away.later > 0:
		q.timer.Reset(q.away.later)
		q.away.later = 0
		d.nodes.widen(q)
	case q.count > 0:
		d.end(q, nil)
	default:
		d.end(q, parley.Errorf(parley.Timeout, "nobody has answered in time"))
	}
}

// settle ends a question that is over, unless there is still somebody else to ask.
func (d *Desk) settle(q *question) {
	if q.over() && (q.count > 0 || q.away == nil || !d.nodes.more(q)) {
		d.end(q, q.failure())
	}
}

// end closes a question and says how it went.
func (d *Desk) end(q *question, err error) {
	d.close(q)
	q.End(q.count, err)
}

// close lets go of a question, and of what was expected of others.
func (d *Desk) close(q *question) {
	delete(d.open, q.Question.ID)
	q.timer.Stop()
	for r := range q.asked {
		r.drop(q)
	}
	if q.away != nil {
		d.nodes.enough(q)
	}
}

var errNobodyWaits = parley.Errorf(parley.NotFound, "nobody waits for that answer any more, or it was asked of somebody else")

// Answer passes an answer to who asked.
func (r *Responder) Answer(id string, a *parley.Answer) error {
	d := r.desk
	d.mu.Lock()
	defer d.mu.Unlock()
	q := d.open[id]
	if q == nil {
		return errNobodyWaits
	}
	if _, asked := q.asked[r]; !asked {
		return errNobodyWaits
	}
	r.drop(q)
	d.got(q, a)
	return nil
}

// got takes an answer.
func (d *Desk) got(q *question, a *parley.Answer) {
	q.count++
	q.size += len(a.Body)
	q.Got(a)
	if q.count >= q.Most || q.size >= maxAnswerSize {
		d.end(q, nil)
	} else {
		d.settle(q)
	}
}

// Stats are of the moment.
type Stats struct {
	Responders int // rooms served, by each session
	Questions  int // that are open, those of other nodes included
}

// Stats counts.
func (d *Desk) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{Questions: len(d.open)}
	for _, all := range d.rooms {
		s.Responders += len(all)
	}
	return s
}
