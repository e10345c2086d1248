package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// demoNode is one server of a demo: a process, or none while it has ended. Its methods are called by
// one goroutine.
type demoNode struct {
	// Fixed at birth.
	name      string
	tcp, http string // where it listens, in each of its lives
	args      []string
	logFile   string

	run *demoRun // nil = it does not run
}

// demoRun is one life of a node.
type demoRun struct {
	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
	ended error         // read when done is closed
}

// demoNodes plans three nodes that know of each other.
func demoNodes(dir string) ([]*demoNode, error) {
	const count = 3
	ports, err := freePorts(3 * count)
	if err != nil {
		return nil, err
	}
	join := strings.Join(ports[:count], ",")
	var nodes []*demoNode
	for i := range count {
		n := &demoNode{name: fmt.Sprint("n", i+1), tcp: ports[count+i], http: ports[2*count+i]}
		n.logFile = filepath.Join(dir, n.name+".log")
		n.args = []string{
			"serve", "--data", filepath.Join(dir, n.name), "--tcp", n.tcp, "--http", n.http,
			"--node", n.name, "--cluster-listen", ports[i], "--cluster-join", join,
		}
		nodes = append(nodes, n)
	}
	return nodes, os.MkdirAll(dir, 0o700)
}

// start begins a life of the node, which is not ready yet.
func (n *demoNode) start() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	log, err := os.OpenFile(n.logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	r := &demoRun{cmd: exec.Command(self, n.args...), done: make(chan struct{})} //nolint:noctx // stop lets it end in order
	r.cmd.Env, r.cmd.Stderr, r.cmd.SysProcAttr = withoutSettings(os.Environ()), log, apart()
	started := make(chan error, 1)
	go func() {
		// The kernel takes the end of the thread that made a child for the end of its parent.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer close(r.done)
		defer func() { _ = log.Close() }()
		err := r.cmd.Start()
		started <- err
		if err == nil {
			r.ended = r.cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("start %s: %w", n.name, err)
	}
	n.run = r
	return nil
}

// withoutSettings leaves out what would configure a server otherwise than the demo does.
func withoutSettings(env []string) (kept []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, "PARLEY_") {
			kept = append(kept, v)
		}
	}
	return kept
}

// awaitReady waits until the node can store messages.
func (n *demoNode) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, demoReady, fmt.Errorf("it is not ready within %v", demoReady))
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !n.ready(ctx) {
		select {
		case <-tick.C:
		case <-n.ended():
			return fmt.Errorf("%s does not start: %w\n%s", n.name, n.forget(), n.lastWords())
		case <-ctx.Done():
			return fmt.Errorf("start %s: %w", n.name, context.Cause(ctx))
		}
	}
	return nil
}

func (n *demoNode) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.http+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return resp.Body.Close() == nil && resp.StatusCode == http.StatusOK
}

// pid is the node's process; 0 = it has none.
func (n *demoNode) pid() int {
	if n.run == nil {
		return 0
	}
	return n.run.cmd.Process.Pid
}

// ended is closed when the node has ended; nil, which no select takes, while it does not run.
func (n *demoNode) ended() <-chan struct{} {
	if n.run == nil {
		return nil
	}
	return n.run.done
}

// forget takes note that the node has ended, and says how.
func (n *demoNode) forget() error {
	r := n.run
	<-r.done
	n.run = nil
	if r.ended == nil {
		return errors.New("exit status 0")
	}
	return r.ended
}

// kill ends the node as a crash would.
func (n *demoNode) kill() {
	_ = n.run.cmd.Process.Kill() // it may have ended
	_ = n.forget()               // which it has been told to
}

// stop asks the node to end, and sees to it that it does. One that does not run has nothing to end.
func (n *demoNode) stop() error {
	if n.run == nil {
		return nil
	}
	_ = n.run.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	late := time.NewTimer(demoEnd)
	defer late.Stop()
	select {
	case <-n.run.done:
	case <-late.C:
		n.kill()
		return fmt.Errorf("%s has not ended within %v and was killed", n.name, demoEnd)
	}
	if r := n.run; r.ended != nil {
		return fmt.Errorf("%s has ended: %w\n%s", n.name, n.forget(), n.lastWords())
	}
	_ = n.forget()
	return nil
}

// lastWords are the end of the node's log.
func (n *demoNode) lastWords() string {
	const most = 1 << 10
	log, _ := os.ReadFile(n.logFile) // it is small, and none says nothing
	if len(log) > most {
		log = log[len(log)-most:]
		log = log[bytes.IndexByte(log, '\n')+1:]
	}
	return strings.TrimSpace(string(log))
}
