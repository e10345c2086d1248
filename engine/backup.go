package engine

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// A backup is one tar file: for each stream a description, "<stream>/stream.json", and its bytes
// in parts, "<stream>/000001" and so on; at the end "manifest.json". Each entry bears its SHA-256,
// by which it is checked before it is used, and the manifest says which there are, so that a file
// that was cut off is known as such.

const (
	backupVersion = 1
	partBytes     = 8 << 20
	manifestName  = "manifest.json"
	streamEntry   = "/stream.json"
	sumRecord     = "PARLEY.sha256"
)

// ErrNotEmpty says that a backup is to be restored over messages.
var ErrNotEmpty = errors.New("engine: there are messages already")

// ErrBackup says that a file is no backup, or a damaged one.
var ErrBackup = errors.New("engine: not a whole backup")

// Progress is how far a backup or restore has come.
type Progress struct {
	Stream      int // of Streams, the one at work; they are numbered from 1
	Streams     int
	Bytes       int64  // so far, of all
	Messages    uint64 // of the streams that are done
	MessagesAll uint64 // of all; known for a restore at its end alone
}

// manifest is the last entry.
type manifest struct {
	Version  int        `json:"version"`
	Made     time.Time  `json:"made"`
	Streams  int        `json:"streams"`
	Messages uint64     `json:"messages"`
	Entries  []manifold `json:"entries"`
}

// manifold is one entry before the manifest.
type manifold struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

// Backup writes all messages, with their seqs and what else the streams hold, to w, while the log
// goes on: of each partition as of the moment it comes to it. progress, if not nil, is told how far
// it is.
func (e *Engine) Backup(ctx context.Context, w io.Writer, progress func(Progress)) error {
	b := &backup{tar: tar.NewWriter(w), tell: progress, made: manifest{Version: backupVersion, Made: time.Now().UTC(), Streams: len(e.parts)}}
	b.at.Streams = len(e.parts)
	for i, p := range e.parts {
		b.at.Stream = i + 1
		if err := b.stream(ctx, e.store.Load(), p.stream); err != nil {
			return fmt.Errorf("engine: back up: %w", err)
		}
	}
	b.made.Messages = b.at.Messages
	data, err := json.Marshal(b.made)
	if err == nil {
		err = b.entry(manifestName, data)
	}
	if err == nil {
		err = b.tar.Close()
	}
	if err != nil {
		return fmt.Errorf("engine: back up: %w", err)
	}
	return nil
}

// backup is one that is being written.
type backup struct {
	tar  *tar.Writer
	tell func(Progress)
	at   Progress
	made manifest
	part []byte
}

