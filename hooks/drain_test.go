package hooks_test

import (
	"context"
	"net/http"
	"runtime"
	"sync/atomic"
	"testing"

	"parley/hooks"
)

// A drain waits for the request under way, and no longer than it may.
func TestDrain(t *testing.T) {
	t.Parallel()
	b, begun, end := newBench(t), make(chan struct{}, 9), make(chan struct{})
	s := newSink(t, func(http.ResponseWriter, *request) {
		begun <- struct{}{}
		<-end
	})
	b.use(b.hook("h", s.url, "*"))
	b.say("a", "0", "1")
	<-begun
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		b.sender.Drain(context.Background())
	}()
	for !b.sender.Left() { // or the next message is on its way too
		runtime.Gosched()
	}
	select {
	case <-drained:
		t.Fatal("the drain has not waited")
	case end <- struct{}{}:
	}
	<-drained
	s.want("0")
	b.stop()
	b.start()
	b.use(b.hook("h", s.url, "*"))
	<-begun
	late, cancel := context.WithCancel(context.Background())
	cancel()
	b.sender.Drain(late) // though it hangs
	close(end)
	s.want("1")
}

// 410 Gone ends a hook until the configuration is read again; nothing is lost by that.
func TestGone(t *testing.T) {
	t.Parallel()
	var there atomic.Bool
	b := newBench(t)
	s := newSink(t, func(w http.ResponseWriter, _ *request) {
		if !there.Load() {
			w.WriteHeader(410)
		}
	})
	o := b.hook("h", s.url, "*")
	b.use(o)
	b.say("a", "0", "1")
	s.want("0")
	b.stats("h", func(st hooks.Stats) bool { return st.Gone })
	b.say("b", "2")
	there.Store(true)
	s.none()
	b.use(o)
	got := map[string]bool{}
	for range 3 {
		got[string(s.next().Body)] = true
	}
	if len(got) != 3 || len(b.messages("h.dead", 0)) > 0 {
		t.Errorf("%v came", got)
	}
}
