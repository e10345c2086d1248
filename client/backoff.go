package client

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"parley"
)

// Bounds of the wait before another try.
const (
	minBackoff = 250 * time.Millisecond
	maxBackoff = 20 * time.Second
)

// backoff says how long to wait before the next try: any time up to a ceiling that doubles ("full
// jitter"), so that clients that lost the same server do not come back all at once.
type backoff struct{ tries uint }

// next counts a failed try. Where err bears the server's hint, the wait is the hint and the
// jitter; a hint is not believed beyond maxBackoff. At the first try the hint alone counts where a
// server sends its clients away: it has told each another time.
func (b *backoff) next(err error) time.Duration {
	ceiling := maxBackoff
	if b.tries < 16 {
		ceiling = min(maxBackoff, minBackoff<<b.tries)
	}
	b.tries++
	jitter := rand.N(ceiling)
	var e *parley.Error
	if !errors.As(err, &e) {
		return jitter
	}
	hint := min(max(0, e.Retry), maxBackoff)
	if b.tries == 1 && hint > 0 && e.Code == parley.Unavailable {
		return hint
	}
	return hint + jitter
}

func (b *backoff) reset() { b.tries = 0 }

// sleep waits for d, or less when ctx ends; it says whether it waited to the end.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
