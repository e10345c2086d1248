package bench

import (
	"bytes"
	"sync/atomic"
	"time"
)

// stampDigits is the length of the send time that begins a body: nanoseconds of the load's clock.
const stampDigits = 16

// clock is a load's time: nanoseconds since it began.
type clock struct{ epoch time.Time }

func newClock() clock { return clock{epoch: time.Now()} }

func (c clock) now() int64 { return int64(time.Since(c.epoch)) }

// putDigits writes n over the whole of dst, with leading zeros.
func putDigits(dst []byte, n int64) {
	for i := len(dst) - 1; i >= 0; i-- {
		dst[i] = byte('0' + n%10)
		n /= 10
	}
}

// digits reads the number that p begins with.
func digits(p []byte) (n int64, ok bool) {
	for i, c := range p {
		if c < '0' || c > '9' {
			return n, i > 0
		}
		n = n*10 + int64(c-'0')
	}
	return n, len(p) > 0
}

// numberAfter reads the number behind the first key in p.
func numberAfter(p, key []byte) (int64, bool) {
	i := bytes.Index(p, key)
	if i < 0 {
		return 0, false
	}
	return digits(p[i+len(key):])
}

// window is the stretch of a load's clock that is measured: what was sent within it counts. It is
// empty until it is opened.
type window struct {
	from, until atomic.Int64
}

func (w *window) open(from int64, length time.Duration) {
	w.until.Store(from + int64(length))
	w.from.Store(from)
}

func (w *window) has(at int64) bool {
	from := w.from.Load()
	return from > 0 && at >= from && at < w.until.Load()
}
