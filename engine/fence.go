package engine

import (
	"context"
	"errors"
	"time"
)

// A replica answers a read, this node's own where it has one, and it may be behind what this node
// has shown already. So a read is preceded by a look at whether it has come far enough.

const (
	fencePause = time.Millisecond // doubles up to fenceMost
	fenceMost  = 50 * time.Millisecond
	fenceLooks = 5           // after so many, the leader is asked whether there is anything to wait for
	fenceAll   = 6           // looks that have to go well where a read meets any replica
	answersFor = time.Second // how long a look at whether this node's replica answers holds
)

var errBehind = errors.New("the replica is behind")

// fence returns once the replica that answers has everything up to seq.
func (e *Engine) fence(ctx context.Context, p *partition, seq uint64) error {
	if e.batches == nil || seq == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	st := e.store.Load()
	looks := fenceAll
	if e.cfg.readsHere() {
		if seq <= p.reached.Load() {
			return nil
		}
		looks = 1
	}
	pause := fencePause
	upTo := seq
	for good, tried := 0, 0; good < looks; tried++ {
		there, err := upTo == 0, error(nil)
		if !there {
			there, err = st.quick.reaches(ctx, p, upTo)
		}
		if !there && err == nil && tried >= fenceLooks { // where nobody answers, as just after a start, it tries on
			upTo = st.left(ctx, p, upTo)
		}
		if there {
			good++
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
	if looks == 1 {
		p.reach(seq)
	}
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

// reaches asks for the message at seq, or any behind it.
func (r *reader) reaches(ctx context.Context, p *partition, seq uint64) (bool, error) {
	answers, err := r.batch(ctx, p.stream, request{Seq: seq, Next: p.roomPrefix + "*", Batch: 1})
	return len(answers) > 0, err
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

// reach notes that this node's replica has everything up to seq.
func (p *partition) reach(seq uint64) {
	for {
		was := p.reached.Load()
		if seq <= was || p.reached.CompareAndSwap(was, seq) {
			return
		}
	}
}
