package ask_test

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/ask"
	"parley/engine"
)

// clustered gives the desks of three nodes, over the buses of real engines.
func clustered(t testing.TB) (desks []*ask.Desk) {
	t.Helper()
	var join []string
	var held []net.Listener
	for range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held, join = append(held, l), append(join, l.Addr().String())
	}
	for _, l := range held {
		_ = l.Close()
	}
	nodes := make([]*engine.Engine, 3)
	var opening sync.WaitGroup
	for i := range nodes {
		opening.Go(func() {
			var err error
			nodes[i], err = engine.Open(t.Context(), engine.Config{
				Dir: t.TempDir(), Partitions: 1, MinFree: -1, Logger: slog.New(slog.DiscardHandler),
				Cluster: &engine.Cluster{Node: fmt.Sprint("n", i+1), Listen: join[i], Join: join},
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
	if t.Failed() {
		t.FailNow()
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running, closing sync.WaitGroup
	for _, n := range nodes {
		d := ask.NewAmong(n.Bus(), slog.New(slog.DiscardHandler))
		desks = append(desks, d)
		running.Go(func() {
			if err := d.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		running.Wait()
		for _, n := range nodes {
			closing.Go(func() { _ = n.Close() })
		}
		closing.Wait()
	})
	return desks
}

// echo serves a room with its questions' own bodies.
func echo(t testing.TB, d *ask.Desk, room string) *ask.Responder {
	questions := make(chan *parley.Question, 1024)
	r, err := d.Serve(room, func() {}, func(q *parley.Question) { questions <- q })
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for q := range questions {
			_ = r.Answer(q.ID, &parley.Answer{From: "echo", Body: q.Body}) // it may be too late
		}
	})
	t.Cleanup(func() {
		r.Leave()
		close(questions)
		serving.Wait()
	})
	return r
}

// inquire asks, and waits for the end.
func inquire(d *ask.Desk, room, body string, most int) (answers []string, err error) {
	ended := make(chan error, 1)
	err = d.Ask(ask.Asking{
		Question: parley.Question{Room: room, From: "ada", Body: []byte(body), Timeout: 10 * time.Second}, Most: most,
		Got: func(a *parley.Answer) { answers = append(answers, string(a.Body)) },
		End: func(_ int, err error) { ended <- err },
	})
	if err == nil {
		err = <-ended
	}
	return answers, err
}

func TestQuestionsCrossACluster(t *testing.T) {
	desks := clustered(t)
	echo(t, desks[1], "r")
	echo(t, desks[1], "s")
	echo(t, desks[2], "s")
	for end := time.Now().Add(30 * time.Second); ; {
		one, err := inquire(desks[0], "r", "?", 1)
		all, errs := inquire(desks[0], "s", "??", 10)
		if err == nil && errs == nil && slices.Equal(one, []string{"?"}) && slices.Equal(all, []string{"??", "??"}) {
			break
		}
		if time.Now().After(end) { // interest takes a moment to get around
			t.Fatalf("%v %v, %v %v", one, err, all, errs)
		}
	}
	if _, err := inquire(desks[0], "nobody", "?", 1); err == nil || parley.AsError(err).Code != parley.NoResponders {
		t.Errorf("where nobody serves: %v", err)
	}
}

// BenchmarkAsk is of one question at a time, of somebody at the same node and at another.
func BenchmarkAsk(b *testing.B) {
	desks := clustered(b)
	echo(b, desks[0], "here")
	echo(b, desks[1], "there")
	for _, room := range []string{"here", "there"} {
		for end := time.Now().Add(30 * time.Second); ; {
			if _, err := inquire(desks[0], room, "?", 1); err == nil {
				break
			} else if time.Now().After(end) {
				b.Fatal(err)
			}
		}
		b.Run(room, func(b *testing.B) {
			b.ReportAllocs()
			var took []time.Duration
			for b.Loop() {
				begun := time.Now()
				if _, err := inquire(desks[0], room, "?", 1); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(begun))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}
