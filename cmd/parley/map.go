package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"parley"
	"parley/client"
)

// mapFlags say what to map and how.
type mapFlags struct {
	client  clientFlags
	answers string
	window  int
	resume  string
}

func newMapCommand() *cobra.Command {
	var f mapFlags
	cmd := &cobra.Command{
		Use:   "map ROOM < INPUTS > OUTPUTS",
		Short: "Have workers do a job for each line, and print the answers in order",
		Long: `Send each line of stdin to a room as a job, and print the answers, a line for each, in the order of the
inputs. Workers are what parley work runs, anywhere: they may come, go and die meanwhile. A job that has
become a dead letter leaves an empty line, and the command fails in the end.

With --resume FILE a run that was ended goes on: what it has sent is noted in the file, which is removed
in the end. Give it the same inputs again; all outputs are printed again. It needs the answers to be in
their room still: as a rule a room keeps 100,000 messages.`,
		Example: `  parley work squares --group g --parallel 4 -- sh -c 'read n; echo $((n*n))' &
  seq 10000 | parley map squares > squares.txt
  parley map thumbs --resume thumbs.run < files > results`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			f.answers = roomBehind(args[0], f.answers)
			for _, name := range []string{args[0], f.answers, args[0] + deadSuffix} {
				if err := roomArg(name); err != nil {
					return err
				}
			}
			if f.window < 1 || f.window > maxWindow {
				return usagef("--window is from 1 to %d", maxWindow)
			}
			r, err := newMapRun(&f, args[0])
			if err != nil {
				return err
			}
			return f.client.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				return r.run(ctx, c, cmd)
			})(cmd, args)
		},
	}
	f.client.register(cmd)
	p := cmd.Flags()
	p.StringVar(&f.answers, "answers", answersSuffix, "the room in which the answers come; one that begins with a dot is behind ROOM")
	p.IntVar(&f.window, "window", 1000, "how many lines may be under way: sent, or answered but not printed")
	p.StringVar(&f.resume, "resume", "", "the file that says how far a run has come")
	return cmd
}

const maxWindow = 100_000

// mapState is what a run's file says.
type mapState struct {
	Run   string `json:"run"`
	Room  string `json:"room"`
	After uint64 `json:"after"` // seq in the room of the answers behind which this run's are
	Dead  uint64 `json:"dead"`  // likewise of the dead letters
	Sent  int    `json:"sent"`  // lines that are stored for sure
}

// mapRun is a run under way.
type mapRun struct {
	flags *mapFlags
	room  string
	state mapState
	fresh bool // nothing was ever sent

	mu      sync.Mutex
	done    map[int][]byte // answers that wait for one in front of them; nil = a dead letter
	printed int
	sent    int
	total   int // lines; -1 until the last was read
	failed  int
	changed chan struct{} // of one
}

func newMapRun(f *mapFlags, room string) (*mapRun, error) {
	r := &mapRun{flags: f, room: room, fresh: true, total: -1, done: make(map[int][]byte), changed: make(chan struct{}, 1)}
	r.state = mapState{Run: strings.ToLower(rand.Text()[:12]), Room: room}
	if f.resume == "" {
		return r, nil
	}
	data, err := os.ReadFile(f.resume)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, usagef("--resume: %w", err)
	default:
		if err := json.Unmarshal(data, &r.state); err != nil || r.state.Run == "" {
			return nil, usagef("--resume: %s is no file of a run", f.resume)
		}
		if r.state.Room != room {
			return nil, usagef("--resume: %s is of a run in %s", f.resume, r.state.Room)
		}
		r.fresh = false
	}
	if f.client.name == "" && os.Getenv("PARLEY_NAME") == "" {
		f.client.name = "map-" + r.state.Run // the same after a restart, so that ids count
	}
	return r, nil
}

