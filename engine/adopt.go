package engine

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/nats-io/nats.go/jetstream"
)

// One node that has messages becomes the first of a cluster. JetStream has no way to that of its
// own: started as part of a cluster it deletes the streams of which its peers do not know. So they
// are put aside, and from there, with every seq, put into the cluster as a backup is. What was put
// aside stays on the disk, for its owner to delete.
const (
	aloneDir   = "alone"         // put aside, and not taken over yet
	adoptedDir = "alone.adopted" // taken over
)

// putAside takes what one node alone has stored out of JetStream's way. It may have been begun by
// a start before.
func putAside(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, aloneDir, "jetstream")); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Join(dir, aloneDir), 0o750); err != nil {
		return err
	}
	return os.Rename(filepath.Join(dir, "jetstream"), filepath.Join(dir, aloneDir, "jetstream"))
}

// isAside says whether something put aside waits to be taken over.
func isAside(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, aloneDir))
	return err == nil
}

// adopt takes over what was put aside, if anything was. A node where nothing was waits for the one
// where it was, so that it does not make the streams itself.
func (e *Engine) adopt(ctx context.Context, st *store) (done bool, err error) {
	if isAside(e.cfg.Dir) {
		err = e.takeOver(ctx, st)
		return err == nil, err
	}
	for _, p := range e.parts {
		if err := st.awaitStream(ctx, p, e.cfg.replicas(), e.log); err != nil {
			return false, err
		}
	}
	return false, nil
}

func (e *Engine) takeOver(ctx context.Context, st *store) error {
	old := e.cfg
	old.Dir, old.Cluster, old.Node = filepath.Join(e.cfg.Dir, aloneDir), nil, ""
	from, err := openStore(ctx, &old, false, func(string) {})
	if err != nil {
		return fmt.Errorf("engine: open what one node alone has stored: %w", err)
	}
	defer func() {
		if from != nil {
			from.close()
		}
	}()
	for _, p := range e.parts {
		e.log.Info("a stream is adopted by the cluster", "stream", p.stream)
		if err := e.adoptStream(ctx, from, st, p); err != nil {
			return fmt.Errorf("engine: adopt %s: %w", p.stream, err)
		}
	}
	if err := st.settle(ctx, e.parts, e.cfg.replicas()); err != nil {
		return fmt.Errorf("engine: adopt: %w", err)
	}
	from.close()
	from = nil
	if err := os.Rename(old.Dir, filepath.Join(e.cfg.Dir, adoptedDir)); err != nil {
		return fmt.Errorf("engine: adopt: %w", err)
	}
	e.log.Info("everything is adopted; the old files are needed no more", "at", filepath.Join(e.cfg.Dir, adoptedDir))
	return nil
}

// adoptStream puts one stream of the old store into the cluster, unless an earlier start has.
func (e *Engine) adoptStream(ctx context.Context, from, to *store, p *partition) error {
	was, err := from.js.Stream(ctx, p.stream)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return fmt.Errorf("%w: it has no such partition", errFormat)
	}
	if err != nil {
		return err
	}
	if n := was.CachedInfo().Config.Metadata[metaPartitions]; n != fmt.Sprint(e.cfg.Partitions) {
		return fmt.Errorf("%w: with %s partitions, not %d: rooms would not be found again", errFormat, n, e.cfg.Partitions)
	}
	old := was.CachedInfo().State
	return patiently(ctx, e.log, func(ctx context.Context) error {
		done, err := to.makePlace(ctx, p.stream, old, e.cfg.replicas())
		if err != nil || done {
			return err
		}
		return e.pass(ctx, from, to, p.stream)
	})
}

// makePlace sees to it that a stream can be put in. done: it is in already.
func (s *store) makePlace(ctx context.Context, stream string, old jetstream.StreamState, replicas int) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	is, err := s.js.Stream(ctx, stream)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	now := is.CachedInfo()
	if old.LastSeq > 0 && now.State.LastSeq == old.LastSeq && now.State.Msgs == old.Msgs {
		if now.Config.Replicas < replicas { // a start before this one was broken off
			return false, errors.Join(errNotYet, s.spreadOut(ctx, stream, replicas))
		}
		return true, nil
	}
	return false, s.vacate(ctx, stream)
}

// pass copies a stream from one store into another.
func (e *Engine) pass(ctx context.Context, from, to *store, stream string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	heads, chunks, ended := make(chan snapshot, 1), make(chan []byte), make(chan error, 1)
	go func() {
		defer close(chunks)
		ended <- from.takeOut(ctx, stream, true, func(s snapshot) error {
			heads <- s
			return nil
		}, func(chunk []byte) error {
			select {
			case chunks <- chunk:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	}()
	var err error
	select {
	case head := <-heads:
		err = to.putIn(ctx, stream, head, &e.cfg, func() ([]byte, error) {
			if chunk, ok := <-chunks; ok {
				return chunk, nil
			}
			err := <-ended
			ended <- err
			return nil, err
		})
		cancel()
		if other := <-ended; err == nil {
			err = other
		}
	case err = <-ended:
	}
	return err
}

var errNotYet = errors.New("the node with the messages has not put them all in yet")

// awaitStream waits until another node has made the partition's stream, with all its replicas.
func (s *store) awaitStream(ctx context.Context, p *partition, replicas int, log *slog.Logger) error {
	return patiently(ctx, log, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, tryWithin)
		defer cancel()
		is, err := s.js.Stream(ctx, p.stream)
		if err == nil && is.CachedInfo().Config.Replicas < replicas {
			return errNotYet
		}
		return err
	})
}

// keepAside refuses a start that would leave what was put aside behind.
func keepAside(c *Config) error {
	if !isAside(c.Dir) {
		return nil
	}
	if c.Cluster == nil {
		return fmt.Errorf("engine: %s: a cluster has begun to adopt it: its messages are in %s", c.Dir, aloneDir)
	}
	return fmt.Errorf("engine: %s: %w", c.Dir, ErrAlone)
}
