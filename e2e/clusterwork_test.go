package e2e_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"parley"
	"parley/client"
	"parley/wire"
)

// owner says which node keeps the jobs of all rooms, where there is one part of them; -1 where none
// is known now.
func owner(t *testing.T, s *server) int {
	t.Helper()
	found, err := s.process.stderr.wait(httpLine, s.process.done, patience)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+found[1]+"/cluster", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return -1
	}
	defer func() { _ = resp.Body.Close() }()
	var status struct{ Partitions []struct{ Leader string } }
	if err := json.NewDecoder(resp.Body).Decode(&status); err != nil || len(status.Partitions) == 0 {
		return -1
	}
	var n int
	if _, err := fmt.Sscanf(status.Partitions[0].Leader, "n%d", &n); err != nil {
		return -1
	}
	return n - 1
}

// onePart starts three nodes, one of which keeps the jobs of all rooms.
func onePart(t *testing.T) (nodes []*server, tcp []string) {
	t.Helper()
	all := freeAddresses(t, 6)
	join, tcp := strings.Join(all[:3], ","), all[3:]
	var starting sync.WaitGroup
	failed := make([]error, 3)
	for i := range 3 {
		s := newServer(t, []string{
			"--tcp", tcp[i], "--node", fmt.Sprint("n", i+1), "--cluster-listen", all[i], "--cluster-join", join, "--partitions", "1",
		}, lean)
		nodes = append(nodes, s)
		starting.Go(func() { failed[i] = s.tryStart() })
	}
	starting.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the cluster is whole", func() bool { return whole(t, nodes[0]) })
	return nodes, tcp
}

