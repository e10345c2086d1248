package engine

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// What a batch costs, the syncs of three nodes above all, hardly depends on its size. So where several
// nodes have one for the same partition, the node that leads it commits them as one: the others hand it
// theirs, here called a group, and get the answer that the store would have given. A group is never
// split, so its ids vouch for it as they would alone; and a node that gets no good answer goes to the
// store itself.

const (
	relayPrefix = "relay." // relay.<node>.<partition>
	leadReply   = "l"      // before the names of this node's own commits
	maxRelay    = 3 << 20  // bytes of a group: it has to fit into one message
	maxGroups   = 64       // that wait; a node has one under way, and what it has given up may be here
	relayLeast  = 2        // entries; for a lone one the way is longer and nothing is saved
)

// group is a batch of one node, to be committed with those of others.
type group struct {
	entries []entry
	since   time.Time
	answer  func(ackedBatch) // called once; it does not block
}

// lead is where a partition's groups gather.
type lead struct {
	wake chan struct{} // holds one wish: something waits
	vote chan struct{} // holds one wish: the partition has another leader
	acks chan ackedBatch

	mu      sync.Mutex
	waiting []group
	ended   bool
}

func newLead() *lead {
	return &lead{wake: make(chan struct{}, 1), vote: make(chan struct{}, 1), acks: make(chan ackedBatch, 1)}
}

var errCrowded = errors.New("too many batches wait at the partition's leader")

func (l *lead) add(g group) {
	l.mu.Lock()
	full := l.ended || len(l.waiting) >= maxGroups
	if !full {
		l.waiting = append(l.waiting, g)
	}
	l.mu.Unlock()
	if full {
		g.answer(ackedBatch{verdict: absent, err: errCrowded})
		return
	}
	kick(l.wake)
}

func (l *lead) length() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.waiting)
}

// take removes the groups that go into the next batch. Whoever sent one long ago has given it up.
func (l *lead) take() (groups []group) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now, n, messages, bytes := time.Now(), 0, 0, 0
	for ; n < len(l.waiting); n++ {
		g := l.waiting[n]
		if now.Sub(g.since) > attemptFor {
			continue
		}
		messages += len(g.entries)
		for i := range g.entries {
			bytes += len(g.entries[i].record)
		}
		if len(groups) > 0 && (messages > maxBatch || bytes > maxBatchBytes) {
			break
		}
		groups = append(groups, g)
	}
	l.waiting = slices.Clone(l.waiting[n:])
	return groups
}

// end answers what waits, and whatever comes later.
func (l *lead) end() {
	l.mu.Lock()
	left := l.waiting
	l.waiting, l.ended = nil, true
	l.mu.Unlock()
	for _, g := range left {
		g.answer(ackedBatch{verdict: absent, err: errClosed})
	}
}

// runLead commits the groups of one partition, until the engine stops.
func (b *batcher) runLead(q *queue) {
	l := q.lead
	defer l.end()
	for {
		select {
		case <-l.wake:
		case <-b.engine.ctx.Done():
			return
		}
		for groups := l.take(); len(groups) > 0 && b.engine.ctx.Err() == nil; groups = l.take() {
			began := time.Now()
			b.commitGroups(q, groups)
			b.await(l.wake, l.length, len(groups)+l.length(), time.Since(began)/awaitPart)
		}
	}
}

// commitGroups commits groups as one batch, and one by one where something in one of them is refused.
func (b *batcher) commitGroups(q *queue, groups []group) {
	var all []entry
	for _, g := range groups {
		all = append(all, g.entries...)
	}
	b.engine.counts.groups.Add(uint64(len(groups)))
	a := b.commitOnce(q, all)
	switch {
	case a.verdict == stored:
		seq := a.seq - uint64(len(all))
		for _, g := range groups {
			seq += uint64(len(g.entries))
			g.answer(ackedBatch{verdict: stored, seq: seq, duplicate: a.duplicate})
		}
	case len(groups) > 1 && (a.verdict == repeated || a.verdict == overtaken || a.verdict == refused):
		for _, g := range groups {
			g.answer(b.commitOnce(q, g.entries))
		}
	default:
		for _, g := range groups {
			g.answer(a)
		}
	}
}

// commitOnce sends a batch to the store and waits for the answer.
func (b *batcher) commitOnce(q *queue, batch []entry) ackedBatch {
	l := q.lead
	for len(l.vote) > 0 { // of before
		<-l.vote
	}
	n := b.ids.Add(1)
	b.engine.counts.batches.Add(1)
	st := b.engine.store.Load()
	if err := st.publishBatch(batch, b.batchID(n), st.acks+leadReply+q.reply(n)); err != nil {
		return ackedBatch{verdict: lost, err: err}
	}
	return b.hear(l.acks, l.vote, n, attemptFor)
}

