package e2e_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// server is the program under test on one data directory: one process, and after a stop another.
type server struct {
	t     testing.TB
	path  string // of the binary
	dir   string // the working directory
	data  string
	flags []string
	env   []string

	tls     *tls.Config            // of its clients; nil = it does not speak TLS
	addr    atomic.Pointer[string] // a port is free again after a kill: each process has its own
	process *process
}

// option is what a server can be told beside its flags.
type option func(*server)

// lean runs the binary without the race detector.
func lean(s *server) { s.path = must(s.t, leanBinary) }

// on keeps the data in a directory of the caller's.
func on(data string) option { return func(s *server) { s.data = data } }

// environ adds variables.
func environ(vars ...string) option { return func(s *server) { s.env = append(s.env, vars...) } }

// newServer makes a server with an empty data directory, not started.
func newServer(t testing.TB, flags []string, options ...option) *server {
	t.Helper()
	s := &server{t: t, path: must(t, binary), dir: t.TempDir(), flags: flags}
	s.data = filepath.Join(s.dir, "data")
	s.secure()
	for _, o := range options {
		o(s)
	}
	return s
}

func must[T any](t testing.TB, f func() (T, error)) T {
	t.Helper()
	v, err := f()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// serve starts a server with an empty data directory.
func serve(t testing.TB, flags ...string) *server {
	t.Helper()
	s := newServer(t, flags)
	s.start()
	return s
}

var tcpLine = regexp.MustCompile(`(?m)^tcp  (\S+:\d+)$`)

// start runs the program and waits until it says where it listens.
func (s *server) start() {
	s.t.Helper()
	if err := s.tryStart(); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) tryStart() error {
	p, err := s.launch()
	if err != nil {
		return err
	}
	s.process = p
	found, err := p.stderr.wait(tcpLine, p.done, patience)
	if err != nil {
		return fmt.Errorf("the server did not start: %w\n%s", err, &p.stderr)
	}
	s.reached(found[1])
	return nil
}

// launch runs the program with the server's settings and does not wait for it.
func (s *server) launch() (*process, error) {
	args := append([]string{"serve", "--data", s.data, "--tcp", "127.0.0.1:0", "--http", "127.0.0.1:0"}, s.flags...)
	return launch(s.t, s.path, s.dir, s.env, args...)
}

// address is where the server listens now. It may be called from any goroutine.
func (s *server) address() string { return *s.addr.Load() }

// kill ends the process as a crash would.
func (s *server) kill() {
	s.process.signal(syscall.SIGKILL)
	<-s.process.done
}

// terminate asks the process to end and gives its exit code.
func (s *server) terminate() int {
	s.t.Helper()
	s.process.signal(syscall.SIGTERM)
	return s.process.exit(patience)
}

// process is one run of the program.
type process struct {
	t      testing.TB
	cmd    *exec.Cmd
	stdout transcript
	stderr transcript
	done   chan struct{}
}

// launch runs the program. It is killed at the end of the test, and a data race or a panic in it
// is a failure.
func launch(t testing.TB, path, dir string, env []string, args ...string) (*process, error) {
	return launchFed(t, nil, path, dir, env, args...)
}

// launchFed is launch for a program that reads stdin; nil = it has none.
func launchFed(t testing.TB, stdin *os.File, path, dir string, env []string, args ...string) (*process, error) {
	p := &process{t: t, cmd: exec.Command(path, args...), done: make(chan struct{})}
	if p.cmd.Dir = dir; stdin != nil {
		p.cmd.Stdin = stdin
	}
	p.cmd.Env = append(cleanEnv(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = diesWithParent()
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("run %s: %w", path, err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait() // ProcessState has it all
	}()
	t.Cleanup(p.cleanup)
	return p, nil
}

// cleanEnv is the environment without settings of Parley's. The race detector does not linger when
// a process ends.
func cleanEnv() []string {
	env := []string{"GORACE=atexit_sleep_ms=0"}
	for _, v := range os.Environ() {
		if !strings.HasPrefix(v, "PARLEY_") {
			env = append(env, v)
		}
	}
	return env
}

func (p *process) cleanup() {
	p.signal(syscall.SIGKILL)
	<-p.done
	text := p.stderr.String()
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if strings.Contains(text, bad) {
			p.t.Errorf("the server has met a %q", bad)
		}
	}
	if p.t.Failed() {
		const most = 16 << 10
		p.t.Logf("%s wrote:\n%s", p.cmd, text[max(0, len(text)-most):])
	}
}

func (p *process) signal(sig syscall.Signal) {
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}

// exit waits for the process to end and gives its exit code.
func (p *process) exit(within time.Duration) int {
	p.t.Helper()
	select {
	case <-p.done:
	case <-time.After(within):
		p.t.Fatalf("the process has not ended within %v", within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// running says whether the process has not ended yet.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// transcript keeps what a process writes, and lets others wait for it. It is safe for concurrent
// use; the zero value is empty.
type transcript struct {
	mu   sync.Mutex
	text bytes.Buffer
	more chan struct{} // closed by the next write; nil where nobody waits
}

func (tr *transcript) Write(p []byte) (int, error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.more != nil {
		close(tr.more)
		tr.more = nil
	}
	return tr.text.Write(p)
}

func (tr *transcript) String() string {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.text.String()
}

// wait waits until the text matches, and gives the submatches.
func (tr *transcript) wait(re *regexp.Regexp, ended <-chan struct{}, within time.Duration) ([]string, error) {
	late := time.After(within)
	for {
		tr.mu.Lock()
		found := re.FindStringSubmatch(tr.text.String())
		if tr.more == nil {
			tr.more = make(chan struct{})
		}
		more := tr.more
		tr.mu.Unlock()
		if found != nil {
			return found, nil
		}
		select {
		case <-more:
		case <-ended:
			if found := re.FindStringSubmatch(tr.String()); found != nil {
				return found, nil
			}
			return nil, fmt.Errorf("it ended without %q", re)
		case <-late:
			return nil, fmt.Errorf("no %q within %v", re, within)
		}
	}
}

// eventually asks again and again until ok holds: for what nobody announces.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	late := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
