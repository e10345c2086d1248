package room

import (
	"sync"
	"sync/atomic"
	"time"
)

// work is what a flusher does: walk a shard, or write one outlet's answers.
type work interface {
	flush() (later time.Duration) // later > 0: not done, it is to be called again after that time
	state() *task
}

// task is a work's place in the queue. It is queued at most once; a change while it is under way
// queues it again behind the others.
type task struct{ atomic.Int32 }

const (
	taskIdle int32 = iota
	taskQueued
	taskRunning
	taskAgain // running, and something changed meanwhile
)

func (o *Outlet) state() *task { return &o.task }
func (s *shard) state() *task  { return &s.task }

// flushers are a fixed set of goroutines that do the work queued. The queue is bounded by the
// shards and outlets there are, since each is in it once.
type flushers struct {
	mu     sync.Mutex
	wake   sync.Cond
	queue  []work
	head   int // queue[:head] is done
	closed bool
}

func newFlushers() *flushers {
	f := new(flushers)
	f.wake.L = &f.mu
	return f
}

// add queues w unless it is queued already.
func (f *flushers) add(w work) {
	t := w.state()
	for {
		switch s := t.Load(); {
		case s == taskQueued || s == taskAgain:
			return
		case s == taskRunning && t.CompareAndSwap(s, taskAgain):
			return
		case s == taskIdle && t.CompareAndSwap(s, taskQueued):
			f.push(w)
			return
		}
	}
}

func (f *flushers) push(w work) {
	f.mu.Lock()
	if f.head > 64 && f.head > len(f.queue)/2 {
		n := copy(f.queue, f.queue[f.head:])
		clear(f.queue[n:])
		f.queue, f.head = f.queue[:n], 0
	}
	f.queue = append(f.queue, w)
	f.mu.Unlock()
	f.wake.Signal()
}

// next takes the work that has waited longest; false when the flushers are closed.
func (f *flushers) next() (work, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for f.head == len(f.queue) && !f.closed {
		f.wake.Wait()
	}
	if f.closed {
		return nil, false
	}
	w := f.queue[f.head]
	f.queue[f.head] = nil
	f.head++
	return w, true
}

// run is one flusher.
func (f *flushers) run() {
	for {
		w, ok := f.next()
		if !ok {
			return
		}
		t := w.state()
		t.Store(taskRunning)
		if later := w.flush(); later > 0 {
			t.Store(taskQueued)
			time.AfterFunc(later, func() { f.push(w) })
			continue
		}
		if !t.CompareAndSwap(taskRunning, taskIdle) {
			t.Store(taskQueued)
			f.push(w)
		}
	}
}

func (f *flushers) close() {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	f.wake.Broadcast()
}
