package engine

import (
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
)

// partition is one stream and what is known of it. Its methods may be called by many goroutines.
type partition struct {
	index      int
	stream     string
	roomPrefix string // room.<index>.
	livePrefix string // live.<index>.
	quiet      bool   // holds journals: nothing of it is republished or followed

	// Learned when the stream was opened.
	created     time.Time
	minMessages int64         // the smallest limit of messages ever configured
	minAge      time.Duration // the smallest limit of age ever configured

	// tailed is the seq up to which the live copies have been passed on, or the log was asked
	// for those that never came. missed says that some below it may not have come.
	tailed atomic.Uint64
	missed atomic.Bool

	// told is the seq up to which receipts may have been given. It follows the watermark.
	told atomic.Uint64

	mu      sync.Mutex
	stored  uint64 // the highest seq known to be written
	acked   []acked
	lastAck time.Time
	live    []liveCopy // ascending
	skip    uint64     // the safety check vouches for all up to here

	// reached is the seq up to which whoever is asked is known to hold everything, and when that was seen.
	reached   uint64
	reachedAt time.Time

	// Owned by the releaser.
	await     []awaited // settled, but the live copy has not come: still in flight
	ackBuffer []acked
	liveSpare []liveCopy

	// Owned by the safety check.
	lastMark uint64
}

// acked is a written append, or a repeated one, that waits for the watermark.
type acked struct {
	token uint64
	storeAck
}

type liveCopy struct {
	seq uint64
	msg *nats.Msg
}

type awaited struct {
	seq    uint64
	weight int64
}

func newPartition(i int) *partition {
	n := strconv.Itoa(i)
	return &partition{index: i, stream: streamName(i), roomPrefix: roomPrefix + n + ".", livePrefix: livePrefix + n + "."}
}

// wrote notes the store's answer to an append.
func (p *partition) wrote(token uint64, a storeAck) {
	now := time.Now()
	p.mu.Lock()
	p.lastAck = now
	p.acked = append(p.acked, acked{token, a})
	p.stored = max(p.stored, a.seq)
	p.mu.Unlock()
}

// copied notes a live copy.
func (p *partition) copied(seq uint64, m *nats.Msg) {
	p.mu.Lock()
	p.live = append(p.live, liveCopy{seq, m})
	p.stored = max(p.stored, seq)
	p.mu.Unlock()
}

// found notes what a look at the stream itself has shown to be written.
func (p *partition) found(seq uint64) {
	p.mu.Lock()
	p.stored = max(p.stored, seq)
	p.mu.Unlock()
}

// written is the highest seq known to be written.
func (p *partition) written() uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stored
}

// vouch says that no live copy up to seq is to be waited for any more.
func (p *partition) vouch(seq uint64) {
	p.mu.Lock()
	p.skip = max(p.skip, seq)
	p.mu.Unlock()
}

// takeAcked removes what waits for a mark up to seq. The slice is the caller's until the next call.
func (p *partition) takeAcked(mark uint64) []acked {
	p.mu.Lock()
	defer p.mu.Unlock()
	out, rest := p.ackBuffer[:0], p.acked[:0]
	for _, a := range p.acked {
		if a.seq <= mark {
			out = append(out, a)
		} else {
			rest = append(rest, a)
		}
	}
	p.acked, p.ackBuffer = rest, out
	return out
}

// takeLive removes the live copies up to the mark. The slice is the caller's until the next call.
func (p *partition) takeLive(mark uint64) (out []liveCopy, skip uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for n < len(p.live) && p.live[n].seq <= mark {
		n++
	}
	clear(p.liveSpare)
	out = append(p.liveSpare[:0], p.live[:n]...)
	rest := copy(p.live, p.live[n:])
	clear(p.live[rest:])
	p.live, p.liveSpare = p.live[:rest], out
	return out, min(p.skip, mark)
}

// answered says whether the store has answered any append of the partition since t.
func (p *partition) answered(t time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lastAck.After(t)
}
