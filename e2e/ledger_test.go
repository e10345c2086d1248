package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// seedOf is what the dice of a test begin with: another number each time, which a failure tells, or the one
// in PARLEY_TEST_SEED. The same seed throws the same dice, though the machine's own timing stays its own.
func seedOf(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("PARLEY_TEST_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("PARLEY_TEST_SEED=%d repeats this run", seed)
	return seed
}

// ledger is what is known of the jobs of a test: who has each, who has done it, and which of them have heard
// that it is done. A job is lost if nobody has done it. It is done twice for a good reason only if who did
// it before was cut off, or its server killed, before it heard so.
type ledger struct {
	t *testing.T

	mu      sync.Mutex
	total   int
	holder  map[string]*life // who was given the job last
	doings  map[string]int   // how often it was done
	answers map[string]int   // how often who did it has heard so
	kills   int              // of workers
	epoch   int              // of the server's processes

	all  chan struct{} // closed when nothing more is to be done
	once sync.Once
}

// life is one worker, on one connection.
type life struct {
	*ledger
	sp    *speaker
	epoch int
	ended bool // guarded by the ledger's mu
}

func newLedger(t *testing.T) *ledger {
	return &ledger{
		t: t, holder: make(map[string]*life), doings: make(map[string]int), answers: make(map[string]int), all: make(chan struct{}),
	}
}

// end tells the workers that there is nothing more to do.
func (l *ledger) end() { l.once.Do(func() { close(l.all) }) }

func (l *ledger) over() bool {
	select {
	case <-l.all:
		return true
	default:
		return false
	}
}

// add has the test send n more jobs; each has its number as its body.
func (l *ledger) add(n int) (from, to int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total += n
	return l.total - n, l.total
}

// born connects a worker.
func (l *ledger) born(s *server) (*life, error) {
	l.mu.Lock()
	one := &life{ledger: l, epoch: l.epoch}
	l.mu.Unlock()
	var err error
	one.sp, err = speak(s.address(), "worker")
	return one, err
}

// serverKilled notes that nobody who was connected hears anything that is new.
func (l *ledger) serverKilled() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.epoch++
}

// given notes a job that came. What an earlier process of the server has sent may be read late.
func (one *life) given(body string) {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.epoch != one.ledger.epoch || one.ended {
		return
	}
	if one.answers[body] > 0 {
		one.t.Errorf("job %s was given out again, though who did it has heard that it is done", body)
	}
	if h := one.holder[body]; h != nil && h != one && !h.ended && h.epoch == one.epoch {
		one.t.Errorf("job %s was given to a second worker, while the first is there", body)
	}
	one.holder[body] = one
}

// did notes that a job was done: what it is for has come about.
func (one *life) did(body string) {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.doings[body]++
}

// heard notes the answer to a done.
func (one *life) heard(body string) {
	one.mu.Lock()
	defer one.mu.Unlock()
	if one.answers[body]++; one.answers[body] > 1 {
		one.t.Errorf("two workers have heard that they have done job %s", body)
	}
}

// die cuts the connection, as the kernel does for a process that is killed: what it still held is lost.
func (one *life) die() {
	one.mu.Lock()
	first := !one.ended
	if one.ended = true; first {
		one.kills++
	}
	one.mu.Unlock()
	if first {
		_ = one.sp.Conn.(*net.TCPConn).SetLinger(0)
		_ = one.sp.Close()
	}
}

// quit ends a life that nobody has killed.
func (one *life) quit() {
	one.mu.Lock()
	one.ended = true
	one.mu.Unlock()
	_ = one.sp.Close()
}

