package bench_test

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley/bench"
)

// TestMain makes of the test's binary the servers that loads start: it is their Executable.
func TestMain(m *testing.M) {
	serve := subprocess(os.Args[1:])
	if serve == nil {
		_ = os.Setenv("GORACE", "atexit_sleep_ms=0") // of the servers: each would wait a second
		os.Exit(m.Run())
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := serve(ctx, os.Stderr)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// subprocess is what the arguments of a subprocess ask for; nil for those of a test.
func subprocess(args []string) func(context.Context, io.Writer) error {
	switch {
	case len(args) > 0 && args[0] == "serve":
		flags := flag.NewFlagSet("serve", flag.ExitOnError)
		data, http := flags.String("data", "", ""), flags.String("http", "", "")
		_, _ = flags.String("tcp", "", ""), flags.String("config", "", "")
		_ = flags.Parse(args[1:])
		if *http != "" {
			return whole(*data)
		}
		return new(scripted).serve
	case len(args) < 2 || args[0] != "bench":
		return nil
	}
	flags := flag.NewFlagSet(args[1], flag.ExitOnError)
	dir, chunk := flags.String("jetstream", "", ""), flags.Int("chunk", 0, "")
	a := new(bench.Attacker)
	flags.StringVar(&a.Kind, "kind", "", "")
	flags.StringVar(&a.TCP, "tcp", "", "")
	flags.StringVar(&a.HTTP, "http", "", "")
	flags.StringVar(&a.Room, "room", "", "")
	_ = flags.Parse(args[2:])
	if args[1] == "attacker" {
		return a.Serve
	}
	if args[1] == "nats-server" {
		return (&bench.NATSServer{Dir: *dir}).Serve
	}
	return (&bench.WriteServer{Chunk: *chunk}).Serve
}

// rows runs a load against servers it starts and gives its rows.
func rows(t *testing.T, l bench.Load, against ...string) []map[string]any {
	t.Helper()
	var out bytes.Buffer
	s := bench.Setup{Executable: os.Args[0], Dir: t.TempDir(), Against: against, Out: &out, JSON: true}
	if err := s.Run(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) > 0 {
		t.Errorf("data directories are left: %v %v", left, err)
	}
	var rows []map[string]any
	for d := json.NewDecoder(&out); d.More(); {
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	return rows
}

// check looks for the peers of rows, and for figures that are above zero in each that is no ratio.
func check(t *testing.T, rows []map[string]any, peers []string, figures ...string) {
	t.Helper()
	var got []string
	for _, row := range rows {
		peer := row["peer"].(string)
		got = append(got, peer)
		for _, key := range figures {
			if v, ok := row[key].(float64); !strings.Contains(peer, "÷") && (!ok || v <= 0) {
				t.Errorf("%s has %s = %v", peer, key, row[key])
			}
		}
	}
	if d := cmp.Diff(peers, got); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

const short = 100 * time.Millisecond

// Every attack runs, and the honest pair loses nothing.
func TestAttacks(t *testing.T) {
	var out bytes.Buffer
	s := bench.Setup{Executable: os.Args[0], Dir: t.TempDir(), Out: &out, JSON: true, Patience: time.Minute}
	a := bench.Attack{Rate: 50, Size: 32, For: 2 * short, Settle: short}
	if err := s.Attack(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	var got []string
	for d := json.NewDecoder(&out); d.More(); {
		var row map[string]any
		if err := d.Decode(&row); err != nil {
			t.Fatal(err)
		}
		got = append(got, row["peer"].(string))
		for _, key := range []string{"quiet_p99_ms", "p99_ms", "ratio", "attempts_per_s"} {
			if v, ok := row[key].(float64); !ok || v <= 0 {
				t.Errorf("%s has %s = %v", row["peer"], key, row[key])
			}
		}
	}
	if d := cmp.Diff(bench.AttackKinds(), got); d != "" {
		t.Errorf("attacks (-want +got):\n%s", d)
	}
	a.Kinds = []string{"kindness"}
	if err := s.Attack(t.Context(), a); err == nil {
		t.Error("an attack that is none")
	}
}

func tinyFanout() bench.Fanout {
	return bench.Fanout{Receivers: 8, Senders: 3, Inflight: 10, Size: 32, Samples: 4, WarmUp: short / 4, For: short}
}

func TestFanout(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bench.Fanout){
		"text":            func(f *bench.Fanout) { f.Encoding = "text" },
		"json":            func(f *bench.Fanout) { f.Encoding = "json" },
		"paced":           func(f *bench.Fanout) { f.Rate = 200 },
		"one in flight":   func(f *bench.Fanout) { f.Inflight = 1 },
		"one receiver":    func(f *bench.Fanout) { f.Receivers = 1 },
		"all are sampled": func(f *bench.Fanout) { f.Samples = 100 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tinyFanout()
			change(&f)
			got := rows(t, f, bench.NATS, bench.Write)
			check(t, got, []string{"parley", "nats", "write", "parley ÷ nats", "parley ÷ write"},
				"deliveries_per_s", "messages_per_s", "cpu_s_per_1m", "mb_per_s")
		})
	}
}

func TestPublish(t *testing.T) {
	t.Parallel()
	for name, p := range map[string]bench.Publish{
		"lone":             {Sessions: 1, Inflight: 1, Rooms: 1},
		"many":             {Sessions: 5, Inflight: 7, Rooms: 3},
		"ids":              {Sessions: 3, Inflight: 2, Rooms: 2, IDs: true},
		"more rooms":       {Sessions: 2, Inflight: 1, Rooms: 50},
		"most in flight":   {Sessions: 1, Inflight: 900, Rooms: 1, Total: 900},
		"of so many sends": {Sessions: 4, Inflight: 3, Rooms: 2, Total: 101},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p.Size, p.WarmUp, p.For = 20, short/4, short
			check(t, rows(t, p, bench.NATS), []string{"parley", "nats", "parley ÷ nats"}, "acks_per_s", "cpu_s_per_1m")
		})
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	r := bench.Resume{Joins: 40, Last: 5, Connections: 4, Messages: 20, Size: 20}
	check(t, rows(t, r), []string{"parley"}, "joins_per_s", "cpu_us_per_join", "p99_ms")
}

func TestIdle(t *testing.T) {
	t.Parallel()
	for _, encoding := range []string{"text", "json"} {
		i := bench.Idle{Connections: 20, Encoding: encoding, Settle: short}
		check(t, rows(t, i, bench.NATS), []string{"parley", "nats", "parley ÷ nats"}, "rss_before_mb", "rss_after_mb")
	}
}

func TestStart(t *testing.T) {
	t.Parallel()
	for _, messages := range []int64{0, 100} {
		s := bench.Start{Messages: messages, Rooms: 3, Size: 20, Times: 2}
		check(t, rows(t, s), []string{"parley"}, "median_ms", "min_ms", "max_ms")
	}
}

func TestAll(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	s := bench.Setup{Executable: os.Args[0], Dir: t.TempDir(), Against: []string{bench.NATS, bench.Write}, Out: &out}
	p := bench.Publish{Sessions: 2, Inflight: 2, Rooms: 1, Size: 20, For: short}
	if err := s.AllOf(t.Context(), p, "acks_per_s"); err != nil {
		t.Fatal(err)
	}
	table, _, _ := strings.Cut(out.String(), "\n\n")
	lines := strings.Split(table, "\n")
	if len(lines) != 4 || !strings.Contains(lines[1], " ok ") || !strings.Contains(lines[2], " missed ") ||
		!strings.Contains(lines[3], ", ratio ") || !strings.Contains(lines[3], " ok") {
		t.Errorf("printed:\n%s", out.String())
	}
	if err := bench.CheckGoals(); err != nil {
		t.Error(err)
	}
	names := bench.GoalNames()
	for _, want := range []string{
		"publish, one session", "fan-out 5000 × 1 × 256, ws beside tcp", "fan-out 1000 at 100/s, ws beside tcp",
		"fan-out of 1 KB, compressed beside not", "idle, 10000 by sse", "join and leave by ws", "storm of 5000 by ws",
	} {
		if !slices.Contains(names, want) {
			t.Errorf("no goal %q among %q", want, names)
		}
	}
}

// TestWrong has a server that does wrong, and a load that finds it.
func TestWrong(t *testing.T) {
	t.Parallel()
	resume := bench.Resume{Joins: 2, Last: 5, Connections: 1, Messages: 10, Size: 20}
	cold := resume
	cold.Cold = true
	publish := bench.Publish{Sessions: 2, Inflight: 1, Rooms: 1, Size: 20, For: short}
	for name, c := range map[string]struct {
		server faults
		load   bench.Load
		want   string
	}{
		"a member misses a message": {faults{lose: 9}, tinyFanout(), "but the receivers got from"},
		"no acks, of a fan-out":     {faults{quiet: true}, tinyFanout(), "1 messages were sent and 0 acknowledged"},
		"no acks":                   {faults{quiet: true}, publish, "only 0 were acknowledged"},
		"sends are refused":         {faults{deny: true}, publish, `"code":"denied"`},
		"a replay has a hole":       {faults{swap: 8}, resume, "message 3 of a join does not follow on seq 7"},
		"no process to measure":     {faults{}, bench.Idle{Connections: 1}, "needs the server's process"},
		"no process to restart":     {faults{}, cold, "cannot run against --addr"},
		"no process to start":       {faults{}, bench.Start{Rooms: 1, Size: 20, Times: 1}, "cannot run against --addr"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := bench.Setup{Addr: run(t, &scripted{faults: c.server}), Out: io.Discard, Patience: short}
			if err := s.Run(t.Context(), c.load); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want ... %s ...", err, c.want)
			}
		})
	}
}

