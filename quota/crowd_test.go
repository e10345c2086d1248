package quota_test

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/quota"
)

// Very many users, addresses and rooms in slow mode are not all remembered.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	q := newQuota(t, func(l *parley.Limits) {
		l.SendsPerSecond, l.UserSendsPerSecond, l.ConnectionsPerUser = 1, 1, 1
		l.Slow = []parley.Slow{{Rooms: "**", Every: time.Hour}}
	})
	keep := login(t, q, far, "ada")
	for i := range 300_000 {
		a := q.Visit(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		if err := errors.Join(a.Login(fmt.Sprint("user-", i), true), a.Send("r", false)); err != nil {
			t.Fatal(err)
		}
	}
	parties, clocks := q.Remembered()
	if parties > 70_000 || parties < 1000 || clocks > 140_000 || clocks < 1000 {
		t.Errorf("%d parties and %d clocks are remembered", parties, clocks)
	}
	if err := keep.Send("r", false); err != nil {
		t.Error(err)
	}
	if err := connect(t, q, other).Login("ada", true); err == nil {
		t.Error("a user who is here was forgotten")
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	q := newQuota(t, func(l *parley.Limits) {
		l.Connections, l.ConnectionsPerAddress, l.UserSendsPerSecond, l.UserSendsBurst = 64, 16, 1, 100
	})
	var wg sync.WaitGroup
	var mu sync.Mutex
	sent := 0
	for i := range 32 {
		wg.Go(func() {
			for n := range 200 {
				a, err := q.Connect(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 4)}))
				if err != nil {
					continue
				}
				if err := a.Login("ada", true); err != nil {
					t.Error(err)
				}
				if a.Send(fmt.Sprint("r", n%3), false) == nil {
					mu.Lock()
					sent++
					mu.Unlock()
				}
				a.Close()
			}
		})
	}
	wg.Wait()
	if sent < 100 || sent > 160 { // and a second's worth for each second this took
		t.Errorf("%d sends of a burst of 100", sent)
	}
	for range 16 { // all were given back
		connect(t, q, netip.AddrFrom4([4]byte{10, 0, 0, 1}))
	}
}

func BenchmarkSend(b *testing.B) {
	for name, l := range map[string]parley.Limits{"none": none(), "defaults": parley.DefaultLimits(), "slow": parley.DefaultLimits()} {
		b.Run(name, func(b *testing.B) {
			if l.SendsPerSecond > 0 {
				l.SendsPerSecond, l.SendsBurst, l.UserSendsPerSecond, l.UserSendsBurst = 1<<30, 1<<30, 1<<30, 1<<30
			}
			if name == "slow" {
				l.Slow = []parley.Slow{{Rooms: "news.**", Every: time.Nanosecond}}
			}
			q, err := quota.New(l)
			if err != nil {
				b.Fatal(err)
			}
			a, err := q.Connect(far)
			if err != nil {
				b.Fatal(err)
			}
			defer a.Close()
			b.ReportAllocs()
			for b.Loop() {
				if err := a.Send("news.eu", false); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
