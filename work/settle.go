package work

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"parley"
)

// Told is who waits for a step to be durable. It must not block.
type Told func(seq uint64, err error)

// deadSuffix makes the name of the room that holds a room's dead letters.
const deadSuffix = ".dead"

// Back-off of a job that is tried again without a word of when.
const (
	backoffFirst = time.Second
	backoffMost  = time.Minute
)

// Done finishes a job. told is called once it is durable, unless Done fails itself; likewise
// below.
func (m *Manager) Done(ctx context.Context, room, name string, told Told) error {
	return m.settle(ctx, room, name, func(g *group, j *job, now time.Time) {
		g.manager.counts.done.Add(1)
		g.finish(j, now, told.of(j))
	})
}

// Retry ends a try: the job may be given out again after delay, nil for the usual back-off. At the
// last try it is a dead letter.
func (m *Manager) Retry(ctx context.Context, room, name string, delay *time.Duration, reason string, told Told) error {
	return m.settle(ctx, room, name, func(g *group, j *job, now time.Time) {
		g.manager.counts.retried.Add(1)
		if j.state == unseen { // it will be given out anyway
			g.step(g.pending, told.of(j))
			return
		}
		t := j.last
		j.tries++
		if t != nil && j.tries >= t.tries {
			g.doom(j, reason, told.of(j))
			return
		}
		wait := min(backoffFirst<<min(j.tries-1, 16), backoffMost)
		if delay != nil {
			wait = *delay
		}
		j.at = now.Add(wait)
		g.tried(j, told.of(j))
		g.place(j, now)
	})
}

// Release gives back a job that its worker has not begun: that is no try, and it is given out again at
// once. There is nothing to be written: told is called before Release returns.
func (m *Manager) Release(ctx context.Context, room, name string, told Told) error {
	g, seq, nonce, err := m.find(ctx, room, name)
	if err != nil {
		return err
	}
	g.mu.Lock()
	j, err := g.allowed(seq, nonce)
	if err == nil && j != nil && j.state == held {
		g.timed.remove(j)
		g.free(j, time.Now())
		g.wake()
	}
	g.mu.Unlock()
	if err == nil && told != nil {
		told(seq, nil)
	}
	return err
}

// Fail makes a dead letter of a job.
func (m *Manager) Fail(ctx context.Context, room, name, reason string, told Told) error {
	return m.settle(ctx, room, name, func(g *group, j *job, _ time.Time) {
		g.manager.counts.failed.Add(1)
		if j.state == unseen {
			g.step(g.pending, told.of(j))
			return
		}
		j.tries++
		g.doom(j, reason, told.of(j))
	})
}

// of binds the seq of a job.
func (t Told) of(j *job) func(error) {
	if t == nil {
		return nil
	}
	seq := j.seq
	return func(err error) { t(seq, err) }
}

