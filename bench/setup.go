package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Setup says what the loads drive and where their figures go.
type Setup struct {
	Executable string   // the program that runs "serve" and the peers; it is this one as a rule
	Addr       string   // a parley server that runs already; "" = start one
	PID        int      // its process, for CPU time and memory; 0 = these figures are left out
	Dir        string   // where data directories are made; "" = the system's temporary directory
	Against    []string // peers: nats, write

	// Patience is how long nothing may move before what is missing counts as lost; 0 = 5 s.
	Patience time.Duration

	Out      io.Writer // tables, or JSON objects
	Progress io.Writer // what goes on meanwhile
	JSON     bool
}

// The names of what a load runs against.
const (
	Parley = "parley"
	NATS   = "nats"
	Write  = "write"
)

// Load is one kind of work, one of this package's. Its fields are its parameters; run does not change them.
type Load interface {
	check() error
	// peer gives the arguments that make the executable a peer for this load, keeping its data
	// in dir; none: the load has no such peer.
	peer(name, dir string) (argv []string)
	run(ctx context.Context, t *target) (Row, error)
}

// Run runs a load against a parley server and the peers, one after the other, and prints a row of
// figures for each, and the ratios.
func (s *Setup) Run(ctx context.Context, l Load) error {
	rows, err := s.rows(ctx, l)
	if err != nil {
		return err
	}
	return s.print(append(rows, ratios(rows)...))
}

func (s *Setup) rows(ctx context.Context, l Load) ([]Row, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	for _, name := range s.Against {
		if l.peer(name, "") == nil {
			return nil, fmt.Errorf("%q is no peer for this load", name)
		}
	}
	var rows []Row
	for _, name := range append([]string{Parley}, s.Against...) {
		row, err := s.row(ctx, name, l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		row.Peer = name
		rows = append(rows, row)
	}
	return rows, nil
}

func (s *Setup) row(ctx context.Context, name string, l Load) (row Row, err error) {
	t, err := s.start(ctx, name, l)
	if err != nil {
		return Row{}, err
	}
	defer func() { err = errors.Join(err, t.stop()) }()
	row, err = l.run(ctx, t)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return row, cause
	}
	if err != nil && t.proc != nil {
		err = t.proc.explain(err)
	}
	return row, err
}

// target is a server under load.
type target struct {
	setup *Setup
	name  string
	addr  string
	web   string   // where it answers HTTP; "" = nowhere
	pid   int      // 0 = unknown
	proc  *process // nil = it was there before us, and stays
	argv  []string

	overHTTP bool   // it is started so
	dir      string // its data; removed at the end
}

// configurer is a load that has a configuration file for its server, written to a directory.
type configurer interface {
	configure(dir string) (file string, err error)
}

func (s *Setup) start(ctx context.Context, name string, l Load) (*target, error) {
	h, ok := l.(interface{ overHTTP() bool })
	overHTTP := ok && h.overHTTP()
	if name == Parley && s.Addr != "" {
		if overHTTP {
			return nil, errors.New("this transport cannot run against --addr, which is one for TCP")
		}
		return &target{setup: s, name: name, addr: s.Addr, pid: s.PID}, nil
	}
	dir, err := os.MkdirTemp(s.Dir, "parley-bench-")
	if err != nil {
		return nil, err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return nil, err
	}
	t := &target{setup: s, name: name, dir: dir}
	t.argv = append([]string{s.Executable}, l.peer(name, dir)...)
	if name == Parley {
		t.overHTTP = overHTTP
		http := ""
		if overHTTP {
			http = "127.0.0.1:0"
		}
		t.argv = append(t.argv, "serve", "--data", dir, "--tcp", "127.0.0.1:0", "--http", http)
	}
	if c, ok := l.(configurer); ok {
		file, err := c.configure(dir)
		if err != nil {
			return nil, errors.Join(err, os.RemoveAll(dir))
		}
		t.argv = append(t.argv, "--config", file)
	}
	if err := t.begin(ctx); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return t, nil
}

func (t *target) begin(ctx context.Context) error {
	proc, err := startProcess(ctx, t.dir, t.overHTTP, t.argv...)
	if err != nil {
		return err
	}
	t.proc, t.addr, t.web, t.pid = proc, proc.at.tcp, proc.at.http, proc.cmd.Process.Pid
	return nil
}

// restart stops the server and starts it again with the data it has.
func (t *target) restart(ctx context.Context) error {
	if t.proc == nil {
		return errors.New("this load restarts its server, so it cannot run against --addr")
	}
	if err := t.proc.stop(); err != nil {
		return err
	}
	return t.begin(ctx)
}

// renew stops the server, empties its data directory, and starts it again.
func (t *target) renew(ctx context.Context) error {
	if err := t.proc.stop(); err != nil {
		return err
	}
	if err := os.RemoveAll(t.dir); err != nil {
		return err
	}
	if err := os.Mkdir(t.dir, 0o700); err != nil {
		return err
	}
	return t.begin(ctx)
}

func (t *target) stop() error {
	if t.proc == nil {
		return nil
	}
	return errors.Join(t.proc.stop(), os.RemoveAll(t.dir))
}

// lost says whether nothing has moved for so long that what is missing will not come.
func (t *target) lost(moved time.Time) bool {
	return time.Since(moved) > cmp.Or(t.setup.Patience, 5*time.Second)
}

// say tells on the progress stream what goes on.
func (t *target) say(format string, args ...any) {
	if t.setup.Progress != nil {
		_, _ = fmt.Fprintf(t.setup.Progress, "%s: %s\n", t.name, fmt.Sprintf(format, args...))
	}
}

// mark is a moment of a load: what was counted, and the server's CPU time until then.
type mark struct {
	at    time.Time
	cpu   time.Duration
	count int64
	bytes int64
}

func (t *target) mark(count func() (n, bytes int64)) (m mark, err error) {
	if t.pid != 0 {
		if m.cpu, err = cpuTime(t.pid); err != nil {
			return m, err
		}
	}
	m.at = time.Now()
	m.count, m.bytes = count()
	return m, nil
}

// since gives what happened between two marks.
func (m mark) since(before mark) stretch {
	return stretch{
		took:  m.at.Sub(before.at),
		cpu:   m.cpu - before.cpu,
		count: m.count - before.count,
		bytes: m.bytes - before.bytes,
	}
}

// stretch is what happened between two marks.
type stretch struct {
	took, cpu    time.Duration
	count, bytes int64
}

func (s stretch) rate() float64 { return float64(s.count) / s.took.Seconds() }

// cpuPerMillion gives CPU-seconds for a million of what was counted.
func (s stretch) cpuPerMillion() float64 { return s.cpu.Seconds() / float64(s.count) * 1e6 }

// sleep waits for d, or for the end of ctx, which is an error.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
