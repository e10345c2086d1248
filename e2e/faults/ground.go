package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// inside tells the program that it is in namespaces of its own, and where it may put files.
const inside = "PARLEY_FAULTS_INSIDE"

// enter runs the program again in mount, network and process namespaces of its own and gives its
// exit code. All that is made in there goes with it.
func enter() (code int, err error) {
	work, release, err := workplace()
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, release()) }()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	cmd := exec.CommandContext(ctx, "/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"="+work)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: unix.CLONE_NEWNS | unix.CLONE_NEWNET | unix.CLONE_NEWPID,
		Pdeathsig:  syscall.SIGKILL,
		Setpgid:    true, // an interrupt is for this process, which then ends that one
	}
	err = cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() >= 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

const workplaces = "parley-faults-work-"

// workplace makes a directory that is locked for as long as this process lives, and removes those
// that others were killed in.
func workplace() (dir string, release func() error, err error) {
	old, _ := filepath.Glob(filepath.Join(os.TempDir(), workplaces+"*"))
	for _, dir := range old {
		if lock, err := lock(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = lock.Close()
		}
	}
	if dir, err = os.MkdirTemp("", workplaces); err != nil {
		return "", nil, err
	}
	held, err := lock(dir)
	if err != nil {
		return "", nil, err
	}
	return dir, func() error { return errors.Join(os.RemoveAll(dir), held.Close()) }, nil
}

func lock(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// prepare makes the ground: mounts that nobody else sees, a bridge, and a host for each node.
func prepare(nodes int) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("private mounts: %w", err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if err := os.MkdirAll("/run/netns", 0o755); err != nil {
		return err
	}
	if err := unix.Mount("hosts", "/run/netns", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount /run/netns: %w", err)
	}
	for _, command := range []string{
		"ip link set lo up",
		"ip link add pbr0 type bridge",
		"ip addr add " + address(254) + "/24 dev pbr0",
		"ip link set pbr0 up",
	} {
		if err := do(command); err != nil {
			return err
		}
	}
	// Where the kernel would have the bridge's packets pass its filters, it must not.
	_ = os.WriteFile("/proc/sys/net/bridge/bridge-nf-call-iptables", []byte("0"), 0o644) //nolint:gosec // it is there, or not
	for i := 1; i <= nodes; i++ {
		host, port := fmt.Sprintf("pn%d", i), fmt.Sprintf("pv%d", i)
		for _, command := range []string{
			"ip netns add " + host,
			"ip link add " + port + " type veth peer name eth0 netns " + host,
			"ip link set " + port + " master pbr0 up",
			"ip -n " + host + " addr add " + address(i) + "/24 dev eth0",
			"ip -n " + host + " link set lo up",
			"ip -n " + host + " link set eth0 up",
		} {
			if err := do(command); err != nil {
				return err
			}
		}
	}
	return nil
}

// address is of a host.
func address(i int) string { return fmt.Sprintf("10.77.0.%d", i) }

// do runs a command of words without spaces.
func do(command string) error {
	words := strings.Fields(command)
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", command, err, out)
	}
	return nil
}

// on runs a command on a host.
func on(host int, command string) error {
	return do(fmt.Sprintf("nsenter --net=/run/netns/pn%d %s", host, command))
}

// disk is an ext4 file system in a file, whose power can be cut.
type disk struct {
	image, dir string
	dead       bool // nothing can be written before the next mount
}

const diskSize = 192 << 20

// newDisk makes and mounts a disk at base.
func newDisk(base string) (*disk, error) {
	d := &disk{image: base + ".img", dir: base}
	if err := os.Mkdir(d.dir, 0o750); err != nil {
		return nil, err
	}
	if err := os.WriteFile(d.image, nil, 0o600); err != nil {
		return nil, err
	}
	if err := os.Truncate(d.image, diskSize); err != nil {
		return nil, err
	}
	if err := do("mkfs.ext4 -q -F " + d.image); err != nil {
		return nil, err
	}
	return d, d.mount()
}

func (d *disk) mount() error {
	err := do("mount -o loop " + d.image + " " + d.dir)
	d.dead = d.dead && err != nil
	return err
}

func (d *disk) unmount() error { return unix.Unmount(d.dir, 0) }

// remove gives the disk up. Its file would be in the way of the next run's.
func (d *disk) remove() error {
	return errors.Join(unix.Unmount(d.dir, unix.MNT_DETACH), os.Remove(d.image))
}

const (
	ext4Shutdown  = 0x8004587D // EXT4_IOC_SHUTDOWN
	withoutTheLog = 2          // EXT4_GOING_FLAGS_NOLOGFLUSH: what is not synced is gone
)

// cut takes the power away: nothing that was not synced will be there at the next mount, and
// nothing more can be written.
func (d *disk) cut() error {
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	d.dead = true
	return unix.IoctlSetPointerInt(int(f.Fd()), ext4Shutdown, withoutTheLog)
}

// fill takes all the space there is, until drain.
func (d *disk) fill() error {
	f, err := os.Create(d.ballast())
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var st unix.Statfs_t
	if err := unix.Statfs(d.dir, &st); err != nil {
		return err
	}
	return unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize) //nolint:gosec // a small disk
}

func (d *disk) drain() error { return os.Remove(d.ballast()) }

func (d *disk) ballast() string { return filepath.Join(d.dir, "ballast") }
