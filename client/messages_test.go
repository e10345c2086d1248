package client_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/client"
	"parley/wire"
)

// listener collects what an iterator yields.
type listener struct {
	got    chan string // bodies; a gap as "gap A-N"; the last error as "end: …"
	cancel context.CancelFunc
}

// listen iterates in a goroutine and returns once it has joined.
func listen(t *testing.T, room *client.Room, opts ...client.ReadOption) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	l := &listener{got: make(chan string, 100_000), cancel: cancel}
	joined := make(chan bool, 1)
	opts = append(opts, client.OnJoined(func(uint64) {
		select {
		case joined <- true:
		default:
		}
	}))
	done := make(chan bool)
	go func() {
		defer close(done)
		for m, err := range room.Messages(ctx, opts...) {
			var gap *client.Gap
			switch {
			case errors.As(err, &gap):
				l.got <- fmt.Sprintf("gap %d-%d", gap.After, gap.Next)
			case err != nil:
				l.got <- "end: " + err.Error()
			default:
				l.got <- string(m.Body)
			}
		}
		close(l.got)
	}()
	t.Cleanup(func() { cancel(); <-done })
	select {
	case <-joined:
	case <-done:
	}
	return l
}

// take gives the next n things that were yielded, within an hour of the bubble's time.
func (l *listener) take(n int) []string {
	var got []string
	enough := time.After(time.Hour)
	for range n {
		select {
		case s, ok := <-l.got:
			if !ok {
				return got
			}
			got = append(got, s)
		case <-enough:
			return append(got, "no more")
		}
	}
	return got
}

// nothing checks that there is no more to come.
func (l *listener) nothing(t *testing.T) {
	t.Helper()
	synctest.Wait()
	select {
	case s, ok := <-l.got:
		if ok {
			t.Errorf("one too many: %q", s)
		}
	default:
	}
}

func expect(t *testing.T, l *listener, want ...string) {
	t.Helper()
	if d := cmp.Diff(want, l.take(len(want))); d != "" {
		t.Error(d)
	}
	l.nothing(t)
}

func TestMessagesStart(t *testing.T) {
	for name, test := range map[string]struct {
		opts []client.ReadOption
		want []string
	}{
		"live":        {nil, []string{"new"}},
		"after 0":     {[]client.ReadOption{client.After(0)}, []string{"1", "2", "3", "new"}},
		"after 2":     {[]client.ReadOption{client.After(2)}, []string{"2", "3", "new"}},
		"last":        {[]client.ReadOption{client.Last(2)}, []string{"2", "3", "new"}},
		"ago":         {[]client.ReadOption{client.Ago(150 * time.Minute)}, []string{"2", "3", "new"}},
		"since":       {[]client.ReadOption{client.Since(time.Date(2000, 1, 1, 0, 30, 0, 0, time.UTC))}, []string{"2", "3", "new"}},
		"two starts":  {[]client.ReadOption{client.After(1), client.Last(1)}, []string{"end: bad_request: at most one of After, Last, Since and Behind"}},
		"not for it":  {[]client.ReadOption{client.Limit(1)}, []string{"end: bad_request: Before and Limit are for History"}},
		"beyond head": {[]client.ReadOption{client.After(7)}, []string{"new"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // the bubble's clock begins on 2000-01-01
				s := newModel()
				t.Cleanup(s.close)
				for i := range 3 {
					s.put("lobby", "bob", fmt.Sprint(i), fmt.Sprint(i+1))
					<-time.After(time.Hour)
				}
				c := connect(t, s)
				l := listen(t, c.Room("lobby"), test.opts...)
				s.put("lobby", "bob", "x", "new")
				expect(t, l, test.want...)
				l.cancel()
			})
		})
	}
}

// What comes between a live start and a lost connection, and while it is lost, is not missed; in
// a room that was empty neither.
func TestMessagesLiveResumes(t *testing.T) {
	for _, before := range []int{0, 3} {
		synctest.Test(t, func(t *testing.T) {
			s := newModel()
			t.Cleanup(s.close)
			for i := range before {
				s.put("lobby", "bob", fmt.Sprint("before", i), "old")
			}
			l := listen(t, connect(t, s).Room("lobby"))
			s.set(true)
			s.put("lobby", "bob", "1", "one")
			s.set(false)
			expect(t, l, "one")
			s.cutAll()
			s.put("lobby", "bob", "2", "two")
			s.put("lobby", "bob", "3", "three")
			expect(t, l, "two", "three")
		})
	}
}

func TestMessagesGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		for i := range 9 {
			s.put("lobby", "bob", fmt.Sprint(i), fmt.Sprint(i+1))
		}
		s.trim("lobby", 13)
		l := listen(t, connect(t, s).Room("lobby"), client.After(6))
		expect(t, l, "gap 6-14", "7", "8", "9")
		s.set(true)
		s.trim("lobby", 19)
		s.put("lobby", "bob", "10", "10")
		s.put("lobby", "bob", "11", "11")
		s.trim("lobby", 21)
		s.set(false)
		expect(t, l, "gap 18-22", "11")
	})
}

// A server that leaves something out without saying so is found out by prev.
func TestMessagesGapThatNobodyTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		message := func(seq, prev, body string) string {
			return `{"op":"message","room":"a","seq":` + seq + `,"prev":` + prev + `,"id":"i","from":"b","at":"2026-11-22T07:00:00.123Z","type":"text","body":"` + body + `"}`
		}
		dial := script(t, func(p *peer) {
			p.welcome()
			p.say(`{"op":"joined","ref":%s,"room":"a","seq":5}`, p.hear(wire.Join))
			p.say(message("7", "5", "seven"), wire.Op{})
			p.say(message("7", "5", "seven"), wire.Op{})
			p.say(message("12", "9", "twelve"), wire.Op{})
			p.say(message("8", "7", "eight"), wire.Op{})
			p.say(`{"op":"gap","room":"a","after":12,"next":20}`, wire.Op{})
			p.say(`{"op":"gap","room":"a","after":12,"next":20}`, wire.Op{})
			p.say(message("20", "18", "twenty"), wire.Op{})
			p.say(`{"op":"novelty","ref":77}`, wire.Op{})
			p.say(message("21", "20", "more"), wire.Op{})
			p.wait()
		})
		c, err := client.Connect(t.Context(), "a", client.WithDialer(dial))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		expect(t, listen(t, c.Room("a")), "seven", "gap 7-12", "twelve", "gap 12-20", "twenty", "more")
	})
}

// Cuts at any moment of a session: every message once and in order.
func TestMessagesAcrossCuts(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			rng, moments := rand.New(rand.NewPCG(seed, 1)), rand.New(rand.NewPCG(seed, 2))
			s := newModel()
			t.Cleanup(s.close)
			judge := func(*modelConn, wire.Op) (v verdict) {
				if rng.IntN(6) == 0 {
					v.cut = cut(1 + rng.IntN(3))
				}
				return v
			}
			l := listen(t, connect(t, s).Room("lobby"))
			s.mu.Lock()
			s.judge = judge
			s.mu.Unlock()
			var want []string
			for i := range 300 {
				want = append(want, fmt.Sprint(i))
				s.put("lobby", "bob", want[i], want[i])
				if i%10 == 0 {
					<-time.After(100 * time.Millisecond)
				}
				if moments.IntN(20) == 0 {
					s.cutAll()
				}
			}
			if d := cmp.Diff(want, l.take(len(want))); d != "" {
				t.Errorf("seed %d: %s", seed, d)
			}
			l.nothing(t)
		})
	}
}

// Own messages are left out, also when the connection that sent them is gone and the server no
// longer knows whose they were; but not what somebody else sends under a copied id.
func TestMessagesNoEcho(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		cut := false
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			if cut && op.Kind == wire.Send {
				cut, v.cut = false, cutAfter
			}
			return v
		}
		c := connect(t, s, client.WithName("ada"))
		room := c.Room("lobby")
		l := listen(t, room, client.NoEcho())
		r, _ := room.Publish(t.Context(), []byte("mine"))
		s.mu.Lock()
		cut = true
		s.mu.Unlock()
		if _, err := room.Publish(t.Context(), []byte("mine too"), client.WithID("of-my-own")); err != nil {
			t.Fatal(err)
		}
		s.put("lobby", "mallory", r.ID, "a copied id")
		s.put("lobby", "ada", "elsewhere-1", "from another device")
		expect(t, l, "a copied id", "from another device")
	})
}