// run starts a scripted server that ends with the test, and gives its address.
func run(t *testing.T, s *scripted) string {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, w := io.Pipe()
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.serve(ctx, w); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	var addr string
	if _, err := fmt.Fscanf(r, "some log line\ntcp  %s\n", &addr); err != nil {
		t.Fatal(err)
	}
	return addr
}

func TestColdStartThatForgot(t *testing.T) {
	t.Parallel()
	s := bench.Setup{Executable: os.Args[0], Dir: t.TempDir(), Out: io.Discard}
	err := s.Run(t.Context(), bench.Resume{Joins: 3, Last: 5, Connections: 1, Messages: 5, Size: 20, Cold: true})
	if err == nil || !strings.Contains(err.Error(), "holds nothing") {
		t.Errorf("got %v", err)
	}
}

func TestParametersThatMakeNoSense(t *testing.T) {
	t.Parallel()
	noTime, noRoom, foreign := tinyFanout(), tinyFanout(), tinyFanout()
	noTime.For, noRoom.Size, foreign.Encoding = 0, 15, "xml"
	for want, l := range map[string]bench.Load{
		"needs time":               noTime,
		"has no room for a time":   noRoom,
		`no encoding "xml"`:        foreign,
		"1 to 900 sends in flight": bench.Publish{Sessions: 1, Inflight: 901, Rooms: 1, Size: 20, For: short},
		"the newest 50":            bench.Resume{Joins: 1, Last: 50, Connections: 1, Messages: 49, Size: 20},
		"1 to 19500 connections":   bench.Idle{Connections: 20_000},
		"a number of times":        bench.Start{Rooms: 1, Size: 20},
	} {
		s := bench.Setup{Executable: os.Args[0], Dir: t.TempDir(), Out: io.Discard}
		if err := s.Run(t.Context(), l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want ... %s ...", err, want)
		}
	}
}

