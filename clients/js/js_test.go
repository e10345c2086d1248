//go:build unix

package js_test

import (
	"bytes"
	"context"
	"encoding/json"
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

// TestTypes checks the types of parley.js, and that parley.d.ts says the same.
func TestTypes(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a download")
	}
	npx, err := exec.LookPath("npx")
	if err != nil {
		t.Skip("needs npm: there is no npx")
	}
	tsc := func(args ...string) {
		t.Helper()
		out, err := run(t, nil, npx, append([]string{"-y", "-p", typescript, "tsc"}, args...)...)
		switch {
		case err == nil:
		case strings.Contains(out, "error TS"):
			t.Fatalf("tsc: %v\n%s", err, out)
		default:
			t.Skipf("%s cannot be had: %v\n%s", typescript, err, out)
		}
	}
	dir := t.TempDir()
	tsc("-p", ".", "--noEmit", "false", "--declaration", "--emitDeclarationOnly", "--outDir", dir)
	tsc("-p", declared(t, dir))
}

// declared prepares the test that holds parley.d.ts against the declarations that tsc has made of
// parley.js, in dir. Private names are taken out of these: two classes with them are never the same.
func declared(t *testing.T, dir string) (project string) {
	t.Helper()
	made := filepath.Join(dir, "parley.d.ts")
	text, err := os.ReadFile(made)
	if err != nil {
		t.Fatal(err)
	}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	settings, err := json.Marshal(map[string]any{
		"compilerOptions": map[string]any{
			"target": "ES2022", "module": "ES2022", "moduleResolution": "bundler", "lib": []string{"ES2022", "DOM"},
			"types": []string{}, "strict": true, "noEmit": true,
			"paths": map[string][]string{"written": {filepath.Join(here, "parley.d.ts")}, "source": {made}},
		},
		"files": []string{filepath.Join(here, "test", "declared.ts")},
	})
	if err != nil {
		t.Fatal(err)
	}
	project = filepath.Join(dir, "tsconfig.json")
	for name, data := range map[string][]byte{made: bytes.ReplaceAll(text, []byte("#private;"), nil), project: settings} {
		if err := os.WriteFile(name, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return project
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
