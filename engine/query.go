package engine

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/semaphore"

	"parley"
)

// reader asks the store for messages. A question is one request or a row of them on one
// connection; the server answers a connection's requests in order.
type reader struct {
	nc      *nats.Conn
	prefix  string // of the subjects on which questions are answered
	turns   *semaphore.Weighted
	mixed   bool // several replicas may answer a row of requests, not one in its order
	patient bool // there are replicas: where nobody answers, one may be about to

	mu      sync.Mutex
	next    uint64
	waiting map[uint64]*question
	closed  bool
}

// question waits for its answers.
type question struct {
	single  int // requests that have one answer each; 0: many answers, ended by a status
	answers []*nats.Msg
	done    chan struct{}
}

const (
	questionsAtOnce = 32 // what they may bring stays far below maxPending
	answerWithin    = 10 * time.Second
)

// request is what a direct get asks for; its keys are the store's.
type request struct {
	Seq       uint64     `json:"seq,omitempty"`
	Next      string     `json:"next_by_subj,omitempty"`
	Batch     int        `json:"batch,omitempty"`
	MaxBytes  int        `json:"max_bytes,omitempty"`
	StartTime *time.Time `json:"start_time,omitempty"`
	MultiLast []string   `json:"multi_last,omitempty"`
	UpToSeq   uint64     `json:"up_to_seq,omitempty"`
}

// directGet begins the subject on which a stream's messages are asked for.
const directGet = "$JS.API.DIRECT.GET."

// errUnreachable is what a read meets while the store is being opened again, or hangs.
var errUnreachable = parley.Errorf(parley.Unavailable, "the log cannot be read now")

func newReader(nc *nats.Conn, mixed, patient bool) (*reader, error) {
	r := &reader{
		nc: nc, mixed: mixed, patient: patient, prefix: nats.NewInbox() + ".",
		turns:   semaphore.NewWeighted(questionsAtOnce),
		waiting: make(map[uint64]*question),
	}
	sub, err := nc.Subscribe(r.prefix+"*", r.answer)
	if err == nil {
		err = sub.SetPendingLimits(-1, -1) // the questions at once are the limit
	}
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		return nil, fmt.Errorf("subscribe in the store: %w", err)
	}
	return r, nil
}

// close ends every question that waits.
func (r *reader) close() {
	r.nc.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	for id, q := range r.waiting {
		delete(r.waiting, id)
		close(q.done)
	}
}

// batch asks one request that has any number of answers. They are ascending; the status that ends
// them is not among them.
func (r *reader) batch(ctx context.Context, stream string, req request) ([]*nats.Msg, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, err
	}
	for began := time.Now(); ; {
		answers, err := r.ask(ctx, stream, 0, func(publish func([]byte) error) error { return publish(body) })
		if err != nil {
			return nil, err
		}
		end := answers[len(answers)-1]
		status := end.Header.Get(hdrStatus)
		switch {
		case status == "204" || status == "404":
			return answers[:len(answers)-1], nil
		case status == noResponders && r.patient && time.Since(began) < patience:
			if err := rest(ctx, fenceMost); err != nil {
				return nil, errUnreachable.Because(err)
			}
		default:
			return nil, errUnreachable.Because(fmt.Errorf("stream %s answers %s %s", stream, status, end.Header.Get("Description")))
		}
	}
}

// A replica that has just come to be answers nothing for a moment.
const (
	noResponders = "503"
	patience     = time.Second
)

// bySeq asks for messages by seq. Those that are gone are left out; the others are ascending as
// seqs are, though several replicas may have answered.
func (r *reader) bySeq(ctx context.Context, stream string, seqs []uint64) ([]*nats.Msg, error) {
	answers, err := r.ask(ctx, stream, len(seqs), func(publish func([]byte) error) error {
		b := make([]byte, 0, 32)
		for _, seq := range seqs {
			b = strconv.AppendUint(append(b[:0], `{"seq":`...), seq, 10)
			if err := publish(append(b, '}')); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	found := answers[:0]
	for _, m := range answers {
		switch status := m.Header.Get(hdrStatus); status {
		case "":
			found = append(found, m)
		case "404":
		default:
			return nil, errUnreachable.Because(fmt.Errorf("stream %s answers %s", stream, status))
		}
	}
	if !r.mixed {
		return found, nil
	}
	slices.SortFunc(found, func(a, b *nats.Msg) int {
		return cmp.Compare(headerNumber(a.Header, hdrSeq), headerNumber(b.Header, hdrSeq))
	})
	return found, nil
}

// lastMessage is the newest message of a subject.
type lastMessage struct {
	subject string
	seq     uint64
}

// lasts gives the newest message of each subject that has one at or below upTo.
func (r *reader) lasts(ctx context.Context, stream string, subjects []string, upTo uint64) ([]lastMessage, error) {
	if upTo == 0 {
		return nil, nil // to the store, 0 is no bound
	}
	answers, err := r.batch(ctx, stream, request{MultiLast: subjects, UpToSeq: upTo})
	if err != nil {
		return nil, err
	}
	out := make([]lastMessage, len(answers))
	for i, m := range answers {
		out[i] = lastMessage{lastHeader(m.Header, hdrSubject), headerNumber(m.Header, hdrSeq)}
	}
	return out, nil
}

// ask publishes a row of requests and waits for all that is answered.
func (r *reader) ask(ctx context.Context, stream string, single int, requests func(func([]byte) error) error) ([]*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	if err := r.turns.Acquire(ctx, 1); err != nil {
		return nil, errUnreachable.Because(err)
	}
	defer r.turns.Release(1)
	q := &question{single: single, done: make(chan struct{})}
	id, err := r.hold(q)
	if err != nil {
		return nil, err
	}
	defer r.forget(id)
	subject, reply := directGet+stream, r.prefix+strconv.FormatUint(id, 10)
	err = requests(func(body []byte) error { return r.nc.PublishRequest(subject, reply, body) })
	if err != nil {
		return nil, errUnreachable.Because(err)
	}
	select {
	case <-q.done:
	case <-ctx.Done():
		return nil, errUnreachable.Because(ctx.Err())
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return nil, errUnreachable.Because(nats.ErrConnectionClosed)
	}
	return q.answers, nil
}

func (r *reader) hold(q *question) (id uint64, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return 0, errUnreachable.Because(nats.ErrConnectionClosed)
	}
	r.next++
	r.waiting[r.next] = q
	return r.next, nil
}

func (r *reader) forget(id uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, id)
}

// answer passes an answer to its question.
func (r *reader) answer(m *nats.Msg) {
	id, err := strconv.ParseUint(m.Subject[len(r.prefix):], 10, 64)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	q := r.waiting[id]
	if q == nil {
		return
	}
	q.answers = append(q.answers, m)
	if q.single > 0 && len(q.answers) < q.single {
		return
	}
	if q.single == 0 && m.Header.Get(hdrStatus) == "" {
		return
	}
	delete(r.waiting, id)
	close(q.done)
}
