package engine_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// A machine that is meant to run every test sets this; a test that cannot run then fails.
const insist = "PARLEY_TEST_ROOT"

func skip(t *testing.T, why string) {
	t.Helper()
	if os.Getenv(insist) != "" {
		t.Fatalf("%s, and %s is set", why, insist)
	}
	t.Skip(why)
}

// mount puts a file system on dir for the rest of the test.
func mount(t *testing.T, source, dir, kind, data string) {
	t.Helper()
	if err := unix.Mount(source, dir, kind, 0, data); err != nil {
		skip(t, "needs root: cannot mount "+kind+": "+err.Error())
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
}

// tmpfs gives a file system of so many bytes in memory.
func tmpfs(t *testing.T, size string) string {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root: mounting a file system")
	}
	dir := t.TempDir()
	mount(t, "tmpfs", dir, "tmpfs", "size="+size)
	return dir
}

// loopDisk is an ext4 on a file, which can lose its power.
type loopDisk struct {
	t     *testing.T
	image string
	dir   string
}

func newLoopDisk(t *testing.T) *loopDisk {
	t.Helper()
	if os.Getuid() != 0 {
		skip(t, "needs root: mounting a file system")
	}
	at := t.TempDir()
	d := &loopDisk{t: t, image: filepath.Join(at, "image"), dir: filepath.Join(at, "mount")}
	if err := os.Mkdir(d.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"truncate", "-s", "256M", d.image}, {"mkfs.ext4", "-q", "-F", d.image}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			skip(t, "needs root: cannot make an ext4: "+err.Error()+": "+string(out))
		}
	}
	if out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput(); err != nil {
		skip(t, "needs root: cannot mount an ext4: "+err.Error()+": "+string(out))
	}
	t.Cleanup(func() { _ = exec.Command("umount", "-l", d.dir).Run() })
	return d
}

// powerCut drops all that was not synced, as if the machine had lost its power: nothing is written
// to the disk from here on.
func (d *loopDisk) powerCut() {
	const (
		ext4Shutdown    = 0x8004587D
		withoutLogFlush = 2
	)
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, withoutLogFlush); err != nil {
		d.t.Fatal("cut the power: ", err)
	}
}

// restart is the machine after the power has come back.
func (d *loopDisk) restart() {
	d.t.Helper()
	for _, args := range [][]string{{"umount", d.dir}, {"mount", "-o", "loop", d.image, d.dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			d.t.Fatalf("%v: %v: %s", args, err, out)
		}
	}
}
