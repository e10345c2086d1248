package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley/client"
	"parley/server"
)

// The client and the server that goes with it: messages sent and read while the server stops and
// starts again on the same data. Everything is stored once, in order, and read once.
func TestClientOutlivesServers(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	addr, stop, err := startServer(data)
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Connect(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	room := c.Room("lobby")

	const n = 3000
	var want, got []string
	joined, half := make(chan bool), make(chan bool)
	var wg sync.WaitGroup
	wg.Go(func() {
		opening := sync.OnceFunc(func() { close(joined) })
		for m, err := range room.Messages(ctx, client.OnJoined(func(uint64) { opening() })) {
			var gap *client.Gap
			if err != nil && !errors.As(err, &gap) {
				t.Error(err)
				return
			}
			if err == nil {
				got = append(got, string(m.Body))
			}
			switch len(got) {
			case n / 2:
				close(half)
			case n:
				return
			}
		}
	})
	<-joined
	wg.Go(func() {
		for i := range n {
			if _, err := room.PublishAsync(ctx, fmt.Append(nil, i)); err != nil {
				t.Error(err)
				return
			}
		}
		if err := c.Flush(ctx); err != nil {
			t.Error(err)
		}
	})
	<-half
	stop()
	_, stop, err = startServer(data, func(config *server.Config) { config.TCP = addr })
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	wg.Wait()
	for i := range n {
		want = append(want, fmt.Sprint(i))
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// Pages lead from the newest message back to the first, and from any one on to the newest.
func TestClientReadsPagesOfAServer(t *testing.T) {
	addr, stop, err := startServer(filepath.Join(t.TempDir(), "data"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	c, err := client.Connect(t.Context(), addr, client.WithName("ada"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	room := c.Room("lobby")
	for i := range 25 {
		if _, err := room.Publish(t.Context(), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	pages := 0
	opts := []client.ReadOption{client.Limit(10)}
	for more := true; more; pages++ {
		page, err := room.History(t.Context(), opts...)
		if err != nil || len(page.Messages) == 0 {
			t.Fatalf("page %d: %v, %v", pages, page, err)
		}
		more = page.More
		opts = []client.ReadOption{client.Limit(10), client.Before(page.Messages[0].Seq)}
	}
	if pages != 3 {
		t.Errorf("%d pages", pages)
	}
	if _, err := c.Ping(t.Context()); err != nil {
		t.Error(err)
	}
	if users, n, err := room.Members(t.Context()); err != nil || n != 0 {
		t.Errorf("members %q, %d, %v", users, n, err)
	}
}
