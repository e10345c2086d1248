package work

import (
	"strconv"
	"strings"
	"time"
)

// When a group's owner changes, the jobs that are held are known to their workers alone. These claim
// them as they take again from the new owner, which gives nothing out in the first moments.

// claimsFor is how long a new owner waits for claims by default.
const claimsFor = 500 * time.Millisecond

// claim is a job that its worker says it holds.
type claim struct {
	taker *Taker
	nonce uint64
	turn  uint64
}

// claim notes which jobs a worker holds already, by their names. g.mu is held, as in all below.
func (g *group) claim(t *Taker, names []string) {
	for i, name := range names {
		group, seq, nonce, ok := splitName(name)
		if !ok || group != g.key.name || seq > g.copied || g.past[seq].finished {
			continue
		}
		if j := g.open[seq]; j == nil && seq <= g.seen || j != nil && j.state != ready && j.state != blocked {
			continue // it is finished, or somebody else's by now
		}
		if g.claims == nil {
			g.claims = make(map[uint64]claim)
		}
		g.claims[seq] = claim{t, nonce, uint64(i)}
	}
}

// honour gives the jobs that can be given out to those who hold them already.
func (g *group) honour(now time.Time) {
	for seq := range g.claims {
		if j := g.open[seq]; j != nil && j.state == ready {
			g.claimed(j, now)
		}
	}
}

// claimed gives a job that is next to the worker that holds it already; false where none does.
func (g *group) claimed(j *job, now time.Time) bool {
	c, ok := g.claims[j.seq]
	if !ok {
		return false
	}
	delete(g.claims, j.seq)
	t := c.taker
	if t.left {
		return false
	}
	g.ready.remove(j)
	g.forgetBody(j)
	t.jobs[j] = 0 // its body is not ours to count
	j.state, j.holder, j.at, j.nonce = held, t, now.Add(t.deadline), c.nonce
	j.turn = c.turn
	g.timed.add(j)
	return true
}

// splitName reads the name of a try: group, seq and nonce.
func splitName(name string) (group string, seq, nonce uint64, ok bool) {
	end := strings.LastIndexByte(name, '.')
	mid := strings.LastIndexByte(name[:max(end, 0)], '.')
	if mid < 1 {
		return "", 0, 0, false
	}
	seq, err := strconv.ParseUint(name[mid+1:end], 10, 64)
	if err != nil {
		return "", 0, 0, false
	}
	nonce, err = strconv.ParseUint(name[end+1:], 36, 64)
	return name[:mid], seq, nonce, err == nil
}
