package engine

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"parley"
)

const (
	watchEvery  = 500 * time.Millisecond
	watchWithin = time.Second     // bound on what one leader is asked
	watchAtOnce = 16              // leaders asked at a time
	silentAfter = 3 * time.Second // a replica its leader has not heard for so long is away; without a majority nothing is taken
	slowSilent  = 12 * time.Second
	electedAt   = "$JS.EVENT.ADVISORY.STREAM.LEADER_ELECTED."
)

// seen is what was last learned of a partition's replicas. It is never changed.
type seen struct {
	leader   string
	replicas []*jetstream.PeerInfo // the others
	at       time.Time
	heard    time.Time // when the leader last heard a majority; zero: no leader has said
}

// watched is what the watch knows of the partitions.
type watched struct {
	kick chan struct{} // holds one wish: a leader has changed

	mu    sync.Mutex
	by    []seen
	since time.Time // when some leader last changed
	whole time.Time // when all partitions last had a leader with a majority

	leaving map[string]time.Time // nodes that hand over what they lead: when they last said so
	retired bool                 // this one does
}

// subscribeVotes has every change of a leader told to the watch and to who waits for that leader.
func (e *Engine) subscribeVotes(st *store) error {
	for i, p := range e.parts {
		sub, err := st.tail.Subscribe(electedAt+p.stream, func(*nats.Msg) {
			kick(e.batches.queues[i].vote)
			kick(e.batches.queues[i].lead.vote)
			kick(e.watched.kick)
		})
		if err == nil {
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			return err
		}
	}
	return e.batches.subscribeGroups(st)
}

// runWatch asks the partitions' leaders how they are: whether a majority is there, how far they
// have come, and who they are. What a leader has stored and not republished before it died is
// found by that.
func (e *Engine) runWatch() {
	stop, err := e.bus.Subscribe(leavingTopic, e.heardLeaving)
	if err != nil {
		e.log.Warn("it is not heard which nodes hand over what they lead", "error", err)
	} else {
		defer stop()
	}
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-e.watched.kick:
		case <-e.ctx.Done():
			return
		}
		e.look(e.ctx)
		e.spread()
	}
}

// look asks all leaders once, for as long as ctx lets it.
func (e *Engine) look(ctx context.Context) {
	st := e.store.Load()
	found := make([]seen, len(e.parts))
	turns := make(chan struct{}, watchAtOnce)
	var all sync.WaitGroup
	for i, p := range e.parts {
		turns <- struct{}{}
		all.Go(func() {
			defer func() { <-turns }()
			found[i] = e.lookAt(ctx, st, p)
		})
	}
	all.Wait()
	e.learn(found)
}

// lookAt asks one leader. The zero value: there is none with a majority.
func (e *Engine) lookAt(ctx context.Context, st *store, p *partition) seen {
	ctx, cancel := context.WithTimeout(ctx, watchWithin)
	defer cancel()
	stream, err := st.js.Stream(ctx, p.stream)
	if err != nil {
		return seen{}
	}
	info := stream.CachedInfo()
	if info.Cluster == nil || info.Cluster.Leader == "" {
		return seen{}
	}
	heard := time.Now().Add(-silence(info.Cluster.Replicas))
	if !e.majority(info.Cluster) {
		return seen{heard: heard}
	}
	p.found(info.State.LastSeq)
	e.written(p, info.State.LastSeq)
	return seen{leader: info.Cluster.Leader, replicas: info.Cluster.Replicas, at: time.Now(), heard: heard}
}

// silence is for how long a leader has not heard a majority, itself counted in.
func silence(replicas []*jetstream.PeerInfo) time.Duration {
	if len(replicas) == 0 {
		return 0
	}
	var all []time.Duration
	for _, r := range replicas {
		all = append(all, r.Active)
	}
	slices.Sort(all)
	return all[(len(all)+1)/2-1]
}

// majority says whether a leader hears enough of its replicas. One that was cut off goes on for
// a while as if nothing were.
func (e *Engine) majority(c *jetstream.ClusterInfo) bool {
	here := 1
	for _, r := range c.Replicas {
		if e.alive(r) {
			here++
		}
	}
	return here > (len(c.Replicas)+1)/2
}

func (e *Engine) alive(r *jetstream.PeerInfo) bool { return !r.Offline && r.Active < e.silent() }

// silent is how long nothing need be heard for a node to be taken for away.
func (e *Engine) silent() time.Duration {
	if e.cfg.Cluster == nil || e.cfg.Cluster.SlowElections {
		return slowSilent
	}
	return silentAfter
}

