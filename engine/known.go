package engine

import (
	"sort"
	"sync"

	"parley"
)

// known is the newest seqs of a followed room, so that its messages can be asked for one by one,
// whatever lies between them. It holds every seq that the room ever had above floor, up to the last
// delivered.
type known struct {
	mu    sync.Mutex
	limit int
	ready bool
	floor uint64
	seqs  []uint64
	body  int // bytes of a body, about: the mean of the latest
}

const maxKnown = 2048

// init sets the bound: no more than retention by number leaves, so that all of them can be there.
func (k *known) init(retain int) {
	k.limit = maxKnown
	if retain > 0 {
		k.limit = min(k.limit, retain)
	}
}

// begin knows that nothing above last was delivered yet.
func (k *known) begin(last uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.ready, k.floor = true, last
}

// add knows the next messages delivered.
func (k *known) add(run []*parley.Message) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, m := range run {
		k.seqs = append(k.seqs, m.Seq)
		k.body += (len(m.Body) - k.body) / 8
	}
	k.cut()
}

// within estimates how many messages have so many bytes of bodies.
func (k *known) within(bytes int) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return bytes/max(k.body, 1) + 1
}

func (k *known) cut() {
	if n := len(k.seqs) - k.limit; n > 0 {
		k.floor = k.seqs[n-1]
		k.seqs = append(k.seqs[:0], k.seqs[n:]...)
	}
}

// learn knows what a read of the log has shown: the seqs of all the messages the room ever had
// above floor and up to the last of them, or beyond where it was the end. It counts if it meets
// what is known.
func (k *known) learn(floor uint64, page []*parley.Message, end bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ready || floor >= k.floor || len(page) == 0 {
		return
	}
	if !end && page[len(page)-1].Seq < k.floor {
		return
	}
	below := make([]uint64, 0, len(page)+len(k.seqs))
	for _, m := range page {
		if m.Seq <= k.floor {
			below = append(below, m.Seq)
		}
	}
	k.seqs, k.floor = append(below, k.seqs...), floor
	k.cut()
}

// above gives up to n seqs above after, and the one in front of them, which is the seq of the
// message before the first, or 0 where that is not known. False where too little is known.
func (k *known) above(after uint64, n int) (front uint64, seqs []uint64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ready || after < k.floor {
		return 0, nil, false
	}
	i := sort.Search(len(k.seqs), func(i int) bool { return k.seqs[i] > after })
	if i > 0 {
		front = k.seqs[i-1]
	}
	return front, append([]uint64(nil), k.seqs[i:min(i+n, len(k.seqs))]...), true
}

// back gives the seq in front of the newest n below before, 0 with ok where all that is left is
// no more than n, and not ok where too little is known.
func (k *known) back(before uint64, n int) (after uint64, ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.ready {
		return 0, false
	}
	i := sort.Search(len(k.seqs), func(i int) bool { return k.seqs[i] >= before })
	switch {
	case i > n:
		return k.seqs[i-n-1], true
	case k.floor == 0:
		return 0, true
	}
	return 0, false
}
