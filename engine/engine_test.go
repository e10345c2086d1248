package engine_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

// say appends a text and waits for its receipt.
func say(t testing.TB, e *engine.Engine, d parley.Draft) parley.Receipt {
	t.Helper()
	type outcome struct {
		parley.Receipt
		err error
	}
	c := make(chan outcome, 1)
	if err := e.Append(context.Background(), d, func(r parley.Receipt, err error) { c <- outcome{r, err} }); err != nil {
		t.Fatal(err)
	}
	o := <-c
	if o.err != nil {
		t.Fatal(o.err)
	}
	return o.Receipt
}

func closeEngine(t testing.TB, e *engine.Engine) {
	t.Helper()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

func readAll(t testing.TB, e *engine.Engine, room string) (all []*parley.Message) {
	t.Helper()
	for after := uint64(0); ; {
		p, err := e.Read(context.Background(), room, after, parley.MaxPage)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p.Messages...)
		if !p.More {
			return all
		}
		after = all[len(all)-1].Seq
	}
}

func TestMessagesAndIDsOutliveARestart(t *testing.T) {
	dir := t.TempDir()
	d := parley.Draft{Room: "lobby", ID: "1", From: "ada", Body: []byte("hi"), Retry: true}
	e := open(t, engine.Config{Dir: dir})
	first := say(t, e, d)
	closeEngine(t, e)
	closeEngine(t, e)
	if err := e.Append(t.Context(), d, nil); parley.AsError(err).Code != parley.Unavailable {
		t.Errorf("append behind close: %v", err)
	}
	if _, _, err := e.Follow(t.Context(), "lobby", nil); err == nil {
		t.Error("follow behind close went well")
	}
	if e.Ready() == nil {
		t.Error("a closed engine is ready")
	}

	e = open(t, engine.Config{Dir: dir})
	if again := say(t, e, d); again.Seq != first.Seq || !again.Duplicate {
		t.Errorf("repeated after a restart: %+v, first %+v", again, first)
	}
	if last, _, err := e.Follow(t.Context(), "lobby", func([]*parley.Message) {}); last != first.Seq || err != nil {
		t.Errorf("last after a restart: %d, %v", last, err)
	}
	if all := readAll(t, e, "lobby"); len(all) != 1 || string(all[0].Body) != "hi" {
		t.Errorf("after a restart: %v", all)
	}
}

func TestADirectoryHasOneOwner(t *testing.T) {
	dir := t.TempDir()
	e := open(t, engine.Config{Dir: dir})
	if _, err := engine.Open(t.Context(), engine.Config{Dir: dir}); !errors.Is(err, engine.ErrInUse) {
		t.Errorf("a second owner: %v", err)
	}
	closeEngine(t, e)
	open(t, engine.Config{Dir: dir})
}

func TestThePartitionsOfADirectoryStay(t *testing.T) {
	dir := t.TempDir()
	closeEngine(t, open(t, engine.Config{Dir: dir, Partitions: 2}))
	_, err := engine.Open(t.Context(), engine.Config{Dir: dir, Partitions: 3})
	if err == nil || !strings.Contains(err.Error(), "2 partitions") {
		t.Errorf("other partitions: %v", err)
	}
	open(t, engine.Config{Dir: dir, Partitions: 2})
}

func TestADirectoryOfAClusterIsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "jetstream", "$SYS", "_js_", "_meta_"), 0o750); err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Open(t.Context(), engine.Config{Dir: dir}); err == nil || !strings.Contains(err.Error(), "cluster") {
		t.Errorf("a cluster's directory: %v", err)
	}
}

func TestConfigsThatCannotBe(t *testing.T) {
	for _, c := range []engine.Config{
		{},
		{Dir: "x", Partitions: -1},
		{Dir: "x", Partitions: 1000},
		{Dir: "x", RetainAge: time.Minute, Dedupe: time.Hour},
		{Dir: "x", Dedupe: time.Millisecond},
		{Dir: "x", MaxInflight: 1},
		{Dir: "x", SafetyCheck: -1},
	} {
		if _, err := engine.Open(t.Context(), c); err == nil {
			t.Errorf("%+v was taken", c)
		}
	}
}

