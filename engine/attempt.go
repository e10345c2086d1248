package engine

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// verdict is what an attempt to commit a batch has come to.
type verdict int

const (
	stored    verdict = iota
	repeated          // not stored: the store knows an id in it
	overtaken         // not stored: a subject's last message is another than it has to be
	refused           // not stored, and trying again is no use
	absent            // not stored: nobody was there to take it
	lost              // nobody knows
)

// ackedBatch is the store's answer to a batch.
type ackedBatch struct {
	verdict
	attempt   uint64
	seq       uint64 // of its last message
	duplicate bool   // of a batch of one: it was there before
	code      int    // the store's, where it refused
	err       error
}

// attemptFor is how long an answer is waited for before the batch is sent again. A new leader ends
// that: the old one's answer will not come.
const attemptFor = 1500 * time.Millisecond

var (
	errNoLeader    = errors.New("no node leads the partition")
	errLeaderMoved = errors.New("the partition's leader has changed")
)

// attempt sends the batch once, to the partition's leader or to the store, and waits for the answer.
func (b *batcher) attempt(q *queue, batch []entry) ackedBatch {
	for len(q.vote) > 0 { // of before
		<-q.vote
	}
	n := b.ids.Add(1)
	if !b.relay(q, batch, n) {
		b.engine.counts.batches.Add(1)
		b.engine.counts.groups.Add(1)
		st := b.engine.store.Load()
		if err := st.publishBatch(batch, b.batchID(n), st.acks+q.reply(n)); err != nil {
			return ackedBatch{verdict: lost, err: err}
		}
	}
	a := b.hear(q.acks, q.vote, n, min(attemptFor, max(time.Until(batch[0].due), 0)))
	if a.verdict == lost || a.verdict == absent {
		q.failed = time.Now()
	}
	return a
}

// batchID is the store's name for a batch.
func (b *batcher) batchID(n uint64) string { return b.life + strconv.FormatUint(n, tokenBase) }

// reply is the name under which an attempt is answered: "<partition>-<attempt>".
func (q *queue) reply(n uint64) string {
	return strconv.Itoa(q.part.index) + "-" + strconv.FormatUint(n, tokenBase)
}

// hear waits for the answer to an attempt.
func (b *batcher) hear(acks <-chan ackedBatch, vote <-chan struct{}, n uint64, within time.Duration) ackedBatch {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for {
		select {
		case a := <-acks:
			if a.attempt == n {
				return a
			}
		case <-vote:
			return ackedBatch{verdict: lost, err: errLeaderMoved}
		case <-timer.C:
			return ackedBatch{verdict: lost, err: errTimeout}
		case <-b.engine.ctx.Done():
			return ackedBatch{verdict: lost, err: errClosed}
		}
	}
}

// Headers of an atomic batch.
const (
	hdrBatch       = "Nats-Batch-Id"
	hdrBatchSeq    = "Nats-Batch-Sequence"
	hdrBatchCommit = "Nats-Batch-Commit"
	hdrBehind      = "Nats-Expected-Last-Subject-Sequence"
)

// publishBatch sends the entries so that all or none are stored; one alone needs no batch.
func (s *store) publishBatch(batch []entry, id, reply string) error {
	for i := range batch {
		one := &batch[i]
		m := &nats.Msg{Subject: one.subject, Data: one.record, Header: make(nats.Header, 4)}
		if one.msgID != "" {
			m.Header[hdrID] = []string{one.msgID}
		}
		if one.behind != nil {
			m.Header[hdrBehind] = []string{strconv.FormatUint(*one.behind, 10)}
		}
		last := i == len(batch)-1
		if len(batch) > 1 {
			m.Header[hdrBatch] = []string{id}
			m.Header[hdrBatchSeq] = []string{strconv.Itoa(i + 1)}
			if last {
				m.Header[hdrBatchCommit] = []string{"1"}
			}
		}
		if last {
			m.Reply = reply
		}
		if err := s.pub.PublishMsg(m); err != nil {
			return err
		}
	}
	return nil
}

// answer takes an answer to an attempt.
func (b *batcher) answer(name string, m *nats.Msg) {
	name, leads := strings.CutPrefix(name, leadReply)
	part, attempt, _ := strings.Cut(name, "-")
	i, err := strconv.Atoi(part)
	n, ok := parseToken(attempt)
	if err != nil || !ok || i < 0 || i >= len(b.queues) {
		return
	}
	a := judge(m)
	a.attempt = n
	if leads {
		latest(b.queues[i].lead.acks, a)
	} else {
		b.queues[i].heard(a)
	}
}

func (q *queue) heard(a ackedBatch) { latest(q.acks, a) }

// latest puts an answer where it is waited for; one of an attempt that nobody waits for makes room.
func latest(acks chan ackedBatch, a ackedBatch) {
	for {
		select {
		case acks <- a:
			return
		default:
		}
		select {
		case <-acks:
		default:
		}
	}
}

// storeAnswer is what the store says to a batch.
type storeAnswer struct {
	Seq       uint64      `json:"seq,omitempty"`
	Duplicate bool        `json:"duplicate,omitempty"`
	Error     *storeError `json:"error,omitempty"`
}

type storeError struct {
	Code        int    `json:"err_code"`
	Description string `json:"description"`
}

// The store's codes that say more than that it refuses.
const (
	codeWrongLast           = 10071
	codeWrongLastUnderWay   = 10164 // another record of the subject is being committed
	codeClusterNotAvailable = 10008
	codeNotLeader           = 10009
	codeDuplicateUnderWay   = 10158
	codeIncompleteBatch     = 10176
	codeDuplicateInBatch    = 10201
	codeTooManyBatches      = 10210
)

// judge reads an answer.
func judge(m *nats.Msg) ackedBatch {
	if len(m.Data) == 0 {
		return ackedBatch{verdict: absent, err: fmt.Errorf("%w (%s)", errNoLeader, m.Header.Get(hdrStatus))}
	}
	var full storeAnswer
	if err := json.Unmarshal(m.Data, &full); err != nil {
		return ackedBatch{verdict: lost, err: fmt.Errorf("answer of the store: %w", err)}
	}
	if full.Error == nil {
		if full.Seq == 0 {
			return ackedBatch{verdict: lost, err: errors.New("answer of the store without a seq")}
		}
		return ackedBatch{verdict: stored, seq: full.Seq, duplicate: full.Duplicate}
	}
	a := ackedBatch{code: full.Error.Code, err: fmt.Errorf("the store refused: %s (%d)", full.Error.Description, full.Error.Code)}
	switch full.Error.Code {
	case codeDuplicateInBatch:
		a.verdict = repeated
	case codeDuplicateUnderWay: // an attempt before this one may still be committed
		a.verdict = lost
	case codeWrongLast:
		a.verdict = overtaken
	case codeWrongLastUnderWay, codeClusterNotAvailable, codeNotLeader, codeIncompleteBatch, codeTooManyBatches:
		a.verdict = absent
	default:
		a.verdict = refused
	}
	return a
}
