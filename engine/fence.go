package engine

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
)

// A replica answers a read, this node's own where it has one, and it may be behind what this node
// has shown already. So a read is preceded by a look at whether it has come far enough.

const (
	fencePause = time.Millisecond // doubles up to fenceMost
	fenceMost  = 50 * time.Millisecond
	fenceLooks = 5 // after so many, the leader is asked whether there is anything to wait for
)

// Where a read meets any replica, as in an external cluster, nobody says which one has answered. So many
// looks are taken that one of three that is behind goes unseen once in 400,000 times: (2/3)^32.
const (
	looksAnywhere = 32
	looksAtOnce   = 8           // what they bring is bounded so
	looksHold     = time.Second // no replica that comes back is behind sooner
)

var errBehind = errors.New("the replica is behind")

// fence returns once the replica that answers has everything up to seq.
func (e *Engine) fence(ctx context.Context, p *partition, seq uint64) error {
	if e.batches == nil || seq == 0 {
		return nil
	}
	here := e.cfg.readsHere()
	if p.reaches(seq, here) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	st, began := e.store.Load(), time.Now()
	looks := looksAnywhere
	if here {
		looks = 1
	}
	pause := fencePause
	upTo := seq
	for good, tried := 0, 0; good < looks; tried++ {
		there, err := upTo == 0, error(nil)
		if !there {
			there, err = st.quick.reaches(ctx, p, upTo, min(looks, looksAtOnce))
		}
		if !there && err == nil && tried >= fenceLooks { // where nobody answers, as just after a start, it tries on
			upTo = st.left(ctx, p, upTo)
		}
		if there {
			good += min(looks, looksAtOnce)
			continue
		}
		if ctx.Err() != nil {
			return errUnreachable.Because(ctx.Err())
		}
		if err := rest(ctx, pause); err != nil {
			return errUnreachable.Because(errBehind)
		}
		pause, good = min(2*pause, fenceMost), 0
	}
	p.reach(seq, began)
	return nil
}

// readsHere says whether all of this node's reads go to its own replicas.
func (c *Config) readsHere() bool { return c.Cluster != nil && c.Cluster.size() <= maxReplicas }

// rest waits for d, or no longer than ctx.
func rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// reaches asks so many times for the message at seq, or any behind it, and says whether it was there
// each time.
func (r *reader) reaches(ctx context.Context, p *partition, seq uint64, times int) (bool, error) {
	body, err := json.Marshal(request{Seq: seq, Next: p.roomPrefix + "*"})
	if err != nil {
		return false, err
	}
	answers, err := r.ask(ctx, p.stream, times, func(publish func([]byte) error) error {
		for range times {
			if err := publish(body); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(answers, func(m *nats.Msg) bool { return m.Header.Get(hdrStatus) != "" }), nil
}

// left gives the newest seq up to the given one that the leader itself still has, 0 where there is
// none: what was stored behind it, retention or a trimmed journal has removed, and no replica will
// show it. Where the leader does not say, it is the given one.
func (s *store) left(ctx context.Context, p *partition, seq uint64) uint64 {
	if last, err := s.lastSeq(ctx, p); err != nil || last < seq {
		return seq
	}
	var newest struct {
		Message struct {
			Seq uint64 `json:"seq"`
		} `json:"message"`
	}
	err := s.ask(ctx, watchWithin, messageAt+p.stream, map[string]string{"last_by_subj": p.roomPrefix + "*"}, &newest)
	switch {
	case errors.Is(err, errNoMessage):
		return 0
	case err != nil:
		return seq
	}
	return min(seq, newest.Message.Seq)
}

// messageAt is where the leader of a stream, and no other replica, gives a message.
const messageAt = "$JS.API.STREAM.MSG.GET."

// reach notes that whoever is asked has everything up to seq, as was found out from began on.
func (p *partition) reach(seq uint64, began time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq >= p.reached {
		p.reached, p.reachedAt = seq, began
	}
}

// reaches says whether that is known: for good of this node's own replica, of others for a while.
func (p *partition) reaches(seq uint64, here bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return seq <= p.reached && (here || time.Since(p.reachedAt) < looksHold)
}
