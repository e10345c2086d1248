package engine_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/engine"
)

var body128 = make([]byte, 128)

func draft(room string) parley.Draft {
	return parley.Draft{Room: room, ID: "01JD9ZK3V4W5X6Y7Z8A9B0C1D2", From: "ada", Body: body128}
}

// appendWait appends and waits until it is durable.
func appendWait(b testing.TB, e *engine.Engine, d parley.Draft, done chan error) {
	if err := e.Append(context.Background(), d, func(_ parley.Receipt, err error) { done <- err }); err != nil {
		b.Error(err)
		return
	}
	if err := <-done; err != nil {
		b.Error(err)
	}
}

// BenchmarkAppendLone is one sender that waits for each receipt.
func BenchmarkAppendLone(b *testing.B) {
	e := open(b, engine.Config{})
	done := make(chan error, 1)
	var took []time.Duration
	b.ReportAllocs()
	for b.Loop() {
		start := time.Now()
		appendWait(b, e, draft("lobby"), done)
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
}

// BenchmarkAppend100 is 100 senders, each with one append in flight, or with 16.
func BenchmarkAppend100(b *testing.B) {
	for _, each := range []int{1, 16} {
		b.Run(fmt.Sprintf("inflight=%d", each), func(b *testing.B) {
			e := open(b, engine.Config{})
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var senders sync.WaitGroup
			for s := range 100 {
				room := fmt.Sprint("room", s%10)
				for range each {
					senders.Go(func() {
						done := make(chan error, 1)
						for left.Add(-1) >= 0 {
							appendWait(b, e, draft(room), done)
						}
					})
				}
			}
			senders.Wait()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			s := e.Stats()
			b.ReportMetric(float64(s.Appended)/float64(max(s.Syncs, 1)), "appends/sync")
		})
	}
}

// BenchmarkFollow is 100 senders in one room and its one follower, until all has been delivered.
func BenchmarkFollow(b *testing.B) {
	e := open(b, engine.Config{})
	var got atomic.Int64
	all := make(chan struct{})
	_, stop, err := e.Follow(b.Context(), "lobby", func(ms []*parley.Message) {
		if got.Add(int64(len(ms))) == int64(b.N) {
			close(all)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	defer stop()
	var left atomic.Int64
	left.Store(int64(b.N))
	b.ReportAllocs()
	b.ResetTimer()
	var senders sync.WaitGroup
	for range 100 {
		senders.Go(func() {
			done := make(chan error, 1)
			for left.Add(-1) >= 0 {
				appendWait(b, e, draft("lobby"), done)
			}
		})
	}
	senders.Wait()
	<-all
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// BenchmarkLast50 reads the newest 50 of a room that lie between those of 99 others.
func BenchmarkLast50(b *testing.B) {
	for _, warm := range []bool{true, false} {
		b.Run(map[bool]string{true: "warm", false: "cold"}[warm], func(b *testing.B) {
			e := open(b, engine.Config{})
			if warm {
				_, stop, err := e.Follow(b.Context(), "room0", func([]*parley.Message) {})
				if err != nil {
					b.Fatal(err)
				}
				defer stop()
			}
			var left sync.WaitGroup
			for i := range 100_000 {
				left.Add(1)
				err := e.Append(b.Context(), draft(fmt.Sprint("room", i%100)), func(parley.Receipt, error) { left.Done() })
				if err != nil {
					b.Fatal(err)
				}
			}
			left.Wait()
			b.ReportAllocs()
			for b.Loop() {
				after, err := e.Back(b.Context(), "room0", 0, 50)
				if err != nil {
					b.Fatal(err)
				}
				if p, err := e.Read(b.Context(), "room0", after, 50); err != nil || len(p.Messages) != 50 {
					b.Fatal(len(p.Messages), err)
				}
			}
		})
	}
}

// BenchmarkOpen is a start on an empty directory, and the stop.
func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		start := time.Now()
		e := open(b, engine.Config{})
		b.ReportMetric(float64(time.Since(start).Microseconds()), "start-µs")
		if err := e.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
