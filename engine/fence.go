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
	for good, tried := 0, 0; good < looks; tried++ {
		there, err := st.quick.reaches(ctx, p, seq)
		if !there && tried >= fenceLooks { // and where nobody answers, as just after a start
			there = err == nil && e.removed(ctx, st, p, seq)
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

// removed says whether the leader itself has nothing left from seq on, though it was there.
func (e *Engine) removed(ctx context.Context, st *store, p *partition, seq uint64) bool {
	ctx, cancel := context.WithTimeout(ctx, watchWithin)
	defer cancel()
	stream, err := st.js.Stream(ctx, p.stream)
	if err != nil {
		return false
	}
	state := stream.CachedInfo().State
	return state.LastSeq >= seq && state.Msgs == 0
}

// reach notes that this node's replica has everything up to seq.
func (p *partition) reach(seq uint64) {
	for {
		was := p.reached.Load()
		if seq <= was || p.reached.CompareAndSwap(was, seq) {
			return
		}
	}
}
