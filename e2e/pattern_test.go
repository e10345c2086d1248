package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"
)

// follower is a client that follows a pattern for as long as the test lasts: it goes on where it was whenever its
// connection ends, and ends it now and then.
type follower struct {
	t       *testing.T
	s       *server
	pattern string

	// Owned by run.
	cursor string            // the last one
	since  map[string]uint64 // what came behind it
	last   map[string]uint64 // the last seq of each room
	most   int               // rooms in since

	mu   sync.Mutex
	seen map[string]bool // room:seq
	cuts int
}

func follow(t *testing.T, s *server, pattern string) *follower {
	f := &follower{
		t: t, s: s, pattern: pattern,
		since: make(map[string]uint64), last: make(map[string]uint64), seen: make(map[string]bool),
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		t.Logf("%s: %d messages of %d rooms, %d cuts, at most %d rooms behind a cursor", pattern, len(f.seen), len(f.last), f.cuts, f.most)
		if f.most > 400 { // a page, and as many as come between two cursors
			t.Errorf("%s: %d rooms had to be remembered behind a cursor", pattern, f.most)
		}
	})
	return f
}

func (f *follower) run(ctx context.Context) {
	for ctx.Err() == nil {
		if sp, err := speak(f.s.address(), "follower"); err == nil {
			stop := context.AfterFunc(ctx, sp.hangUp)
			f.read(sp, 1+rand.IntN(400))
			stop()
			sp.hangUp()
		}
		select {
		case <-time.After(10 * time.Millisecond): // the server may be down
		case <-ctx.Done():
		}
	}
}

// read joins, and reads so many frames or until the connection ends.
func (f *follower) read(sp *speaker, frames int) {
	join := map[string]any{"op": "join", "room": f.pattern}
	switch {
	case f.cursor == "":
		join["after"] = 0
	case len(f.since) > 0:
		join["after"] = f.since
		fallthrough
	default:
		join["cursor"] = f.cursor
	}
	op, err := json.Marshal(join)
	if err != nil {
		f.t.Error(err)
		return
	}
	if sp.say(string(op)+"\n") != nil {
		return
	}
	for range frames {
		got, err := sp.next()
		if err != nil {
			return
		}
		f.take(got)
	}
	f.mu.Lock()
	f.cuts++
	f.mu.Unlock()
}

func (f *follower) take(got *frame) {
	switch got.Op {
	case "joined", "cursor":
		var at struct{ Cursor string }
		if err := json.Unmarshal([]byte(got.raw), &at); err != nil || at.Cursor == "" {
			f.t.Errorf("%s bears no cursor", got.raw)
		}
		f.cursor = at.Cursor
		clear(f.since)
	case "message":
		if got.Prev != f.last[got.Room] {
			f.t.Errorf("%s: %s came behind %d", f.pattern, got.raw, f.last[got.Room])
		}
		f.last[got.Room], f.since[got.Room] = got.Seq, got.Seq
		f.most = max(f.most, len(f.since))
		f.mu.Lock()
		f.seen[fmt.Sprintf("%s:%d", got.Room, got.Seq)] = true
		f.mu.Unlock()
	default:
		f.t.Errorf("%s: got %s", f.pattern, got.raw)
	}
}

// has says whether all of some messages came.
func (f *follower) has(all []string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, one := range all {
		if !f.seen[one] {
			return false
		}
	}
	return true
}

// Patterns are followed while the server is killed again and again and rooms come to be by the hundred: every
// message that was acknowledged comes, each room's in its order and none twice.
func TestPatternsAreFollowedThroughKills(t *testing.T) {
	t.Parallel()
	s := serve(t)
	all, temps := follow(t, s, "sensors.**"), follow(t, s, "sensors.*.temp")
	var sent, sentTemps []string
	for round := range 6 {
		c := hello(t, s, "ada")
		const burst = 250
		for n := range burst {
			kind := []string{"temp", "hum.raw"}[rand.IntN(2)]
			sensor := []int{rand.IntN(20), 1000*round + n}[rand.IntN(2)] // one of the old, or a new one
			c.send(`{"op":"send","room":"sensors.%d.%s","body":"x","ref":%d}`, sensor, kind, n)
		}
		for range rand.IntN(burst) {
			ack := c.next()
			one := fmt.Sprintf("%s:%d", ack.Room, ack.Seq)
			if sent = append(sent, one); fits("sensors.*.temp", ack.Room) {
				sentTemps = append(sentTemps, one)
			}
		}
		s.kill()
		s.start()
	}
	eventually(t, "all has come", func() bool { return all.has(sent) && temps.has(sentTemps) })
}