// run maps. It ends when every line has its answer, or a dead letter.
func (r *mapRun) run(ctx context.Context, c *client.Client, cmd *cobra.Command) error {
	if r.fresh {
		var err error
		if r.state.After, err = newest(ctx, c, r.flags.answers); err != nil {
			return err
		}
		if r.state.Dead, err = newest(ctx, c, r.room+deadSuffix); err != nil {
			return err
		}
		if err := r.save(); err != nil {
			return err
		}
	}
	following, stop := context.WithCancel(ctx)
	defer stop()
	g, gctx := errgroup.WithContext(following)
	g.Go(func() error { return r.follow(gctx, c.Room(r.flags.answers), r.state.After, r.answered) })
	g.Go(func() error { return r.follow(gctx, c.Room(r.room+deadSuffix), r.state.Dead, r.died) })
	g.Go(func() error { return r.send(gctx, c.Room(r.room), cmd.InOrStdin()) })
	g.Go(func() error {
		err := r.print(gctx, cmd)
		if err == nil {
			stop() // all is printed
		}
		return err
	})
	err := g.Wait()
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case err != nil && !errors.Is(err, context.Canceled):
		return err
	case r.flags.resume != "":
		if err := os.Remove(r.flags.resume); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if r.failed > 0 {
		return fmt.Errorf("%d of %d lines have no answer: see parley jobs dead %s", r.failed, r.total, r.room)
	}
	return nil
}

// newest is the seq of a room's newest message; 0 where there is none.
func newest(ctx context.Context, c *client.Client, room string) (uint64, error) {
	page, err := c.Room(room).History(ctx, client.Limit(1))
	if err != nil || len(page.Messages) == 0 {
		return 0, err
	}
	return page.Messages[0].Seq, nil
}

// follow takes what comes in a room behind a position.
func (r *mapRun) follow(ctx context.Context, room *client.Room, after uint64, take func(*parley.Message)) error {
	for m, err := range room.Messages(ctx, client.After(after)) {
		var gap *client.Gap
		switch {
		case errors.As(err, &gap) && !r.fresh:
			return fmt.Errorf("the run cannot be resumed: %w", gap)
		case errors.As(err, &gap):
		case err != nil:
			return err
		default:
			take(m)
		}
	}
	return ctx.Err()
}

// idOf is the id of a line's message; lineOf reads it back.
func (r *mapRun) idOf(line int) string { return "map-" + r.state.Run + "-" + strconv.Itoa(line) }

func (r *mapRun) lineOf(id string) (line int, ok bool) {
	rest, ok := strings.CutPrefix(id, "map-"+r.state.Run+"-")
	if !ok {
		return 0, false
	}
	line, err := strconv.Atoi(rest)
	return line, err == nil && line >= 0
}

func (r *mapRun) answered(m *parley.Message) {
	if line, ok := r.lineOf(m.ID); ok {
		body := m.Body
		if m.Type == parley.JSON && string(body) == `""` {
			body = []byte{}
		}
		r.settle(line, bytes.ReplaceAll(body, []byte("\n"), []byte(`\n`)))
	}
}

func (r *mapRun) died(m *parley.Message) {
	var l letter
	if json.Unmarshal(m.Body, &l) != nil {
		return
	}
	if line, ok := r.lineOf(l.ID); ok {
		r.settle(line, nil)
	}
}

// settle notes what came of a line. The first word counts.
func (r *mapRun) settle(line int, answer []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.done[line]; known || line < r.printed {
		return
	}
	r.done[line] = answer
	r.wake()
}

