package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sync/errgroup"
)

// Ask is sessions that ask, one question after the other, and sessions that answer.
type Ask struct {
	Askers  int
	Servers int // that serve the room: each gets every question, and the first answer counts
	For     time.Duration
}

func (a Ask) check() error {
	if a.Askers < 1 || a.Servers < 1 || a.For <= 0 {
		return errors.New("ask needs sessions that ask, sessions that answer, and time")
	}
	return nil
}

func (Ask) peer(string, string) []string { return nil }

func (a Ask) run(ctx context.Context, t *target) (Row, error) {
	conns, err := dialAll(ctx, t.addr, a.Servers+a.Askers, t.say, func(_ int, c net.Conn) error { return helloJSON(c) })
	if err != nil {
		return Row{}, err
	}
	defer closeAll(conns)
	room, clock := roomName(runName(), 0), newClock()
	g, gctx := errgroup.WithContext(ctx)
	asking, stop := context.WithTimeout(gctx, a.For)
	defer stop()
	for _, c := range conns[:a.Servers] {
		if err := serveJSON(c, room); err != nil {
			return Row{}, err
		}
		g.Go(func() error { return answerAll(asking, c, room) })
	}
	var asked atomic.Int64
	counts := func() (int64, int64) { return asked.Load(), 0 }
	before, err := t.mark(counts)
	if err != nil {
		return Row{}, err
	}
	latencies := make([]*hdrhistogram.Histogram, a.Askers)
	for i, c := range conns[a.Servers:] {
		latencies[i] = newHistogram()
		g.Go(func() error { return askAll(asking, c, room, clock, latencies[i], &asked) })
	}
	err = g.Wait()
	after, markErr := t.mark(counts)
	if err = errors.Join(err, markErr); err != nil {
		return Row{}, err
	}
	s := after.since(before)
	row := Row{Load: "ask", Params: []Param{{"askers", a.Askers}, {"servers", a.Servers}, {"seconds", a.For.Seconds()}}}
	row.figure("asks_per_s", "asks/s", s.rate())
	row.cost(t, "cpu_s_per_1m", "CPU-s/1M", s)
	all := newHistogram()
	for _, h := range latencies {
		all.Merge(h)
	}
	row.latency(all)
	return row, nil
}

func serveJSON(c net.Conn, room string) error {
	if _, err := fmt.Fprintf(c, `{"op":"serve","room":%q}`+"\n", room); err != nil {
		return err
	}
	_, err := await(c, `"op":"serving"`)
	return err
}

// eachLine calls do with each line that comes, until ctx ends.
func eachLine(ctx context.Context, c net.Conn, do func(line []byte) error) error {
	if err := c.SetDeadline(time.Time{}); err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Now()) })()
	in := bufio.NewReaderSize(c, 64<<10)
	for {
		line, err := in.ReadSlice('\n')
		if err == nil {
			err = do(line)
		}
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func answerAll(ctx context.Context, c net.Conn, room string) error {
	var out []byte
	return eachLine(ctx, c, func(line []byte) error {
		if !bytes.HasPrefix(line, []byte(`{"op":"question"`)) {
			return nil // an answer that was not needed any more
		}
		out = append(append(out[:0], `{"op":"answer","room":"`...), room...)
		out = append(append(out, `","question":"`...), between(line, []byte(`"question":"`))...)
		_, err := c.Write(append(out, `","body":"yes"}`+"\n"...))
		return err
	})
}

func askAll(ctx context.Context, c net.Conn, room string, clock clock, latency *hdrhistogram.Histogram, asked *atomic.Int64) error {
	question := []byte(fmt.Sprintf(`{"op":"ask","room":%q,"body":"what?","ref":1}`+"\n", room))
	began := clock.now()
	if _, err := c.Write(question); err != nil {
		return err
	}
	return eachLine(ctx, c, func(line []byte) error {
		switch {
		case bytes.HasPrefix(line, []byte(`{"op":"answer"`)) && !bytes.HasPrefix(line, []byte(`{"op":"answered"`)):
			record(latency, clock.now()-began)
			return nil
		case !bytes.HasPrefix(line, []byte(`{"op":"answered"`)):
			return unexpected(line)
		}
		asked.Add(1)
		began = clock.now()
		_, err := c.Write(question)
		return err
	})
}
