package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"testing"
)

// A thousand workers are killed, each at a moment of its own. No job is lost, none is with two at a time, and none
// comes again whose doer has heard that it is done. The server has counted each as done once.
func TestAThousandWorkersKilled(t *testing.T) {
	t.Parallel()
	s := serve(t)
	l := newLedger(t)
	c := hello(t, s, "ada")
	wait := l.workers(s, "r", 8, seedOf(t))
	defer wait()
	defer l.end()
	for kills := 0; kills < 1000; _, kills = l.done() {
		from, to := l.add(2000)
		for i := from; i < to; i++ {
			c.send(`{"op":"send","room":"r","body":"%d","ref":%d}`, i, i)
		}
		for range to - from {
			c.expect(`{"op":"ack"}`)
		}
		l.until(to)
	}
	l.end()
	wait()
	l.rest(s, "r")
	again := l.check()
	jobs, kills := l.done()
	t.Logf("%d workers were killed over %d jobs, of which %d were done again since the answer was lost", kills, jobs, again)
	_, metrics := request(t, s, http.MethodGet, "/metrics", "", "")
	for _, want := range []string{
		fmt.Sprintf(`parley_jobs_settled_total{as="done"} %d`, jobs), fmt.Sprintf("parley_jobs_copied_total %d", jobs),
		"parley_jobs_dead_total 0", "parley_jobs_missed_total 0",
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("the server has not counted %s", want)
		}
	}
}

// The server is killed under workers that are killed too, after jobs that the dice name. What was acknowledged,
// of sends and of jobs, holds.
func TestKill9UnderWorkers(t *testing.T) {
	t.Parallel()
	s := serve(t)
	const jobs, rounds = 2000, 10
	seed := seedOf(t)
	dice := rand.New(rand.NewPCG(seed, 1<<32))
	l := newLedger(t)
	c := hello(t, s, "ada")
	l.add(jobs)
	for i := range jobs {
		c.send(`{"op":"send","room":"r","body":"%d","id":"j-%d"}`, i, i)
	}
	for range jobs {
		c.expect(`{"op":"ack"}`)
	}
	wait := l.workers(s, "r", 4, seed)
	defer wait()
	defer l.end()
	for round := range rounds {
		l.until(round*jobs/(rounds+1) + 1 + dice.IntN(jobs/(rounds+1)))
		s.kill()
		l.serverKilled()
		s.start()
	}
	l.until(jobs)
	l.end()
	wait()
	l.rest(s, "r")
	again := l.check()
	_, kills := l.done()
	t.Logf("%d workers and %d servers were killed over %d jobs, of which %d were done again", kills, rounds, jobs, again)
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
