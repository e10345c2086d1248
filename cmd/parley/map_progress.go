package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// mapProgress tells on stderr how far a run is. Owned by one goroutine.
type mapProgress struct {
	w        io.Writer
	terminal bool
	quiet    bool
	state    *mapRun

	begun  time.Time
	size   int64  // bytes of the input, if it is a file; 0 = not known
	bytes  int64  // of them that were read
	done   uint64 // outcomes that came to this process
	named  int    // failures that were told
	shown  bool   // there is a bar on the terminal
	told   time.Time
	hinted bool
}

// What is told when nothing is drawn.
const (
	tellEvery = 10 * time.Second
	hintAfter = 5 * time.Second // without any answer
	barCells  = 30
)

func newMapProgress(w io.Writer, in io.Reader, quiet bool, state *mapRun) *mapProgress {
	p := &mapProgress{w: w, terminal: isTerminal(w), quiet: quiet, state: state, begun: time.Now(), told: time.Now()}
	if f, ok := in.(*os.File); ok {
		p.size, _ = sizeOf(f)
	}
	return p
}

func (p *mapProgress) read(n int) { p.bytes += int64(n) }

// settled counts a line whose outcome is known.
func (p *mapProgress) settled(before bool) {
	if !before {
		p.done++
	}
}

// failed names a line without an answer; not all, if there are many.
func (p *mapProgress) failed(number uint64, reason string) {
	p.clear()
	switch p.named++; {
	case p.named <= maxNamed:
		tell(p.w, "parley: line %d: %s\n", number, oneLine(reason))
	case p.named == maxNamed+1:
		tell(p.w, "parley: and others\n")
	}
}

// tell draws the bar, or now and then tells a line.
func (p *mapProgress) tell(hand []*mapLine, ended bool) {
	if p.quiet {
		return
	}
	if p.done == 0 && !p.hinted && len(hand) > 0 && time.Since(p.begun) >= hintAfter {
		p.hinted = true
		p.clear()
		tell(p.w, "parley: no answer yet; workers are started with: parley work %s --group %s -- CMD\n", p.state.Room, p.state.Group)
	}
	if p.terminal {
		p.shown = true
		tell(p.w, "\r\x1b[K%s", p.line(hand, ended))
		return
	}
	if time.Since(p.told) >= tellEvery {
		p.told = time.Now()
		tell(p.w, "%s\n", p.line(hand, ended))
	}
}

// line is the state in one line: a bar where the whole is known.
func (p *mapProgress) line(hand []*mapLine, ended bool) string {
	var b strings.Builder
	b.WriteString("parley: ")
	if part, ok := p.part(hand, ended); ok {
		full := int(part * barCells)
		fmt.Fprintf(&b, "[%s%s] %3.0f %%  ", strings.Repeat("#", full), strings.Repeat(".", barCells-full), 100*part)
	}
	fmt.Fprintf(&b, "%d written, %d in hand", p.state.Written, len(hand))
	if s := time.Since(p.begun).Seconds(); p.done > 0 && s > 0 {
		fmt.Fprintf(&b, ", %.0f/s", float64(p.done)/s)
	}
	if p.state.Failed > 0 {
		fmt.Fprintf(&b, ", %d failed", p.state.Failed)
	}
	return b.String()
}

// part is how much of the whole is written, from 0 to 1, if the whole is known.
func (p *mapProgress) part(hand []*mapLine, ended bool) (part float64, ok bool) {
	switch {
	case ended:
		return float64(p.state.Written) / float64(max(1, p.state.Written+uint64(len(hand)))), true
	case p.size > 0:
		waiting := int64(0)
		for _, l := range hand {
			waiting += int64(len(l.body)) + 1
		}
		return min(1, float64(p.bytes-waiting)/float64(p.size)), true
	}
	return 0, false
}

// clear takes the bar away.
func (p *mapProgress) clear() {
	if p.shown {
		p.shown = false
		tell(p.w, "\r\x1b[K")
	}
}

// summary says what came of it.
func (p *mapProgress) summary() {
	if !p.quiet {
		tell(p.w, "parley: %d lines written, %.1f s\n", p.state.Written, time.Since(p.begun).Seconds())
	}
}

// unfinished says how to go on with a run that has ended too early.
func (p *mapProgress) unfinished(err error) {
	var usage usageError
	if p.quiet || errors.As(err, &usage) || isReaderGone(err) {
		return
	}
	if p.state.path == "" {
		tell(p.w, "parley: %d lines written; with --resume FILE a run can go on\n", p.state.Written)
		return
	}
	tell(p.w, "parley: %d lines written; the same command goes on from there\n", p.state.Written)
}
