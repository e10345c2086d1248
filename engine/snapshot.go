package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Whole streams, with their consumers and every seq, go out of and into JetStream through its
// snapshot API: as bytes of its own that only it understands.

const (
	snapshotAt     = "$JS.API.STREAM.SNAPSHOT."
	restoreAt      = "$JS.API.STREAM.RESTORE."
	snapshotChunk  = 512 << 10
	snapshotWindow = 8 << 20
	chunkWithin    = 30 * time.Second // for the next one, or for it to be taken
	restoreWithin  = 10 * time.Minute // for the last one: JetStream then indexes all of them
)

// snapshot is what JetStream says of a stream in front of its bytes.
type snapshot struct {
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// state reads how much there is.
func (s *snapshot) state() (st jetstream.StreamState, err error) {
	err = json.Unmarshal(s.State, &st)
	return st, err
}

// apiError is how JetStream refuses.
type apiError struct {
	Error *struct {
		Code        jetstream.ErrorCode `json:"err_code"`
		Description string              `json:"description"`
	} `json:"error"`
}

var errNoMessage = errors.New("the store has no such message")

func (e *apiError) err() error {
	if e.Error == nil {
		return nil
	}
	if e.Error.Code == jetstream.JSErrCodeMessageNotFound {
		return errNoMessage
	}
	return fmt.Errorf("the store refused: %s (%d)", e.Error.Description, e.Error.Code)
}

// ask sends a request of JetStream's API and reads the answer.
func (s *store) ask(ctx context.Context, within time.Duration, subject string, body, answer any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	m, err := s.pub.RequestWithContext(ctx, subject, data)
	if err != nil {
		return err
	}
	var refused apiError
	if err := errors.Join(json.Unmarshal(m.Data, &refused), json.Unmarshal(m.Data, answer)); err != nil {
		return err
	}
	return refused.err()
}

// takeOut gives a stream: first what it is, then its bytes, in chunks that are the caller's for as
// long as the call lasts. check has JetStream read all messages and their checksums first, which
// stops everything else in the stream meanwhile.
func (s *store) takeOut(ctx context.Context, stream string, check bool, begin func(snapshot) error, chunk func([]byte) error) error {
	inbox := nats.NewInbox()
	sub, err := s.pub.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := sub.SetPendingLimits(-1, 2*snapshotWindow); err != nil {
		return err
	}
	var head snapshot
	err = s.ask(ctx, restoreWithin, snapshotAt+stream, map[string]any{
		"deliver_subject": inbox, "jsck": check, "chunk_size": snapshotChunk, "window_size": snapshotWindow,
	}, &head)
	if err != nil {
		return fmt.Errorf("snapshot of %s: %w", stream, err)
	}
	if err := begin(head); err != nil {
		return err
	}
	for {
		waiting, cancel := context.WithTimeout(ctx, chunkWithin)
		m, err := sub.NextMsgWithContext(waiting)
		cancel()
		if err != nil {
			return fmt.Errorf("snapshot of %s: %w", stream, err)
		}
		if len(m.Data) == 0 {
			if status := m.Header.Get(hdrStatus); status != "" && status != "204" {
				return fmt.Errorf("snapshot of %s: it broke off: %s %s", stream, status, m.Header.Get("Description"))
			}
			return nil
		}
		if err := chunk(m.Data); err != nil {
			return err
		}
		if m.Reply != "" {
			if err := s.pub.Publish(m.Reply, nil); err != nil {
				return fmt.Errorf("snapshot of %s: %w", stream, err)
			}
		}
	}
}

// putIn makes a stream of a snapshot, with as many replicas as c says; next gives the chunks, and nil
// behind the last. The stream must not be there.
//
// It is made on one node, this one where it can be, and the others then get it as they get any stream
// that is replicated more than before: so it is in their raft logs. Restored to several at once it is
// not, and JetStream takes it for empty after a restart.
func (s *store) putIn(ctx context.Context, stream string, of snapshot, c *Config, next func() ([]byte, error)) error {
	config, err := alone(of.Config, c)
	if err != nil {
		return fmt.Errorf("restore %s: %w", stream, err)
	}
	var to struct {
		Deliver string `json:"deliver_subject"`
	}
	if err := s.ask(ctx, chunkWithin, restoreAt+stream, snapshot{config, of.State}, &to); err != nil {
		return fmt.Errorf("restore %s: %w", stream, err)
	}
	for {
		chunk, err := next()
		if err != nil {
			s.breakOff(to.Deliver)
			return err
		}
		within := chunkWithin
		if chunk == nil {
			within = restoreWithin
		}
		taking, cancel := context.WithTimeout(ctx, within)
		m, err := s.give(taking, to.Deliver, chunk)
		cancel()
		if err != nil {
			return fmt.Errorf("restore %s: %w", stream, err)
		}
		if len(m.Data) > 0 {
			var refused apiError
			if err := json.Unmarshal(m.Data, &refused); err != nil {
				return fmt.Errorf("restore %s: %w", stream, err)
			}
			if err := refused.err(); err != nil {
				return fmt.Errorf("restore %s: %w", stream, err)
			}
		}
		if chunk == nil {
			break
		}
	}
	if err := s.compare(ctx, stream, of, 1); err != nil || c.replicas() == 1 {
		return err
	}
	if err := s.spreadOut(ctx, stream, c.replicas()); err != nil {
		return fmt.Errorf("restore %s: %w", stream, err)
	}
	return s.compare(ctx, stream, of, c.replicas())
}

// give passes a chunk on. Where another server takes it, this one may hear only a moment later that there is
// somebody to take it.
func (s *store) give(ctx context.Context, to string, chunk []byte) (*nats.Msg, error) {
	for end := time.Now().Add(tryWithin); ; {
		m, err := s.pub.RequestWithContext(ctx, to, chunk)
		if !errors.Is(err, nats.ErrNoResponders) || time.Now().After(end) {
			return m, err
		}
		if err := rest(ctx, fenceMost); err != nil {
			return nil, err
		}
	}
}

// breakOff ends a restore that lacks the rest, and waits until JetStream has seen to it: left alone it
// would go on waiting, and might make the stream later.
func (s *store) breakOff(deliver string) {
	ctx, cancel := context.WithTimeout(context.Background(), chunkWithin)
	defer cancel()
	_, _ = s.pub.RequestWithContext(ctx, deliver, nil) // that it fails is what is wanted
}

// spreadOut gives a stream that is on one node its other replicas.
func (s *store) spreadOut(ctx context.Context, stream string, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, chunkWithin)
	defer cancel()
	is, err := s.js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	config := is.CachedInfo().Config
	config.Replicas, config.Placement = replicas, nil
	_, err = s.js.UpdateStream(ctx, config)
	return err
}