// live takes jobs of the group g and does them, until the dice kill it: at a moment of the clock, with a job in hand,
// in the middle of what it says, before it hears the answer, or after so many frames.
func (l *ledger) live(s *server, room string, dice *rand.Rand) {
	frames, prefetch, soon := 1+dice.IntN(40), 1+dice.IntN(8), time.Duration(dice.IntN(20_000))*time.Microsecond
	one, err := l.born(s)
	if err != nil {
		return // the server is away
	}
	defer one.quit()
	if dice.IntN(3) == 0 {
		defer time.AfterFunc(soon, one.die).Stop()
	}
	if err := one.sp.say(fmt.Sprintf(`{"op":"take","room":%q,"group":"g","prefetch":%d,"tries":1000,"deadline":"1h"}`+"\n", room, prefetch)); err != nil {
		return
	}
	refs := make(map[int]string)
	for n := 0; n < frames && !l.over(); n++ {
		line, err := one.sp.readLineWithin(500 * time.Millisecond)
		if err != nil {
			return // there is nothing to do, or nobody is there
		}
		var f struct {
			Op, Job, Code string
			Body          string
			Ref           int
		}
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			l.t.Errorf("%s: %v", line, err)
			return
		}
		switch {
		case f.Op == "job":
			refs[n] = f.Body
			if !one.do(f.Body, fmt.Sprintf(`{"op":"done","room":%q,"job":%q,"ref":%d}`+"\n", room, f.Job, n), dice) {
				return
			}
		case f.Op == "ack":
			one.heard(refs[f.Ref])
		case f.Op == "error" && f.Code != "unavailable":
			l.t.Errorf("worker: %s", line)
		}
	}
	if !l.over() {
		one.die()
	}
}

// do does a job and says so. False: it has died, or its server has.
func (one *life) do(body, done string, dice *rand.Rand) bool {
	one.given(body)
	switch dice.IntN(60) {
	case 0, 1, 2: // with the job in hand
		one.die()
		return false
	case 3: // in the middle of the word
		one.did(body)
		_ = one.sp.say(done[:dice.IntN(len(done))])
		one.die()
		return false
	}
	one.did(body)
	if err := one.sp.say(done); err != nil {
		return false
	}
	if dice.IntN(20) == 0 { // before it hears the answer
		one.die()
		return false
	}
	return true
}

// workers keeps so many workers at it, each followed by another when it dies, until all is done.
func (l *ledger) workers(s *server, room string, n int, seed uint64) (wait func()) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			dice := rand.New(rand.NewPCG(seed, uint64(i)))
			for deadline := time.Now().Add(4 * patience); !l.over() && time.Now().Before(deadline); {
				l.live(s, room, dice)
			}
		})
	}
	return all.Wait
}

// done says how many of the jobs were done, and how many workers were killed.
func (l *ledger) done() (jobs, kills int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.doings), l.kills
}

// until waits until so many jobs were done.
func (l *ledger) until(jobs int) {
	l.t.Helper()
	eventually(l.t, fmt.Sprintf("%d jobs are done", jobs), func() bool {
		done, _ := l.done()
		return done >= jobs
	})
}

// rest does what is left, with a worker that nobody kills.
func (l *ledger) rest(s *server, room string) {
	l.t.Helper()
	one, err := l.born(s)
	if err != nil {
		l.t.Fatal(err)
	}
	defer one.quit()
	say := func(format string, args ...any) {
		if err := one.sp.say(fmt.Sprintf(format+"\n", args...)); err != nil {
			l.t.Fatal(err)
		}
	}
	say(`{"op":"take","room":%q,"group":"g","prefetch":256,"tries":1000,"deadline":"1h"}`, room)
	for open := 0; ; {
		line, err := one.sp.readLineWithin(2 * time.Second)
		switch {
		case err != nil && open == 0:
			return // nothing is left
		case err != nil:
			l.t.Fatalf("%d jobs of the last worker have no answer: %v", open, err)
		}
		var f struct{ Op, Job, Body, Ref string }
		if json.Unmarshal([]byte(line), &f) != nil {
			continue
		}
		switch f.Op {
		case "job":
			one.given(f.Body)
			one.did(f.Body)
			open++
			say(`{"op":"done","room":%q,"job":%q,"ref":%q}`, room, f.Job, f.Body)
		case "ack":
			one.heard(f.Ref)
			open--
		case "error":
			l.t.Fatalf("the last worker: %s", line)
		}
	}
}

// check sees that every job was done, none lost, and gives how many were done again.
func (l *ledger) check() (again int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.total {
		switch n := l.doings[strconv.Itoa(i)]; n {
		case 0:
			l.t.Errorf("job %d was lost", i)
		default:
			again += n - 1
		}
	}
	if len(l.doings) != l.total {
		l.t.Errorf("%d jobs were done, of %d", len(l.doings), l.total)
	}
	return again
}
