package client_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/ask"
	"parley/client"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/transport/tcp"
	"parley/wire"
	"parley/work"
)

// realServer is a server of lines over a log in memory; cut ends the connections that there are.
func realServer(t *testing.T) (addr string, dial func(context.Context, string) (net.Conn, error), cut func()) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	log := logtest.New(logtest.Options{})
	hub := room.NewHub(log, room.Config{Logger: quiet})
	books := work.New(work.Config{Log: log, Journals: log, Rooms: hub, Logger: quiet})
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = hub.Run(ctx) })
	running.Go(func() { _ = books.Run(ctx) })
	sessions := &session.Server{Log: log, Hub: hub, Work: books.Books(), Desk: ask.New(), Limits: parley.DefaultLimits(), Logger: quiet}
	door, err := tcp.NewServer(sessions, tcp.Config{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	running.Go(func() { _ = door.Serve(l) })
	t.Cleanup(func() {
		drain, end := context.WithTimeout(context.Background(), 10*time.Second)
		defer end()
		_ = l.Close()
		door.Drain(drain)
		stop()
		running.Wait()
	})
	var mu sync.Mutex
	var conns []net.Conn
	dial = func(ctx context.Context, addr string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			conns = append(conns, c)
		}
		return c, err
	}
	cut = func() {
		mu.Lock()
		defer mu.Unlock()
		for _, c := range conns {
			_ = c.Close()
		}
		conns = nil
	}
	return l.Addr().String(), dial, cut
}

