package e2e_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// mapping is parley map over numbers, with workers that square them, each a process.
type mapping struct {
	t   *testing.T
	s   *server
	dir string
}

// work starts a worker.
func (m *mapping) work() *process {
	m.t.Helper()
	p, err := launch(m.t, m.s.path, m.dir, nil, "work", "squares", "--server", m.s.address(),
		"--group", "map", "--parallel", "2", "--tries", "1000", "--", "sh", "-c", "read n; echo $((n*n))")
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// start starts parley map, or goes on with it. redirect is how the shell opens the output.
func (m *mapping) start(redirect string) *process {
	m.t.Helper()
	command := fmt.Sprintf("exec %s map squares --server %s --window 40 --resume run < in %s out", m.s.path, m.s.address(), redirect)
	p, err := launch(m.t, "/bin/sh", m.dir, nil, "-c", command)
	if err != nil {
		m.t.Fatal(err)
	}
	return p
}

// written says how many lines are in the output now.
func (m *mapping) written() int {
	text, err := os.ReadFile(filepath.Join(m.dir, "out"))
	if err != nil {
		return 0
	}
	return bytes.Count(text, []byte("\n"))
}

// until waits until there are so many.
func (m *mapping) until(n int) {
	m.t.Helper()
	eventually(m.t, fmt.Sprintf("%d lines are written", n), func() bool { return m.written() >= n })
}

func (m *mapping) kill(p *process) {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// Workers, parley map and the server are killed in turn, in the middle of 400 lines. In the end each
// line has its answer, in its place, once.
func TestMapUnderKill9(t *testing.T) {
	t.Parallel()
	m := &mapping{t: t, s: newServer(t, nil, lean), dir: t.TempDir()}
	m.s.start()
	const lines, rounds = 400, 6
	var in, want strings.Builder
	for n := range lines {
		fmt.Fprintln(&in, n)
		fmt.Fprintln(&want, n*n)
	}
	if err := os.WriteFile(filepath.Join(m.dir, "in"), []byte(in.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	workers := []*process{m.work(), m.work()}
	run := m.start(">>")
	for round := range rounds {
		m.until((round + 1) * lines / (rounds + 2))
		switch round % 3 {
		case 0:
			m.kill(workers[0])
			workers[0] = m.work()
		case 1:
			m.kill(run)
			run = m.start(">>")
		case 2:
			for _, p := range []*process{workers[0], workers[1], run, m.s.process} {
				m.kill(p)
			}
			m.s.start()
			workers[0], workers[1], run = m.work(), m.work(), m.start(">>")
		}
	}
	if code := run.exit(4 * patience); code != 0 {
		t.Fatalf("parley map has exited with %d: %s", code, &run.stderr)
	}
	m.check(want.String())

	// The shell empties the output: it is written anew, from the answers that are there.
	for _, p := range workers {
		m.kill(p)
	}
	run = m.start(">")
	m.until(lines / 4)
	m.kill(run)
	run = m.start(">")
	if code := run.exit(patience); code != 0 {
		t.Fatalf("parley map has exited with %d: %s", code, &run.stderr)
	}
	m.check(want.String())
}

func (m *mapping) check(want string) {
	m.t.Helper()
	got, err := os.ReadFile(filepath.Join(m.dir, "out"))
	if err != nil {
		m.t.Fatal(err)
	}
	if string(got) != want {
		m.t.Errorf("the output is not that of the inputs: %d lines, want %d\n%s", m.written(), strings.Count(want, "\n"), got)
	}
}
