package e2e_test

import (
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
)

// backups are the rooms of a test of backups, and how many messages each has.
var backups = map[string]int{"lobby": 120, "ops.deploys": 40, "雪": 7}

// talk fills the rooms.
func talk(t *testing.T, s *server) {
	c := hello(t, s, "ada")
	for room, n := range backups {
		for i := range n {
			c.want(fmt.Sprintf(`{"op":"send","room":%q,"id":"id-%d","body":"%d in %s"}`, room, i, i, room), `{"op":"ack"}`)
		}
	}
	c.hangUp()
}

// told gives all messages of the rooms, as they are on the wire.
func told(t *testing.T, s *server) map[string]string {
	t.Helper()
	all := map[string]string{}
	for room, n := range backups {
		p := command(t, s, "tail", room, "--server", s.address(), "--after", "0", "--count", strconv.Itoa(n), "--json")
		if code := p.exit(patience); code != 0 {
			t.Fatalf("tail: exit code %d: %s", code, &p.stderr)
		}
		all[room] = p.stdout.String()
	}
	return all
}

// wantTold checks that a server has all messages at their seqs, and knows their ids.
func wantTold(t *testing.T, s *server, want map[string]string) {
	t.Helper()
	for room, text := range told(t, s) {
		if text != want[room] {
			t.Errorf("%s is\n%s\nand was\n%s", room, text, want[room])
		}
	}
	c := hello(t, s, "ada")
	c.want(`{"op":"send","room":"lobby","id":"id-3","body":"3 in lobby"}`, `{"op":"ack","duplicate":true}`)
	c.hangUp()
}

// command runs a command beside a server.
func command(t *testing.T, s *server, args ...string) *process {
	t.Helper()
	p, err := launch(t, s.path, s.dir, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// backedUp gives the file of a backup of a server.
func backedUp(t *testing.T, s *server) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "all.tar")
	p := command(t, s, "backup", file, "--http", s.webAddress())
	if code := p.exit(patience); code != 0 {
		t.Fatalf("backup: exit code %d: %s", code, &p.stderr)
	}
	return file
}

// restored makes a server's data of a backup.
func restored(t *testing.T, s *server, file string) {
	t.Helper()
	p := command(t, s, "restore", file, "--data", s.data)
	if code := p.exit(patience); code != 0 {
		t.Fatalf("restore: exit code %d: %s", code, &p.stderr)
	}
}

// One node's backup becomes a cluster of three, and that cluster's backup one node again: every message
// is at its seq, on every node.
func TestBackupsMoveBetweenOneNodeAndThree(t *testing.T) {
	t.Parallel()
	one := serve(t)
	talk(t, one)
	want := told(t, one)
	file := backedUp(t, one)
	nodes, _ := planNodes(t, "--adopt")
	restored(t, nodes[0], file)
	startAll(t, nodes...)
	for _, n := range nodes {
		wantTold(t, n, want)
	}
	again := newServer(t, nil)
	restored(t, again, backedUp(t, nodes[2]))
	again.start()
	wantTold(t, again, want)
	c := hello(t, again, "ada")
	before := c.publish("lobby", "and on")
	after := c.publish("lobby", "it goes")
	if after <= before {
		t.Errorf("seq %d behind %d", after, before)
	}
}

// stalling passes connections on to an address, answers up to so many bytes. full is closed when they came.
func stalling(t *testing.T, to string, most int64) (addr string, full <-chan struct{}, cut func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	came, end := make(chan struct{}), make(chan struct{})
	var once sync.Once
	cut = func() { once.Do(func() { close(end) }) }
	var passing sync.WaitGroup
	passing.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer func() { _ = c.Close() }()
		s, err := net.Dial("tcp", to)
		if err != nil {
			return
		}
		defer func() { _ = s.Close() }()
		passing.Go(func() { _, _ = io.Copy(s, c) }) // until either ends
		if _, err := io.CopyN(c, s, most); err == nil {
			close(came)
		}
		<-end
	})
	t.Cleanup(func() {
		_ = l.Close()
		cut()
		passing.Wait()
	})
	return l.Addr().String(), came, cut
}

// A backup that is cut off, by a kill or by its server's end, leaves no file of its name.
func TestABackupIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	s := serve(t)
	c := hello(t, s, "ada")
	for range 60 {
		noise := make([]byte, 40<<10)
		_, _ = rand.Read(noise)
		c.publish("lobby", base64.StdEncoding.EncodeToString(noise))
	}
	c.hangUp()
	dir := t.TempDir()
	file := filepath.Join(dir, "all.tar")
	for name, end := range map[string]func(p *process, cut func()){
		"kill":      func(p *process, _ func()) { p.signal(syscall.SIGKILL) },
		"interrupt": func(p *process, _ func()) { p.signal(syscall.SIGINT) },
		"cut":       func(_ *process, cut func()) { cut() },
	} {
		at, full, cut := stalling(t, s.webAddress(), 1<<20)
		p := command(t, s, "backup", file, "--http", at)
		select {
		case <-full:
		case <-p.done:
			t.Fatalf("%s: it ended before: %s", name, &p.stderr)
		}
		end(p, cut)
		if code := p.exit(patience); code == 0 {
			t.Errorf("%s: exit code 0", name)
		}
		if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a file: %v", name, err)
		}
		left, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil || name != "kill" && len(left) > 0 {
			t.Errorf("%s has left %q, %v", name, left, err)
		}
		for _, part := range left {
			if err := os.Remove(part); err != nil {
				t.Error(err)
			}
		}
		cut()
	}
	eventually(t, "one can be made again", func() bool { // the server has to notice that the others have gone
		p := command(t, s, "backup", file, "--http", s.webAddress())
		return p.exit(patience) == 0
	})
}

// A restore that is killed, wherever it is, has changed nothing, or all is there.
func TestAKilledRestoreIsWholeOrNotThere(t *testing.T) {
	t.Parallel()
	one := serve(t)
	talk(t, one)
	want := told(t, one)
	file := backedUp(t, one)
	for round := range 6 {
		s := newServer(t, nil)
		p := command(t, s, "restore", file, "--data", s.data)
		seen := func(name string) bool {
			_, err := os.Stat(filepath.Join(s.data, name))
			return err == nil
		}
		until := []string{"restoring", "restoring/jetstream/$G/streams/rooms_0", "jetstream"}[round%3]
		eventually(t, "it has come to "+until, func() bool { return seen(until) || !p.running() })
		p.signal(syscall.SIGKILL)
		<-p.done
		s.start()
		if seen("restored") {
			t.Error("a restore that was whole was left where it was")
		}
		if rooms(t, s) != "" {
			wantTold(t, s, want)
			continue
		}
		if code := s.terminate(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		restored(t, s, file)
		s.start()
		wantTold(t, s, want)
	}
}

// rooms lists a server's rooms.
func rooms(t *testing.T, s *server) string {
	t.Helper()
	p := command(t, s, "rooms", "--server", s.address())
	if code := p.exit(patience); code != 0 {
		t.Fatalf("rooms: exit code %d: %s", code, &p.stderr)
	}
	return p.stdout.String()
}