// relay hands a batch to the node that leads the partition, which may be this one. False: it should go to the
// store itself.
func (b *batcher) relay(q *queue, batch []entry, n uint64) bool {
	leader := b.leader(q)
	if leader == "" || len(batch) < relayLeast {
		return false
	}
	if leader == b.engine.cfg.Node {
		q.lead.add(group{entries: slices.Clone(batch), since: time.Now(), answer: func(a ackedBatch) {
			a.attempt = n
			q.heard(a)
		}})
		return true
	}
	data := appendGroup(nil, batch)
	if len(data) > maxRelay {
		return false
	}
	st := b.engine.store.Load()
	return st.pub.PublishRequest(relaySubject(leader, q.part), st.acks+q.reply(n), data) == nil
}

// leader is the node that leads the partition and can be handed groups; "" where none is sure to. One that
// said so before the last failure may be the dead one.
func (b *batcher) leader(q *queue) string {
	e := b.engine
	if e.cfg.Cluster == nil {
		return "" // leaders are no nodes of ours
	}
	e.watched.mu.Lock()
	defer e.watched.mu.Unlock()
	w := &e.watched.by[q.part.index]
	if time.Since(w.at) > stale || !w.at.After(q.failed) {
		return ""
	}
	return w.leader
}

func relaySubject(node string, p *partition) string {
	return relayPrefix + node + "." + strconv.Itoa(p.index)
}

// subscribeGroups takes the groups of other nodes, in one life of the store.
func (b *batcher) subscribeGroups(st *store) error {
	if b.engine.cfg.Cluster == nil {
		return nil
	}
	for _, q := range b.queues {
		sub, err := st.bus.Subscribe(relaySubject(b.engine.cfg.Node, q.part), func(m *nats.Msg) { q.taken(m) })
		if err == nil {
			err = sub.SetPendingLimits(maxGroups, maxGroups*maxRelay)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// taken takes a group from another node.
func (q *queue) taken(m *nats.Msg) {
	answer := func(a ackedBatch) { _ = m.Respond(appendAnswer(nil, a)) } // where it is lost, the node asks the store
	entries, err := parseGroup(m.Data, q.part.roomPrefix)
	if err != nil {
		answer(ackedBatch{verdict: absent, err: err})
		return
	}
	q.lead.add(group{entries: entries, since: time.Now(), answer: answer})
}

var errGroup = errors.New("no group of messages")

// appendGroup writes what a leader has to know: for each entry its subject, its id and its record, each
// behind its length, and in front of these which message it has to come right behind: 0, or that seq and 1.
func appendGroup(b []byte, entries []entry) []byte {
	size := 0
	for i := range entries {
		size += len(entries[i].subject) + len(entries[i].msgID) + len(entries[i].record) + 3*binary.MaxVarintLen32 + binary.MaxVarintLen64
	}
	b = slices.Grow(b, size)
	for i := range entries {
		one := &entries[i]
		behind := uint64(0)
		if one.behind != nil {
			behind = *one.behind + 1
		}
		b = binary.AppendUvarint(b, behind)
		b = append(binary.AppendUvarint(b, uint64(len(one.subject))), one.subject...)
		b = append(binary.AppendUvarint(b, uint64(len(one.msgID))), one.msgID...)
		b = append(binary.AppendUvarint(b, uint64(len(one.record))), one.record...)
	}
	return b
}

// parseGroup reads a group, of subjects with the prefix alone. Records are not copied.
func parseGroup(b []byte, prefix string) (entries []entry, err error) {
	for len(b) > 0 {
		behind, used := binary.Uvarint(b)
		if used <= 0 {
			return nil, errGroup
		}
		b = b[used:]
		var parts [3][]byte
		for i := range parts {
			n, used := binary.Uvarint(b)
			if used <= 0 || n > uint64(len(b)-used) {
				return nil, errGroup
			}
			parts[i], b = b[used:used+int(n)], b[used+int(n):]
		}
		one := entry{subject: string(parts[0]), msgID: string(parts[1]), record: parts[2]}
		if behind > 0 {
			behind--
			one.behind = &behind
		}
		room, ok := strings.CutPrefix(one.subject, prefix)
		if !ok || !plainToken(room) || strings.ContainsAny(one.msgID, "\r\n") || len(entries) == maxBatch {
			return nil, errGroup
		}
		entries = append(entries, one)
	}
	if len(entries) == 0 {
		return nil, errGroup
	}
	return entries, nil
}

// plainToken says whether s is one token of a subject to publish to.
func plainToken(s string) bool { return s != "" && !strings.ContainsAny(s, ". *>\t\r\n") }

// appendAnswer writes an answer as the store does.
func appendAnswer(b []byte, a ackedBatch) []byte {
	var said storeAnswer
	if a.verdict == stored {
		said.Seq, said.Duplicate = a.seq, a.duplicate
	} else {
		said.Error = &storeError{Code: a.code, Description: "by the partition's leader"}
		if said.Error.Code == 0 {
			said.Error.Code = map[verdict]int{
				repeated: codeDuplicateInBatch, absent: codeClusterNotAvailable, lost: codeDuplicateUnderWay,
			}[a.verdict]
		}
	}
	data, err := json.Marshal(&said)
	if err != nil {
		return b // of numbers and strings nothing fails
	}
	return append(b, data...)
}
