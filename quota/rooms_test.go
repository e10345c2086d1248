package quota_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/quota"
)

// listed is a log's rooms.
type listed struct {
	mu    sync.Mutex
	names []string
	err   error
	asked int
}

func (l *listed) list(context.Context) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
	return append([]string(nil), l.names...), l.err
}

func (l *listed) set(names ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.names = names
}

// running runs a quota that knows the rooms of l, within a bubble.
func running(t *testing.T, q *quota.Quota, l *listed) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, l.list) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	synctest.Wait()
}

func TestRoomsAUserMakes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.RoomsPerUser, l.RoomsInAll = 3, 6 })
		l := &listed{names: []string{"old"}}
		running(t, q, l)
		ada, bob := login(t, q, far, "ada"), login(t, q, loopback, "bob")
		if err := errors.Join(ada.Send("old", false), ada.Send("a1", false), ada.Join("a1"), ada.Join("a2"), bob.Send("a2", false), ada.Send("a3", false)); err != nil {
			t.Fatal(err)
		}
		refused(t, q, ada.Send("a4", false), parley.Conflict, quota.RoomsPerUser, false)
		refused(t, q, ada.Join("a4"), parley.Conflict, quota.RoomsPerUser, false)
		if err := ada.Join("a4.**"); err != nil { // a pattern makes no room
			t.Error(err)
		}
		ada.Close()
		ada = login(t, q, other, "ada")
		refused(t, q, ada.Join("a4"), parley.Conflict, quota.RoomsPerUser, false)
		if err := errors.Join(bob.Send("b1", false), bob.Send("b2", false)); err != nil {
			t.Fatal(err)
		}
		refused(t, q, bob.Send("b3", false), parley.Conflict, quota.Rooms, false)
		if err := errors.Join(ada.Send("b1", false), bob.Join("a3"), ada.Send("old", false)); err != nil {
			t.Errorf("rooms that there are: %v", err)
		}

		l.set("old", "a1", "b1", "b2", "elsewhere") // a2 and a3 are gone
		made := false
		for i := 0; i < 5 && !made; i++ { // who is refused has the list looked up, at times
			made = ada.Join("a4") == nil
			time.Sleep(time.Minute)
		}
		if err := bob.Send("elsewhere", false); err != nil || !made {
			t.Error(err, made)
		}
		refused(t, q, ada.Send("a6", false), parley.Conflict, quota.Rooms, false)
	})
}

func TestListOfRoomsIsLookedUpSeldom(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.RoomsPerUser = 1 })
		l := &listed{names: []string{"first"}}
		a := connect(t, q, far)
		running(t, q, l)
		if err := a.Join("mine"); err != nil {
			t.Fatal(err)
		}
		l.set("first", "mine")
		for i := range 60_000 {
			if err := a.Join(fmt.Sprint("r", i)); err == nil {
				t.Fatal("a second room")
			}
			time.Sleep(time.Millisecond)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.asked < 2 || l.asked > 8 {
			t.Errorf("looked up %d times in a minute", l.asked)
		}
	})
}

func TestNobodyIsRefusedForRoomsWhileTheyAreNotKnown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.RoomsInAll = 2 })
		l := &listed{err: errors.New("the log is busy")}
		running(t, q, l)
		a := connect(t, q, far)
		for i := range 5 {
			if err := a.Send(fmt.Sprint("r", i), false); err != nil {
				t.Fatal(err)
			}
		}
		l.mu.Lock()
		l.names, l.err = []string{"r0", "r1", "r2", "r3", "r4"}, nil
		l.mu.Unlock()
		time.Sleep(time.Minute)
		if err := a.Send("r0", false); err != nil {
			t.Error(err)
		}
		refused(t, q, a.Send("r5", false), parley.Conflict, quota.Rooms, false)
	})
}