func TestPeerThatALoadDoesNotHave(t *testing.T) {
	t.Parallel()
	publish := bench.Publish{Sessions: 1, Inflight: 1, Rooms: 1, Size: 20, For: short}
	for peer, l := range map[string]bench.Load{"redis": tinyFanout(), bench.Write: publish} {
		s := bench.Setup{Executable: os.Args[0], Dir: t.TempDir(), Against: []string{peer}, Out: io.Discard}
		if err := s.Run(t.Context(), l); err == nil || !strings.Contains(err.Error(), "is no peer for this load") {
			t.Errorf("%s: %v", peer, err)
		}
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	t.Parallel()
	s := bench.Setup{Executable: "/bin/false", Dir: t.TempDir(), Out: io.Discard}
	if err := s.Run(t.Context(), tinyFanout()); err == nil || !strings.Contains(err.Error(), "exit status 1") {
		t.Errorf("got %v", err)
	}
}

func TestInterruptedLoadLeavesNothing(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	s := bench.Setup{Executable: os.Args[0], Dir: t.TempDir(), Out: io.Discard, Progress: writer(func() { cancel() })}
	f := tinyFanout()
	f.For = time.Hour
	if err := s.Run(ctx, f); err == nil || !strings.Contains(err.Error(), context.Canceled.Error()) {
		t.Errorf("got %v", err)
	}
	if left, err := os.ReadDir(s.Dir); err != nil || len(left) > 0 {
		t.Errorf("data directories are left: %v %v", left, err)
	}
}

// writer calls a function at each write.
type writer func()

func (w writer) Write(p []byte) (int, error) { w(); return len(p), nil }

func TestLines(t *testing.T) {
	t.Parallel()
	for _, pieces := range [][]string{{"a\nbb\n\nc\nd"}, {"a", "\nb", "b\n\n", "c\n", "d"}, {"", "a\nb", "", "b", "\n", "\nc\n"}} {
		if d := cmp.Diff([]string{"a", "bb", "", "c"}, bench.Cut(pieces...)); d != "" {
			t.Errorf("%q (-want +got):\n%s", pieces, d)
		}
	}
}

func TestHumanNumbers(t *testing.T) {
	t.Parallel()
	for v, want := range map[float64]string{0: "0", 0.12345: "0.123", 1.5: "1.50", 42.25: "42.2", 999: "999", 1234.6: "1,235", 41_234_567: "41,234,567"} {
		if got := bench.Human(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
}
