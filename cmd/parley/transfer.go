package main

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"parley/engine"
)

// transfer tells how far a backup or a restore is: on a terminal in one line, elsewhere a line for each
// stream, or as JSON objects, a line each. Owned by one goroutine.
type transfer struct {
	stderr   io.Writer
	terminal bool
	json     bool
	size     int64 // bytes of the file; 0 = not known

	began time.Time
	told  time.Time
	last  engine.Progress // that was told
	shown bool            // there is a line on the terminal
}

func newTransfer(stderr io.Writer, asJSON bool, size int64) *transfer {
	return &transfer{stderr: stderr, terminal: isTerminal(stderr), json: asJSON, size: size, began: time.Now()}
}

// transferEvery is how often the same stream is told of: often enough to be seen going on.
const transferEvery = time.Second

func (t *transfer) tell(p engine.Progress) {
	fresh := p.Number != t.last.Number || p.Checking != t.last.Checking
	lines := !t.json && !t.terminal
	switch {
	case p.Stream == "", !fresh && (lines || time.Since(t.told) < transferEvery):
		return
	case lines && p.Checking && p.Number > 1: // it is read twice, and one word of that will do
		return
	}
	t.told, t.last = time.Now(), p
	switch {
	case t.json:
		_ = json.NewEncoder(t.stderr).Encode(p) // whoever closed stderr does not want it
	case t.terminal:
		t.shown = true
		tell(t.stderr, "\r\x1b[Kparley: %s", t.line(p))
	case p.Checking:
		tell(t.stderr, "parley: the file is checked\n")
	default:
		tell(t.stderr, "parley: %s\n", t.line(p))
	}
}

func (t *transfer) line(p engine.Progress) string {
	what, whole := "", ""
	if p.Checking {
		what = "checking "
	}
	if t.size > 0 {
		whole = " of " + bytesText(t.size)
	}
	return fmt.Sprintf("%s%s, %d of %d; %s%s", what, p.Stream, p.Number, p.Streams, bytesText(p.Bytes), whole)
}

// clear takes the line on the terminal away.
func (t *transfer) clear() {
	if t.shown {
		t.shown = false
		tell(t.stderr, "\r\x1b[K")
	}
}

// done says what came of it: to people on stderr, to programs on stdout.
func (t *transfer) done(stdout io.Writer, file string, size int64, info engine.BackupInfo, then string) error {
	t.clear()
	var messages uint64
	for _, s := range info.Streams {
		messages += s.Messages
	}
	took := time.Since(t.began)
	if t.json {
		return json.NewEncoder(stdout).Encode(map[string]any{
			"file": file, "bytes": size, "made": info.Made, "partitions": info.Partitions,
			"streams": info.Streams, "messages": messages, "took_ms": took.Milliseconds(),
		})
	}
	tell(t.stderr, "parley: %s %s: %d entries in %d streams, %s, %.1f s\n", oneLine(file), then, messages, len(info.Streams), bytesText(size), took.Seconds())
	return nil
}

// bytesText is a size for people.
func bytesText(n int64) string {
	const step = 1024
	f, unit := float64(n), 0
	for f >= step && unit < 4 {
		f /= step
		unit++
	}
	if unit == 0 {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %ciB", f, " KMGT"[unit])
}
