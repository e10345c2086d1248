package engine_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/engine"
)

// fillRooms puts messages into rooms of every partition, and gives all of them.
func fillRooms(t testing.TB, e *engine.Engine, n int) map[string][]*parley.Message {
	t.Helper()
	for r := range 10 {
		sayMany(t, e, fmt.Sprint("room", r), n)
	}
	for j := range 10 {
		for i := range 20 {
			write(t, e, fmt.Sprint("journal", j), fmt.Sprint(i))
		}
	}
	say(t, e, parley.Draft{Room: "big", ID: "1", From: "ada", Body: bytes.Repeat([]byte("x"), 1<<20), Retry: true})
	return allRooms(t, e)
}

// write adds a record to a journal.
func write(t testing.TB, e *engine.Engine, journal, record string) {
	t.Helper()
	done := make(chan error, 1)
	err := e.Write(t.Context(), journal, []byte(record), func(_ uint64, err error) { done <- err })
	if err == nil {
		err = <-done
	}
	if err != nil {
		t.Fatal(err)
	}
}

// allRecords gives what the journals of fillRooms hold.
func allRecords(t testing.TB, e *engine.Engine) (all [][]parley.Record) {
	t.Helper()
	for j := range 10 {
		records, _, err := e.Records(t.Context(), fmt.Sprint("journal", j), 0, 100)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, records)
	}
	return all
}

func allRooms(t testing.TB, e *engine.Engine) map[string][]*parley.Message {
	t.Helper()
	all := make(map[string][]*parley.Message)
	rooms, err := e.Rooms(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rooms {
		all[r.Name] = readAll(t, e, r.Name)
	}
	return all
}

// asText has bodies compared at once: cmp goes through bytes one by one.
var asText = cmp.Transformer("asText", func(b []byte) string { return string(b) })

// backUp gives a backup of all that an engine holds.
func backUp(t testing.TB, e *engine.Engine) []byte {
	t.Helper()
	var file bytes.Buffer
	var last engine.Progress
	if err := e.Backup(t.Context(), &file, func(p engine.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Number != last.Streams || last.Streams < 1 || last.Bytes == 0 {
		t.Errorf("progress ended at %+v", last)
	}
	return file.Bytes()
}

func restore(t testing.TB, c engine.Config, file []byte) {
	t.Helper()
	if _, err := engine.Restore(t.Context(), c, bytes.NewReader(file), engine.Restoring{}); err != nil {
		t.Fatal(err)
	}
}

// wantRestored checks that engines hold what another held, rooms and journals, know the ids of it and go on behind it.
func wantRestored(t testing.TB, want map[string][]*parley.Message, records [][]parley.Record, to ...*engine.Engine) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !cmp.Equal(records, allRecords(t, to[len(to)-1])); tick() {
		if time.Now().After(end) { // another node may show them a moment later
			t.Errorf("journals (-want +got):\n%s", cmp.Diff(records, allRecords(t, to[len(to)-1])))
			break
		}
	}
	for i, at := range to {
		settled(t, at, want)
		if diff := cmp.Diff(want, allRooms(t, at), asText); diff != "" {
			t.Errorf("node %d (-want +got):\n%s", i, diff[:min(len(diff), 2000)])
		}
	}
	d := parley.Draft{Room: "big", ID: "1", From: "ada", Body: []byte("again"), Retry: true}
	if r := say(t, to[0], d); !r.Duplicate || r.Seq != want["big"][0].Seq {
		t.Errorf("an id that was there: %+v", r)
	}
	last := want["room1"][len(want["room1"])-1].Seq
	if more := sayMany(t, to[len(to)-1], "room1", 5); more[0] <= last {
		t.Errorf("seq %d behind %d", more[0], last)
	}
}

// settled waits until a node shows all there is.
func settled(t testing.TB, e *engine.Engine, want map[string][]*parley.Message) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); ; tick() {
		behind := e.Ready() != nil
		for room, ms := range want {
			behind = behind || e.Told(room) < ms[len(ms)-1].Seq
		}
		if !behind {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a node does not show what was restored")
		}
	}
}

func TestOneNodesBackupIsRestoredOnOneNodeAndOnThree(t *testing.T) {
	t.Parallel()
	e := open(t, engine.Config{})
	want, records := fillRooms(t, e, 300), allRecords(t, e)
	file := backUp(t, e)
	dir := t.TempDir()
	restore(t, engine.Config{Dir: dir}, file)
	wantRestored(t, want, records, open(t, engine.Config{Dir: dir}))

	cl := configureCluster(t, engine.Config{})
	restore(t, cl.configs[1], file)
	for i := range cl.configs {
		cl.configs[i].Cluster.Adopt = true
	}
	cl.open(0, 1, 2)
	wantRestored(t, want, records, cl.nodes...)
}

