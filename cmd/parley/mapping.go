package main

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
)

// mapping carries out a run. One goroutine reads lines, one follows each of the two rooms that
// outcomes come by, one waits for acknowledgements; run owns all the rest.
type mapping struct {
	// Fixed at birth.
	client *client.Client
	flags  *mapFlags
	room   *client.Room
	in     io.Reader
	file   *os.File // the output, if it is a file
	events chan mapEvent
	sent   chan sentLine
	wake   chan struct{} // of one: there are refusals

	// Owned by run.
	state    *mapRun
	out      *bufio.Writer
	sum      hash.Hash // of the lines that are written, or passed over
	skip     uint64    // lines that are passed over, since they were written before
	hand     []*mapLine
	outcomes map[uint64]outcome // of lines that are not written, by number
	again    map[uint64]failure // of lines that failed before the run was resumed
	seen     positions
	behind   int    // rooms that are not read up to where they were at the start: nothing is sent before
	missed   bool   // meanwhile there was an answer too far ahead to be kept
	ended    bool   // there are no more lines
	changed  bool   // since the state was saved
	saved    uint64 // lines written then
	progress *mapProgress

	mu       sync.Mutex
	refusals []refusal
}

// mapLine is a line that is in hand: read, and not written.
type mapLine struct {
	number uint64
	body   []byte
	sum    string
	round  int  // in which it was sent
	sent   bool // by this process
}

// outcome is what became of a line.
type outcome struct {
	room   int // by which it came; -1: none
	seq    uint64
	sum    string // of the line that it is for; "" = the one in hand
	body   []byte
	failed string // the reason, if there is no answer
}

// failure is a dead letter of a line that is sent again, in a later round.
type failure struct {
	round int
	seq   uint64
}

// sentLine is a line that is on its way, refusal one that the server did not take.
type sentLine struct {
	number  uint64
	pending *client.Pending
}

type refusal struct {
	number uint64
	err    error
}

// The rooms of outcomes, as positions have them.
const (
	fromAnswers = iota
	fromDead
)

// mapEvent is what a room brought: a message, a gap, that it was read up to where it was at the
// start, or the error that ended it.
type mapEvent struct {
	room   int
	m      *parley.Message
	gap    *client.Gap
	caught bool
	err    error
}

// saveEvery is how often the state is saved, if it has changed, and progress is told.
const saveEvery = 250 * time.Millisecond

// maxUnsaved is after how many lines it is saved in between.
const maxUnsaved = 10_000

func newMapping(c *client.Client, f *mapFlags, state *mapRun, cmd *cobra.Command, out *os.File) *mapping {
	m := &mapping{
		client: c, flags: f, room: c.Room(state.Room), in: cmd.InOrStdin(), file: out, state: state,
		events: make(chan mapEvent, 64), sent: make(chan sentLine, 64), wake: make(chan struct{}, 1),
		out: bufio.NewWriterSize(cmd.OutOrStdout(), 64<<10), sum: sha256.New(), skip: state.Written,
		outcomes: make(map[uint64]outcome), again: make(map[uint64]failure),
	}
	m.progress = newMapProgress(cmd.ErrOrStderr(), m.in, f.quiet, state)
	return m
}

func (m *mapping) rooms() [2]string { return [2]string{m.flags.answers, m.state.Room + deadSuffix} }

// run carries out the run and keeps how far it came, however it ends.
func (m *mapping) run(ctx context.Context) error {
	newest, err := m.newest(ctx)
	if err != nil {
		return err
	}
	if m.state.fresh {
		m.state.Begin, m.state.After = newest, newest
	}
	if err := m.state.save(); err != nil { // before the first line is sent
		return err
	}
	inner, stop := context.WithCancel(ctx)
	var others sync.WaitGroup
	m.seen, m.behind, m.saved = m.state.After, len(newest), m.state.Written
	for i, name := range m.rooms() {
		after := m.state.After[i]
		others.Go(func() { m.follow(inner, i, name, after, newest[i]) })
	}
	others.Go(m.collect)
	err = m.loop(inner)
	stop()
	close(m.sent)
	others.Wait()
	m.progress.clear()
	err = errors.Join(err, m.save())
	if err != nil {
		m.progress.unfinished(err)
		return err
	}
	m.progress.summary()
	if n := m.state.Failed; n > 0 {
		return fmt.Errorf("%d of %d lines have no answer", n, m.state.Written)
	}
	return nil
}

