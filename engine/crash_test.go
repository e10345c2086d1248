package engine_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"

	"parley"
	"parley/engine"
)

// loadDir, where it is set, makes the test binary a child that appends to the log in that
// directory until it is killed, and says on stdout what was acked: "room id seq".
const loadDir = "PARLEY_ENGINE_TEST_LOAD"

const loadSenders = 16

// load never returns.
func load(dir string) {
	fail := func(err error) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	e, err := engine.Open(context.Background(), engine.Config{Dir: dir, MinFree: -1, Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err != nil {
		fail(err)
	}
	var mu sync.Mutex
	var senders sync.WaitGroup
	for s := range loadSenders {
		senders.Go(func() {
			for i := 0; ; i++ {
				d := parley.Draft{
					Room: fmt.Sprint("room", i%5), From: "ada", ID: fmt.Sprint(os.Getpid(), "-", s, "-", i),
					Body: fmt.Appendf(nil, "body of %d", i), Retry: true,
				}
				done := make(chan error, 2)
				var acked parley.Receipt
				for range 1 + i%2 { // every second one is sent twice at once
					err := e.Append(context.Background(), d, func(r parley.Receipt, err error) { acked = r; done <- err })
					if err != nil {
						fail(err)
					}
				}
				for range 1 + i%2 {
					if err := <-done; err != nil {
						fail(err)
					}
				}
				mu.Lock()
				_, err := os.Stdout.WriteString(d.Room + " " + d.ID + " " + strconv.FormatUint(acked.Seq, 10) + "\n")
				mu.Unlock()
				if err != nil {
					fail(err)
				}
			}
		})
	}
	senders.Wait()
	os.Exit(1)
}

// ack is a line of a child.
type ack struct{ room, id, seq string }

// child runs a load on dir until n acks have come and calls cut, in which it is killed at the
// latest when cut has returned. It gives the acks that had come before cut was called.
func child(t *testing.T, dir string, n int, cut func()) []ack {
	t.Helper()
	cmd := exec.Command(os.Args[0], "-test.run=^$")
	cmd.Env = append(os.Environ(), loadDir+"="+dir)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	var acks []ack
	for len(acks) < n && lines.Scan() {
		var a ack
		if _, err := fmt.Sscan(lines.Text(), &a.room, &a.id, &a.seq); err != nil {
			t.Fatalf("line %q: %v", lines.Text(), err)
		}
		acks = append(acks, a)
	}
	cut()
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if len(acks) < n {
		t.Fatalf("the child ended after %d acks", len(acks))
	}
	return acks
}

// checkAcked checks that every acked message is there, at its seq, and that none is there twice.
func checkAcked(t *testing.T, e *engine.Engine, acks []ack) {
	t.Helper()
	stored := make(map[ack]bool)
	ids := make(map[string]bool)
	for i := range 5 {
		room := fmt.Sprint("room", i)
		for _, m := range readAll(t, e, room) {
			if ids[m.ID] {
				t.Errorf("%s was stored twice", m.ID)
			}
			ids[m.ID] = true
			stored[ack{room, m.ID, strconv.FormatUint(m.Seq, 10)}] = true
		}
	}
	lost := 0
	for _, a := range acks {
		if !stored[a] {
			lost++
		}
	}
	if lost > 0 {
		t.Errorf("%d of %d acked messages are lost", lost, len(acks))
	}
	last := acks[len(acks)-1]
	r := say(t, e, parley.Draft{Room: last.room, From: "ada", ID: last.id, Body: []byte("again"), Retry: true})
	if !r.Duplicate || strconv.FormatUint(r.Seq, 10) != last.seq {
		t.Errorf("%+v sent again: %+v", last, r)
	}
}

func TestAKilledProcessLosesNothingAckedAndStoresNothingTwice(t *testing.T) {
	dir := t.TempDir()
	var acks []ack
	for range 3 {
		acks = append(acks, child(t, dir, 1500, func() {})...)
	}
	e := open(t, engine.Config{Dir: dir})
	checkAcked(t, e, acks)
}
