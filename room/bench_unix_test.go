//go:build unix

package room_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"parley"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

// sink is a socket that takes all, and counts.
type sink struct{ bytes atomic.Int64 }

func (s *sink) TryWrite(p []byte) (int, error) {
	s.bytes.Add(int64(len(p)))
	return len(p), nil
}
func (s *sink) WaitWritable() error { return nil }
func (s *sink) Abort()              {}

// What a message costs each of a room's members, and each of a pattern's where it is in one of many rooms:
// CPU time of the hub and of a log in memory, without sockets.
func BenchmarkDelivery(b *testing.B) {
	for _, rooms := range []int{0, 10_000} {
		name := "room"
		if rooms > 0 {
			name = fmt.Sprintf("pattern of %d", rooms)
		}
		b.Run(name, func(b *testing.B) { deliver(b, rooms) })
	}
}

func deliver(b *testing.B, rooms int) {
	const members = 1000
	log := logtest.New(logtest.Options{RetainMessages: 10})
	hub := room.NewHub(log, room.Config{})
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = hub.Run(ctx) })
	defer running.Wait()
	defer cancel()
	all, err := parley.ParsePattern("r.*")
	if err != nil {
		b.Fatal(err)
	}
	sinks := make([]*sink, members)
	for i := range sinks {
		sinks[i] = new(sink)
		o := hub.NewOutlet(sinks[i], parley.SessionID(i+1), wire.JSONLines{})
		defer o.Close()
		j := room.Joining{Room: "r.0", Echo: true}
		if rooms > 0 {
			j.Room, j.Many = "r.*", &room.Many{Key: "r.*\n", Match: all.Match}
		}
		if _, err := hub.Join(ctx, o, j); err != nil {
			b.Fatal(err)
		}
	}
	names := make([]string, max(1, rooms))
	for i := range names {
		names[i] = fmt.Sprintf("r.%d", i)
	}
	body := make([]byte, 128)
	flight := make(chan struct{}, 256)
	send := func(i int) {
		flight <- struct{}{}
		d := parley.Draft{Room: names[i%len(names)], ID: "x", From: "ada", Type: parley.Binary, Body: body}
		if err := log.Append(ctx, d, func(parley.Receipt, error) { <-flight }); err != nil {
			b.Error(err)
		}
	}
	for i := range names {
		send(i)
	}
	before := cpu(b)
	b.ResetTimer()
	for i := range b.N {
		send(i)
	}
	for len(flight) > 0 {
		<-time.After(time.Millisecond)
	}
	for last := int64(-1); last != sinks[members-1].bytes.Load(); {
		last = sinks[members-1].bytes.Load()
		<-time.After(10 * time.Millisecond)
	}
	b.StopTimer()
	b.ReportMetric(float64(cpu(b)-before)/float64(b.N)/members, "cpu-ns/delivery")
}

func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
