package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"parley"
)

// A program that is run for a job or a question: the body on its stdin, the answer on its stdout,
// what it says on its stderr passed on.

// exitFailed is what a program exits with that wants its job not to be tried again (EX_DATAERR).
const exitFailed = 65

const (
	programEnds = 5 * time.Second // between asking a program to end and ending it
	maxReason   = 512             // bytes of a program's last words
)

// program is a command line to run.
type program struct {
	args   []string
	stderr io.Writer
}

// programError says how a program ended that did not succeed.
type programError struct {
	code int // -1: it did not exit by itself
	text string
}

func (e programError) Error() string { return e.text }

// run runs the program. env is added to our own environment.
func (p *program) run(ctx context.Context, body []byte, most int, env ...string) (output []byte, err error) {
	cmd := exec.CommandContext(ctx, p.args[0], p.args[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = programEnds
	cmd.Env = append(os.Environ(), env...)
	cmd.Stdin = bytes.NewReader(body)
	out, last := &bounded{most: most}, &lastWords{w: p.stderr}
	cmd.Stdout, cmd.Stderr = out, last
	err = cmd.Run()
	var exit *exec.ExitError
	switch {
	case err == nil && out.over:
		return nil, programError{exitFailed, fmt.Sprintf("the output has more than %d bytes", most)}
	case err == nil:
		return out.Bytes(), nil
	case errors.As(err, &exit):
		return nil, programError{exit.ExitCode(), strings.TrimSpace(fmt.Sprintf("%s %s", exit, last))}
	}
	return nil, programError{-1, err.Error()}
}

// bounded keeps what is written, up to a bound.
type bounded struct {
	bytes.Buffer
	most int
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.most {
		b.over = true
		return len(p), nil
	}
	return b.Buffer.Write(p)
}

// lastWords passes on what is written and keeps the end of it.
type lastWords struct {
	w io.Writer

	mu  sync.Mutex
	end []byte
}

func (l *lastWords) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.end = append(l.end, p...); len(l.end) > maxReason {
		l.end = append(l.end[:0], l.end[len(l.end)-maxReason:]...)
	}
	return l.w.Write(p)
}

func (l *lastWords) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.ToValidUTF8(strings.TrimSpace(string(l.end)), "")
}

// shown gives an output as a message: without the newline at its end, and "" as JSON, since a
// message is not empty.
func shown(output []byte) ([]byte, parley.Type) {
	output = bytes.TrimSuffix(output, []byte("\n"))
	switch {
	case len(output) == 0:
		return []byte(`""`), parley.JSON
	case !utf8.Valid(output):
		return output, parley.Binary
	}
	return output, parley.Text
}
