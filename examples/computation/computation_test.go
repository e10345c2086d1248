// Package computation_test runs the examples in shell.
package computation_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

var parley string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "parley-example-")
	if err != nil {
		panic(err)
	}
	parley = filepath.Join(dir, "parley")
	build := exec.Command("go", "build", "-o", parley, "../../cmd/parley")
	if out, err := build.CombinedOutput(); err != nil {
		panic(string(out))
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// script runs an example and gives what it prints.
func script(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends what it has started
	cmd.WaitDelay = 10 * time.Second
	cmd.Env = append(os.Environ(), "PARLEY="+parley, "TMPDIR="+t.TempDir())
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, &stderr)
	}
	return out.String()
}

func TestWordCount(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.md": "rivers and Rivers, mountains",
		"b.md": "rivers; clouds\nmountains",
		"c.md": "a b c",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := script(t, "wordcount/run.sh", dir, "2"), "3 rivers\n2 mountains\n"; got != want {
		t.Errorf("the words are\n%s; want\n%s", got, want)
	}
}

func TestMandelbrot(t *testing.T) {
	t.Parallel()
	const width, height = 33, 25
	lines := strings.Split(strings.TrimSpace(script(t, "mandelbrot/run.sh", strconv.Itoa(width), strconv.Itoa(height))), "\n")
	if len(lines) != height+3 || strings.Join(lines[:3], " ") != "P2 33 25 255" {
		t.Fatalf("%d lines, of which the first are %q", len(lines), lines[:min(3, len(lines))])
	}
	rows := lines[3:]
	for i, row := range rows {
		if n := len(strings.Fields(row)); n != width {
			t.Errorf("row %d has %d points", i, n)
		}
		if mirror := rows[height-1-i]; row != mirror { // the set is as far below as above
			t.Errorf("row %d is not row %d in a mirror:\n%s\n%s", i, height-1-i, row, mirror)
		}
	}
	// The origin is in the set: black. The corner is far from it.
	middle := strings.Fields(rows[height/2])
	if at := 22 * (width - 1) / 32; middle[at] != "0" || middle[0] == "0" {
		t.Errorf("the middle row is %q", middle)
	}
}
