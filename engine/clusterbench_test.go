package engine_test

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

// BenchmarkAppend100Replicated is 100 senders over three nodes of this process, each with one
// append in flight, or with 16.
func BenchmarkAppend100Replicated(b *testing.B) {
	for _, partitions := range []int{1, 2, 3, 4} {
		for _, each := range []int{1, 16} {
			b.Run(fmt.Sprintf("partitions=%d/inflight=%d", partitions, each), func(b *testing.B) {
				benchReplicated(b, partitions, each)
			})
		}
	}
}

func benchReplicated(b *testing.B, partitions, each int) {
	cl := newCluster(b, engine.Config{Partitions: partitions})
	var left atomic.Int64
	left.Store(int64(b.N))
	took := make([]time.Duration, b.N)
	b.ReportAllocs()
	b.ResetTimer()
	var all sync.WaitGroup
	for s := range 100 {
		room, e := fmt.Sprint("room", s%10), cl.nodes[s%3]
		for range each {
			all.Go(func() {
				done := make(chan error, 1)
				for n := left.Add(-1); n >= 0; n = left.Add(-1) {
					start := time.Now()
					appendWait(b, e, draft(room), done)
					took[n] = time.Since(start)
				}
			})
		}
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkDeliverElsewhere is a lone sender at one node and a follower at another: the time from
// the append to the delivery.
func BenchmarkDeliverElsewhere(b *testing.B) {
	cl := newCluster(b, engine.Config{})
	came := make(chan time.Time, 1)
	_, stop, err := cl.nodes[1].Follow(b.Context(), "lobby", func([]*parley.Message) { came <- time.Now() })
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	done := make(chan error, 1)
	var took []time.Duration
	for b.Loop() {
		start := time.Now()
		appendWait(b, cl.nodes[0], draft("lobby"), done)
		took = append(took, (<-came).Sub(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}
