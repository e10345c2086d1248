package work

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"parley"
)

// maxReturning bounds the dead letters of a group that are on their way back.
const maxReturning = 1024

// returning is a dead letter on its way back into its group.
type returning struct {
	seq, prev uint64 // of the letter
	message   *parley.Message
	told      func(parley.Receipt, error)
	writing   bool
}

// PutBack makes a job again of a dead letter, which its seq in the room's room of dead letters names: in
// the group that it came from and in no other, with all its tries before it, and without the ttl that
// its message had. told is called with the job's seq once that is durable, unless PutBack fails itself.
// A letter that was put back before is not again; told says so.
func (m *Manager) PutBack(ctx context.Context, room string, letter uint64, told func(parley.Receipt, error)) error {
	l, prev, err := m.letter(ctx, room, letter)
	if err != nil {
		return err
	}
	msg, err := l.message()
	if err != nil {
		return err
	}
	g, err := m.open(ctx, room, l.Group, nil)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.removal != nil {
		return errMissing
	}
	if g.fault != nil {
		return errReloading
	}
	if len(g.returns) >= maxReturning {
		return parley.Errorf(parley.Unavailable, "too many dead letters are on their way back: try again in a moment")
	}
	g.returns = append(g.returns, &returning{seq: letter, prev: prev, message: msg, told: told})
	g.wake()
	return nil
}

// letter reads a dead letter, and says which stands in front of it.
func (m *Manager) letter(ctx context.Context, room string, seq uint64) (*deadLetter, uint64, error) {
	none := parley.Errorf(parley.NotFound, "%s%s has no dead letter %d", room, deadSuffix, seq)
	if seq == 0 {
		return nil, 0, none
	}
	page, err := m.Log.Read(ctx, room+deadSuffix, seq-1, 1)
	if err != nil {
		return nil, 0, err
	}
	if len(page.Messages) == 0 || page.Messages[0].Seq != seq || page.Messages[0].From != parley.Server {
		return nil, 0, none
	}
	l := new(deadLetter)
	if json.Unmarshal(page.Messages[0].Body, l) != nil || l.Room != room || l.Group == "" || l.Seq == 0 {
		return nil, 0, none
	}
	return l, page.Messages[0].Prev, nil
}

// message gives the message that a letter tells of.
func (l *deadLetter) message() (*parley.Message, error) {
	typ, err := parley.ParseType(l.Type)
	if err != nil {
		return nil, err
	}
	m := &parley.Message{
		Room: l.Room, Seq: l.Seq, ID: l.ID, From: l.From, At: l.At, Type: typ,
		Body: l.Body, Key: l.Key, Priority: l.Priority,
	}
	switch typ {
	case parley.Text:
		var text string
		err = json.Unmarshal(l.Body, &text)
		m.Body = []byte(text)
	case parley.Binary:
		err = json.Unmarshal(l.Body, &m.Body)
	}
	if err != nil {
		return nil, fmt.Errorf("read a dead letter: %w", err)
	}
	return m, nil
}

// takeBack writes the messages of dead letters into the journal of jobs, those of a moment in one
// record. When that is durable they are jobs; a crash before the step that says so leaves a record that
// counts for nothing.
func (g *group) takeBack(ctx context.Context) (again bool, err error) {
	g.mu.Lock()
	if g.copying || g.fault != nil || len(g.returns) == 0 {
		g.mu.Unlock()
		return false, nil
	}
	back := jobs{kind: jobsBack, before: g.total, after: g.copied}
	record := back.begin()
	var part []*returning
	var refused []func()
	taken := make(map[uint64]bool)
	kept := g.returns[:0]
	for _, r := range g.returns {
		seq := r.message.Seq
		j := g.open[seq]
		before, err := g.back.has(r.seq)
		switch {
		case err != nil:
			refused = append(refused, func() { r.told(parley.Receipt{}, err) })
		case before:
			g.step(g.pending, r.outcome(true))
		case taken[seq] || len(part) == copyMost || len(record) >= copyBytes, j != nil && j.state == settling:
			kept = append(kept, r) // the next time, or when its burial is over
		case seq > g.copied && g.grown:
			kept = append(kept, r) // a group that was removed sent it, and this one has yet to copy the message
		case j != nil || g.unread(seq):
			// It is not finished: a crash came between its letter and the step. The letter is dealt with.
			g.markBack(r)
		case len(g.open)+len(part) >= 2*window:
			refused = append(refused, func() { r.told(parley.Receipt{}, errFull) })
		default:
			taken[seq], r.writing = true, true
			record, part, kept = appendMessage(record, r.message), append(part, r), append(kept, r)
		}
	}
	clear(g.returns[len(kept):])
	g.returns = kept
	g.copying = len(part) > 0
	last := g.newest
	g.mu.Unlock()
	for _, tell := range refused {
		tell()
	}
	if len(part) == 0 {
		return false, nil
	}
	return false, g.write(ctx, g.jobsJournal, last, record, func(seq uint64) { g.cameBack(seq, part, len(record)) })
}

var errFull = parley.Errorf(parley.Unavailable, "the group has too many unfinished jobs: let its workers do some first")

// unread says whether a job is in the journal of jobs, in front of what is in view, and unfinished. g.mu
// is held, as in all below.
func (g *group) unread(seq uint64) bool {
	return seq > g.seen && seq <= g.copied && !g.past[seq].finished
}

// cameBack makes jobs of the messages of a durable record.
func (g *group) cameBack(record uint64, part []*returning, bytes int) {
	now := time.Now()
	g.copying, g.newest = false, record
	g.bulk += bytes
	g.records++
	for _, r := range part {
		m := r.message
		j := &job{seq: m.Seq, record: record, key: m.Key, priority: m.Priority, back: true}
		g.enter(j, now)
		g.pending = appendBack(g.pending, j)
		g.markBack(r)
		g.manager.counts.returned.Add(1)
	}
	kept := g.returns[:0]
	for _, r := range g.returns {
		if !r.writing {
			kept = append(kept, r)
		}
	}
	clear(g.returns[len(kept):])
	g.returns = kept
}

// markBack notes that a letter was put back, and tells who did when that is durable.
func (g *group) markBack(r *returning) {
	g.back.add(r.prev, r.seq)
	b := binary.AppendUvarint(append(g.pending, stepLetter), r.prev)
	g.step(binary.AppendUvarint(b, r.seq), r.outcome(false))
}

func (r *returning) outcome(before bool) func(error) {
	return func(err error) {
		if err != nil {
			r.told(parley.Receipt{}, err)
		} else {
			r.told(parley.Receipt{Seq: r.message.Seq, Duplicate: before}, nil)
		}
	}
}

// appendBack adds a job that was a dead letter, as it stands.
func appendBack(b []byte, j *job) []byte {
	b = binary.AppendUvarint(append(b, stepBack), j.seq)
	b = binary.AppendUvarint(b, j.record)
	b = binary.AppendUvarint(b, uint64(j.tries))
	b = append(appendTime(b, j.due()), j.priority)
	return appendString(b, j.key)
}

// readBack reads what appendBack has written.
func readBack(d *decoder) *job {
	j := &job{seq: d.uint(), record: d.uint(), tries: int(d.uint()), at: d.time(), priority: d.byte(), back: true}
	j.key = string(d.bytes())
	return j
}