// Busy gives the holder of a job more time: from now on d, or where that is 0 as much as it had.
func (m *Manager) Busy(ctx context.Context, room, name string, d time.Duration) (time.Duration, error) {
	g, seq, nonce, err := m.find(ctx, room, name)
	if err != nil {
		return 0, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	j, err := g.allowed(seq, nonce)
	if err != nil {
		return 0, err
	}
	if j == nil || j.state != held {
		return 0, parley.Errorf(parley.NotFound, "nobody holds this job now")
	}
	if d == 0 {
		d = j.holder.deadline
	}
	g.timed.remove(j)
	j.at = time.Now().Add(d)
	g.timed.add(j)
	g.wake()
	return d, nil
}

// settle has act deal with a job that was taken out of its queue and from its holder.
func (m *Manager) settle(ctx context.Context, room, name string, act func(g *group, j *job, now time.Time)) error {
	g, seq, nonce, err := m.find(ctx, room, name)
	if err != nil {
		return err
	}
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	j, err := g.allowed(seq, nonce)
	if err != nil {
		return err
	}
	if j == nil {
		j = g.ahead(seq)
	}
	g.unqueue(j)
	if j.last = j.holder; j.last != nil {
		j.last.drop(j)
		j.last.late = 0
	}
	act(g, j, now)
	g.wake()
	return nil
}

var errNoJob = parley.Errorf(parley.NotFound, "there is no such job: it is finished, or never was")

// find reads the name of a try.
func (m *Manager) find(ctx context.Context, room, name string) (g *group, seq, nonce uint64, err error) {
	group, seq, nonce, ok := splitName(name)
	if ok {
		group, err = parley.ParseRoom(group)
	}
	if !ok || err != nil {
		return nil, 0, 0, errNoJob
	}
	g, err = m.open(ctx, room, group, nil)
	return g, seq, nonce, err
}

// allowed finds a job that may be settled under this name: it is held under it, or by nobody and was
// last, as far as is known: a restart forgets. A job that is not in view, as soon after one, is nil. g.mu
// is held, as in all below.
func (g *group) allowed(seq, nonce uint64) (*job, error) {
	if g.fault == errNoJob { // the group is removed
		return nil, errNoJob
	}
	if isClosed(g.ended) {
		return nil, ErrElsewhere
	}
	if g.fault != nil {
		return nil, errReloading
	}
	j := g.open[seq]
	switch {
	case j == nil && seq > g.seen && seq <= g.copied && !g.past[seq].finished:
		if len(g.past) >= window {
			return nil, parley.Errorf(parley.Conflict, "the job is not in view: it will be given out again")
		}
		return nil, nil
	case j == nil || j.state == settling:
		return nil, errNoJob
	case j.nonce != 0 && j.nonce != nonce:
		return nil, parley.Errorf(parley.Conflict, "the job is another worker's by now")
	}
	return j, nil
}

// ahead stands for a job that is not in view: what is said of it counts when it comes there.
func (g *group) ahead(seq uint64) *job { return &job{seq: seq, state: unseen} }

// finish ends a job that is in no queue.
func (g *group) finish(j *job, now time.Time, told func(error)) {
	delete(g.claims, j.seq)
	if j.state == unseen {
		g.past[j.seq] = past{finished: true}
	} else {
		g.leave(j, now)
	}
	g.step(appendFinished(g.pending, j.seq), told)
}

// tried writes down how a job stands that goes on.
func (g *group) tried(j *job, told func(error)) {
	g.step(appendTried(g.pending, j.seq, past{tries: j.tries, due: j.at}), told)
}

// grave is a job that becomes a dead letter.
type grave struct {
	job    *job
	reason string
	told   func(error)
}

// doom makes a dead letter of a job that is in no queue.
func (g *group) doom(j *job, reason string, told func(error)) {
	j.state = settling
	one := grave{j, reason, told}
	if !g.manager.shared() {
		g.graves = append(g.graves, one)
		return
	}
	// Where another node may have taken the group over, no letter is sent before a step has shown that
	// none has.
	g.step(appendTried(g.pending, j.seq, past{tries: j.tries}), func(err error) {
		if err != nil {
			if told != nil {
				told(err)
			}
			return
		}
		g.mu.Lock()
		g.graves = append(g.graves, one)
		g.mu.Unlock()
		g.wake()
	})
}

// deadLetter is the body of a message that tells of a dead job.
type deadLetter struct {
	Room   string          `json:"room"`
	Group  string          `json:"group"`
	Seq    uint64          `json:"seq"`
	ID     string          `json:"id"`
	From   string          `json:"from"`
	At     time.Time       `json:"at"`
	Tries  int             `json:"tries"`
	Reason string          `json:"reason"`
	Type   string          `json:"type"`
	Body   json.RawMessage `json:"body"`

	Key      string `json:"key,omitempty"`
	Priority uint8  `json:"priority,omitempty"`
}

// bury sends a dead letter. Its step is written when that is durable.
func (g *group) bury(ctx context.Context) (again bool, err error) {
	g.mu.Lock()
	if len(g.graves) == 0 || g.fault != nil {
		g.mu.Unlock()
		return false, nil
	}
	next := g.graves[0]
	j := next.job
	seq, record, tries := j.seq, j.record, j.tries
	g.mu.Unlock()
	m, err := g.fetch(ctx, seq, record)
	if err != nil {
		return false, err
	}
	draft, err := g.letter(m, record, tries, next.reason)
	if err != nil {
		return false, err
	}
	g.mu.Lock()
	g.graves = g.graves[1:] // from here on the append tells
	g.mu.Unlock()
	buried := func(err error) {
		g.mu.Lock()
		if err != nil {
			g.failed(err)
		} else {
			g.manager.counts.dead.Add(1)
			g.dead++
			g.leave(j, time.Now())
			g.step(appendDead(g.pending, j.seq), next.told)
			g.wake()
		}
		g.mu.Unlock()
		if err != nil && next.told != nil {
			next.told(errReloading)
		}
	}
	g.writes.Add(1)
	err = g.manager.Log.Append(ctx, draft, func(_ parley.Receipt, err error) {
		defer g.writes.Done()
		buried(err)
	})
	if err != nil {
		g.writes.Done()
		buried(err)
	}
	return true, nil
}

// letter makes the dead letter of a message. Its id depends on the job and the record that made it one, so
// that a letter sent again after a crash is stored once, and each life of a message has its own.
func (g *group) letter(m *parley.Message, record uint64, tries int, reason string) (parley.Draft, error) {
	body, err := bodyJSON(m)
	if err != nil {
		return parley.Draft{}, err
	}
	var data bytes.Buffer
	enc := json.NewEncoder(&data)
	enc.SetEscapeHTML(false) // a body of JSON stays as it was written
	err = enc.Encode(deadLetter{
		Room: m.Room, Group: g.key.name, Seq: m.Seq, ID: m.ID, From: m.From, At: m.At,
		Tries: tries, Reason: strings.ToValidUTF8(reason, "\ufffd"), Type: m.Type.String(), Body: body,
		Key: m.Key, Priority: m.Priority,
	})
	if err != nil {
		return parley.Draft{}, err
	}
	id := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", g.steps, m.Seq, record))
	return parley.Draft{
		Room: g.key.room + deadSuffix, ID: hex.EncodeToString(id[:16]), From: parley.Server, Type: parley.JSON, Body: bytes.TrimSpace(data.Bytes()), Retry: true,
	}, nil
}

// bodyJSON writes a body as frames have it.
func bodyJSON(m *parley.Message) (json.RawMessage, error) {
	switch m.Type {
	case parley.JSON:
		return m.Body, nil
	case parley.Binary:
		return json.Marshal(m.Body)
	}
	return json.Marshal(string(m.Body))
}
