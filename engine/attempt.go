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
	err       error
}

// attemptFor is how long an answer is waited for before the batch is sent again. A new leader ends
// that: the old one's answer will not come.
const attemptFor = 1500 * time.Millisecond

var (
	errNoLeader    = errors.New("no node leads the partition")
	errLeaderMoved = errors.New("the partition's leader has changed")
)

// attempt sends the batch once and waits for the answer.
func (b *batcher) attempt(q *queue, batch []entry) ackedBatch {
	for len(q.vote) > 0 { // of before
		<-q.vote
	}
	n := b.ids.Add(1)
	st := b.engine.store.Load()
	reply := st.acks + strconv.Itoa(q.part.index) + "-" + strconv.FormatUint(n, tokenBase)
	if err := st.publishBatch(batch, b.life+strconv.FormatUint(n, tokenBase), reply); err != nil {
		return ackedBatch{verdict: lost, err: err}
	}
	timer := time.NewTimer(min(attemptFor, max(time.Until(batch[0].due), 0)))
	defer timer.Stop()
	for {
		select {
		case a := <-q.acks:
			if a.attempt == n {
				return a
			}
		case <-q.vote:
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

// answer takes the store's answer to an attempt: "<partition>-<attempt>".
func (b *batcher) answer(name string, m *nats.Msg) {
	part, attempt, _ := strings.Cut(name, "-")
	i, err := strconv.Atoi(part)
	n, ok := parseToken(attempt)
	if err != nil || !ok || i < 0 || i >= len(b.queues) {
		return
	}
	a := judge(m)
	a.attempt = n
	q := b.queues[i]
	for {
		select {
		case q.acks <- a:
			return
		default: // of an attempt that nobody waits for: it makes room
		}
		select {
		case <-q.acks:
		default:
		}
	}
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
	var full struct {
		Seq       uint64 `json:"seq"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &full); err != nil {
		return ackedBatch{verdict: lost, err: fmt.Errorf("answer of the store: %w", err)}
	}
	if full.Error == nil {
		if full.Seq == 0 {
			return ackedBatch{verdict: lost, err: errors.New("answer of the store without a seq")}
		}
		return ackedBatch{verdict: stored, seq: full.Seq, duplicate: full.Duplicate}
	}
	a := ackedBatch{err: fmt.Errorf("the store refused: %s (%d)", full.Error.Description, full.Error.Code)}
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
