package session_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/wire"
)

// jobIn finds the name of the job in the last of some lines.
func jobIn(t *testing.T, line string) string {
	t.Helper()
	f, err := wire.ParseFrame([]byte(line))
	if err != nil || f.Op != "job" {
		t.Fatalf("%q is no job: %v", line, err)
	}
	return f.Job
}

// job waits for a job whose frame has text in it and gives its name.
func (p *peer) job(text string) string {
	p.t.Helper()
	p.want(text)
	p.mu.Lock()
	all := p.got.String()[:p.read]
	p.mu.Unlock()
	all = strings.TrimSuffix(all, "\n")
	return jobIn(p.t, all[strings.LastIndexByte(all, '\n')+1:])
}

func TestWorkersShareTheJobsOfAGroup(t *testing.T) {
	server := newServer(t)
	ada, bob := newPeer(t, server, wire.JSONLines{}, "ada"), newPeer(t, server, wire.JSONLines{}, "bob")
	ada.do(`{"op":"take","room":"r","group":"g","ref":1}`)
	ada.want(`{"op":"taking","ref":1,"room":"r","group":"g"}`)
	bob.do(`{"op":"send","room":"r","body":"one"}`)
	job := ada.job(`"body":"one"`)
	ada.do(fmt.Sprintf(`{"op":"busy","room":"r","job":%q,"deadline":"1m","ref":2}`, job))
	ada.want(fmt.Sprintf(`{"op":"busy","ref":2,"room":"r","job":%q,"deadline_ms":60000}`, job))
	ada.do(fmt.Sprintf(`{"op":"done","room":"r","job":%q,"ref":3}`, job))
	ada.want(`{"op":"ack","ref":3,"room":"r","seq":1}`)
	ada.do(fmt.Sprintf(`{"op":"done","room":"r","job":%q,"ref":4}`, job))
	ada.want(`{"op":"error","ref":4,"code":"not_found"`)
	bob.do(`{"op":"send","room":"r","body":"two"}`)
	job = ada.job(`"body":"two"`)
	bob.do(`{"op":"take","room":"r","group":"g","ref":1}`)
	bob.want(`{"op":"taking"`)
	ada.Close()
	again := bob.job(`"body":"two"`)
	bob.do(fmt.Sprintf(`{"op":"done","room":"r","job":%q,"ref":2}`, job))
	bob.want(`{"op":"error","ref":2,"code":"conflict"`)
	bob.do(fmt.Sprintf(`{"op":"fail","room":"r","job":%q,"reason":"no","ref":3}`, again))
	bob.want(`{"op":"ack","ref":3,"room":"r","seq":2}`)
	bob.do(`{"op":"history","room":"r.dead","ref":4}`)
	bob.want(`"reason":"no"`)
}

func TestStopAndTakeAgain(t *testing.T) {
	server := newServer(t)
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	ada.do(`{"op":"stop","room":"r","group":"g","ref":1}`)
	ada.want(`{"op":"error","ref":1,"code":"not_found"`)
	ada.do(`{"op":"take","room":"r","group":"g","ref":2}`, `{"op":"send","room":"r","body":"one"}`)
	job := ada.job(`"body":"one"`)
	ada.do(`{"op":"stop","room":"r","group":"g","ref":3}`, `{"op":"send","room":"r","body":"two","ref":4}`)
	ada.want(`{"op":"stopped","ref":3,"room":"r","group":"g"}`)
	ada.want(`{"op":"ack","ref":4`)
	ada.do(`{"op":"take","room":"r","group":"g","prefetch":2,"ref":5}`)
	if passed := ada.want(`{"op":"taking","ref":5`); strings.Contains(passed, `"job"`) {
		t.Errorf("a job came behind stopped: %s", passed)
	}
	ada.job(`"body":"two"`)
	ada.do(fmt.Sprintf(`{"op":"done","room":"r","job":%q,"ref":6}`, job))
	ada.want(`{"op":"ack","ref":6`)
}