// newest gives the seqs of the newest messages of the rooms.
func (m *mapping) newest(ctx context.Context) (at positions, err error) {
	ctx, cancel := answering(ctx)
	defer cancel()
	for i, name := range m.rooms() {
		page, err := m.client.Room(name).History(ctx, client.Limit(1))
		if err != nil {
			return at, fmt.Errorf("read %s: %w", name, err)
		}
		if n := len(page.Messages); n > 0 {
			at[i] = page.Messages[n-1].Seq
		}
	}
	return at, nil
}

// follow brings what comes to a room behind a seq, and says when it has brought what was there at the start.
func (m *mapping) follow(ctx context.Context, room int, name string, after, newest uint64) {
	caught, first := false, true
	reached := func(seq uint64) {
		if !caught && seq >= newest {
			caught = true
			m.bring(ctx, mapEvent{room: room, caught: true})
		}
	}
	reached(after)
	for msg, err := range m.client.Room(name).Messages(ctx, client.After(after)) {
		var gap *client.Gap
		switch {
		case errors.As(err, &gap):
			m.bring(ctx, mapEvent{room: room, gap: gap})
			reached(gap.Next - 1)
		case err != nil:
			m.bring(ctx, mapEvent{room: room, err: fmt.Errorf("read %s: %w", name, err)})
			return
		default:
			if first && after == 0 && msg.Seq > 1 && msg.Seq <= newest { // behind 0 no gap is told: there may be one
				m.bring(ctx, mapEvent{room: room, gap: &client.Gap{Room: name, Next: msg.Seq}})
			}
			first = false
			m.bring(ctx, mapEvent{room: room, m: msg})
			reached(msg.Seq)
		}
	}
}

func (m *mapping) bring(ctx context.Context, e mapEvent) {
	select {
	case m.events <- e:
	case <-ctx.Done():
	}
}

// collect waits for the acknowledgements of what was sent.
func (m *mapping) collect() {
	for s := range m.sent {
		if _, err := s.pending.Wait(context.Background()); err != nil { // ends with the context it was sent with
			m.mu.Lock()
			m.refusals = append(m.refusals, refusal{s.number, err})
			m.mu.Unlock()
			select {
			case m.wake <- struct{}{}:
			default:
			}
		}
	}
}

