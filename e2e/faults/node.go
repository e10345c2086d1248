package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"parley/e2e/history"
)

// node is one server on its host and disk: one process, and after a stop another. One goroutine
// uses it.
type node struct {
	number  int // of its host
	program string
	secret  string
	disk    *disk
	log     *os.File // what all its processes wrote
	rec     *history.Recorder

	process *exec.Cmd     // nil when it is down
	begins  int64         // of the log: where this process's part begins
	ended   chan struct{} // closed when the process has
	asked   bool          // it was told to end
	paused  bool
}

const nodes = 3

func (n *node) name() string { return fmt.Sprint("n", n.number) }

func (n *node) tcp() string  { return address(n.number) + ":8000" }
func (n *node) http() string { return address(n.number) + ":8080" }

// trouble notes what must not be, whatever faults there are.
func (n *node) trouble(format string, args ...any) {
	n.rec.Add(history.Event{Type: "info", Op: "trouble", Node: n.name(), Reason: fmt.Sprintf(format, args...)})
}

// start runs the program. It does not wait: a node alone is not ready before there is another.
func (n *node) start() error {
	var join []string
	for i := 1; i <= nodes; i++ {
		join = append(join, address(i)+":6222")
	}
	n.process = exec.Command("nsenter", fmt.Sprintf("--net=/run/netns/pn%d", n.number), n.program, "serve",
		"--data", filepath.Join(n.disk.dir, "data"), "--tcp", n.tcp(), "--http", n.http(), "--open", "--audit", "off",
		"--node", n.name(), "--cluster-listen", address(n.number)+":6222", "--cluster-join", strings.Join(join, ","),
		"--cluster-secret-file", n.secret, "--min-free", "8MiB", "--log", "json")
	n.process.Dir = filepath.Dir(n.disk.dir)
	n.process.Stdout, n.process.Stderr = n.log, n.log
	if info, err := n.log.Stat(); err == nil {
		n.begins = info.Size()
	}
	if err := n.process.Start(); err != nil {
		return fmt.Errorf("start %s: %w", n.name(), err)
	}
	process, ended := n.process, make(chan struct{})
	n.ended, n.asked, n.paused = ended, false, false
	go func() {
		defer close(ended)
		_ = process.Wait() // ProcessState has it all
	}()
	return nil
}

// died notes it when the node has ended unasked.
func (n *node) died() bool {
	if n.process == nil {
		return false
	}
	select {
	case <-n.ended:
	default:
		return false
	}
	if !n.asked {
		n.trouble("it has ended unasked: %v", n.process.ProcessState)
	}
	n.process = nil
	return true
}

func (n *node) signal(sig syscall.Signal) {
	if n.process != nil {
		_ = n.process.Process.Signal(sig) // of one that has ended nothing is wanted
	}
}

// kill ends the process as a crash would.
func (n *node) kill() {
	if n.died() || n.process == nil {
		return
	}
	n.asked = true
	n.signal(syscall.SIGKILL)
	<-n.ended
	n.process = nil
}

// stopWithin is longer than a node may take to drain.
const stopWithin = 30 * time.Second

// terminate has the process end gently.
func (n *node) terminate() {
	if n.died() || n.process == nil {
		return
	}
	n.asked = true
	n.signal(syscall.SIGTERM)
	if n.paused { // it will not hear before it goes on
		n.signal(syscall.SIGCONT)
		n.paused = false
	}
	select {
	case <-n.ended:
		early := n.process.ProcessState.ExitCode() < 0 && !n.wasReady() // a signal it had no ear for yet
		if code := n.process.ProcessState.ExitCode(); code != 0 && !early && !n.disk.dead {
			n.trouble("told to stop, it ended with code %d", code)
		}
	case <-time.After(stopWithin):
		if !n.disk.dead {
			n.trouble("told to stop, it has not ended within %v", stopWithin)
		}
		n.signal(syscall.SIGQUIT) // it tells where it hangs
		select {
		case <-n.ended:
		case <-time.After(5 * time.Second):
			n.signal(syscall.SIGKILL)
			<-n.ended
		}
	}
	n.process = nil
}

// still says whether all threads of a paused node have stopped: one in a system call does so at its
// end.
func (n *node) still() bool {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", n.process.Process.Pid))
	for _, stat := range threads {
		text, err := os.ReadFile(stat)
		if i := bytes.LastIndex(text, []byte(") ")); err == nil && (i < 0 || text[i+2] != 'T') {
			return false
		}
	}
	return true
}

// wasReady says whether this process has come so far as to serve.
func (n *node) wasReady() bool {
	text, err := os.ReadFile(n.log.Name())
	return err != nil || bytes.Contains(text[min(int(n.begins), len(text)):], []byte(`"msg":"ready"`))
}

// ready says whether the node stores messages.
func (n *node) ready() bool {
	client := http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + n.http() + "/readyz")
	if err != nil {
		return false
	}
	defer func() { _ = resp.Body.Close() }()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusOK
}

// checkLog looks for what no node may write.
func (n *node) checkLog() {
	text, err := os.ReadFile(n.log.Name())
	if err != nil {
		n.trouble("its log: %v", err)
		return
	}
	for _, bad := range []string{"WARNING: DATA RACE", "panic: ", "fatal error: "} {
		if bytes.Contains(text, []byte(bad)) {
			n.trouble("it has met a %q", bad)
		}
	}
}

// each does something to every node at once.
func each(all []*node, what func(*node)) {
	var wg sync.WaitGroup
	for _, n := range all {
		wg.Go(func() { what(n) })
	}
	wg.Wait()
}
