package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"parley"
	"parley/client"
)

// sendFlags say what is sent and how it is told.
type sendFlags struct {
	client clientFlags
	kind   string
	id     string
	job    jobFlags
	wait   time.Duration
	json   bool
}

func newSendCommand() *cobra.Command {
	var f sendFlags
	cmd := &cobra.Command{
		Use:   "send ROOM [TEXT|-]",
		Short: "Send messages to a room",
		Long: `Send a message to a room and wait until it is on the server's disk. With - in place of the text,
or nothing, each line of stdin is a message; empty lines are passed over, and one that the server
does not take is named on stderr, while the others go on.

After a lost connection it sends again under the same id, so that nothing is stored twice. To
make that hold for a second run of the same command too, choose the id with --id; the lines of
stdin then have the ids ID-1, ID-2 and so on.

With --due or --delay the server keeps the message and sends it to the room later; its seq is 0
until then. --key, --priority and --ttl are for those who work in the room.`,
		Example: `  parley send lobby "hello"
  parley send orders '{"order":17}' --type json --id order-17
  parley send reports nightly --delay 6h --priority 5
  tail -f app.log | parley send logs -`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			kind, err := f.check(args[0])
			if err != nil {
				return err
			}
			return f.client.run(func(ctx context.Context, c *client.Client, cmd *cobra.Command, _ []string) error {
				s := newSending(ctx, c.Room(args[0]), &f, kind, cmd)
				if len(args) == 2 && args[1] != "-" {
					return s.text(args[1])
				}
				return s.lines(cmd.InOrStdin())
			})(cmd, args)
		},
	}
	f.client.register(cmd)
	p := cmd.Flags()
	p.StringVar(&f.kind, "type", "text", "what the body is: text, json or binary")
	p.StringVar(&f.id, "id", "", "the message's id; the server stores the first message with it")
	f.job.register(p)
	p.DurationVar(&f.wait, "wait", 30*time.Second, "give up when the server acknowledges nothing for so long")
	p.BoolVar(&f.json, "json", false, "print a JSON object for each message that is stored")
	return cmd
}

// check finds what is wrong with the flags.
func (f *sendFlags) check(room string) (parley.Type, error) {
	if err := roomArg(room); err != nil {
		return 0, err
	}
	kind, err := parley.ParseType(f.kind)
	if err != nil {
		return 0, usagef("--type: %s", sentence(err))
	}
	if f.id != "" {
		if err := parley.CheckID(f.id); err != nil {
			return 0, usagef("--id: %s", sentence(err))
		}
	}
	if err := f.job.check(); err != nil {
		return 0, err
	}
	if f.wait <= 0 {
		return 0, usagef("--wait is longer than 0")
	}
	return kind, nil
}

// sending is one run of parley send.
type sending struct {
	// Fixed at birth.
	room   *client.Room
	flags  *sendFlags
	kind   parley.Type
	stdout *json.Encoder
	stderr io.Writer
	ctx    context.Context // ends when there is no use in going on
	stop   context.CancelCauseFunc

	acked, duplicates, refused atomic.Int64

	mu    sync.Mutex // of stderr and first
	first error      // the first failure of a message
}

func newSending(ctx context.Context, room *client.Room, f *sendFlags, kind parley.Type, cmd *cobra.Command) *sending {
	s := &sending{room: room, flags: f, kind: kind, stderr: cmd.ErrOrStderr()}
	s.stdout = json.NewEncoder(cmd.OutOrStdout())
	s.ctx, s.stop = context.WithCancelCause(ctx)
	return s
}

// options are those of message n; 0 is the only one.
func (s *sending) options(n int) []client.PublishOption {
	opts := append([]client.PublishOption{client.WithType(s.kind)}, s.flags.job.options...)
	switch {
	case s.flags.id != "" && n > 0:
		opts = append(opts, client.WithID(fmt.Sprintf("%s-%d", s.flags.id, n)))
	case s.flags.id != "":
		opts = append(opts, client.WithID(s.flags.id))
	}
	return opts
}

// text sends one message.
func (s *sending) text(body string) error {
	ctx, cancel := context.WithTimeoutCause(s.ctx, s.flags.wait, s.silence())
	defer cancel()
	defer s.stop(nil)
	r, err := s.room.Publish(ctx, []byte(body), s.options(0)...)
	if err == nil && s.flags.json {
		err = s.stdout.Encode(r)
	}
	return err
}

// silence is the reason to give up.
func (s *sending) silence() error {
	return fmt.Errorf("the server has acknowledged nothing for %v", s.flags.wait)
}

// onTheWay is a line of stdin that has been sent.
type onTheWay struct {
	line    int
	pending *client.Pending
}

// lines sends each line of in.
func (s *sending) lines(in io.Reader) error {
	if isTerminal(in) {
		tell(s.stderr, "parley: each line you type is a message; Ctrl-D ends\n")
	}
	begun := time.Now()
	sent := make(chan onTheWay, 4096)
	var wg sync.WaitGroup
	wg.Go(func() { s.collect(sent) })
	progress, stop := context.WithCancel(s.ctx)
	wg.Go(func() { s.progress(progress) })
	err := s.read(in, sent)
	close(sent)
	stop()
	wg.Wait()
	s.stop(nil)
	s.summary(begun)
	return s.outcome(err)
}

