package engine_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"parley"
	"parley/engine"
)

// fillUp leaves so many bytes free on dir's file system; remove gives the room back.
func fillUp(t *testing.T, dir string, leave int64) (remove func()) {
	t.Helper()
	name := filepath.Join(dir, "filler")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		t.Fatal(err)
	}
	for left := int64(s.Bavail)*s.Bsize - leave; left > 0; left -= 4096 {
		if _, err := f.Write(make([]byte, 4096)); err != nil {
			if errors.Is(err, unix.ENOSPC) {
				break
			}
			t.Fatal(err)
		}
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

// try appends and gives what became of it.
func try(t *testing.T, e *engine.Engine, room, id string, body []byte) (parley.Receipt, error) {
	t.Helper()
	type outcome struct {
		parley.Receipt
		err error
	}
	c := make(chan outcome, 1)
	err := e.Append(t.Context(), parley.Draft{Room: room, ID: id, From: "ada", Body: body}, func(r parley.Receipt, err error) { c <- outcome{r, err} })
	if err != nil {
		return parley.Receipt{}, err
	}
	o := <-c
	return o.Receipt, o.err
}

func TestAppendsAreRefusedBelowTheFloorOfFreeSpace(t *testing.T) {
	dir := tmpfs(t, "8m")
	e := open(t, engine.Config{Dir: filepath.Join(dir, "data"), MinFree: 1 << 20})
	first := say(t, e, parley.Draft{Room: "a", ID: "1", Body: []byte("x")})
	remove := fillUp(t, dir, 512<<10)
	var err error
	for err == nil {
		_, err = try(t, e, "a", "2", []byte("x"))
	}
	if parley.AsError(err).Code != parley.Unavailable || e.Ready() == nil {
		t.Errorf("below the floor: %v, ready: %v", err, e.Ready())
	}
	if all := readAll(t, e, "a"); len(all) == 0 || all[0].Seq != first.Seq {
		t.Errorf("below the floor the room shows %v", all)
	}
	remove()
	for e.Ready() != nil {
		tick()
	}
	if _, err := try(t, e, "a", "3", []byte("x")); err != nil {
		t.Error(err)
	}
	if s := e.Stats(); s.Broke > 0 || s.Refused == 0 {
		t.Errorf("%+v", s)
	}
}

func TestAFullDiskRecoversWithoutARestart(t *testing.T) {
	dir := tmpfs(t, "8m")
	e := open(t, engine.Config{
		Dir: filepath.Join(dir, "data"), MinFree: -1,
		SafetyCheck: 50 * time.Millisecond, AppendTimeout: time.Second,
	})
	tails := map[string]*tail{"a": follow(t, e, "a"), "b": follow(t, e, "b"), "c": follow(t, e, "c")}
	acked := make(map[uint64]bool)
	body := bytes.Repeat([]byte("x"), 3000)
	put := func(i int) error {
		r, err := try(t, e, string("abc"[i%3]), fmt.Sprint(i), body)
		if err == nil {
			acked[r.Seq<<2|uint64(i%3)] = true
		}
		return err
	}
	i := 0
	for ; i < 100; i++ {
		if err := put(i); err != nil {
			t.Fatal(err)
		}
	}
	for round := range uint64(2) {
		remove := fillUp(t, dir, 256<<10)
		for e.Stats().Broke <= round {
			if err := put(i); err != nil && parley.AsError(err).Code != parley.Unavailable {
				t.Fatal(err)
			}
			i++
		}
		if e.Ready() == nil {
			t.Error("a store that cannot write is ready")
		}
		if all := readAll(t, e, "a"); len(all) == 0 {
			t.Error("nothing can be read")
		}
		remove()
		for e.Ready() != nil {
			tick()
		}
		for range 20 {
			if err := put(i); err != nil {
				t.Error(err)
			}
			i++
		}
	}
	found := 0
	for j, room := range []string{"a", "b", "c"} {
		var want []uint64
		for _, m := range readAll(t, e, room) {
			want = append(want, m.Seq)
			if acked[m.Seq<<2|uint64(j)] {
				found++
			}
		}
		tails[room].want(want)
	}
	if found != len(acked) {
		t.Errorf("%d of %d acked messages are there", found, len(acked))
	}
	closeEngine(t, e)
}