// A consumer that does not come back for a while: what it has not read is read from the log when
// it does; the connection's other rooms do not wait.
func TestMessagesSlowConsumer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		c := connect(t, s)
		other := listen(t, c.Room("other"))
		begun, goOn := make(chan bool), make(chan bool)
		var got []string
		done := make(chan bool)
		go func() {
			defer close(done)
			for m, err := range c.Room("busy").Messages(t.Context(), client.After(0)) {
				if err != nil {
					t.Error(err)
					return
				}
				if got = append(got, string(m.Body)); len(got) == 1 {
					close(begun)
					<-goOn
				}
				if len(got) == 5000 {
					return
				}
			}
		}()
		var want []string
		for i := range 5000 {
			want = append(want, fmt.Sprint(i))
			s.put("busy", "bob", want[i], want[i])
		}
		<-begun
		s.put("other", "bob", "x", "prompt")
		expect(t, other, "prompt")
		s.mu.Lock()
		if n := len(s.rooms["busy"].members); n != 0 {
			t.Errorf("%d members of the room while the consumer is far behind; want it left", n)
		}
		s.mu.Unlock()
		close(goOn)
		<-done
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

func TestMessagesTwiceInOneRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		s.put("lobby", "bob", "1", "one")
		c := connect(t, s, client.WithName("ada"))
		live := listen(t, c.Room("lobby"))
		all := listen(t, c.Room("lobby"), client.After(0))
		others := listen(t, c.Room("lobby"), client.NoEcho())
		s.put("lobby", "bob", "2", "two")
		if _, err := c.Room("lobby").Publish(t.Context(), []byte("three")); err != nil {
			t.Fatal(err)
		}
		expect(t, live, "two", "three")
		expect(t, all, "one", "two", "three")
		expect(t, others, "two")
		live.cancel()
		all.cancel()
		others.cancel()
		synctest.Wait()
		expect(t, listen(t, c.Room("lobby"), client.Last(1)), "three")
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.conns) != 1 {
			t.Errorf("%d connections are left", len(s.conns))
		}
	})
}

func TestMessagesOfMoreRoomsThanASessionMayJoin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		c := connect(t, s)
		var all []*listener
		for i := range 10 {
			all = append(all, listen(t, c.Room(fmt.Sprint("room-", i))))
		}
		for i, l := range all {
			s.put(fmt.Sprint("room-", i), "bob", "1", fmt.Sprint(i))
			expect(t, l, fmt.Sprint(i))
		}
	})
}

func TestMessagesRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		tries := 0
		s.judge = func(_ *modelConn, op wire.Op) (v verdict) {
			switch {
			case op.Kind == wire.Join && op.Room == "ops":
				v.refuse = parley.Errorf(parley.Denied, "you may not join ops")
			case op.Kind == wire.Join && tries < 10:
				tries++
				v.refuse = parley.Errorf(parley.Unavailable, "not now")
			}
			return v
		}
		c := connect(t, s)
		expect(t, listen(t, c.Room("ops")), "end: denied: you may not join ops")
		expect(t, listen(t, c.Room("a b")), `end: bad_request: "a b" is no room name: 1 to 128 letters, digits, _ and -, with single dots between parts`)
		l := listen(t, c.Room("lobby"), client.After(0))
		s.put("lobby", "bob", "1", "one")
		expect(t, l, "one")
	})
}

func TestMessagesEndWithTheirContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		l := listen(t, connect(t, s).Room("lobby"))
		l.cancel()
		if got := l.take(2); !slices.Equal(got, []string{"end: context canceled"}) {
			t.Errorf("yielded %q", got)
		}
		synctest.Wait()
		s.mu.Lock()
		defer s.mu.Unlock()
		if len(s.rooms["lobby"].members) != 0 {
			t.Error("the room was not left")
		}
	})
}

// Leaving and joining again does not wait for the answer to leave, and what still comes for the
// old iterator does not reach the new one.
func TestMessagesAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newModel()
		t.Cleanup(s.close)
		for i := range 10 {
			s.put("lobby", "bob", fmt.Sprint(i), fmt.Sprint(i))
		}
		room := connect(t, s).Room("lobby")
		for range 100 {
			var got []string
			for m, err := range room.Messages(t.Context(), client.After(4)) {
				if err != nil {
					t.Fatal(err)
				}
				if got = append(got, string(m.Body)); len(got) == 3 {
					break
				}
			}
			if !slices.Equal(got, []string{"2", "3", "4"}) {
				t.Fatalf("yielded %q", got)
			}
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.dials != 1 {
			t.Errorf("%d connections were made", s.dials)
		}
	})
}
