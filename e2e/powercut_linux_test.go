package e2e_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
)

// What was synced survives a cut and nothing else does: without that, the tests below would show
// nothing.
func TestPowerCutTakesWhatWasNotSynced(t *testing.T) {
	t.Parallel()
	disk := newDiskImage(t, 16<<20)
	for _, name := range []string{"synced", "not-synced"} {
		f, err := os.Create(filepath.Join(disk.dir, name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.WriteString("x")
		if name == "synced" {
			err = errors.Join(err, f.Sync())
		}
		if err := errors.Join(err, f.Close()); err != nil {
			t.Fatal(err)
		}
	}
	disk.cut()
	disk.unmount(0)
	disk.mount()
	if data, err := os.ReadFile(filepath.Join(disk.dir, "synced")); err != nil || string(data) != "x" {
		t.Errorf("what was synced: %q, %v", data, err)
	}
	if data, err := os.ReadFile(filepath.Join(disk.dir, "not-synced")); len(data) > 0 || (err != nil && !errors.Is(err, fs.ErrNotExist)) {
		t.Errorf("what was not synced: %q, %v", data, err)
	}
}

// The power goes under load, several times. What was acknowledged is there afterwards, and so is
// everything that anybody was shown.
func TestPowerCut(t *testing.T) {
	disk := newDiskImage(t, 128<<20)
	s := newServer(t, []string{"--min-free", "0"}, on(filepath.Join(disk.dir, "data")))
	s.start()
	l := startLoad(t, s, []string{"a", "b"}, 3, 2)
	for range 10 {
		l.rec.await(t, 100+rand.IntN(400))
		l.fault("power-cut")
		disk.cutUnder(s.process)
		s.kill()
		disk.unmount(0)
		disk.mount()
		s.start()
	}
	l.rec.await(t, 100)
	l.finish()
}

// A cut that nobody kills the server for: it fails, says so, acknowledges nothing more, and shows
// nothing that will be gone.
func TestPowerCutWhileTheServerGoesOn(t *testing.T) {
	disk := newDiskImage(t, 128<<20)
	s := newServer(t, []string{"--min-free", "0"}, on(filepath.Join(disk.dir, "data")))
	s.start()
	l := startLoad(t, s, []string{"a"}, 3, 2)
	for range 3 {
		l.rec.await(t, 300)
		l.fault("power-cut")
		disk.cutUnder(s.process)
		refused := hello(t, s, "late")
		refused.want(`{"op":"send","room":"a","body":"into the void"}`, `{"op":"error","code":"unavailable"}`)
		refused.want(`{"op":"ping"}`, `{"op":"pong"}`)
		s.kill()
		disk.unmount(0)
		disk.mount()
		s.start()
	}
	l.rec.await(t, 100)
	l.finish()
}