// loop reads lines, sends them, and writes their answers, until there are no more.
func (m *mapping) loop(ctx context.Context) error {
	input := make(chan line, 64)
	go func() { // not waited for: a read of a terminal does not end
		defer close(input)
		readLines(ctx, m.in, input)
	}()
	ticker := time.NewTicker(saveEvery)
	defer ticker.Stop()
	late := time.After(answerWithin)
	for !m.ended || len(m.hand) > 0 {
		var lines <-chan line
		if !m.ended && (m.skip > 0 || len(m.hand) < m.flags.window) {
			lines = input
		}
		var err error
		select {
		case l, ok := <-lines:
			err = m.read(ctx, l, ok)
		case e := <-m.events:
			err = m.note(ctx, e)
		case <-m.wake:
			err = m.refused()
		case <-late:
			err = m.caughtUp(ctx, m.behind) // what was the newest message is gone by now
		case <-ticker.C:
			m.progress.tell(m.hand, m.ended)
			err = m.save()
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		if err == nil {
			err = m.write()
		}
		if err == nil && m.state.Written-m.saved >= maxUnsaved {
			err = m.save()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// caughtUp takes it that so many rooms are read up to where they were at the start. When all are,
// lines without an outcome are sent.
func (m *mapping) caughtUp(ctx context.Context, rooms int) error {
	if m.behind == 0 {
		return nil
	}
	if m.behind = max(0, m.behind-rooms); m.behind > 0 {
		return nil
	}
	if m.missed {
		return m.lost(ctx)
	}
	return m.sendAll(ctx)
}

// sendAll sends what is in hand, was not sent and has no outcome.
func (m *mapping) sendAll(ctx context.Context) error {
	for _, l := range m.hand {
		if _, known := m.outcomes[l.number]; known || l.sent {
			continue
		}
		if err := m.send(ctx, l); err != nil {
			return err
		}
	}
	return nil
}

// read takes a line in hand and sends it, unless its outcome is known.
func (m *mapping) read(ctx context.Context, l line, ok bool) error {
	n := uint64(l.number)
	switch {
	case !ok:
		m.ended = true
		if m.skip > 0 {
			return m.otherInputs()
		}
		return ctx.Err()
	case l.err != nil && l.body == nil:
		return fmt.Errorf("read stdin: %w", l.err)
	}
	m.progress.read(len(l.body) + 1)
	if m.skip > 0 { // it was written by a run before
		addLine(m.sum, l.body)
		if m.skip--; m.skip == 0 && sumOf(m.sum) != m.state.Sum {
			return m.otherInputs()
		}
		return nil
	}
	held := &mapLine{number: n, body: l.body, sum: lineSum(l.body)}
	m.hand = append(m.hand, held)
	switch {
	case l.err != nil:
		return m.settle(n, outcome{room: -1, failed: sentence(l.err)})
	case len(l.body) == 0:
		return m.settle(n, outcome{room: -1})
	}
	if _, known := m.outcomes[n]; known || m.behind > 0 {
		return nil
	}
	return m.send(ctx, held)
}

func (m *mapping) otherInputs() error {
	return usagef("the inputs are not those of the run that %s keeps", m.state.path)
}

// send has a line be a job.
func (m *mapping) send(ctx context.Context, l *mapLine) error {
	kind := parley.Text
	if !utf8.Valid(l.body) {
		kind = parley.Binary
	}
	l.round, l.sent = max(l.round, m.state.Round, m.again[l.number].round), true
	p, err := m.room.PublishAsync(ctx, l.body, client.WithType(kind), client.WithID(m.state.id(l.number, l.sum, l.round)))
	if err != nil {
		return m.refuse(l.number, err)
	}
	m.sent <- sentLine{l.number, p} // collect waits for nothing of ours
	return nil
}

// refused takes what collect has to say.
func (m *mapping) refused() error {
	m.mu.Lock()
	all := m.refusals
	m.refusals = nil
	m.mu.Unlock()
	for _, r := range all {
		if err := m.refuse(r.number, r.err); err != nil {
			return err
		}
	}
	return nil
}

// refuse takes it that a line cannot be sent: that is the line's outcome if it is the line's fault.
func (m *mapping) refuse(number uint64, err error) error {
	var e *parley.Error
	if errors.As(err, &e) && (e.Code == parley.TooLarge || e.Code == parley.BadRequest) {
		return m.settle(number, outcome{room: -1, failed: e.Message})
	}
	return fmt.Errorf("send line %d: %w", number, err)
}

// note takes what a room brought.
func (m *mapping) note(ctx context.Context, e mapEvent) error {
	switch {
	case e.err != nil:
		return e.err
	case e.caught:
		return m.caughtUp(ctx, 1)
	case e.gap != nil:
		m.seen[e.room] = max(m.seen[e.room], e.gap.Next-1)
		return m.lost(ctx)
	}
	m.seen[e.room] = e.m.Seq
	m.changed = true
	if e.room == fromAnswers {
		return m.answered(e.m)
	}
	return m.died(e.m)
}

// lost takes it that answers were removed before they were read. Which ones nobody knows: all lines
// without one are sent again, under ids of another round, since the server still knows the old ones.
func (m *mapping) lost(ctx context.Context) error {
	m.state.Round++
	m.changed = true
	if err := m.save(); err != nil {
		return err
	}
	if m.behind > 0 {
		return nil
	}
	for _, l := range m.hand {
		if l.sent {
			l.round, l.sent = l.round+1, false
		}
	}
	return m.sendAll(ctx)
}

func (m *mapping) answered(msg *parley.Message) error {
	j, ok := m.state.parse(msg.ID)
	if !ok {
		return nil
	}
	body := msg.Body
	if msg.Type == parley.JSON && string(body) == `""` {
		body = nil // how a program's answer is sent that has printed nothing
	}
	return m.settle(j.number, outcome{room: fromAnswers, seq: msg.Seq, sum: j.sum, body: body})
}

// died takes a dead letter. One from before this run went on means that its line is tried again, if
// such a one ends a run.
func (m *mapping) died(msg *parley.Message) error {
	l := new(letter)
	if json.Unmarshal(msg.Body, l) != nil || l.Group != m.state.Group || msg.From != parley.Server {
		return nil
	}
	j, ok := m.state.parse(l.ID)
	if !ok || !m.state.ahead(j.number) {
		return nil
	}
	i := int(j.number - m.state.Written - 1)
	sent := i < len(m.hand) && m.hand[i].sent
	switch {
	case sent && m.hand[i].round > j.round:
		return nil
	case !sent && m.flags.onError == onErrorStop:
		if old, had := m.again[j.number]; !had || old.round <= j.round {
			m.again[j.number] = failure{j.round + 1, max(old.seq, msg.Seq)}
		}
		return nil
	}
	return m.settle(j.number, outcome{room: fromDead, seq: msg.Seq, sum: j.sum, failed: l.Reason})
}

// settle notes what became of a line. The first answer counts: a job may be done twice.
func (m *mapping) settle(number uint64, o outcome) error {
	if !m.state.ahead(number) {
		m.missed = m.missed || number > m.state.Written
		return nil
	}
	old, known := m.outcomes[number]
	if known && (old.failed == "" || o.failed != "") {
		return nil
	}
	m.outcomes[number] = o
	m.progress.settled(known)
	if o.failed == "" {
		return nil
	}
	if m.flags.onError == onErrorStop {
		return fmt.Errorf("line %d: %s", number, oneLine(o.failed))
	}
	m.progress.failed(number, o.failed)
	return nil
}

// write writes what is known of the first lines in hand.
func (m *mapping) write() error {
	before := m.state.Written
	for len(m.hand) > 0 {
		l := m.hand[0]
		o, known := m.outcomes[l.number]
		if !known {
			break
		}
		if o.sum != "" && o.sum != l.sum {
			return m.otherInputs()
		}
		if err := m.print(o); err != nil {
			return err
		}
		addLine(m.sum, l.body)
		m.state.Written++
		m.hand[0] = nil
		m.hand = m.hand[1:]
		delete(m.outcomes, l.number)
		delete(m.again, l.number)
	}
	if m.state.Written == before {
		return nil
	}
	m.changed = true
	return m.out.Flush()
}

// print writes one outcome.
func (m *mapping) print(o outcome) error {
	body := o.body
	if o.failed != "" {
		m.state.Failed++
		if m.flags.onError == onErrorSkip {
			return nil
		}
		body = []byte("error: " + oneLine(o.failed))
	}
	_, err := m.out.Write(body)
	if err == nil {
		err = m.out.WriteByte('\n')
	}
	m.state.Offset += int64(len(body)) + 1
	return err
}

// save keeps how far the run is, once the output is on its disk.
func (m *mapping) save() error {
	if !m.changed || m.state.path == "" || m.skip > 0 || m.out.Buffered() > 0 {
		return nil
	}
	if _, ok := sizeOf(m.file); ok {
		if err := m.file.Sync(); err != nil {
			return fmt.Errorf("write the output: %w", err)
		}
	}
	m.state.Sum = sumOf(m.sum)
	m.state.After = m.seen
	hold := func(room int, seq uint64) { // it must be read again
		m.state.After[room] = min(m.state.After[room], seq-1)
	}
	for _, o := range m.outcomes {
		if o.room >= 0 {
			hold(o.room, o.seq)
		}
	}
	for _, f := range m.again {
		hold(fromDead, f.seq)
	}
	m.changed, m.saved = false, m.state.Written
	return m.state.save()
}