func TestAClustersBackupIsRestoredOnOneNode(t *testing.T) {
	t.Parallel()
	cl := newCluster(t, engine.Config{})
	want := fillRooms(t, cl.nodes[0], 100)
	records := allRecords(t, cl.nodes[0])
	for i, e := range cl.nodes { // any node can be asked
		settled(t, e, want)
		dir := t.TempDir()
		restore(t, engine.Config{Dir: dir}, backUp(t, e))
		one := open(t, engine.Config{Dir: dir})
		t.Log("backed up at node", i)
		wantRestored(t, want, records, one)
		closeEngine(t, one)
	}
}

func TestABackupIsMadeWhileTheLogGoesOn(t *testing.T) {
	e := open(t, engine.Config{})
	noise := make([]byte, 256<<10)
	for range 40 { // so that it takes a moment
		_, _ = rand.Read(noise)
		say(t, e, parley.Draft{Room: "noise", Body: noise})
	}
	s := startSenders(t, 16, e)
	s.until(500)
	file := backUp(t, e)
	s.until(100)
	s.check(e)
	dir := t.TempDir()
	restore(t, engine.Config{Dir: dir}, file)
	to := open(t, engine.Config{Dir: dir})
	for room, got := range allRooms(t, to) {
		if diff := cmp.Diff(readAll(t, e, room)[:len(got)], got, asText); diff != "" {
			t.Errorf("%s is not what it was at first (-want +got):\n%s", room, diff[:min(len(diff), 2000)])
		}
	}
}

func TestAStoppedLogIsBackedUp(t *testing.T) {
	from := engine.Config{Dir: t.TempDir()}
	e := open(t, from)
	want, records := fillRooms(t, e, 20), allRecords(t, e)
	var file bytes.Buffer
	if err := engine.BackUp(t.Context(), from, &file, nil); !errors.Is(err, engine.ErrInUse) {
		t.Errorf("a log that is in use: %v", err)
	}
	closeEngine(t, e)
	if err := engine.BackUp(t.Context(), from, &file, nil); err != nil {
		t.Fatal(err)
	}
	to := engine.Config{Dir: t.TempDir()}
	restore(t, to, file.Bytes())
	wantRestored(t, want, records, open(t, to))
	none := filepath.Join(t.TempDir(), "none")
	if err := engine.BackUp(t.Context(), engine.Config{Dir: none}, io.Discard, nil); err == nil {
		t.Error("backed up what is not there")
	}
	if _, err := os.Stat(none); err == nil {
		t.Error("a directory was made")
	}
}

// What has grown old since the backup was made is restored too: how long it stays is said when the log is opened.
func TestABackupMayBeOld(t *testing.T) {
	e := open(t, engine.Config{RetainAge: time.Second, Dedupe: time.Second})
	seqs := sayMany(t, e, "lobby", 20)
	file := backUp(t, e)
	for len(readAll(t, e, "lobby")) > 0 {
		tick()
	}
	to := engine.Config{Dir: t.TempDir()}
	restore(t, to, file)
	if got := readAll(t, open(t, to), "lobby"); len(got) != len(seqs) || got[0].Seq != seqs[0] {
		t.Errorf("%d of %d messages", len(got), len(seqs))
	}

	gone := backUp(t, e) // nothing is left, and seqs go on where they were
	to = engine.Config{Dir: t.TempDir()}
	restore(t, to, gone)
	if more := sayMany(t, open(t, to), "lobby", 1); more[0] <= seqs[len(seqs)-1] {
		t.Errorf("seq %d behind %d", more[0], seqs[len(seqs)-1])
	}
}

