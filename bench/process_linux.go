package bench

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cpuTime gives the CPU time, user and system, that all threads of a process have used, those
// that have ended included. The clock has nanoseconds where /proc/PID/stat has ticks of 10 ms; its
// number is made as clock_getcpuclockid(3) makes it.
func cpuTime(pid int) (time.Duration, error) {
	const cpuClock = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuClock), &ts); err != nil {
		return 0, fmt.Errorf("read the CPU clock of process %d: %w", pid, err)
	}
	return time.Duration(ts.Nano()), nil
}

// residentBytes gives the physical memory a process holds (VmRSS).
func residentBytes(pid int) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read the memory of process %d: %w", pid, err)
	}
	_, rest, _ := bytes.Cut(status, []byte("VmRSS:"))
	value, _, ok := bytes.Cut(rest, []byte(" kB"))
	kilobytes, err := strconv.ParseInt(string(bytes.TrimSpace(value)), 10, 64)
	if !ok || err != nil {
		return 0, fmt.Errorf("process %d has no VmRSS in its status", pid)
	}
	return kilobytes << 10, nil
}

// child ties a subprocess to us: it dies when we do, whatever ends us, and a Ctrl-C at the
// terminal reaches it only through us.
func child() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}

// stepBack gives this process the lowest priority: each thread has its own, and those to come have
// that of the one that makes them.
func stepBack() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("list our threads: %w", err)
	}
	const lowest = 19
	for _, t := range threads {
		if id, err := strconv.Atoi(t.Name()); err == nil {
			_ = unix.Setpriority(unix.PRIO_PROCESS, id, lowest) // it may have ended
		}
	}
	return nil
}
