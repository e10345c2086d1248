package engine

import (
	"strconv"
	"sync"
	"time"

	"parley"
)

// slots holds the appends that have no outcome yet. A token names one for as long as it is held:
// the slot's number, and above it how often the slot was used, so that an answer which comes too
// late meets nobody.
type slots struct {
	mu   sync.Mutex
	all  []slot
	free []uint32
	held int
}

// slot is an append without an outcome.
type slot struct {
	use    uint32
	held   bool
	weight int64 // of the bound on what is in flight
	place  place
	done   func(parley.Receipt, error)
	since  time.Time
}

const slotBits = 32

// take holds a slot for s.
func (t *slots) take(s slot) (token uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	var i uint32
	if n := len(t.free); n > 0 {
		i, t.free = t.free[n-1], t.free[:n-1]
	} else {
		i = uint32(len(t.all))
		t.all = append(t.all, slot{})
	}
	s.use, s.held = t.all[i].use+1, true
	t.all[i] = s
	t.held++
	return uint64(s.use)<<slotBits | uint64(i)
}

// look gives the held slot without letting it go.
func (t *slots) look(token uint64) (slot, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.find(token)
	if s == nil {
		return slot{}, false
	}
	return *s, true
}

// drop lets the slot go. Whoever gets it, and only he, may tell its outcome.
func (t *slots) drop(token uint64) (slot, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropLocked(token)
}

// dropAcked lets the slots of a release go in one turn, appending them to out; a slot that was
// let go before is left as the zero slot.
func (t *slots) dropAcked(batch []acked, out []slot) []slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, a := range batch {
		s, _ := t.dropLocked(a.token)
		out = append(out, s)
	}
	return out
}

// dropIf lets go all for which which is true.
func (t *slots) dropIf(which func(*slot) bool) []slot {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []slot
	for i := range t.all {
		if s := &t.all[i]; s.held && which(s) {
			dropped, _ := t.dropLocked(uint64(s.use)<<slotBits | uint64(i))
			out = append(out, dropped)
		}
	}
	return out
}

// count is how many are held.
func (t *slots) count() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.held
}

func (t *slots) find(token uint64) *slot {
	i := token & (1<<slotBits - 1)
	if i >= uint64(len(t.all)) {
		return nil
	}
	if s := &t.all[i]; s.held && uint64(s.use) == token>>slotBits {
		return s
	}
	return nil
}

func (t *slots) dropLocked(token uint64) (slot, bool) {
	s := t.find(token)
	if s == nil {
		return slot{}, false
	}
	out := *s
	*s = slot{use: out.use}
	t.free = append(t.free, uint32(token&(1<<slotBits-1)))
	t.held--
	return out, true
}

const tokenBase = 36

func appendToken(b []byte, token uint64) []byte { return strconv.AppendUint(b, token, tokenBase) }

func parseToken(s string) (uint64, bool) {
	token, err := strconv.ParseUint(s, tokenBase, 64)
	return token, err == nil
}