func connected(t *testing.T, addr string, opts ...client.Option) *client.Client {
	t.Helper()
	c, err := client.Connect(patient(t), addr, opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestWorkUntilAllIsDone(t *testing.T) {
	addr, _, _ := realServer(t)
	c := connected(t, addr)
	const n = 200
	for i := range n {
		if _, err := c.Room("r").PublishAsync(context.Background(), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancelCause(patient(t))
	var mu sync.Mutex
	tries := make(map[string]int)
	finished := 0
	all := errors.New("all is done")
	err := c.Work(ctx, "r", "g", func(_ context.Context, j *parley.Job) error {
		mu.Lock()
		defer mu.Unlock()
		body := string(j.Body)
		tries[body]++
		switch {
		case strings.HasSuffix(body, "7") && tries[body] == 1:
			return client.RetryAfter(time.Millisecond, errors.New("once more"))
		case body == "13":
			finished++
			return client.Fail(errors.New("unlucky"))
		}
		if finished++; finished == n {
			stop(all)
		}
		return nil
	}, client.Parallel(16))
	if !errors.Is(err, all) {
		t.Fatal(err)
	}
	for i := range n {
		want := 1
		if i%10 == 7 {
			want = 2
		}
		if tries[fmt.Sprint(i)] != want {
			t.Errorf("job %d was tried %d times", i, tries[fmt.Sprint(i)])
		}
	}
	page, err := c.Room("r.dead").History(patient(t))
	if err != nil || len(page.Messages) != 1 || !strings.Contains(string(page.Messages[0].Body), `"reason":"unlucky"`) {
		t.Errorf("dead letters: %v, %v", page.Messages, err)
	}
}

func TestWorkGoesOnAfterLostConnections(t *testing.T) {
	addr, dial, cut := realServer(t)
	sender, worker := connected(t, addr), connected(t, addr, client.WithDialer(dial))
	const n = 60
	ctx, stop := context.WithCancel(patient(t))
	var mu sync.Mutex
	done := make(map[string]bool)
	ended := make(chan error, 1)
	go func() {
		ended <- worker.Work(ctx, "r", "g", func(_ context.Context, j *parley.Job) error {
			mu.Lock()
			defer mu.Unlock()
			done[string(j.Body)] = true
			if len(done)%20 == 5 {
				cut() // before it can say that it is done
			}
			if len(done) == n {
				stop()
			}
			return nil
		}, client.Parallel(4), client.Tries(1000))
	}()
	for i := range n {
		if _, err := sender.Room("r").Publish(patient(t), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-ended; !errors.Is(err, context.Canceled) || len(done) != n {
		t.Errorf("%d jobs were done: %v", len(done), err)
	}
}

func TestAHandlerThatTakesLongKeepsItsJob(t *testing.T) {
	addr, _, _ := realServer(t)
	c, other := connected(t, addr), connected(t, addr)
	ctx, stop := context.WithCancel(patient(t))
	defer stop()
	var running sync.WaitGroup
	begun, finish := make(chan struct{}), make(chan struct{})
	running.Go(func() {
		_ = c.Work(ctx, "r", "g", func(context.Context, *parley.Job) error {
			close(begun) // once
			<-finish
			return nil
		}, client.Deadline(150*time.Millisecond))
	})
	if _, err := c.Room("r").Publish(ctx, []byte("long")); err != nil {
		t.Fatal(err)
	}
	<-begun
	running.Go(func() {
		_ = other.Work(ctx, "r", "g", func(context.Context, *parley.Job) error {
			t.Error("the job was given to another")
			return nil
		})
	})
	<-time.After(600 * time.Millisecond)
	close(finish)
	<-time.After(50 * time.Millisecond)
	stop()
	running.Wait()
}

func TestWhatCannotBeWorkedOn(t *testing.T) {
	addr, _, _ := realServer(t)
	c := connected(t, addr)
	never := func(context.Context, *parley.Job) error { return nil }
	for name, err := range map[string]error{
		"a bad room":    c.Work(patient(t), "a b", "g", never),
		"a bad group":   c.Work(patient(t), "r", "", never),
		"nobody":        c.Work(patient(t), "r", "g", never, client.Parallel(0)),
		"too many":      c.Work(patient(t), "r", "g", never, client.Parallel(wire.MaxPrefetch+1)),
		"no time":       c.Work(patient(t), "r", "g", never, client.Deadline(time.Nanosecond)),
		"too long":      c.Work(patient(t), strings.Repeat("r", 126), "g", never),
		"a bad room, 2": c.Answer(patient(t), "a b", 1, nil),
	} {
		if parley.AsError(err).Code != parley.BadRequest {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReadersOverConnections(t *testing.T) {
	addr, dial, cut := realServer(t)
	c := connected(t, addr, client.WithDialer(dial))
	r := c.Room("r")
	for round := range 3 {
		for i := range 5 {
			if _, err := r.Publish(patient(t), fmt.Append(nil, round*5+i)); err != nil {
				t.Fatal(err)
			}
		}
		next := round * 5
		if round == 0 {
			next = 0
		}
		for m, err := range r.Messages(patient(t), client.AsReader("billing"), client.After(0)) {
			if err != nil {
				t.Fatal(err)
			}
			if string(m.Body) != fmt.Sprint(next) {
				t.Fatalf("message %s, want %d", m.Body, next)
			}
			if next%5 == 2 {
				cut()
			}
			if at, err := r.Done(patient(t), "billing", m.Seq); err != nil || at != m.Seq {
				t.Fatal(at, err)
			}
			if next++; next == (round+1)*5 {
				break
			}
		}
	}
}

func TestAskAndAnswer(t *testing.T) {
	addr, dial, cut := realServer(t)
	c, server := connected(t, addr), connected(t, addr, client.WithDialer(dial))
	var refusal *parley.Error
	if _, err := c.Room("r").Ask(patient(t), []byte("?")); !errors.As(err, &refusal) || refusal.Code != parley.NoResponders {
		t.Error(err)
	}
	ctx, stop := context.WithCancel(patient(t))
	ended := make(chan error, 1)
	double := client.AnswerJSON(func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	go func() { ended <- server.Answer(ctx, "r", 2, double) }()
	askUntil := func(want string) {
		t.Helper()
		for {
			a, err := c.Room("r").Ask(patient(t), []byte("21"), client.AskType(parley.JSON))
			if errors.As(err, &refusal) && refusal.Code == parley.NoResponders {
				<-time.After(time.Millisecond)
				continue
			}
			if err != nil || string(a.Body) != want || a.Type != parley.JSON {
				t.Fatalf("%v, %v", a, err)
			}
			return
		}
	}
	askUntil("42")
	cut()
	askUntil("42")
	answers, err := c.Room("r").AskAll(patient(t), 5, []byte("4"), client.AskType(parley.JSON))
	if err != nil || len(answers) != 1 {
		t.Errorf("%v, %v", answers, err)
	}
	stop()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// A worker that stops gives back what it has not begun, at once and without a try, and ends when what it
// has begun is through.
func TestAWorkerThatStopsGivesBackWhatItHasNotBegun(t *testing.T) {
	addr, _, _ := realServer(t)
	c, other := connected(t, addr), connected(t, addr)
	const n = 6
	for i := range n {
		if _, err := c.Room("r").Publish(patient(t), fmt.Append(nil, i)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(patient(t))
	begun, finish := make(chan struct{}), make(chan struct{})
	ended := make(chan error, 1)
	go func() {
		ended <- c.Work(ctx, "r", "g", func(_ context.Context, j *parley.Job) error {
			close(begun) // of one job alone
			<-finish
			return nil
		}, client.Prefetch(n), client.Tries(1))
	}()
	<-begun
	stop()
	rest, enough := context.WithCancel(patient(t))
	defer enough()
	var bodies []string
	err := other.Work(rest, "r", "g", func(_ context.Context, j *parley.Job) error {
		if j.Tries != 1 {
			t.Errorf("job %s has had %d tries", j.Body, j.Tries)
		}
		if bodies = append(bodies, string(j.Body)); len(bodies) == n-1 {
			enough()
		}
		return nil
	}, client.Tries(1)) // while the first job is still being done
	if want := "1 2 3 4 5"; !errors.Is(err, context.Canceled) || strings.Join(bodies, " ") != want {
		t.Errorf("the other worker got %v, want %s: %v", bodies, want, err)
	}
	close(finish)
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if page, err := c.Room("r.dead").History(patient(t)); err != nil || len(page.Messages) > 0 {
		t.Errorf("dead letters: %v, %v", page.Messages, err)
	}
}

func TestADeadLetterIsPutBackOnce(t *testing.T) {
	addr, _, _ := realServer(t)
	c := connected(t, addr)
	if _, err := c.Room("r").Publish(patient(t), []byte("job")); err != nil {
		t.Fatal(err)
	}
	work := func(err error) {
		t.Helper()
		ctx, stop := context.WithCancel(patient(t))
		defer stop()
		if end := c.Work(ctx, "r", "g", func(context.Context, *parley.Job) error { stop(); return err }); !errors.Is(end, context.Canceled) {
			t.Fatal(end)
		}
	}
	work(client.Fail(errors.New("no")))
	page, err := c.Room("r.dead").History(patient(t))
	if err != nil || len(page.Messages) != 1 {
		t.Fatal(page.Messages, err)
	}
	letter := page.Messages[0].Seq
	for _, want := range []bool{false, true} {
		if before, err := c.Room("r").PutBack(patient(t), letter); before != want || err != nil {
			t.Errorf("put back before: %t, %v", before, err)
		}
	}
	work(nil)
	for _, letter := range []uint64{0, letter + 1} {
		if _, err := c.Room("r").PutBack(patient(t), letter); err == nil {
			t.Errorf("letter %d was put back", letter)
		}
	}
}
