package client_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/client"
	"parley/internal/logtest"
)

// cutter is what stands between clients and a server, and cuts connections.
type cutter struct {
	addr string

	mu    sync.Mutex
	conns []net.Conn
}

func newCutter(t *testing.T, target string) *cutter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &cutter{addr: l.Addr().String()}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				_ = near.Close()
				continue
			}
			c.mu.Lock()
			c.conns = append(c.conns, near, far)
			c.mu.Unlock()
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				running.Go(func() {
					_, _ = io.Copy(way[0], way[1])
					_ = way[0].Close()
				})
			}
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		c.cut()
		running.Wait()
	})
	return c
}

func (c *cutter) cut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		_ = conn.Close()
	}
	c.conns = nil
}

// An iterator over a pattern goes through lost connections, a slow consumer and rooms that come to be, without a
// gap and without a repetition; and a later one goes on behind its last cursor.
func TestAPatternIsIteratedThroughCuts(t *testing.T) {
	ctx := patient(t)
	log := logtest.New(logtest.Options{})
	web := webServer(t, log)
	cutter := newCutter(t, strings.TrimPrefix(web.URL, "http://"))
	reader, err := client.Connect(ctx, "ws://"+cutter.addr+"/ws")
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	writer, err := client.Connect(ctx, "ws"+strings.TrimPrefix(web.URL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	const rooms, each = 5, 600 // more than a subscription buffers
	joined := make(chan struct{}, 1000)
	type said struct {
		room string
		seq  uint64
	}
	var got []said
	var behind []int  // how many messages came before each cursor
	var last []string // the cursors
	done := make(chan error, 1)
	go func() {
		for m, err := range reader.Room("orders.**").Messages(ctx,
			client.OnJoined(func(uint64) { joined <- struct{}{} }),
			client.OnCursor(func(cursor string) { behind, last = append(behind, len(got)), append(last, cursor) })) {
			if err != nil {
				done <- err
				return
			}
			got = append(got, said{m.Room, m.Seq})
			if len(got) == 100 || len(got) == 1500 {
				cutter.cut()
			}
			if len(got)%50 == 0 {
				<-time.After(2 * time.Millisecond) // it is slow
			}
			if len(got) == rooms*each {
				done <- nil
				return
			}
		}
	}()
	select {
	case <-joined:
	case <-ctx.Done():
		t.Fatal("it never joined")
	}
	want := make(map[string][]uint64)
	for n := range each {
		for i := range rooms {
			room := fmt.Sprintf("orders.%d.new", i)
			r, err := writer.Room(room).Publish(ctx, fmt.Append(nil, n))
			if err != nil {
				t.Fatal(err)
			}
			want[room] = append(want[room], r.Seq)
		}
		if _, err := writer.Room("others").Publish(ctx, []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if len(joined) < 2 {
		t.Error("it was never cut off")
	}
	have := make(map[string][]uint64)
	for _, s := range got {
		have[s.room] = append(have[s.room], s.seq)
	}
	for room, seqs := range want {
		if !slices.Equal(have[room], seqs) {
			t.Errorf("%s: %d messages came, of %d", room, len(have[room]), len(seqs))
		}
	}
	if len(last) == 0 {
		t.Fatal("no cursor came")
	}
	// What was got in front of a cursor and what comes behind it is all, each once.
	i := len(last) / 2
	rest := make(map[said]bool)
	for _, s := range got[behind[i]:] {
		rest[s] = true
	}
	for m, err := range reader.Room("orders.**").Messages(ctx, client.Behind(last[i])) {
		if err != nil {
			t.Fatal(err)
		}
		if s := (said{m.Room, m.Seq}); !rest[s] {
			t.Fatalf("%v came again", s)
		} else if delete(rest, s); len(rest) == 0 {
			break
		}
	}
}

// A client may read a pattern and a room that it covers: each iterator gets all of its own.
func TestAPatternBesideItsRoom(t *testing.T) {
	ctx := patient(t)
	web := webServer(t, logtest.New(logtest.Options{}))
	c, err := client.Connect(ctx, "ws"+strings.TrimPrefix(web.URL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	room, pattern, other := listen(t, c.Room("a.x")), listen(t, c.Room("a.*")), listen(t, c.Room("*.y"))
	for _, name := range []string{"a.x", "a.y", "b.y"} {
		if _, err := c.Room(name).Publish(ctx, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	for what, l := range map[string]*listener{"a.x": room, "a.x a.y": pattern, "a.y b.y": other} {
		var got []string
		for range strings.Fields(what) {
			select {
			case body := <-l.got:
				got = append(got, body)
			case <-ctx.Done():
				t.Fatalf("%s: got %q", what, got)
			}
		}
		if slices.Sort(got); strings.Join(got, " ") != what {
			t.Errorf("%s: got %q", what, got)
		}
	}
}

func TestWhatAPatternIsNotFor(t *testing.T) {
	ctx := patient(t)
	web := webServer(t, logtest.New(logtest.Options{}))
	c, err := client.Connect(ctx, "ws"+strings.TrimPrefix(web.URL, "http"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	first := func(room string, opts ...client.ReadOption) error {
		for _, err := range c.Room(room).Messages(ctx, opts...) {
			return err
		}
		return nil
	}
	_, sent := c.Room("a.*").Publish(ctx, []byte("x"))
	_, read := c.Room("a.*").History(ctx)
	for what, err := range map[string]error{
		"send to it":              sent,
		"read a page of it":       read,
		"no pattern":              first("a**"),
		"its newest":              first("a.*", client.Last(3)),
		"behind a seq":            first("a.*", client.After(3)),
		"behind what is none":     first("a.*", client.Behind("&")),
		"behind a cursor, a room": first("a", client.Behind("AAAA")),
		"another log's cursor":    first("a.*", client.Behind("AA")),
	} {
		var e *parley.Error
		if !errors.As(err, &e) || e.Code != parley.BadRequest {
			t.Errorf("%s: %v", what, err)
		}
	}
	if ctx.Err() != nil {
		t.Error(context.Cause(ctx))
	}
}