// compare checks that a restored stream holds what its snapshot did, at so many replicas.
func (s *store) compare(ctx context.Context, stream string, of snapshot, replicas int) error {
	want, err := of.state()
	if err != nil {
		return err
	}
	for end := time.Now().Add(chunkWithin); ; {
		try, cancel := context.WithTimeout(ctx, watchWithin)
		is, err := s.js.Stream(try, stream)
		cancel()
		if err == nil {
			got := is.CachedInfo().State
			same := got.Msgs == want.Msgs && got.LastSeq == want.LastSeq && (got.Msgs == 0 || got.FirstSeq == want.FirstSeq)
			if same && everywhere(is.CachedInfo().Cluster, replicas) {
				return nil
			}
			err = fmt.Errorf("it holds %d messages up to seq %d, and had %d up to %d", got.Msgs, got.LastSeq, want.Msgs, want.LastSeq)
		}
		if time.Now().After(end) {
			return fmt.Errorf("restore %s: %w", stream, err)
		}
		if err := rest(ctx, fenceMost); err != nil { // a leader has to be found first
			return err
		}
	}
}

// settle waits until all streams have been on all their replicas for a moment. A replica that has just
// been added says that it lacks nothing before it knows what there is, and waits long for a leader that
// ends while it catches up.
func (s *store) settle(ctx context.Context, parts []*partition, replicas int) error {
	for since := time.Now(); time.Since(since) < settledFor; {
		for _, p := range parts {
			try, cancel := context.WithTimeout(ctx, watchWithin)
			is, err := s.js.Stream(try, p.stream)
			cancel()
			if err != nil || !everywhere(is.CachedInfo().Cluster, replicas) {
				since = time.Now()
			}
		}
		if err := rest(ctx, fenceMost); err != nil {
			return err
		}
	}
	return nil
}

const settledFor = time.Second

// everywhere says whether a stream has all its replicas, and they all of it.
func everywhere(c *jetstream.ClusterInfo, replicas int) bool {
	if replicas == 1 {
		return true
	}
	return c != nil && len(c.Replicas) == replicas-1 &&
		!slices.ContainsFunc(c.Replicas, func(r *jetstream.PeerInfo) bool { return !r.Current || r.Lag > 0 })
}

// alone gives a stream's configuration with one replica, at this node where that is one of the
// cluster. What is old stays until the log is opened: that brings the limit of age with it.
func alone(config json.RawMessage, c *Config) (json.RawMessage, error) {
	var keys map[string]any
	d := json.NewDecoder(bytes.NewReader(config))
	d.UseNumber()
	if err := d.Decode(&keys); err != nil {
		return nil, err
	}
	keys["num_replicas"], keys["max_age"] = 1, 0
	delete(keys, "placement")
	if c.Cluster != nil {
		keys["placement"] = map[string][]string{"tags": {nodeTag(c.Node)}}
	}
	return json.Marshal(keys)
}

// vacant says with an error that a stream has held a message.
func (s *store) vacant(ctx context.Context, stream string) error {
	is, err := s.js.Stream(ctx, stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if state := is.CachedInfo().State; state.LastSeq > 0 {
		return fmt.Errorf("%w: %s holds %d, up to seq %d", ErrNotEmpty, stream, state.Msgs, state.LastSeq)
	}
	return nil
}

// vacate makes place for a restored stream: one that never held a message is deleted.
func (s *store) vacate(ctx context.Context, stream string) error {
	if err := s.vacant(ctx, stream); err != nil {
		return err
	}
	if err := s.js.DeleteStream(ctx, stream); err != nil && !errors.Is(err, jetstream.ErrStreamNotFound) {
		return err
	}
	return nil
}