// What a smaller limit has removed once may be missing for ever, so the smallest is remembered.
func TestTheSmallestRetentionEverIsRemembered(t *testing.T) {
	dir := t.TempDir()
	e := open(t, engine.Config{Dir: dir, RetainMessages: 5})
	var seqs []uint64
	for i := range 8 {
		seqs = append(seqs, say(t, e, parley.Draft{Room: "lobby", ID: fmt.Sprint(i), Body: []byte("x")}).Seq)
	}
	closeEngine(t, e)
	for range 2 {
		e = open(t, engine.Config{Dir: dir, RetainMessages: 50})
		if p, err := e.Read(t.Context(), "lobby", seqs[0], 100); err != nil || !p.Trimmed || len(p.Messages) != 5 {
			t.Errorf("behind the first: %+v, %v", p, err)
		}
		if p, err := e.Read(t.Context(), "lobby", seqs[3], 100); err != nil || p.Trimmed || p.Messages[0].Prev != seqs[3] {
			t.Errorf("behind the oldest left: %+v, %v", p, err)
		}
		closeEngine(t, e)
	}
}

func TestAgeRemovesAndTells(t *testing.T) {
	e := open(t, engine.Config{RetainAge: 300 * time.Millisecond, Dedupe: 200 * time.Millisecond})
	follow(t, e, "followed")
	first := make(map[string]uint64)
	for _, room := range []string{"followed", "plain"} {
		first[room] = say(t, e, parley.Draft{Room: room, ID: "1", Body: []byte("x")}).Seq
		say(t, e, parley.Draft{Room: room, ID: "2", Body: []byte("x")})
	}
	for _, room := range []string{"followed", "plain"} {
		for len(readAll(t, e, room)) > 0 {
			tick()
		}
		third := say(t, e, parley.Draft{Room: room, ID: "3", Body: []byte("x")}).Seq
		p, err := e.Read(t.Context(), room, first[room], 10)
		if err != nil || !p.Trimmed || len(p.Messages) != 1 || p.Messages[0].Seq != third {
			t.Errorf("%s, behind a removed one: %+v, %v", room, p, err)
		}
	}
}

func TestOpenGivesUpWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := engine.Open(ctx, engine.Config{Dir: t.TempDir()}); err == nil {
		t.Error("it opened")
	}
}

// A sync that fails at the start means that nobody knows what is on the disk.
func TestOpenNeedsItsFirstSync(t *testing.T) {
	broken := errors.New("input/output error")
	if _, err := engine.Open(t.Context(), engine.Config{Dir: t.TempDir(), Sync: func() error { return broken }}); !errors.Is(err, broken) {
		t.Errorf("open: %v", err)
	}
}

// What is written while a sync runs is not covered by it.
func TestASyncCoversOnlyWhatWasWrittenBeforeIt(t *testing.T) {
	disk := newFaultySync()
	e := open(t, engine.Config{Partitions: 1, Sync: disk.sync})
	release := disk.hold()
	acks := make(chan string, 2)
	send := func(id string) {
		err := e.Append(t.Context(), parley.Draft{Room: "a", ID: id, Body: []byte("x")}, func(parley.Receipt, error) { acks <- id })
		if err != nil {
			t.Fatal(err)
		}
	}
	begun := disk.rounds()
	send("1")
	disk.untilRound(begun + 1)
	send("2")
	for e.Stats().Unsynced < 2 {
		tick()
	}
	hold2 := disk.hold()
	disk.passOne()
	release()
	if got := <-acks; got != "1" {
		t.Fatalf("%s was acked first", got)
	}
	disk.untilRound(begun + 2)
	if all := readAll(t, e, "a"); len(all) != 1 || all[0].ID != "1" {
		t.Errorf("behind the first sync: %v", all)
	}
	hold2()
	if got := <-acks; got != "2" {
		t.Fatal(got)
	}
}
