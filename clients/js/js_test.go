//go:build unix

package js_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// typescript checks the types that the comments of parley.js name. Nothing else needs it.
const typescript = "typescript@5.9.3"

// minNode is the first version of Node with a WebSocket of its own.
const minNode = 22

// TestClient runs the client's own tests, the ones against a real server included.
func TestClient(t *testing.T) {
	node := findNode(t)
	binary := filepath.Join(t.TempDir(), "parley")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "parley/cmd/parley").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	out, err := run(t, []string{"PARLEY_BINARY=" + binary}, node, "--test", "--test-timeout=120000", "--test-reporter=spec", "test/*.test.js")
	if err != nil {
		t.Fatalf("node --test: %v\n%s", err, out)
	}
	if testing.Verbose() {
		t.Log("\n" + out)
	}
}

// TestTypes checks the types of parley.js.
func TestTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a download")
	}
	npx, err := exec.LookPath("npx")
	if err != nil {
		t.Skip("needs npm: there is no npx")
	}
	out, err := run(t, nil, npx, "-y", "-p", typescript, "tsc", "-p", ".")
	switch {
	case err == nil:
	case strings.Contains(out, "error TS"):
		t.Fatalf("tsc: %v\n%s", err, out)
	default:
		t.Skipf("%s cannot be had: %v\n%s", typescript, err, out)
	}
}

func findNode(t *testing.T) string {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skipf("needs node %d: there is none", minNode)
	}
	out, err := exec.CommandContext(t.Context(), node, "--version").Output()
	if err != nil {
		t.Skipf("needs node %d: %v", minNode, err)
	}
	version, major := strings.TrimSpace(string(out)), 0
	if _, err := fmt.Sscanf(version, "v%d.", &major); err != nil || major < minNode {
		t.Skipf("needs node %d: there is %s", minNode, version)
	}
	return node
}

// run gives what a command says. Where it takes too long, it ends with all that it has started.
func run(t *testing.T, env []string, name string, args ...string) (string, error) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 4*time.Minute)
	defer stop()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}
