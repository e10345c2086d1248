package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// mustRun says that tests that need root may not be left out.
func mustRun() bool { return os.Getenv("PARLEY_TEST_ROOT") == "1" }

// needRoot leaves the test out where this process may not do what it takes.
func needRoot(t testing.TB, whatFor string) {
	t.Helper()
	if os.Geteuid() == 0 {
		return
	}
	if mustRun() {
		t.Fatalf("PARLEY_TEST_ROOT=1, and this is not root: %s", whatFor)
	}
	t.Skip("needs root: " + whatFor)
}

// cannot is for what root may not do either on some machines, as in a container.
func cannot(t testing.TB, what string, err error) {
	t.Helper()
	if mustRun() {
		t.Fatalf("%s: %v", what, err)
	}
	t.Skipf("needs root: and more than that here: %s: %v", what, err)
}

// mountTmpfs mounts a small file system in memory.
func mountTmpfs(t testing.TB, size string) string {
	t.Helper()
	needRoot(t, "it mounts a small tmpfs")
	dir := t.TempDir()
	if err := unix.Mount("parley-test", dir, "tmpfs", 0, "size="+size); err != nil {
		cannot(t, "mount a tmpfs", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// diskImage is an ext4 file system in a file, whose power can be cut.
type diskImage struct {
	t       testing.TB
	image   string
	dir     string
	mounted bool
}

func newDiskImage(t testing.TB, size int64) *diskImage {
	t.Helper()
	needRoot(t, "it mounts an image and cuts its power")
	base := t.TempDir()
	d := &diskImage{t: t, image: filepath.Join(base, "image"), dir: filepath.Join(base, "mnt")}
	if err := os.Mkdir(d.dir, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(d.image, size); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mkfs.ext4", "-q", "-F", d.image).CombinedOutput(); err != nil {
		cannot(t, "mkfs.ext4: "+string(out), err)
	}
	if out, err := d.tryMount(); err != nil {
		cannot(t, "mount an image: "+out, err)
	}
	t.Cleanup(func() {
		if d.mounted {
			d.unmount(unix.MNT_DETACH)
		}
	})
	return d
}

func (d *diskImage) tryMount() (string, error) {
	out, err := exec.Command("mount", "-o", "loop", d.image, d.dir).CombinedOutput()
	d.mounted = err == nil
	return string(out), err
}

func (d *diskImage) mount() {
	d.t.Helper()
	if out, err := d.tryMount(); err != nil {
		d.t.Fatalf("mount: %v: %s", err, out)
	}
}

// unmount needs nobody to use the file system, unless flags let go of it anyhow.
func (d *diskImage) unmount(flags int) {
	d.t.Helper()
	if err := unix.Unmount(d.dir, flags); err != nil {
		d.t.Fatalf("unmount %s: %v", d.dir, err)
	}
	d.mounted = false
}

const (
	ext4Shutdown  = 0x8004587D // EXT4_IOC_SHUTDOWN
	withoutTheLog = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH: what is not synced is gone
)

// cut takes the power away: nothing that was not synced will be there at the next mount, and
// nothing more can be written.
func (d *diskImage) cut() {
	d.t.Helper()
	f, err := os.Open(d.dir)
	if err != nil {
		d.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if err := unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, withoutTheLog); err != nil {
		d.t.Fatalf("cut the power: %v", err)
	}
}

// cutUnder is cut for a process that uses the disk. The file system lets a sync that is under way
// succeed while it is shut down, though what it was for is dropped (as no disk would whose power goes), so
// the process stands still at that moment; it goes on afterwards.
func (d *diskImage) cutUnder(p *process) {
	d.t.Helper()
	p.signal(syscall.SIGSTOP)
	eventually(d.t, "every thread stands still", func() bool { return p.still(d.t) })
	d.cut()
	p.signal(syscall.SIGCONT)
}