// learn takes what a round has shown: a partition with a new leader is checked, and where no
// majority was found for a while the engine refuses what it is given.
func (e *Engine) learn(found []seen) {
	w := &e.watched
	now := time.Now()
	checks := false
	w.mu.Lock()
	defer w.mu.Unlock()
	whole, heard := true, now
	for i := range found {
		if at := found[i].heard; !at.IsZero() && at.Before(heard) {
			heard = at
		}
		if found[i].leader == "" {
			whole = false
			continue
		}
		if w.by[i].leader != found[i].leader {
			e.parts[i].missed.Store(true)
			checks = true
			w.since = now
		}
		w.by[i] = found[i]
	}
	if checks {
		kick(e.safetyKick)
	}
	switch {
	case whole:
		w.whole = now
	case heard.Before(w.whole): // a leader that is cut off has noticed late
		w.whole = heard
	}
	e.setApart(!whole && now.Sub(w.whole) > e.silent(), now.Sub(w.whole))
}

var errApart = errors.New("some partition has no leader with a majority")

// Apart says why this node cannot store anything with the others: a partition has no leader that
// hears a majority, for 3 seconds by now, or 12 where elections are slow. Nil: all have one.
func (e *Engine) Apart() error {
	if err := e.health.apart.Load(); err != nil {
		return err
	}
	return nil
}

func (e *Engine) setApart(apart bool, since time.Duration) {
	var reason *parley.Error
	if apart {
		reason = errNoQuorum.Because(errApart)
	}
	was := e.health.apart.Swap(reason)
	switch {
	case was == nil && reason != nil:
		e.log.Error("too few nodes of the cluster can be reached; nothing is stored until that changes", "since", since)
	case was != nil && reason == nil:
		e.log.Info("enough nodes of the cluster can be reached again")
	}
}

// prepareAt makes the partition's stream ready and gives its last seq. Where other nodes have to be
// there for that, it tries for as long as ctx lets it.
func (s *store) prepareAt(ctx context.Context, p *partition, c *Config) (last uint64, err error) {
	prepare := func(ctx context.Context) error {
		if err := s.prepare(ctx, p, c); err != nil {
			return err
		}
		last, err = s.lastSeq(ctx, p)
		return err
	}
	if !c.replicated() {
		err := prepare(ctx)
		return last, err
	}
	within := tryFirst
	err = patiently(ctx, c.Logger, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, within)
		defer cancel()
		within = min(2*within, tryWithin)
		return prepare(ctx)
	})
	return last, err
}

// How long an answer of the cluster is waited for: while it forms nobody may be there to answer, and
// one may be lost, so the first tries are short.
const (
	tryFirst  = 125 * time.Millisecond
	tryWithin = 2 * time.Second
)

// patiently tries what needs other nodes until it is done, or fails for good, or ctx ends.
func patiently(ctx context.Context, log *slog.Logger, try func(context.Context) error) error {
	began, told := time.Now(), false
	for {
		err := try(ctx)
		if err == nil || final(err) {
			return err
		}
		if !told && time.Since(began) > 5*time.Second {
			log.Warn("waiting for the other nodes of the cluster", "error", err)
			told = true
		}
		if ended := rest(ctx, 100*time.Millisecond); ended != nil {
			return errors.Join(ended, err)
		}
	}
}

// final says that waiting for others does not help.
func final(err error) bool {
	if errors.Is(err, errFormat) || errors.Is(err, ErrNotEmpty) {
		return true
	}
	var api *jetstream.APIError
	const noPeers, notClustered, nameTaken = 10005, 10074, 10058
	waits := []jetstream.ErrorCode{noPeers, nameTaken, codeClusterNotAvailable, codeNotLeader}
	return errors.As(err, &api) && (api.ErrorCode == notClustered || (api.Code == 400 && !slices.Contains(waits, api.ErrorCode)))
}

// caughtUp waits until this node's own replicas hold what they should.
func (e *Engine) caughtUp(ctx context.Context, st *store) error {
	if st.srv == nil {
		return nil
	}
	for _, p := range e.parts {
		for st.srv.JetStreamIsStreamAssigned(globalAccount, p.stream) && !st.srv.JetStreamIsStreamCurrent(globalAccount, p.stream) {
			select {
			case <-time.After(20 * time.Millisecond):
			case <-ctx.Done():
				return ctx.Err()
			}
		}
	}
	return nil
}

// globalAccount is where all of ours is.
const globalAccount = "$G"
