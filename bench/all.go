package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"text/tabwriter"
	"time"
)

// goal is one figure that Parley is held against.
type goal struct {
	name   string
	load   Load
	beside Load     // the same load by another way, which aims may compare with; nil = none
	peers  []string // of those asked for, the ones that have this load
	aims   []aim
}

// aim is a bound for a figure.
type aim struct {
	key     string
	bound   float64
	atLeast bool // bound is the least; else the most
	ratio   bool // the figure is divided by that of the load beside
}

func (a aim) met(value float64) bool {
	if a.atLeast {
		return value >= a.bound
	}
	return value <= a.bound
}

func (a aim) String() string {
	if a.atLeast {
		return "≥ " + human(a.bound)
	}
	return "≤ " + human(a.bound)
}

// Defaults that the commands and the table of goals share.
const (
	DefaultSize    = 128
	DefaultWarmUp  = time.Second
	DefaultFor     = 5 * time.Second
	DefaultSamples = 20
)

// goals is the table. length is the measured window of each.
func goals(length time.Duration) []goal {
	fan := func(receivers, senders, inflight, rate int, aims ...aim) goal {
		name := fmt.Sprintf("fan-out %d × %d × %d", receivers, senders, inflight)
		f := Fanout{
			Receivers: receivers, Senders: senders, Inflight: inflight, Rate: rate,
			Size: DefaultSize, Encoding: "text", Samples: DefaultSamples, WarmUp: DefaultWarmUp, For: length,
		}
		if rate > 0 {
			name, f.Samples = fmt.Sprintf("fan-out %d at %d/s", receivers, rate), 100
		}
		return goal{name: name, load: f, peers: []string{NATS, Write}, aims: aims}
	}
	pub := func(name string, sessions int, aims ...aim) goal {
		return goal{name: name, peers: []string{NATS}, aims: aims, load: Publish{
			Sessions: sessions, Inflight: 1, Rooms: 1, Size: DefaultSize, WarmUp: DefaultWarmUp, For: length,
		}}
	}
	core := []goal{
		fan(1000, 10, 256, 0, aim{key: "cpu_s_per_1m", bound: 0.12}),
		fan(5000, 1, 256, 0, aim{key: "cpu_s_per_1m", bound: 0.10}),
		fan(1000, 10, 10, 0, aim{key: "cpu_s_per_1m", bound: 1.6}),
		fan(1000, 10, 256, 100, aim{key: "cpu_s_per_1m", bound: 10}, aim{key: "p99_ms", bound: 12}),
		pub("publish, 100 sessions", 100, aim{key: "acks_per_s", bound: 30_000, atLeast: true}, aim{key: "p99_ms", bound: 8}),
		pub("publish, one session", 1, aim{key: "p50_ms", bound: 0.6}),
		{
			name: "idle, 10000 connections", load: Idle{Connections: 10_000, Encoding: "text", Settle: 30 * time.Second},
			peers: []string{NATS}, aims: []aim{{key: "bytes_each", bound: 5000}},
		},
		{
			name: "resume, the last 50", aims: []aim{{key: "cpu_us_per_join", bound: 150}},
			load: Resume{Joins: 2000, Last: 50, Connections: 50, Messages: 1000, Size: DefaultSize},
		},
		{
			name: "start, empty", aims: []aim{{key: "median_ms", bound: 100}},
			load: Start{Rooms: 1, Size: DefaultSize, Times: 5},
		},
		{
			name: "start, 1M messages", aims: []aim{{key: "median_ms", bound: 2000}},
			load: Start{Messages: 1_000_000, Rooms: 100, Size: DefaultSize, Times: 3},
		},
	}
	return append(core, webGoals(core)...)
}