func TestARestoreGoesOverMessagesOnlyWhenTold(t *testing.T) {
	e := open(t, engine.Config{})
	want, records := fillRooms(t, e, 20), allRecords(t, e)
	file := backUp(t, e)
	to := engine.Config{Dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(to.Dir, "restoring"), 0o700); err != nil { // one was broken off
		t.Fatal(err)
	}
	closeEngine(t, open(t, to)) // it was started and never used
	restore(t, to, file)
	if _, err := engine.Restore(t.Context(), to, bytes.NewReader(file), engine.Restoring{}); !errors.Is(err, engine.ErrNotEmpty) {
		t.Errorf("restored over messages: %v", err)
	}
	other := open(t, to)
	if _, err := engine.Restore(t.Context(), to, bytes.NewReader(file), engine.Restoring{Replace: true}); !errors.Is(err, engine.ErrInUse) {
		t.Errorf("restored under a server that runs: %v", err)
	}
	sayMany(t, other, "later", 5)
	closeEngine(t, other)
	if _, err := engine.Restore(t.Context(), to, bytes.NewReader(file), engine.Restoring{Replace: true}); err != nil {
		t.Fatal(err)
	}
	now := open(t, to)
	wantRestored(t, want, records, now)
	closeEngine(t, now)
	aside, err := filepath.Glob(filepath.Join(to.Dir, "replaced-*", "jetstream"))
	if err != nil || len(aside) != 2 { // of the log that was never used, and of this one
		t.Errorf("aside are %q, %v", aside, err)
	}
}

// A restore that was cut off once all was there is ended by the next start, wherever it was.
func TestARestoreThatIsWholeTakesItsPlace(t *testing.T) {
	e := open(t, engine.Config{})
	want, records := fillRooms(t, e, 20), allRecords(t, e)
	file := backUp(t, e)
	for name, old := range map[string]bool{"before the old one was moved": true, "after it": false} {
		to := engine.Config{Dir: t.TempDir()}
		restore(t, to, file)
		if err := os.Mkdir(filepath.Join(to.Dir, "restored"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(to.Dir, "jetstream"), filepath.Join(to.Dir, "restored", "jetstream")); err != nil {
			t.Fatal(err)
		}
		if old {
			if err := os.MkdirAll(filepath.Join(to.Dir, "jetstream", "$G", "streams"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		t.Log(name)
		wantRestored(t, want, records, open(t, to))
		if _, err := os.Stat(filepath.Join(to.Dir, "restored")); err == nil {
			t.Error("restored is still there")
		}
	}
}

// No byte can change, be missing or be added.
func TestADamagedBackupIsRefused(t *testing.T) {
	e := open(t, engine.Config{Partitions: 1})
	sayMany(t, e, "lobby", 5)
	whole := backUp(t, e)
	refused := func(name string, at int, file []byte) {
		if _, err := engine.ReadBackup(bytes.NewReader(file), nil); !errors.Is(err, engine.ErrBackup) {
			t.Errorf("%s %d of %d: %v", name, at, len(whole), err)
		}
	}
	for at := range whole {
		whole[at] ^= 1
		refused("changed at", at, whole)
		whole[at] ^= 1
		refused("cut off at", at, whole[:at])
	}
	if _, err := engine.ReadBackup(bytes.NewReader(whole), nil); err != nil {
		t.Fatal(err)
	}
	refused("a byte behind", 0, append(bytes.Clone(whole), 0))
	refused("twice", 0, append(bytes.Clone(whole), whole...))
	refused("no backup", 0, bytes.Repeat([]byte("parley"), 1000))
	damaged := bytes.Clone(whole)
	damaged[len(damaged)/2] ^= 1
	to := engine.Config{Dir: filepath.Join(t.TempDir(), "new"), Partitions: 1}
	for _, replace := range []bool{true, false} {
		_, err := engine.Restore(t.Context(), to, bytes.NewReader(damaged), engine.Restoring{Replace: replace})
		if _, there := os.Stat(to.Dir); !errors.Is(err, engine.ErrBackup) || there == nil {
			t.Errorf("replace %t: %v; the directory: %v", replace, err, there)
		}
	}
	to.Partitions = 2
	if _, err := engine.Restore(t.Context(), to, bytes.NewReader(whole), engine.Restoring{}); err == nil {
		t.Error("restored into another number of partitions")
	}
}

// A file that is sound by its digest, and nonsense all the same, is refused.
func FuzzReadBackup(f *testing.F) {
	e := open(f, engine.Config{Partitions: 1})
	sayMany(f, e, "lobby", 3)
	f.Add(backUp(f, e))
	closeEngine(f, e)
	f.Add([]byte("parley-backup.json"))
	f.Fuzz(func(t *testing.T, file []byte) {
		info, err := engine.ReadBackup(bytes.NewReader(file), nil)
		if err == nil && len(info.Streams) == 0 {
			t.Error("a backup of nothing")
		}
		if err != nil && !errors.Is(err, engine.ErrBackup) {
			t.Errorf("no error of a file's: %v", err)
		}
	})
}