// parley map and workers are at all nodes, and the node that keeps their jobs is killed under them,
// twice. Each line has its answer, in its place, once; nobody at another node has to be started again.
func TestMapOverNodesWhoseOwnerIsKilled(t *testing.T) {
	t.Parallel()
	nodes, tcp := onePart(t)
	m := &mapping{t: t, s: nodes[0], dir: t.TempDir()}
	const lines = 400
	var in, want strings.Builder
	for n := range lines {
		fmt.Fprintln(&in, n)
		fmt.Fprintln(&want, n*n)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "in"), []byte(in.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	own := owner(t, nodes[0])
	if own < 0 {
		t.Fatal("no node leads")
	}
	from := func(i int) string { return tcp[(own+i)%3] + "," + tcp[(own+i+1)%3] }
	for i := range 3 {
		_, err := launch(t, m.s.path, m.dir, nil, "work", "squares", "--server", from(i),
			"--group", "map", "--parallel", "2", "--tries", "1000", "--", "sh", "-c", "read n; sleep 0.01; echo $((n*n))")
		if err != nil {
			t.Fatal(err)
		}
	}
	command := fmt.Sprintf("exec %s map squares --server %s --window 40 --resume run < in >> out", m.s.path, from(1))
	run, err := launch(t, "/bin/sh", m.dir, nil, "-c", command)
	if err != nil {
		t.Fatal(err)
	}
	for round := range 2 {
		m.until((round + 1) * lines / 4)
		nodes[own].kill()
		m.until((round+1)*lines/4 + 60) // it goes on without it
		nodes[own].start()
		asked := nodes[(own+1)%3]
		eventually(t, "the cluster is whole", func() bool { return whole(t, asked) })
		if own = owner(t, asked); own < 0 {
			t.Fatal("no node leads")
		}
	}
	if code := run.exit(4 * patience); code != 0 {
		t.Fatalf("parley map has exited with %d: %s", code, &run.stderr)
	}
	m.check(want.String())
}

// Workers at all nodes, whose owner is killed under load: no job is lost, and those alone come again
// that were under way.
func TestWorkersOfNodesWhoseOwnerIsKilled(t *testing.T) {
	t.Parallel()
	workersOfNodes(t, func(owner *server) { owner.kill() })
}

// The owner is paused until others have taken its place, and wakes up with jobs given out and steps on
// their way: it must not have its say any more.
func TestWorkersOfNodesWhoseOwnerIsPaused(t *testing.T) {
	t.Parallel()
	workersOfNodes(t, func(owner *server) {
		owner.process.signal(syscall.SIGSTOP)
		time.AfterFunc(8*time.Second, func() { owner.process.signal(syscall.SIGCONT) })
	})
}

// workersOfNodes has workers at each of three nodes, one of them at the owner, do jobs while that has
// trouble.
func workersOfNodes(t *testing.T, trouble func(owner *server)) {
	nodes, tcp := onePart(t)
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	const jobs = 3000
	own := owner(t, nodes[0])
	if own < 0 {
		t.Fatal("no node leads")
	}
	connect := func(first int) *client.Client {
		c, err := client.Connect(ctx, tcp[(own+first)%3]+","+tcp[(own+first+1)%3])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	var mu sync.Mutex
	done := make(map[string]int)
	var working sync.WaitGroup
	stop, end := context.WithCancel(ctx)
	defer working.Wait()
	defer end()
	for i := range 3 {
		c := connect(i)
		working.Go(func() {
			err := c.Work(stop, "r", "g", func(_ context.Context, j *parley.Job) error {
				mu.Lock()
				defer mu.Unlock()
				done[string(j.Body)]++
				return nil
			}, client.Deadline(10*time.Second), client.Tries(100))
			if err != nil && stop.Err() == nil {
				t.Error(err)
			}
		})
	}
	sender := connect(1)
	for i := range jobs {
		if i == jobs/2 {
			trouble(nodes[own])
		}
		if _, err := sender.Room("r").Publish(ctx, fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	eventually(t, "every job is done", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(done) == jobs
	})
	mu.Lock()
	defer mu.Unlock()
	twice := 0
	for _, n := range done {
		if n > 1 {
			twice++
		}
	}
	t.Logf("the last job was done %v behind the last send; %d were done again", time.Since(began), twice)
	if twice > 300 {
		t.Errorf("%d jobs were done again", twice)
	}
}

// A job is taken by HTTP at one node and finished at another, neither of them its owner; a delayed message
// is sent whichever node was asked; a reader goes on at another node.
func TestWorkAtAnyNode(t *testing.T) {
	t.Parallel()
	nodes, _ := onePart(t)
	own := owner(t, nodes[0])
	if own < 0 {
		t.Fatal("no node leads")
	}
	one, two := nodes[(own+1)%3], nodes[(own+2)%3]
	c := hello(t, one, "ada")
	c.ask(`{"op":"send","room":"r","body":"x","delay":"300ms"}`)
	var took struct{ Jobs []struct{ Job, Body string } }
	post(t, one, "/rooms/r/take?group=g&wait=20s", http.StatusOK, &took)
	if len(took.Jobs) != 1 || took.Jobs[0].Body != "x" {
		t.Fatalf("took %+v", took)
	}
	post(t, two, "/rooms/r/jobs/"+took.Jobs[0].Job+"/done", http.StatusOK, nil)
	post(t, nodes[own], "/rooms/r/jobs/"+took.Jobs[0].Job+"/done", http.StatusNotFound, nil)

	c.want(`{"op":"join","room":"r","reader":"billing","after":0}`, `{"op":"joined"}`)
	seq := c.next().Seq
	c.ask(`{"op":"done","room":"r","seq":%d}`, seq)
	c.ask(`{"op":"send","room":"r","body":"y"}`)
	d := hello(t, two, "bob")
	d.want(`{"op":"join","room":"r","reader":"billing"}`, `{"op":"joined"}`)
	if f := d.next(); f.Op != "message" || f.Seq <= seq {
		t.Errorf("the reader goes on with %+v, want what is behind %d", f, seq)
	}
}

// A job fails at one node and is put back at another; the group is listed and removed there too.
func TestGroupsAtAnyNode(t *testing.T) {
	t.Parallel()
	nodes, tcp := onePart(t)
	own := owner(t, nodes[0])
	if own < 0 {
		t.Fatal("no node leads")
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var rooms []*client.Room // at the owner and at the two others
	for i := range 3 {
		c, err := client.Connect(ctx, tcp[(own+i)%3])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		rooms = append(rooms, c.Room("r"))
	}
	if _, err := rooms[0].Publish(ctx, []byte("x")); err != nil {
		t.Fatal(err)
	}
	take := func(at int) string {
		t.Helper()
		var took struct{ Jobs []struct{ Job string } }
		post(t, nodes[(own+at)%3], "/rooms/r/take?group=g&wait=20s", http.StatusOK, &took)
		if len(took.Jobs) != 1 {
			t.Fatalf("took %+v", took)
		}
		return took.Jobs[0].Job
	}
	settle := func(at int, job, how string) {
		t.Helper()
		post(t, nodes[(own+at)%3], "/rooms/r/jobs/"+job+"/"+how, http.StatusOK, nil)
	}
	settle(2, take(1), "fail")
	letters := hello(t, nodes[own], "ada").ask(`{"op":"history","room":"r.dead","after":0,"limit":10}`).Messages
	if len(letters) != 1 {
		t.Fatalf("%d dead letters", len(letters))
	}
	for i, before := range []bool{false, true} {
		if was, err := rooms[2-i].PutBack(ctx, letters[0].Seq); err != nil || was != before {
			t.Errorf("put back at node %d: before %v, %v", 2-i, was, err)
		}
	}
	list := func(at int, want ...wire.GroupEntry) {
		t.Helper()
		got, err := rooms[at].Groups(ctx)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("groups at node %d: %+v, %v, want %+v", at, got, err, want)
		}
	}
	list(2, wire.GroupEntry{Group: "g", Pending: 1, Dead: 1})
	settle(1, take(2), "release")
	settle(2, take(1), "done")
	list(1, wire.GroupEntry{Group: "g", Dead: 1})
	if err := rooms[1].RemoveGroup(ctx, "g"); err != nil {
		t.Error(err)
	}
	for i := range rooms {
		list(i)
	}
}

// post makes a request without a body, and reads the answer where there is somewhere to put it.
func post(t *testing.T, s *server, path string, status int, into any) {
	t.Helper()
	found, err := s.process.stderr.wait(httpLine, s.process.done, patience)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+found[1]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != status {
		t.Fatalf("POST %s: %s, want %d", path, resp.Status, status)
	}
	if into != nil {
		if err := json.NewDecoder(resp.Body).Decode(into); err != nil {
			t.Fatal(err)
		}
	}
}
