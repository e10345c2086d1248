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
	timer *time.Timer
	count int
	size  int
}

// New makes a desk that nobody serves at.
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
	d.rooms[room] = append(d.rooms[room], r)
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
		if len(q.asked) == 0 {
			r.desk.end(q)
		}
	}
}

// Ask puts a question to all who serve its room. The error says that nobody can be asked; End is
// never called then.
func (d *Desk) Ask(a Asking) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.rooms[a.Question.Room]
	if len(all) == 0 {
		return parley.Errorf(parley.NoResponders, "nobody serves %s now", a.Question.Room)
	}
	d.next++
	a.Question.ID = d.boot + "." + strconv.FormatUint(d.next, 36)
	q := &question{Asking: &a, asked: make(map[*Responder]struct{}, len(all))}
	for _, r := range all {
		if r.take(q) {
			r.put(&a.Question)
		}
	}
	if len(q.asked) == 0 {
		return parley.Errorf(parley.Unavailable, "those who serve %s have too many questions now", a.Question.Room)
	}
	d.open[a.Question.ID] = q
	q.timer = time.AfterFunc(a.Question.Timeout, func() { d.late(q) })
	return nil
}

// take notes a question as put to the responder, where it has room for it. The desk's mu is held,
// as in all below.
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

// late ends a question whose time is over.
func (d *Desk) late(q *question) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[q.Question.ID] == q {
		d.end(q)
	}
}

// end closes a question and says how it went.
func (d *Desk) end(q *question) {
	var err error
	if q.count == 0 {
		err = parley.Errorf(parley.Timeout, "nobody has answered in time")
		if len(q.asked) == 0 {
			err = parley.Errorf(parley.NoResponders, "those who served %s have gone away", q.Question.Room)
		}
	}
	delete(d.open, q.Question.ID)
	q.timer.Stop()
	for r := range q.asked {
		r.drop(q)
	}
	q.End(q.count, err)
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
	q.count++
	q.size += len(a.Body)
	q.Got(a)
	if q.count >= q.Most || len(q.asked) == 0 || q.size >= maxAnswerSize {
		d.end(q)
	}
	return nil
}

// Stats are of the moment.
type Stats struct {
	Responders int // rooms served, by each session
	Questions  int // that are open
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
