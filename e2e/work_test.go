package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"
)

// ledger is what is known of the jobs of a test: which were said to be done, and which of these were
// acknowledged. A job whose done was acknowledged must never be given out again.
type ledger struct {
	t  *testing.T
	mu sync.Mutex

	said  map[string]int // how often a done was sent
	acked map[string]bool
	total int
	all   chan struct{} // closed when every job is acknowledged, or nothing more will be
	kills int
	epoch int // of the server's processes
	once  sync.Once
}

// end tells the workers that there is nothing more to do.
func (l *ledger) end() { l.once.Do(func() { close(l.all) }) }

// now is the epoch.
func (l *ledger) now() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.epoch
}

func newLedger(t *testing.T, jobs int) *ledger {
	return &ledger{t: t, said: make(map[string]int), acked: make(map[string]bool), total: jobs, all: make(chan struct{})}
}

// given notes a job that came by a connection of an epoch: what an earlier process has sent may be
// read late.
func (l *ledger) given(body string, epoch int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked[body] && epoch == l.epoch {
		l.t.Errorf("job %s was given out again, though its done was acknowledged", body)
	}
}

func (l *ledger) finished(body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.acked[body] {
		l.t.Errorf("job %s was finished twice", body)
	}
	if l.acked[body] = true; len(l.acked) == l.total {
		l.end()
	}
}

func (l *ledger) saidDone(body string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.said[body]++
}

func (l *ledger) killed() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kills++
}

func (l *ledger) over() bool {
	select {
	case <-l.all:
		return true
	default:
		return false
	}
}

// mortal is one life of a worker: it takes jobs of the group g and finishes them, until it is told to die
// after so many frames, at which it cuts its connection without a word, as a process that is killed.
// Or until its connection ends.
func (l *ledger) mortal(s *server, room string, random *rand.Rand) {
	epoch := l.now()
	sp, err := speak(s.address(), "worker")
	if err != nil {
		return // the server is away
	}
	defer sp.hangUp()
	lives := 1 + random.IntN(40)
	if err := sp.say(fmt.Sprintf(`{"op":"take","room":%q,"group":"g","prefetch":%d,"tries":1000}`+"\n", room, 1+random.IntN(8))); err != nil {
		return
	}
	refs := make(map[int]string)
	for n := 0; n < lives && !l.over(); n++ {
		line, err := sp.readLineWithin(500 * time.Millisecond)
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
			l.given(f.Body, epoch)
			if random.IntN(20) == 0 { // it dies with the job in hand
				l.die(sp)
				return
			}
			refs[n] = f.Body
			l.saidDone(f.Body)
			if err := sp.say(fmt.Sprintf(`{"op":"done","room":%q,"job":%q,"ref":%d}`+"\n", room, f.Job, n)); err != nil {
				return
			}
			if random.IntN(20) == 0 { // it dies before it hears that it is done
				l.die(sp)
				return
			}
		case f.Op == "ack":
			l.finished(refs[f.Ref])
		case f.Op == "error" && f.Code != "unavailable":
			l.t.Errorf("worker: %s", line)
		}
	}
	l.die(sp)
}

// die cuts the connection: what the system still held is lost.
func (l *ledger) die(sp *speaker) {
	l.killed()
	_ = sp.Conn.(*net.TCPConn).SetLinger(0)
}

// workers keeps so many workers at it, each followed by another when it dies, until all is done.
func (l *ledger) workers(s *server, room string, n int, seed uint64) (wait func()) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			random := rand.New(rand.NewPCG(seed, uint64(i)))
			for deadline := time.Now().Add(4 * patience); !l.over() && time.Now().Before(deadline); {
				l.mortal(s, room, random)
			}
		})
	}
	return all.Wait
}

// untilGiven waits until every job was done by somebody, as far as that one knew.
func (l *ledger) untilGiven() {
	l.t.Helper()
	eventually(l.t, "every job was done", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.said) == l.total
	})
}

// check sees that every job was done, none lost; those whose answer was lost may count twice.
func (l *ledger) check() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.total {
		if l.said[strconv.Itoa(i)] == 0 {
			l.t.Errorf("job %d was lost", i)
		}
	}
}

// await waits until all jobs are finished: those whose done was carried out and not heard of are seen to
// be by what is left of the group.
func (l *ledger) await(s *server, room string) {
	l.t.Helper()
	c := hello(l.t, s, "last")
	c.send(`{"op":"take","room":%q,"group":"g","prefetch":256,"tries":1000}`, room)
	for {
		line, err := c.readLineWithin(2 * time.Second)
		if err != nil {
			return // nothing is left
		}
		var f struct{ Op, Job, Body string }
		if json.Unmarshal([]byte(line), &f) == nil && f.Op == "job" {
			l.given(f.Body, l.now())
			l.saidDone(f.Body)
			c.send(`{"op":"done","room":%q,"job":%q}`, room, f.Job)
		}
	}
}

// A thousand workers are cut off, each at a moment of its own: with jobs in hand, and between a done and
// its answer. No job is lost, and none comes again whose done was acknowledged.
func TestAThousandWorkersKilled(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const jobs = 10_000
	l := newLedger(t, jobs)
	c := hello(t, s, "ada")
	for i := range jobs {
		c.send(`{"op":"send","room":"r","body":"%d"}`, i)
	}
	wait := l.workers(s, "r", 8, 1)
	l.untilGiven()
	l.end()
	wait()
	l.await(s, "r")
	l.check()
	if l.kills < 1000 {
		t.Errorf("only %d workers were killed", l.kills)
	}
}

// The server is killed under workers that die too. What was acknowledged, of sends and of jobs, holds.
func TestKill9UnderWorkers(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const jobs, rounds = 2000, 10
	l := newLedger(t, jobs)
	c := hello(t, s, "ada")
	for i := range jobs {
		c.send(`{"op":"send","room":"r","body":"%d","id":"j-%d"}`, i, i)
	}
	for range jobs {
		c.expect(`{"op":"ack"}`)
	}
	wait := l.workers(s, "r", 4, 2)
	for round := range rounds {
		eventually(t, "some jobs are done", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.said) > (round+1)*jobs/(rounds+2)
		})
		s.kill()
		l.mu.Lock()
		l.epoch++
		l.mu.Unlock()
		s.start()
	}
	l.untilGiven()
	l.end()
	wait()
	l.await(s, "r")
	l.check()
}

// A reader goes on behind what it has said to be done, on another process of the server.
func TestAReaderAfterKill9(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	c.want(`{"op":"join","room":"r","reader":"billing","after":0}`, `{"op":"joined"}`)
	for i := range 10 {
		c.send(`{"op":"send","room":"r","body":"%d"}`, i)
	}
	var done int
	for read := 0; read < 10; {
		f := c.next()
		if f.Op != "message" {
			continue
		}
		if read++; read == 6 {
			done = int(f.Seq)
			c.send(`{"op":"done","room":"r","seq":%d,"ref":"d"}`, done)
		}
	}
	c.ask(`{"op":"done","room":"r","seq":%d}`, done)
	s.kill()
	s.start()
	c = hello(t, s, "bob")
	c.want(`{"op":"join","room":"r","reader":"billing"}`, `{"op":"joined"}`)
	if f := c.next(); f.Op != "message" || f.Body == nil || int(f.Seq) <= done {
		t.Errorf("the reader goes on with %+v, want what is behind %d", f, done)
	}
}
