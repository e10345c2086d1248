package bench_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley/bench"
	"parley/server"
)

// whole runs a real server, for the loads that need more than a scripted one.
func whole(dir string) func(context.Context, io.Writer) error {
	return func(ctx context.Context, stderr io.Writer) error {
		c := server.Default()
		c.Data, c.TCP, c.HTTP = dir, "127.0.0.1:0", "127.0.0.1:0"
		if cert := filepath.Join(dir, "cert.pem"); exists(cert) { // of a load over TLS
			c.TLS = server.TLS{Cert: cert, Key: filepath.Join(dir, "key.pem")}
		}
		return server.Run(ctx, c, server.Options{
			Logger: slog.New(slog.DiscardHandler),
			Ready:  func(a server.Addresses) { _, _ = fmt.Fprintf(stderr, "tcp  %s\nhttp %s\n", a.TCP, a.HTTP) },
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func TestFanoutOverHTTP(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*bench.Fanout){
		"ws":       func(f *bench.Fanout) { f.Transport = bench.WebSocket },
		"sse":      func(f *bench.Fanout) { f.Transport = bench.SSE },
		"compress": func(f *bench.Fanout) { f.Transport, f.Compress, f.Size = bench.WebSocket, true, 1024 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := tinyFanout()
			f.WarmUp, f.For = 2*short, 5*short
			change(&f)
			check(t, rows(t, f), []string{"parley"}, "deliveries_per_s", "cpu_s_per_1m", "mb_per_s", "p50_ms")
		})
	}
}

func TestIdleOverHTTP(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{bench.WebSocket, bench.SSE} {
		i := bench.Idle{Connections: 20, Settle: short, Transport: transport}
		check(t, rows(t, i), []string{"parley"}, "rss_before_mb", "rss_after_mb")
	}
}

func TestIdleOverTLS(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{bench.WebSocket, bench.SSE} {
		i := bench.IdleTLS{Idle: bench.Idle{Connections: 20, Settle: short, Transport: transport}}
		check(t, rows(t, i), []string{"parley"}, "rss_before_mb", "rss_after_mb")
	}
}

func TestJoin(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{bench.TCP, bench.WebSocket} {
		j := bench.Join{Joins: 30, Clients: 4, Transport: transport}
		check(t, rows(t, j), []string{"parley"}, "joins_per_s", "cpu_us_per_join", "p99_ms")
	}
}

func TestStorm(t *testing.T) {
	t.Parallel()
	s := bench.Storm{Clients: 20, Missed: 30, Size: 20, Transport: bench.WebSocket}
	check(t, rows(t, s), []string{"parley"}, "seconds", "cpu_s", "p99_ms")
}

func TestStormThatLosesOne(t *testing.T) {
	t.Parallel()
	s := bench.Setup{Addr: run(t, &scripted{faults: faults{swap: 20}}), Out: io.Discard, Patience: time.Second}
	err := s.Run(t.Context(), bench.Storm{Clients: 2, Missed: 30, Size: 20})
	if err == nil || !strings.Contains(err.Error(), "does not follow on seq 19") {
		t.Errorf("got %v", err)
	}
}

func TestFramesInPieces(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 300)
	stream := "\x81\x02hi\x89\x01p\x81\x00\x81\x7e\x01\x2c" + long + "\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x03end"
	for size := 1; size <= len(stream); size++ {
		var pieces []string
		for rest := stream; rest != ""; rest = rest[min(size, len(rest)):] {
			pieces = append(pieces, rest[:min(size, len(rest))])
		}
		if d := cmp.Diff([]string{"hi", "", long, "end"}, bench.CutFrames(pieces...)); d != "" {
			t.Fatalf("in pieces of %d (-want +got):\n%s", size, d)
		}
	}
}

func TestEventsInPieces(t *testing.T) {
	t.Parallel()
	stream := ":\n\nid: 1\nevent: message\ndata: {}\n\nevent: gap\ndata: {}\n\nid: 2\nevent: message\ndata: {}\n\n"
	for size := 1; size <= len(stream); size++ {
		var pieces []string
		for rest := stream; rest != ""; rest = rest[min(size, len(rest)):] {
			pieces = append(pieces, rest[:min(size, len(rest))])
		}
		if n := bench.CountEvents(pieces...); n != 2 {
			t.Fatalf("in pieces of %d: %d messages", size, n)
		}
	}
}
