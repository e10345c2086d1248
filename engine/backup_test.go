package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
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
	say(t, e, parley.Draft{Room: "big", ID: "1", From: "ada", Body: bytes.Repeat([]byte("x"), 1<<20), Retry: true})
	return allRooms(t, e)
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

func TestABackupIsRestoredWithEverySeq(t *testing.T) {
	e := open(t, engine.Config{})
	want := fillRooms(t, e, 300)
	var file bytes.Buffer
	var last engine.Progress
	if err := e.Backup(t.Context(), &file, func(p engine.Progress) { last = p }); err != nil {
		t.Fatal(err)
	}
	if last.Messages != 3001 || last.Stream != 8 || last.Bytes == 0 {
		t.Errorf("progress ended at %+v", last)
	}
	if err := e.Restore(t.Context(), bytes.NewReader(file.Bytes()), nil); !errors.Is(err, engine.ErrNotEmpty) {
		t.Errorf("restored over messages: %v", err)
	}
	for _, single := range []bool{true, false} {
		t.Run(fmt.Sprint("on one node: ", single), func(t *testing.T) {
			var to []*engine.Engine
			if single {
				to = append(to, open(t, engine.Config{}))
			} else {
				to = newCluster(t, engine.Config{}).nodes
			}
			if err := to[0].Restore(t.Context(), bytes.NewReader(file.Bytes()), nil); err != nil {
				t.Fatal(err)
			}
			for _, at := range to {
				settled(t, at, want)
				if diff := cmp.Diff(want, allRooms(t, at)); diff != "" {
					t.Errorf("restored (-want +got):\n%s", diff[:min(len(diff), 2000)])
				}
			}
			d := parley.Draft{Room: "big", ID: "1", From: "ada", Body: []byte("again"), Retry: true}
			if r := say(t, to[0], d); !r.Duplicate || r.Seq != want["big"][0].Seq {
				t.Errorf("an id that was there: %+v", r)
			}
			tl := follow(t, to[0], "room1")
			tl.want(sayMany(t, to[0], "room1", 5))
		})
	}
}

// settled waits until a node whose store was opened anew answers again and shows all there is.
func settled(t *testing.T, e *engine.Engine, want map[string][]*parley.Message) {
	t.Helper()
	for end := time.Now().Add(40 * time.Second); ; tick() {
		behind := e.Ready() != nil
		for room, ms := range want {
			behind = behind || e.Told(room) < ms[len(ms)-1].Seq
		}
		if _, err := e.Rooms(t.Context()); err == nil && !behind {
			return
		}
		if time.Now().After(end) {
			t.Fatal("a node does not answer again")
		}
	}
}

func TestADamagedBackupIsRefused(t *testing.T) {
	e := open(t, engine.Config{})
	fillRooms(t, e, 20)
	var file bytes.Buffer
	if err := e.Backup(t.Context(), &file, nil); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	flipped := bytes.Clone(whole)
	flipped[len(flipped)/2] ^= 1
	to := open(t, engine.Config{})
	for name, r := range map[string]io.Reader{
		"cut off":   bytes.NewReader(whole[:len(whole)*3/4]),
		"a bit off": bytes.NewReader(flipped),
		"empty":     bytes.NewReader(nil),
		"no backup": bytes.NewReader(bytes.Repeat([]byte("parley"), 1000)),
	} {
		if err := to.Restore(t.Context(), r, nil); !errors.Is(err, engine.ErrBackup) {
			t.Errorf("%s: %v", name, err)
		}
		if all := allRooms(t, to); len(all) > 0 {
			t.Errorf("%s: %d rooms are left", name, len(all))
		}
	}
	if err := to.Restore(t.Context(), bytes.NewReader(whole), nil); err != nil {
		t.Errorf("the whole one: %v", err)
	}
	other := open(t, engine.Config{Partitions: 2})
	if err := other.Restore(t.Context(), bytes.NewReader(whole), nil); err == nil {
		t.Error("restored into another number of partitions")
	}
}
