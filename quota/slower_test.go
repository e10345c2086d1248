package quota_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"parley"
	"parley/quota"
)

func TestWhoIsRefusedAgainAndAgainIsReadSlower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := connect(t, newQuota(t, func(*parley.Limits) {}), loopback)
		began := time.Now()
		for range 100 {
			if err := a.Calm(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("a hundred refusals cost %v", took)
		}
		for range 100 {
			if err := a.Calm(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 3*time.Second || took > 12*time.Second {
			t.Errorf("a hundred more cost %v", took)
		}
		for range 10 {
			_ = a.Calm(t.Context())
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 3 {
			if err := a.Calm(ctx); err != nil {
				return
			}
		}
		t.Error("it is held back though it has been told to end")
	})
}

func TestWhoDoesTooMuchIsReadSlower(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		q := newQuota(t, func(l *parley.Limits) { l.OperationsPerSecond = 10 })
		a := login(t, q, far, "ada")
		began := time.Now()
		for range 150 { // 50 at once, and 10 a second
			if err := a.Operate(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(began); took < 9*time.Second || took > 11*time.Second {
			t.Errorf("150 operations took %v", took)
		}
		if q.Met()[quota.Operations] != 100 {
			t.Errorf("%d are counted", q.Met()[quota.Operations])
		}
		var wg sync.WaitGroup
		began = time.Now()
		for range 20 { // of one user, which has four sessions' worth
			b := login(t, q, other, "ada")
			wg.Go(func() {
				for range 40 {
					_ = b.Operate(t.Context())
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took < 10*time.Second || took > 20*time.Second {
			t.Errorf("800 operations of one user took %v", took)
		}
		bob := login(t, q, other, "bob")
		began = time.Now()
		if err := bob.Operate(t.Context()); err != nil || time.Since(began) > 0 {
			t.Errorf("another user waited for %v: %v", time.Since(began), err)
		}
	})
}
