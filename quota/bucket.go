package quota

import (
	"math"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"parley"
)

// bucket is a token bucket whose rate may change. It is safe for concurrent use; the zero value is
// full, and small until it is used.
type bucket struct {
	mu      sync.Mutex
	limiter *rate.Limiter
	pace    pace // the limiter's
}

// pace is what a bucket allows: so many events a second, and so many at once after a rest. The zero
// value allows all.
type pace struct{ perSecond, burst int32 }

// paceOf makes a pace of what is configured; without a burst it is BurstSeconds' worth.
func paceOf(perSecond, burst int) pace {
	if burst == 0 {
		burst = parley.BurstSeconds * perSecond
	}
	return pace{perSecond: int32(min(perSecond, math.MaxInt32)), burst: int32(min(burst, math.MaxInt32))}
}

// take takes a token. Where there is none, wait is how long until there is one.
func (b *bucket) take(p pace, now time.Time) (wait time.Duration) { return b.takeN(p, now, 1) }

// takeN takes some tokens, or as many as the bucket can hold, or none.
func (b *bucket) takeN(p pace, now time.Time, n int) (wait time.Duration) {
	n = min(n, int(p.burst))
	if p.perSecond == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjust(p, now)
	if b.limiter.AllowN(now, n) {
		return 0
	}
	return b.wait(now, n)
}

// reserve takes a token, of those to come if there is none, and says how long until it is there.
func (b *bucket) reserve(p pace, now time.Time) (wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjust(p, now)
	return b.limiter.ReserveN(now, 1).DelayFrom(now)
}

// look says how long until there is a token, without taking it.
func (b *bucket) look(p pace, now time.Time) (wait time.Duration) {
	if p.perSecond == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjust(p, now)
	return b.wait(now, 1)
}

// wait is how long until there are so many tokens. b.mu is held.
func (b *bucket) wait(now time.Time, n int) time.Duration {
	missing := float64(n) - b.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Duration(missing/float64(b.pace.perSecond)*float64(time.Second)), time.Millisecond)
}

// times is a pace for so many at once.
func (p pace) times(n int32) pace {
	if p.perSecond > math.MaxInt32/n || p.burst > math.MaxInt32/n {
		return pace{}
	}
	return pace{p.perSecond * n, p.burst * n}
}

// adjust makes the limiter one of this pace. b.mu is held.
func (b *bucket) adjust(p pace, now time.Time) {
	switch {
	case b.limiter == nil:
		b.limiter = rate.NewLimiter(rate.Limit(p.perSecond), int(p.burst))
	case b.pace != p:
		b.limiter.SetLimitAt(now, rate.Limit(p.perSecond))
		b.limiter.SetBurstAt(now, int(p.burst))
	}
	b.pace = p
}