func TestGroupsOfASessionAreBounded(t *testing.T) {
	server := newServer(t)
	server.Limits.Rooms = 2
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	ada.do(`{"op":"take","room":"r","group":"a","ref":1}`, `{"op":"take","room":"r","group":"b","ref":2}`)
	ada.do(`{"op":"take","room":"r","group":"c","ref":3}`)
	ada.want(`{"op":"error","ref":3,"code":"conflict"`)
	ada.do(`{"op":"stop","room":"r","group":"a","ref":4}`, `{"op":"take","room":"r","group":"c","ref":5}`)
	ada.want(`{"op":"taking","ref":5`)
}

func TestAReaderGoesOnWhereItWas(t *testing.T) {
	server := newServer(t)
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	ada.do(`{"op":"send","room":"r","body":"before"}`)
	ada.want(`{"op":"ack"`)
	ada.do(`{"op":"join","room":"r","reader":"billing","ref":1}`)
	ada.want(`{"op":"joined","ref":1,"room":"r","seq":1}`)
	ada.Close()

	bob := newPeer(t, server, wire.JSONLines{}, "bob")
	bob.do(`{"op":"send","room":"r","body":"one"}`, `{"op":"send","room":"r","body":"two"}`)
	bob.want(`"seq":3`)
	bob.do(`{"op":"join","room":"r","reader":"billing","last":1,"ref":2}`)
	if passed := bob.want(`"body":"two"`); strings.Contains(passed, "before") || !strings.Contains(passed, `"body":"one"`) {
		t.Errorf("the reader did not go on where it was: %s", passed)
	}
	bob.do(`{"op":"done","room":"r","seq":2,"ref":3}`)
	bob.want(`{"op":"ack","ref":3,"room":"r","seq":2}`)
	bob.do(`{"op":"leave","room":"r"}`, `{"op":"done","room":"r","seq":3,"ref":4}`)
	bob.want(`{"op":"error","ref":4,"code":"not_found"`)
	bob.do(`{"op":"done","room":"r","reader":"billing","seq":1,"ref":5}`)
	bob.want(`{"op":"ack","ref":5,"room":"r","seq":2}`)
	bob.do(`{"op":"join","room":"r","reader":"billing","ref":6}`)
	if passed := bob.want(`"body":"two"`); strings.Contains(passed, `"body":"one"`) {
		t.Errorf("what was dealt with came again: %s", passed)
	}
	bob.do(`{"op":"join","room":"r","reader":"other","ref":7}`)
	bob.want(`{"op":"error","ref":7,"code":"conflict"`)
}

func TestJobsForCallers(t *testing.T) {
	server := newServer(t)
	ada := newPeer(t, server, wire.JSONLines{}, "ada")
	caller, err := server.Caller(context.Background(), netip.AddrPort{}, "", "bob")
	if err != nil {
		t.Fatal(err)
	}
	op := wire.Op{Kind: wire.Take, Room: "r", Group: "g", Prefetch: 2, Tries: 3, Deadline: time.Minute}
	jobs, err := server.Take(context.Background(), caller, &op, time.Millisecond)
	if err != nil || len(jobs) != 0 {
		t.Fatal(jobs, err)
	}
	ada.do(`{"op":"send","room":"r","body":"one"}`)
	if jobs, err = server.Take(context.Background(), caller, &op, time.Minute); err != nil || len(jobs) != 1 {
		t.Fatal(jobs, err)
	}
	settle := &wire.Op{Kind: wire.Done, Room: "r", Job: jobs[0].Job}
	if r, err := server.Settle(context.Background(), caller, settle); r.Seq != 1 || err != nil {
		t.Error(r, err)
	}
	if _, err := server.Settle(context.Background(), caller, settle); parley.AsError(err).Code != parley.NotFound {
		t.Error(err)
	}
	gone, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := server.Take(gone, caller, &op, time.Minute); err == nil {
		t.Error("a caller that is gone was given jobs")
	}
}
