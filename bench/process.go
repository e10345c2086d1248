package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	readyWithin = 2 * time.Minute // from exec to the start line, recovery of a big log included
	stopWithin  = 20 * time.Second
)

// addresses are what a server listens on.
type addresses struct{ tcp, http string }

// process is a server that runs as our subprocess.
type process struct {
	cmd   *exec.Cmd
	at    addresses     // that it listens on, from its start line
	took  time.Duration // from exec to the start line
	done  chan struct{} // closed when it has ended and its output is read
	ended error         // written before done is closed

	said startLine
}

// startProcess runs a program and waits for its start line on stderr, "tcp  ADDR"; overHTTP, for
// "http ADDR" behind it too.
func startProcess(ctx context.Context, dir string, overHTTP bool, argv ...string) (*process, error) {
	p := &process{done: make(chan struct{})}
	p.said.overHTTP, p.said.ready = overHTTP, make(chan addresses, 1)
	p.cmd = exec.Command(argv[0], argv[1:]...) //nolint:noctx // it is stopped by stop, which lets it end in order
	p.cmd.Dir = dir
	p.cmd.Env = foreignEnv(os.Environ())
	p.cmd.Stderr = &p.said
	p.cmd.SysProcAttr = child()
	p.cmd.WaitDelay = time.Second

	begin := time.Now()
	started := make(chan error, 1)
	go p.live(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", argv[0], err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, readyWithin, fmt.Errorf("no start line within %v", readyWithin))
	defer cancel()
	var err error
	select {
	case p.at = <-p.said.ready:
		p.took = time.Since(begin)
		return p, nil
	case <-p.done:
		err = fmt.Errorf("it ended: %w", p.ending())
	case <-ctx.Done():
		err = context.Cause(ctx)
		_ = p.stop()
	}
	return nil, fmt.Errorf("start %s: %w\n%s", strings.Join(argv, " "), err, p.said.tail())
}

// live starts the process and sees it to its end, on one thread: the kernel takes the end of the
// thread that made a child for the end of its parent.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	defer close(p.done)
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.ended = p.cmd.Wait()
	}
}

// stop asks the process to end, sees to it that it does, and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(stopWithin)
	defer timer.Stop()
	select {
	case <-p.done:
		return nil
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("%s did not end within %v and was killed\n%s", p.cmd.Path, stopWithin, p.said.tail())
	}
}

// ending says how it ended. Only once done is closed.
func (p *process) ending() error {
	if p.ended == nil {
		return errors.New("exit status 0")
	}
	return p.ended
}

// explain adds to a load's error that the server has ended, if it has, and its last words.
func (p *process) explain(err error) error {
	timer := time.NewTimer(200 * time.Millisecond) // an end shows on its sockets first
	defer timer.Stop()
	select {
	case <-p.done:
		return fmt.Errorf("%w\nthe server ended: %w\n%s", err, p.ending(), p.said.tail())
	case <-timer.C:
		return err
	}
}

// foreignEnv leaves out what would configure a server of ours.
func foreignEnv(env []string) []string {
	var kept []string
	for _, e := range env {
		if !strings.HasPrefix(e, "PARLEY_") {
			kept = append(kept, e)
		}
	}
	return kept
}

// startLine reads what a server says on stderr: it finds the address, and keeps the newest bytes
// for the error that may follow.
type startLine struct {
	overHTTP bool           // the server is ready when it has said http too
	ready    chan addresses // gets one

	mu    sync.Mutex
	at    addresses
	found bool
	said  []byte
	line  lines
}

// Write takes a piece of the output. It never fails.
func (s *startLine) Write(p []byte) (int, error) {
	const keep = 4 << 10
	s.mu.Lock()
	defer s.mu.Unlock()
	s.said = append(s.said, p...)
	s.said = s.said[max(0, len(s.said)-keep):]
	if s.found {
		return len(p), nil
	}
	return len(p), s.line.cut(p, func(line []byte) error {
		words := bytes.Fields(line)
		if len(words) != 2 || s.found {
			return nil
		}
		switch string(words[0]) {
		case "tcp":
			s.at.tcp = string(words[1])
		case "http":
			s.at.http = string(words[1])
		}
		if s.at.tcp != "" && (s.at.http != "" || !s.overHTTP) {
			s.found = true
			s.ready <- s.at
		}
		return nil
	})
}

func (s *startLine) tail() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.said)
}