func (b *backup) stream(ctx context.Context, st *store, stream string) error {
	parts, messages := 0, uint64(0)
	flush := func() error {
		if len(b.part) == 0 {
			return nil
		}
		parts++
		err := b.entry(fmt.Sprintf("%s/%06d", stream, parts), b.part)
		b.part = b.part[:0]
		return err
	}
	err := st.takeOut(ctx, stream, func(s snapshot) error {
		state, err := s.state()
		if err != nil {
			return err
		}
		messages = state.Msgs
		data, err := json.Marshal(s)
		if err != nil {
			return err
		}
		return b.entry(stream+streamEntry, data)
	}, func(chunk []byte) error {
		b.part = append(b.part, chunk...)
		if len(b.part) < partBytes {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	b.at.Messages += messages
	return err
}

// entry writes a file into the tar.
func (b *backup) entry(name string, data []byte) error {
	sum := sha256.Sum256(data)
	one := manifold{Name: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	err := b.tar.WriteHeader(&tar.Header{
		Name: name, Size: one.Size, Mode: 0o600, ModTime: b.made.Made, Format: tar.FormatPAX,
		PAXRecords: map[string]string{sumRecord: one.SHA256},
	})
	if err == nil {
		_, err = b.tar.Write(data)
	}
	b.made.Entries = append(b.made.Entries, one)
	b.at.Bytes += one.Size
	if b.tell != nil && err == nil {
		b.tell(b.at)
	}
	return err
}

// Restore makes the log what it was when a backup was made: every message at its seq. It must be
// empty, never have held a message, and have as many partitions; nobody else should use it until
// Restore is back. Where it fails the log is empty again.
func (e *Engine) Restore(ctx context.Context, r io.Reader, progress func(Progress)) error {
	st := e.store.Load()
	for _, p := range e.parts {
		if err := st.vacant(ctx, p.stream); err != nil {
			return err
		}
	}
	b := &restoring{engine: e, tar: tar.NewReader(r), tell: progress}
	b.at.Streams = len(e.parts)
	err := b.run(ctx, st)
	if err != nil {
		err = errors.Join(err, e.emptied(st))
	}
	return errors.Join(err, e.startAnew(ctx, st))
}

// emptied takes out again what a failed restore has put in.
func (e *Engine) emptied(st *store) error {
	ctx, cancel := context.WithTimeout(e.ctx, chunkWithin)
	defer cancel()
	for _, p := range e.parts {
		if err := st.js.DeleteStream(ctx, p.stream); err != nil && st.vacant(ctx, p.stream) != nil {
			return err
		}
	}
	return nil
}

// startAnew brings what the engine knows of its streams up to date.
func (e *Engine) startAnew(ctx context.Context, st *store) error {
	for _, p := range e.parts {
		last, err := st.prepareAt(ctx, p, &e.cfg)
		if err != nil {
			return err
		}
		p.found(last)
		p.missed.Store(true)
	}
	if err := e.openAnew(ctx); err != nil {
		return err
	}
	kick(e.syncKick)
	kick(e.safetyKick)
	for _, p := range e.parts { // until it is shown
		for p.told.Load() < p.written() {
			if err := rest(ctx, fencePause); err != nil {
				return err
			}
			if err := e.health.failed.Load(); err != nil {
				return err
			}
		}
	}
	return nil
}

// openAnew ends the store's life and begins another: JetStream knows the ids in a stream that it has
// restored only once it has opened it anew.
func (e *Engine) openAnew(ctx context.Context) error {
	if e.cfg.URL != "" {
		return nil
	}
	reason := "streams were restored"
	e.health.broken.CompareAndSwap(nil, &reason)
	kick(e.reopenKick)
	for e.health.broken.Load() != nil {
		if err := e.health.failed.Load(); err != nil {
			return err
		}
		if err := rest(ctx, fencePause); err != nil {
			return err
		}
	}
	return nil
}

// restoring is a backup that is being read.
type restoring struct {
	engine *Engine
	tar    *tar.Reader
	tell   func(Progress)
	at     Progress
	read   []manifold

	name  string // of the entry that was read last
	data  []byte
	ahead bool // it was looked at, and is still to be used
}

func (b *restoring) run(ctx context.Context, st *store) error {
	for i, p := range b.engine.parts {
		b.at.Stream = i + 1
		if err := b.stream(ctx, st, p.stream); err != nil {
			return err
		}
	}
	if err := b.next(); err != nil {
		return err
	}
	if b.name != manifestName {
		return fmt.Errorf("%w: %q where its manifest is due: it was made with another number of partitions", ErrBackup, b.name)
	}
	var m manifest
	if err := json.Unmarshal(b.data, &m); err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if m.Version != backupVersion || m.Streams != len(b.engine.parts) || len(m.Entries) != len(b.read)-1 {
		return fmt.Errorf("%w: version %d with %d streams in %d parts", ErrBackup, m.Version, m.Streams, len(m.Entries))
	}
	for i, one := range m.Entries {
		if one != b.read[i] {
			return fmt.Errorf("%w: %s is not what its manifest says", ErrBackup, one.Name)
		}
	}
	b.at.MessagesAll = m.Messages
	b.told()
	return nil
}

func (b *restoring) stream(ctx context.Context, st *store, stream string) error {
	if err := b.next(); err != nil {
		return err
	}
	if b.name != stream+streamEntry {
		return fmt.Errorf("%w: %q where %s is due", ErrBackup, b.name, stream)
	}
	var head snapshot
	err := json.Unmarshal(b.data, &head)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBackup, stream, err)
	}
	state, err := head.state()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBackup, stream, err)
	}
	if err := b.engine.fits(head); err != nil {
		return err
	}
	if err := st.vacate(ctx, stream); err != nil {
		return err
	}
	if err := b.next(); err != nil {
		return err
	}
	parts := 1
	err = st.putIn(ctx, stream, head, &b.engine.cfg, func() ([]byte, error) {
		if b.name != fmt.Sprintf("%s/%06d", stream, parts) {
			b.ahead = true // the next stream's, or the manifest
			return nil, nil
		}
		chunk := b.data[:min(len(b.data), snapshotChunk)]
		if b.data = b.data[len(chunk):]; len(b.data) == 0 {
			parts++
			return chunk, b.next()
		}
		return chunk, nil
	})
	b.at.Messages += state.Msgs
	return err
}

// fits checks that rooms would be found again.
func (e *Engine) fits(s snapshot) error {
	var config struct {
		Metadata map[string]string `json:"metadata"`
	}
	if err := json.Unmarshal(s.Config, &config); err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if n := config.Metadata[metaPartitions]; n != fmt.Sprint(e.cfg.Partitions) {
		return fmt.Errorf("%w: with %s partitions, not %d: rooms would not be found again", errFormat, n, e.cfg.Partitions)
	}
	return nil
}

// next reads the next entry and checks it, unless there is one that was not used yet.
func (b *restoring) next() error {
	if b.ahead {
		b.ahead = false
		return nil
	}
	h, err := b.tar.Next()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBackup, err)
	}
	if h.Size > 2*partBytes {
		return fmt.Errorf("%w: %s has %d bytes", ErrBackup, h.Name, h.Size)
	}
	data, err := io.ReadAll(b.tar)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrBackup, h.Name, err)
	}
	sum := sha256.Sum256(data)
	one := manifold{Name: h.Name, Size: h.Size, SHA256: hex.EncodeToString(sum[:])}
	if h.PAXRecords[sumRecord] != one.SHA256 {
		return fmt.Errorf("%w: %s is damaged", ErrBackup, h.Name)
	}
	b.name, b.data = h.Name, data
	b.read = append(b.read, one)
	b.at.Bytes += h.Size
	b.told()
	return nil
}

func (b *restoring) told() {
	if b.tell != nil {
		b.tell(b.at)
	}
}
