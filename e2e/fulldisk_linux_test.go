package e2e_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// full is a server on a small file system, with a ballast file that can be thrown out.
type full struct {
	*server
	ballast string
	member  *jsonClient // in the room the whole time
	rec     *recorder
	sent    int
	acked   []uint64
}

func newFull(t *testing.T, flags ...string) *full {
	dir := mountTmpfs(t, "16m")
	f := &full{ballast: filepath.Join(dir, "ballast"), rec: newRecorder(t)}
	if err := os.WriteFile(f.ballast, make([]byte, 6<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	f.server = newServer(t, flags, on(filepath.Join(dir, "data")))
	f.start()
	f.member = hello(t, f.server, "member")
	f.member.want(`{"op":"join","room":"r"}`, `{"op":"joined"}`)
	return f
}

// send sends one message of 32 KiB, writes down what came of it, and gives the answer.
func (f *full) send(c *jsonClient) *frame {
	f.t.Helper()
	msg := fmt.Sprintf("m-%d", f.sent)
	f.sent++
	body := msg + " " + strings.Repeat("x", 32<<10)
	id := f.rec.invoke(event{Op: "publish", Client: "ada", Room: "r", Msg: msg, Hash: hash(body)})
	answer := c.ask(`{"op":"send","room":"r","id":%q,"body":%q}`, msg, body)
	if answer.Op == "ack" {
		f.acked = append(f.acked, answer.Seq)
		f.rec.add(event{Type: "ok", Op: "publish", ID: id, Seq: answer.Seq})
	} else {
		f.rec.add(event{Type: outcome(answer), Op: "publish", ID: id, Reason: answer.Message})
	}
	return answer
}

// fill sends until the server refuses, and gives what it says.
func (f *full) fill(c *jsonClient) *frame {
	f.t.Helper()
	for range 2000 {
		if answer := f.send(c); answer.Op != "ack" {
			return answer
		}
	}
	f.t.Fatal("the disk is never full")
	return nil
}

// lives checks all that does not need room on the disk.
func (f *full) lives() {
	f.t.Helper()
	for i, seq := range f.acked { // the member goes on being shown what is stored
		if got := f.member.expect(`{"op":"message","room":"r"}`); got.Seq != seq {
			f.t.Fatalf("message %d was shown as %d, want %d", i, got.Seq, seq)
		}
	}
	c := hello(f.t, f.server, "reader")
	c.want(`{"op":"ping"}`, `{"op":"pong"}`)
	n := len(f.acked)
	page := c.want(`{"op":"history","room":"r","limit":10}`, `{"op":"page","more":true}`)
	if len(page.Messages) != 10 || page.Messages[9].Seq != f.acked[n-1] {
		f.t.Errorf("the newest page has %d messages and ends at %d, want %d", len(page.Messages), page.Messages[9].Seq, f.acked[n-1])
	}
	c.want(`{"op":"join","room":"r","after":0}`, fmt.Sprintf(`{"op":"joined","seq":%d}`, f.acked[n-1]))
	for _, seq := range f.acked {
		c.expect(`{"op":"message","room":"r","seq":%d}`, seq)
	}
	c.want(`{"op":"join","room":"a-new-room"}`, `{"op":"joined","seq":0}`)
	plain := dial(f.t, f.server)
	plain.send("a line that there is no room for")
	plain.expectPrefix("* unavailable: ")
	plain.send("/who")
	plain.expectPrefix("* 1 in lobby")
}

// recovers throws the ballast out and waits until messages are stored again, by the same process.
func (f *full) recovers(c *jsonClient) {
	f.t.Helper()
	process := f.process
	if err := os.Remove(f.ballast); err != nil {
		f.t.Fatal(err)
	}
	before := len(f.acked)
	eventually(f.t, "messages are stored again", func() bool { return f.send(c).Op == "ack" })
	for range 20 {
		if answer := f.send(c); answer.Op != "ack" {
			f.t.Fatalf("it had recovered, and then: %s", answer.raw)
		}
	}
	for _, seq := range f.acked[before:] {
		if got := f.member.expect(`{"op":"message","room":"r"}`); got.Seq != seq {
			f.t.Fatalf("the member got %d, want %d", got.Seq, seq)
		}
	}
	if !process.running() {
		f.t.Error("the server has ended")
	}
	f.rec.readFinal(f.t, f.server, "r")
	f.rec.verdict(f.t)
}

// Below the floor of free space nothing is stored, everything else goes on, and when there is room
// again it is used.
func TestFullDiskBelowTheFloor(t *testing.T) {
	t.Parallel()
	f := newFull(t, "--min-free", "4000000")
	ada := hello(t, f.server, "ada")
	refusal := f.fill(ada)
	if err := refusal.like(`{"op":"error","code":"unavailable"}`); err != nil || !strings.Contains(refusal.Message, "disk is full") {
		t.Errorf("refused with %s", refusal.raw)
	}
	f.lives()
	f.recovers(ada)
}

// Where the log itself meets the end of the disk it fails, and opens again when there is room.
func TestFullDiskWithoutFloor(t *testing.T) {
	t.Parallel()
	f := newFull(t, "--min-free", "0")
	ada := hello(t, f.server, "ada")
	refusal := f.fill(ada)
	if err := refusal.like(`{"op":"error","code":"unavailable"}`); err != nil {
		t.Error(err)
	}
	t.Logf("refused with %q", refusal.Message)
	for range 5 {
		if answer := f.send(ada); answer.Op == "ack" {
			t.Logf("stored all the same: %s", answer.raw)
		}
	}
	f.lives()
	f.recovers(ada)
	// And after a crash.
	f.kill()
	f.start()
	f.rec.readFinal(t, f.server, "r")
	f.rec.verdict(t)
}
