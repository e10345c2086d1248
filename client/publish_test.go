package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/client"
	"parley/wire"
)

func TestPublish(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		room := connect(t, s, client.WithName("ada")).Room("lobby")
		for i, send := range []struct {
			body string
			opts []client.PublishOption
			want parley.Message
		}{
			{"hi", nil, parley.Message{Type: parley.Text, Body: []byte("hi")}},
			{"{ \"a\":\n1.0 }", []client.PublishOption{client.AsJSON()}, parley.Message{Type: parley.JSON, Body: []byte(`{"a":1.0}`)}},
			{"\xff\n", []client.PublishOption{client.AsBinary()}, parley.Message{Type: parley.Binary, Body: []byte("\xff\n")}},
			{"hi", []client.PublishOption{client.WithID("x-1")}, parley.Message{ID: "x-1", Body: []byte("hi")}},
		} {
			r, err := room.Publish(t.Context(), []byte(send.body), send.opts...)
			if err != nil {
				t.Fatal(err)
			}
			s.mu.Lock()
			got := *s.room("lobby").log[i]
			s.mu.Unlock()
			if want := (client.Receipt{Room: "lobby", Seq: got.Seq, ID: got.ID}); r != want {
				t.Errorf("receipt %v; want %v", r, want)
			}
			if send.want.ID == "" {
				send.want.ID = got.ID
			}
			got.Room, got.Seq, got.Prev, got.At = "", 0, 0, time.Time{}
			send.want.From = "ada"
			if d := cmp.Diff(send.want, got); d != "" {
				t.Error(d)
			}
		}
		if r, err := room.Publish(t.Context(), []byte("again"), client.WithID("x-1")); err != nil || !r.Duplicate {
			t.Errorf("the same id again: %v, %v", r, err)
		}
	})
}

func TestPublishRefusesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		c := connect(t, s)
		s.set(true) // nothing can reach the server
		for name, send := range map[string]struct {
			room, body string
			opt        client.PublishOption
			code       parley.Code
		}{
			"room":       {"a b", "x", client.WithID("x"), parley.BadRequest},
			"id":         {"a", "x", client.WithID("é"), parley.BadRequest},
			"empty":      {"a", "", client.AsBinary(), parley.BadRequest},
			"UTF-8":      {"a", "\xff", client.WithID("x"), parley.BadRequest},
			"JSON":       {"a", "{", client.AsJSON(), parley.BadRequest},
			"JSON UTF-8": {"a", "\"\xff\"", client.AsJSON(), parley.BadRequest},
			"body":       {"a", strings.Repeat("x", 1001), client.WithID("x"), parley.TooLarge},
			"frame":      {"a", strings.Repeat("\x00", 1000), client.WithID("x"), parley.TooLarge},
		} {
			if _, err := c.Room(send.room).PublishAsync(t.Context(), []byte(send.body), send.opt); !isCode(send.code)(err) {
				t.Errorf("%s: error %v", name, err)
			}
		}
	})
}

// Each kind of cut, at each of the first operations of a session: all that was acked is stored
// once, and what one goroutine sent is stored in its order.
func TestPublishAcrossCuts(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			s := newModel()
			defer s.close()
			s.judge = func(*modelConn, wire.Op) (v verdict) {
				if rng.IntN(25) == 0 {
					v.cut = cut(1 + rng.IntN(3))
				}
				return v
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			c := connectStubborn(t, s)
			var want []string
			var sent []*client.Pending
			for i := range 300 {
				body := fmt.Sprint(i)
				p, err := c.Room("lobby").PublishAsync(ctx, []byte(body))
				if err != nil {
					t.Fatal(err)
				}
				want, sent = append(want, body), append(sent, p)
			}
			if err := c.Flush(ctx); err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(want, s.bodies("lobby")); d != "" {
				t.Errorf("seed %d: stored otherwise than sent:\n%s", seed, d)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			for i, p := range sent {
				r, err := p.Wait(ctx)
				if m := s.rooms["lobby"].log[i]; err != nil || r.Seq != m.Seq || r.ID != m.ID || p.ID() != m.ID {
					t.Errorf("seed %d: message %d: receipt %v, error %v; stored at %d", seed, i, r, err, m.Seq)
				}
			}
		})
	}
}

// connectStubborn connects to a model that may cut the first hello too.
func connectStubborn(t *testing.T, s *model) *client.Client {
	for {
		c, err := client.Connect(t.Context(), "model", client.WithDialer(s.dial))
		if err == nil {
			t.Cleanup(c.Close)
			return c
		}
	}
}

func TestPublishAsyncBlocksWhenFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		c := connect(t, s, client.WithMaxOutbox(3))
		room := c.Room("lobby")
		s.set(true)
		for range 3 {
			if _, err := room.PublishAsync(t.Context(), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := room.PublishAsync(ctx, []byte("y"))
		if !errors.Is(err, context.DeadlineExceeded) || !isConnect(err) || !strings.Contains(err.Error(), "outbox is full") {
			t.Errorf("error %v", err)
		}
		done := make(chan error)
		go func() {
			_, err := room.PublishAsync(t.Context(), []byte("z"))
			done <- err
		}()
		synctest.Wait()
		s.set(false)
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := s.bodies("lobby"); !slices.Equal(got, []string{"x", "x", "x", "z"}) {
			t.Errorf("stored %q", got)
		}
	})
}

func TestPublishRespectsTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		sends := 0
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if op.Kind == wire.Send {
				sends++
				v.cut = swallow
			}
			return v
		}
		c := connect(t, s)
		for range 20 {
			if _, err := c.Room("lobby").PublishAsync(t.Context(), []byte("x")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if sends != 8 {
			t.Errorf("%d sends in flight; the server announced 8", sends)
		}
	})
}

// A message whose life has ended is not sent again; whether it may be stored is told.
func TestPublishEndsWithItsContext(t *testing.T) {
	for name, test := range map[string]struct {
		verdict verdict
		down    bool
		check   func(error) bool
	}{
		"never sent": {verdict{}, true, func(err error) bool { return isConnect(err) && !errors.Is(err, client.ErrUnknown) }},
		"sent, no answer": {verdict{cut: swallow}, false, func(err error) bool {
			return errors.Is(err, client.ErrUnknown)
		}},
		"refused for now": {verdict{refuse: parley.Errorf(parley.Unavailable, "the disk is full")}, false, isCode(parley.Unavailable)},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newModel()
				t.Cleanup(s.close)
				s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
					if op.Kind == wire.Send && string(op.Body) == "x" {
						v = test.verdict
					}
					return v
				}
				c := connect(t, s)
				s.set(test.down)
				synctest.Wait()
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				_, err := c.Room("lobby").Publish(ctx, []byte("x"))
				if !errors.Is(err, context.DeadlineExceeded) || !test.check(err) {
					t.Errorf("error %v", err)
				}
				s.set(false)
				s.cutAll()
				if _, err := c.Room("lobby").Publish(t.Context(), []byte("y")); err != nil {
					t.Error(err)
				}
				if got := s.bodies("lobby"); !slices.Equal(got, []string{"y"}) {
					t.Errorf("stored %q", got)
				}
			})
		})
	}
}

// A server without a majority, or with a full disk, refuses for a while: messages wait, and keep
// their order.
func TestPublishWaitsWhileUnavailable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		back := time.Now().Add(30 * time.Second)
		refusals := 0
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if op.Kind == wire.Send && time.Now().Before(back) {
				refusals++
				v.refuse = &parley.Error{Code: parley.Unavailable, Message: "no majority", Retry: time.Second}
			}
			return v
		}
		c := connect(t, s)
		var want []string
		for i := range 50 {
			want = append(want, fmt.Sprint(i))
			if _, err := c.Room("lobby").PublishAsync(t.Context(), []byte(want[i])); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, s.bodies("lobby")); d != "" {
			t.Error(d)
		}
		if refusals > 8*30 {
			t.Errorf("asked %d times in 30 s", refusals)
		}
	})
}

func TestPublishRefusedForGood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if op.Room == "ops" {
				v.refuse = parley.Errorf(parley.Denied, "you may not send in ops")
			}
			return v
		}
		c := connect(t, s)
		if _, err := c.Room("ops").Publish(t.Context(), []byte("x")); !isCode(parley.Denied)(err) {
			t.Errorf("error %v", err)
		}
		if _, err := c.Room("lobby").Publish(t.Context(), []byte("x")); err != nil {
			t.Error(err)
		}
	})
}

// Beyond the dedupe window the same id would be stored again: then not sending is what is right.
func TestPublishDoesNotSendAgainTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if string(op.Body) == "x" {
				v.cut, s.down = cutAfter, true
			}
			return v
		}
		c := connect(t, s)
		p, err := c.Room("lobby").PublishAsync(t.Context(), []byte("x"))
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		fresh, _ := c.Room("lobby").PublishAsync(t.Context(), []byte("y"))
		<-time.After(11 * time.Minute)
		s.mu.Lock()
		s.judge, s.down = nil, false
		s.mu.Unlock()
		if _, err := fresh.Wait(t.Context()); err != nil {
			t.Errorf("the message that was never sent: %v", err)
		}
		if _, err := p.Wait(t.Context()); !errors.Is(err, client.ErrUnknown) {
			t.Errorf("the old message: %v", err)
		}
	})
}

// An id belongs to a name: what was sent under the old one has to be answered first.
func TestRenameWaitsForWhatIsUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		defer s.close()
		cuts := 3
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if op.Kind == wire.Send && cuts > 0 {
				cuts--
				v.cut = cutAfter
			}
			return v
		}
		c := connect(t, s, client.WithName("ada"))
		room := c.Room("lobby")
		first, _ := room.PublishAsync(t.Context(), []byte("x"))
		synctest.Wait()
		if err := c.Rename(t.Context(), "lovelace"); err != nil {
			t.Fatal(err)
		}
		if _, err := room.Publish(t.Context(), []byte("y")); err != nil {
			t.Fatal(err)
		}
		if _, err := first.Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		s.cutAll()
		if _, err := room.Publish(t.Context(), []byte("z")); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, m := range s.rooms["lobby"].log {
			got = append(got, m.From+": "+string(m.Body))
		}
		if want := []string{"ada: x", "lovelace: y", "lovelace: z"}; !slices.Equal(got, want) {
			t.Errorf("stored %q; want %q", got, want)
		}
		if err := c.Rename(t.Context(), "\n"); !isCode(parley.BadRequest)(err) {
			t.Errorf("a bad name: %v", err)
		}
	})
}