func (r *mapRun) wake() {
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

// send sends the lines that were not sent before, not more than the window ahead of what is printed.
func (r *mapRun) send(ctx context.Context, room *client.Room, in io.Reader) error {
	lines := make(chan line)
	go func() { // a read of stdin cannot be ended; the process does
		defer close(lines)
		readLines(ctx, in, lines)
	}()
	n := 0
	var pending []*client.Pending
	settle := func(keep int) error {
		for len(pending) > keep {
			if _, err := pending[0].Wait(ctx); err != nil {
				return fmt.Errorf("send line %d: %w", n-len(pending)+1, err)
			}
			pending = pending[1:]
		}
		r.state.Sent = max(r.state.Sent, n-len(pending))
		return nil
	}
	for {
		var l line
		more := false
		select {
		case l, more = <-lines:
		case <-ctx.Done():
			return ctx.Err()
		}
		if !more {
			break
		}
		if l.err != nil {
			return fmt.Errorf("read line %d: %w", l.number, l.err)
		}
		if err := r.mayGoOn(ctx, n); err != nil {
			return err
		}
		if n++; n <= r.state.Sent {
			continue
		}
		if len(l.body) == 0 {
			return fmt.Errorf("line %d is empty: a job has a body", n)
		}
		p, err := room.PublishAsync(ctx, l.body, client.WithID(r.idOf(n-1)))
		if err != nil {
			return fmt.Errorf("send line %d: %w", n, err)
		}
		if pending = append(pending, p); len(pending) >= saveEvery {
			if err := errors.Join(settle(saveEvery/2), r.save()); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(settle(0), r.save()); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.total = n
	r.wake()
	return nil
}

// saveEvery is how many lines are sent between two looks at what is stored.
const saveEvery = 256

// mayGoOn waits until a line is within the window.
func (r *mapRun) mayGoOn(ctx context.Context, line int) error {
	for {
		r.mu.Lock()
		r.sent = line
		ok := line < r.printed+r.flags.window
		r.mu.Unlock()
		if ok {
			return nil
		}
		t := time.NewTimer(5 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return ctx.Err()
		}
	}
}

// save writes the run's file, whole or not at all.
func (r *mapRun) save() error {
	if r.flags.resume == "" {
		return nil
	}
	data, err := json.Marshal(r.state)
	if err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(r.flags.resume), ".parley-map-")
	if err != nil {
		return err
	}
	_, err = tmp.Write(append(data, '\n'))
	err = errors.Join(err, tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), r.flags.resume)
	}
	if err != nil {
		_ = os.Remove(tmp.Name())
	}
	return err
}

// print prints the answers in the order of their lines, until there are no more.
func (r *mapRun) print(ctx context.Context, cmd *cobra.Command) error {
	out := bufio.NewWriter(cmd.OutOrStdout())
	progress := newProgress(cmd.ErrOrStderr())
	defer progress.end()
	for {
		over, err := r.printReady(out)
		if err == nil {
			err = out.Flush()
		}
		r.mu.Lock()
		progress.show(r.printed, len(r.done), r.total)
		r.mu.Unlock()
		if err != nil || over {
			return err
		}
		select {
		case <-r.changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// printReady prints what is next in order, and says whether that was all.
func (r *mapRun) printReady(out *bufio.Writer) (over bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for {
		answer, ok := r.done[r.printed]
		if !ok {
			return r.printed == r.total, nil
		}
		delete(r.done, r.printed)
		r.printed++
		if answer == nil {
			r.failed++
		}
		if _, err := out.Write(append(answer, '\n')); err != nil {
			return false, err
		}
	}
}

// progress shows how far a run has come, on a terminal alone.
type progress struct {
	w     io.Writer // nil: nobody is looking
	shown time.Time
}

func newProgress(w io.Writer) *progress {
	if isTerminal(w) {
		return &progress{w: w}
	}
	return &progress{}
}

func (p *progress) show(printed, waiting, total int) {
	const often, width = 100 * time.Millisecond, 30
	if p.w == nil || time.Since(p.shown) < often {
		return
	}
	p.shown = time.Now()
	if total <= 0 {
		tell(p.w, "\r%d done, %d more answered", printed, waiting)
		return
	}
	full := width * printed / total
	tell(p.w, "\r[%s%s] %d of %d ", strings.Repeat("#", full), strings.Repeat(".", width-full), printed, total)
}

func (p *progress) end() {
	if p.w != nil {
		tell(p.w, "\n")
	}
}