// webGoals are the rows of the web: what a delivery by WebSocket costs more than one by TCP in each
// fan-out of the core's table, what compressing costs more than not to, and what connections cost.
func webGoals(core []goal) []goal {
	var goals []goal
	beside := func(name string, this, other Fanout, bound float64) {
		goals = append(goals, goal{
			name: name, load: this, beside: other, aims: []aim{{key: "cpu_s_per_1m", bound: bound, ratio: true}},
		})
	}
	var busiest Fanout
	for _, g := range core {
		f, ok := g.load.(Fanout)
		if !ok {
			continue
		}
		if busiest.Receivers == 0 {
			busiest = f
		}
		lines, frames := f, f
		lines.Encoding, frames.Encoding = "json", "json"
		lines.Transport, frames.Transport = TCP, WebSocket
		beside(g.name+", ws beside tcp", frames, lines, 1.3)
	}
	plain := busiest
	plain.Transport, plain.Encoding, plain.Size = WebSocket, "json", 1024
	packed := plain
	packed.Compress = true
	beside("fan-out of 1 KB, compressed beside not", packed, plain, 1.5)
	for _, transport := range []string{WebSocket, SSE} {
		goals = append(goals, goal{
			name: "idle, 10000 by " + transport, aims: []aim{{key: "bytes_each", bound: 5000}},
			load: Idle{Connections: 10_000, Encoding: "json", Settle: 30 * time.Second, Transport: transport},
		})
	}
	return append(goals,
		goal{
			name: "join and leave by ws", aims: []aim{{key: "cpu_us_per_join", bound: 120}},
			load: Join{Joins: 20_000, Clients: 50, Transport: WebSocket},
		},
		goal{
			name: "storm of 5000 by ws", aims: []aim{{key: "seconds", bound: 5}},
			load: Storm{Clients: 5000, Missed: 100, Size: DefaultSize, Transport: WebSocket},
		},
	)
}

// All runs the loads of the table of goals one after the other, each with a measured window of
// length, and prints what was reached beside what it is held against. A load that fails is told,
// and the others go on.
func (s *Setup) All(ctx context.Context, length time.Duration) error {
	if s.Addr != "" {
		return errors.New("the table of goals runs against servers that it starts itself")
	}
	return s.all(ctx, goals(length))
}

func (s *Setup) all(ctx context.Context, table []goal) error {
	var failed []error
	var done []reached
	for _, g := range table {
		if s.Progress != nil {
			_, _ = fmt.Fprintf(s.Progress, "\n%s\n", g.name)
		}
		one := *s
		one.Against = nil
		for _, peer := range s.Against {
			if slices.Contains(g.peers, peer) {
				one.Against = append(one.Against, peer)
			}
		}
		rows, err := one.goalRows(ctx, g)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("%s: %w", g.name, err))
			continue
		}
		if s.JSON {
			err = s.print(append(rows, ratios(rows)...))
		}
		if err != nil {
			return err
		}
		done = append(done, reached{g, rows})
	}
	if !s.JSON {
		if err := s.printReached(done); err != nil {
			return err
		}
	}
	return errors.Join(failed...)
}

// goalRows runs a goal's load; the row of the load beside it is the second.
func (s *Setup) goalRows(ctx context.Context, g goal) ([]Row, error) {
	rows, err := s.rows(ctx, g.load)
	if err != nil || g.beside == nil {
		return rows, err
	}
	other, err := s.rows(ctx, g.beside)
	if err != nil {
		return nil, err
	}
	rows[0].Peer, other[0].Peer = byWay(g.load), byWay(g.beside)
	return append(rows[:1:1], other[0]), nil
}

// byWay names Parley by the way that a load takes to it.
func byWay(l Load) string {
	if l, ok := l.(interface{ way() way }); ok {
		return Parley + " by " + l.way().String()
	}
	return Parley
}

// reached is what a goal's load gave.
type reached struct {
	goal
	rows []Row
}

// figure gives what an aim is about: its name and what was reached.
func (r *reached) figure(a aim) (title string, value float64) {
	title, value = r.rows[0].title(a.key), r.rows[0].value(a.key)
	if a.ratio {
		title, value = title+", ratio", value/r.rows[1].value(a.key)
	}
	return title, value
}

// printReached prints a line for each figure that has an aim, then all figures.
func (s *Setup) printReached(all []reached) error {
	w := tabwriter.NewWriter(s.Out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(w, "load\tfigure\treach\tparley\t")
	for _, peer := range s.Against {
		_, _ = fmt.Fprintf(w, "\t%s", peer)
	}
	_, _ = fmt.Fprintln(w)
	for _, g := range all {
		for _, a := range g.aims {
			title, value := g.figure(a)
			verdict := "missed"
			if a.met(value) {
				verdict = "ok"
			}
			_, _ = fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s", g.name, title, a, human(value), verdict)
			for _, peer := range s.Against {
				of := math.NaN()
				for _, r := range g.rows[1:] {
					if r.Peer == peer {
						of = r.value(a.key)
					}
				}
				_, _ = fmt.Fprintf(w, "\t%s", human(of))
			}
			_, _ = fmt.Fprintln(w)
		}
	}
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print the table: %w", err)
	}
	for _, g := range all {
		_, _ = fmt.Fprintln(s.Out)
		if err := s.print(append(g.rows, ratios(g.rows)...)); err != nil {
			return err
		}
	}
	return nil
}