// read publishes lines until in or s.ctx ends. A read that waits, on a terminal say, does not hold
// it up.
func (s *sending) read(in io.Reader, sent chan<- onTheWay) error {
	lines := make(chan line)
	go func() {
		defer close(lines)
		readLines(s.ctx, in, lines)
	}()
	for {
		var l line
		var ok bool
		select {
		case l, ok = <-lines:
		case <-s.ctx.Done():
		}
		switch {
		case !ok:
			return nil
		case l.err != nil && l.body == nil:
			return fmt.Errorf("read stdin: %w", l.err)
		}
		body := l.body
		if s.kind != parley.Binary {
			body = bytes.TrimSuffix(body, []byte("\r"))
		}
		if len(body) == 0 {
			continue
		}
		if l.err != nil {
			s.failed(l.number, l.err)
			continue
		}
		p, err := s.room.PublishAsync(s.ctx, body, s.options(l.number)...)
		if err != nil {
			s.failed(l.number, err)
			continue
		}
		select {
		case sent <- onTheWay{l.number, p}:
		case <-s.ctx.Done():
		}
	}
}

// collect waits for the answers, in the order sent.
func (s *sending) collect(sent <-chan onTheWay) {
	for m := range sent {
		ctx, cancel := context.WithTimeout(context.Background(), s.flags.wait)
		r, err := m.pending.Wait(ctx)
		if errors.Is(err, context.DeadlineExceeded) && s.ctx.Err() == nil {
			s.stop(s.silence())
			<-m.pending.Done()
			r, err = m.pending.Wait(context.Background())
		}
		cancel()
		if err != nil {
			s.failed(m.line, err)
			continue
		}
		if s.acked.Add(1); r.Duplicate {
			s.duplicates.Add(1)
		}
		if s.flags.json {
			if err := s.stdout.Encode(r); err != nil {
				s.stop(err)
			}
		}
	}
}

// maxNamed is how many failed lines are named on stderr.
const maxNamed = 10

// failed notes that a line was not stored, or may not be.
func (s *sending) failed(line int, err error) {
	n := s.refused.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first == nil {
		s.first = err
	}
	if exitCode(err) == exitDenied {
		s.stop(err)
	}
	if s.ctx.Err() != nil {
		return // one reason for all, told at the end
	}
	switch {
	case n <= maxNamed:
		tell(s.stderr, "parley: line %d: %s\n", line, oneLine(sentence(err)))
	case n == maxNamed+1:
		tell(s.stderr, "parley: and others\n")
	}
}

// progress shows on a terminal how far it is, when it takes a while.
func (s *sending) progress(ctx context.Context) {
	if !isTerminal(s.stderr) {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	shown := false
	for {
		select {
		case <-ticker.C:
			s.mu.Lock()
			tell(s.stderr, "\rparley: %d stored ", s.acked.Load())
			s.mu.Unlock()
			shown = true
		case <-ctx.Done():
			if shown {
				tell(s.stderr, "\r                              \r")
			}
			return
		}
	}
}

// summary says on stderr what came of it.
func (s *sending) summary(begun time.Time) {
	tell(s.stderr, "parley: %d stored in %s, %.1f s", s.acked.Load(), s.room.Name(), time.Since(begun).Seconds())
	if n := s.duplicates.Load(); n > 0 {
		tell(s.stderr, "; %d of them before", n)
	}
	if n := s.refused.Load(); n > 0 {
		tell(s.stderr, "; %d not, or perhaps not", n)
	}
	tell(s.stderr, "\n")
}

// outcome is the error of the whole; err is that of reading.
func (s *sending) outcome(err error) error {
	switch cause := context.Cause(s.ctx); {
	case err != nil:
		return err
	case cause != nil && !errors.Is(cause, context.Canceled):
		if s.first != nil && errors.Is(s.first, cause) {
			return s.first // which says more
		}
		return cause
	case s.first != nil:
		return fmt.Errorf("%d lines were not stored; the first: %w", s.refused.Load(), s.first)
	}
	return nil
}

// line is a line of stdin, without its end. A line with an error is only the beginning of one.
type line struct {
	number int
	body   []byte
	err    error
}

// maxLine bounds a line of stdin in memory; no server takes one so long.
const maxLine = 16 << 20

// readLines reads lines until in or ctx ends. An error without a body is that of in.
func readLines(ctx context.Context, in io.Reader, lines chan<- line) {
	r := bufio.NewReaderSize(in, 64<<10)
	for n := 1; ; n++ {
		l := line{number: n}
		for {
			part, err := r.ReadSlice('\n')
			if len(l.body)+len(part) <= maxLine {
				l.body = append(l.body, part...)
			} else {
				l.err = parley.Errorf(parley.TooLarge, "a line of more than %d bytes", maxLine)
			}
			if err == nil {
				break
			}
			if errors.Is(err, bufio.ErrBufferFull) {
				continue
			}
			if len(l.body) == 0 || !errors.Is(err, io.EOF) {
				if !errors.Is(err, io.EOF) {
					give(ctx, lines, line{number: n, err: err})
				}
				return
			}
			give(ctx, lines, l)
			return
		}
		l.body = bytes.TrimSuffix(l.body, []byte("\n"))
		if !give(ctx, lines, l) {
			return
		}
	}
}

func give(ctx context.Context, lines chan<- line, l line) bool {
	select {
	case lines <- l:
		return true
	case <-ctx.Done():
		return false
	}
}

// isTerminal says whether a reader or writer is a terminal.
func isTerminal(v any) bool {
	f, ok := v.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
