package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Map is parley map over numbers, one a line, and workers that send each one's square and then say that it is
// done, every step of it on disk. The answers are checked: each is there, in its place.
type Map struct {
	Lines    int64
	Workers  int // each on a connection of its own
	Prefetch int // jobs each holds at once
	Window   int // lines on their way
}

func (m Map) check() error {
	if m.Lines < 1 || m.Workers < 1 || m.Prefetch < 1 || m.Prefetch > 256 || m.Window < 1 {
		return errors.New("map needs lines, workers, 1 to 256 jobs a worker, and a window")
	}
	if m.Lines > keptJobs {
		return fmt.Errorf("a room keeps %d answers: not more lines than that", keptJobs)
	}
	return nil
}

func (Map) peer(string, string) []string { return nil }

// Map runs a map, and beside it as many sessions that ask as it has lines on their way: what an answer costs
// that nobody stores. It prints both and the ratio.
func (s *Setup) Map(ctx context.Context, m Map) error {
	mapped, err := s.rows(ctx, m)
	if err != nil {
		return err
	}
	asked, err := s.rows(ctx, Ask{Askers: min(m.Window, maxAskers), Servers: 1, For: DefaultFor})
	if err != nil {
		return err
	}
	mapped[0].Peer, asked[0].Peer = "map", "ask"
	asked[0].Figures = []Figure{
		{"answers_per_s", "answers/s", asked[0].value("asks_per_s")},
		{"cpu_s_per_1m", "CPU-s/1M", asked[0].value("cpu_s_per_1m")},
	}
	rows := append(mapped, asked...)
	return s.print(append(rows, ratios(rows)...))
}

// maxAskers bounds the sessions that ask: more do not ask faster.
const maxAskers = 256

func (m Map) run(ctx context.Context, t *target) (Row, error) {
	r := &mapRun{Map: m, target: t, room: roomName(runName(), 0)}
	conns, err := dialAll(ctx, t.addr, m.Workers, t.say, func(_ int, c net.Conn) error { return helloJSON(c) })
	if err != nil {
		return Row{}, fmt.Errorf("make workers: %w", err)
	}
	defer closeAll(conns)
	before, err := t.mark(r.counts)
	if err != nil {
		return Row{}, err
	}
	t.say("mapping %d lines", m.Lines)
	g, gctx := errgroup.WithContext(ctx)
	working, finish := context.WithCancel(gctx)
	defer finish()
	for _, c := range conns {
		g.Go(func() error { return r.work(working, c) })
	}
	var s stretch
	g.Go(func() error {
		defer finish()
		err := r.mapLines(gctx)
		after, markErr := t.mark(r.counts)
		s = after.since(before)
		return errors.Join(err, markErr)
	})
	if err := g.Wait(); err != nil {
		return Row{}, err
	}
	row := Row{Load: "map", Params: []Param{
		{"lines", m.Lines}, {"workers", m.Workers}, {"prefetch", m.Prefetch}, {"window", m.Window},
	}}
	row.figure("answers_per_s", "answers/s", s.rate())
	row.cost(t, "cpu_s_per_1m", "CPU-s/1M", s)
	return row, nil
}

// mapRun is a map under way.
type mapRun struct {
	Map
	target *target
	room   string
	lines  atomic.Int64 // answers that came out
}

func (r *mapRun) counts() (int64, int64) { return r.lines.Load(), 0 }

// mapLines runs parley map, and checks what it prints.
func (r *mapRun) mapLines(ctx context.Context) error {
	runtime.LockOSThread() // the kernel takes the end of the thread that made a child for the end of its parent
	defer runtime.UnlockOSThread()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := exec.CommandContext(ctx, r.target.setup.Executable, "map", r.room,
		"--server", r.target.addr, "--quiet", "--window", strconv.Itoa(r.Window))
	cmd.Env = foreignEnv(cmd.Environ())
	cmd.WaitDelay = time.Second
	cmd.SysProcAttr = child()
	var said bytes.Buffer
	cmd.Stderr = &said
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start parley map: %w", err)
	}
	var g errgroup.Group
	g.Go(func() error { return r.write(in) })
	err = r.read(out)
	if err != nil {
		cancel() // or the writer would wait for what nobody reads
	}
	err = errors.Join(err, g.Wait())
	if ended := cmd.Wait(); ended != nil {
		return errors.Join(err, fmt.Errorf("parley map: %w: %s", ended, said.Bytes()))
	}
	return err
}

func (r *mapRun) write(in io.WriteCloser) error {
	w := bufio.NewWriter(in)
	for n := range r.Lines {
		if _, err := fmt.Fprintln(w, n); err != nil {
			return err
		}
	}
	return errors.Join(w.Flush(), in.Close())
}

func (r *mapRun) read(out io.Reader) error {
	lines := bufio.NewScanner(out)
	for n := int64(0); lines.Scan(); n++ {
		if want := strconv.FormatInt(n*n, 10); lines.Text() != want {
			return fmt.Errorf("answer %d is %q, want %s", n, lines.Text(), want)
		}
		r.lines.Add(1)
	}
	if got := r.lines.Load(); got < r.Lines && lines.Err() == nil {
		return fmt.Errorf("%d of %d answers came", got, r.Lines)
	}
	return lines.Err()
}

var messageID = []byte(`"id":"`)

// work does jobs: it sends the answer, and when that is on disk says that the job is done.
func (r *mapRun) work(ctx context.Context, c net.Conn) error {
	if _, err := fmt.Fprintf(c, `{"op":"take","room":%q,"group":"map","prefetch":%d}`+"\n", r.room, r.Prefetch); err != nil {
		return err
	}
	// What the ref of a send is the index of is the job that it answers.
	jobs, free := make([][]byte, r.Prefetch), make([]int, 0, r.Prefetch)
	for i := range jobs {
		free = append(free, i)
	}
	var out []byte
	return eachLine(ctx, c, func(line []byte) error {
		out = out[:0]
		switch {
		case bytes.HasPrefix(line, jobOp):
			n, ok := numberAfter(line, jobBody)
			if !ok || len(free) == 0 {
				return unexpected(line)
			}
			i := free[len(free)-1]
			free = free[:len(free)-1]
			jobs[i] = append(jobs[i][:0], between(line, jobName)...)
			out = fmt.Appendf(out, `{"op":"send","room":"%s.answers","id":"%s","body":"%d","ref":%d}`+"\n", r.room, between(line, messageID), n*n, i)
		case bytes.HasPrefix(line, ackOp):
			i, ok := numberAfter(line, refKey)
			if !ok {
				return nil // of a done
			}
			if i >= int64(len(jobs)) {
				return unexpected(line)
			}
			out = fmt.Appendf(out, `{"op":"done","room":"%s","job":"%s"}`+"\n", r.room, jobs[i])
			free = append(free, int(i))
		case bytes.HasPrefix(line, takingOp):
			return nil
		default:
			return unexpected(line)
		}
		_, err := c.Write(out)
		return err
	})
}
