package work

import (
	"container/heap"
	"time"

	"parley"
)

// job is an unfinished message of a group. Guarded by the group's mu.
type job struct {
	seq      uint64
	record   uint64 // of the journal, that holds its message
	tries    int    // that have ended
	key      string
	priority uint8
	expires  time.Time // zero: never
	back     bool      // it was a dead letter

	message *parley.Message // nil: to be read when it is given out
	state   state
	at      time.Time // of a job that is held: its deadline; of one that waits: when it is due
	holder  *Taker    // of a job that is held
	last    *Taker    // whom it was given to last, where it has just been settled
	nonce   uint64    // of the try under way
	turn    uint64    // of the jobs that its holder was given, the how many-th it is
	index   int       // in its queue
}

// state is where a job stands.
type state uint8

const (
	blocked  state = iota // behind another one with its key
	waiting               // for its time
	ready                 // to be given out
	held                  // by a worker
	settling              // its dead letter is on its way
	unseen                // not in view yet
)

// queue is jobs in an order.
type queue struct {
	list   []*job
	before func(a, b *job) bool
}

func byTurn(a, b *job) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.seq < b.seq
}

func byTime(a, b *job) bool { return a.at.Before(b.at) }

func (q *queue) Len() int           { return len(q.list) }
func (q *queue) Less(i, j int) bool { return q.before(q.list[i], q.list[j]) }
func (q *queue) Swap(i, j int) {
	q.list[i], q.list[j] = q.list[j], q.list[i]
	q.list[i].index, q.list[j].index = i, j
}

// Push implements heap.Interface.
func (q *queue) Push(x any) {
	j := x.(*job)
	j.index = len(q.list)
	q.list = append(q.list, j)
}

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	n := len(q.list) - 1
	j := q.list[n]
	q.list[n] = nil
	q.list = q.list[:n]
	return j
}

func (q *queue) add(j *job)    { heap.Push(q, j) }
func (q *queue) remove(j *job) { heap.Remove(q, j.index) }

// first is the job whose turn is next; nil where there is none.
func (q *queue) first() *job {
	if len(q.list) == 0 {
		return nil
	}
	return q.list[0]
}

// due is when a job is to be given out again, as the books have it: that it is held, they do not know.
func (j *job) due() time.Time {
	if j.state == held || j.state == settling {
		return time.Time{}
	}
	return j.at
}

// place puts a job that is in no queue where it belongs: behind another one with its key, to those
// that wait for their time, or to those that can be given out. g.mu is held, as in all below.
func (g *group) place(j *job, now time.Time) {
	switch {
	case j.key != "" && g.keys[j.key][0] != j:
		j.state = blocked
	case j.at.After(now):
		j.state = waiting
		g.timed.add(j)
	default:
		j.state = ready
		g.ready.add(j)
	}
}

// unqueue takes a job out of its queue.
func (g *group) unqueue(j *job) {
	switch j.state {
	case ready:
		g.ready.remove(j)
	case waiting, held:
		g.timed.remove(j)
	}
}

// enter brings a job into view.
func (g *group) enter(j *job, now time.Time) {
	g.open[j.seq] = j
	if j.key != "" {
		g.keys[j.key] = append(g.keys[j.key], j)
	}
	g.place(j, now)
}

// leave takes a finished job, which is in no queue, out of view. The next one with its key may go.
func (g *group) leave(j *job, now time.Time) {
	if delete(g.open, j.seq); len(g.open) == 0 {
		g.open = make(map[uint64]*job) // an emptied map stays as big as it ever was
	}
	g.forgetBody(j)
	if j.key == "" {
		return
	}
	rest := g.keys[j.key]
	for i := range rest {
		if rest[i] == j {
			rest = append(rest[:i:i], rest[i+1:]...)
			break
		}
	}
	if len(rest) == 0 {
		delete(g.keys, j.key)
		return
	}
	g.keys[j.key] = rest
	if rest[0].state == blocked {
		g.place(rest[0], now)
	}
}

// keepBody keeps a job's message where there is room for it.
func (g *group) keepBody(j *job, m *parley.Message) {
	if j.message == nil && (g.bytes == 0 || g.bytes+len(m.Body) <= maxBodies) {
		j.message = m
		g.bytes += len(m.Body) + messageCost
	}
}

// messageCost is what a message takes beside its body, about.
const messageCost = 256

func (g *group) forgetBody(j *job) {
	if j.message != nil {
		g.bytes -= len(j.message.Body) + messageCost
		j.message = nil
	}
}
