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
func (b *bucket) take(p pace, now time.Time) (wait time.Duration) {
	if p.perSecond == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjust(p, now)
	if b.limiter.AllowN(now, 1) {
		return 0
	}
	return b.wait(now)
}

// look says how long until there is a token, without taking it.
func (b *bucket) look(p pace, now time.Time) (wait time.Duration) {
	if p.perSecond == 0 {
		return 0
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.adjust(p, now)
	return b.wait(now)
}

// wait is how long until there is a token. b.mu is held.
func (b *bucket) wait(now time.Time) time.Duration {
	missing := 1 - b.limiter.TokensAt(now)
	if missing <= 0 {
		return 0
	}
	return max(time.Duration(missing/float64(b.pace.perSecond)*float64(time.Second)), time.Millisecond)
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
