package engine

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// A backup is one tar file: first "parley-backup.json", which says what follows; then for each stream its
// description, "<stream>/stream.json", and its bytes in parts, "<stream>/000001" and so on; at the end
// "sha256", the digest of every byte before it. What follows the digest is known, so no byte of a backup
// can change, be missing or be added without being noticed.

const (
	backupVersion = 1
	partBytes     = 1 << 20 // small enough that a slow reader takes one before JetStream loses patience
	headName      = "parley-backup.json"
	streamEntry   = "/stream.json"
	digestName    = "sha256"
)

// BackupInfo is what a backup says of itself.
type BackupInfo struct {
	Version    int            `json:"version"`
	Made       time.Time      `json:"made"`
	Partitions int            `json:"partitions"`
	Streams    []BackupStream `json:"streams"`
}

// BackupStream is one stream of a backup.
type BackupStream struct {
	Name     string `json:"name"`
	Messages uint64 `json:"messages"` // of a log that goes on, about so many
}

// Progress is how far a backup or restore has come.
type Progress struct {
	Checking bool   `json:"checking"` // the file is read once before a restore
	Stream   string `json:"stream"`   // the one at work; "" = none yet
	Number   int    `json:"number"`   // its number, from 1
	Streams  int    `json:"streams"`  // how many there are
	Bytes    int64  `json:"bytes"`    // of the file, so far
	Messages uint64 `json:"messages"` // of the streams that are done
}

// Backup writes all streams with their consumers to w, every message at its seq, while the log goes on.
// Each is as of the moment it comes to it, the journals first: what they say of rooms is in the rooms, too.
// progress, if not nil, is told how far it is.
func (e *Engine) Backup(ctx context.Context, w io.Writer, progress func(Progress)) error {
	return writeBackup(ctx, e.store.Load(), false, w, progress)
}

// BackUp is Backup of one node's log that no server has open. It checks every message, too.
func BackUp(ctx context.Context, c Config, w io.Writer, progress func(Progress)) (err error) {
	if _, err := os.Stat(filepath.Join(c.Dir, filepath.FromSlash(streamsDir))); err != nil {
		return fmt.Errorf("engine: there is no log in %s", c.Dir)
	}
	if c, err = c.withDefaults(); err != nil {
		return err
	}
	d, err := openDisk(&c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	st, err := openStore(ctx, &c, d.storeMustSync, func(string) {})
	if err != nil {
		return fmt.Errorf("engine: %s: %w", filepath.Clean(c.Dir), err)
	}
	defer st.close()
	return writeBackup(ctx, st, true, w, progress)
}

func writeBackup(ctx context.Context, st *store, check bool, w io.Writer, progress func(Progress)) error {
	info, err := st.inventory(ctx)
	if err != nil {
		return errUnreachable.Because(fmt.Errorf("list the streams: %w", err))
	}
	b := newBackup(w, info, progress)
	if err = b.entry(headName, mustJSON(info)); err == nil {
		for i, s := range info.Streams {
			b.at.Stream, b.at.Number = s.Name, i+1
			if err = b.stream(ctx, st, s.Name, check); err != nil {
				break
			}
		}
	}
	if err == nil {
		err = b.end()
	}
	if err != nil {
		return fmt.Errorf("engine: back up: %w", err)
	}
	return nil
}

// inventory lists the streams that are Parley's; an external store may hold others.
func (s *store) inventory(ctx context.Context) (info BackupInfo, err error) {
	ctx, cancel := context.WithTimeout(ctx, chunkWithin)
	defer cancel()
	info = BackupInfo{Version: backupVersion, Made: time.Now().UTC().Truncate(time.Second)}
	list := s.js.ListStreams(ctx)
	for is := range list.Info() {
		partitions, err := strconv.Atoi(is.Config.Metadata[metaPartitions])
		if err != nil {
			continue
		}
		info.Partitions = partitions
		info.Streams = append(info.Streams, BackupStream{is.Config.Name, is.State.Msgs})
	}
	if err := list.Err(); err != nil && !errors.Is(err, jetstream.ErrEndOfData) {
		return info, err
	}
	if len(info.Streams) == 0 {
		return info, errors.New("there are none")
	}
	slices.SortFunc(info.Streams, func(a, b BackupStream) int {
		if x, y := isRooms(a.Name), isRooms(b.Name); x != y {
			if y {
				return -1
			}
			return 1
		}
		return strings.Compare(a.Name, b.Name)
	})
	return info, nil
}

// isRooms says whether a stream holds rooms, of which other streams tell.
func isRooms(stream string) bool { return strings.HasPrefix(stream, streamPrefix) }

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // nothing of ours cannot be encoded
	}
	return data
}

// backup is one that is being written.
type backup struct {
	out  io.Writer
	sum  hash.Hash // of all that was written
	tar  *tar.Writer
	made time.Time
	tell func(Progress)
	at   Progress
	part []byte
}

func newBackup(w io.Writer, info BackupInfo, progress func(Progress)) *backup {
	b := &backup{out: w, sum: sha256.New(), made: info.Made, tell: progress, at: Progress{Streams: len(info.Streams)}}
	b.tar = tar.NewWriter(b)
	return b
}

// Write is where the tar's bytes go.
func (b *backup) Write(p []byte) (int, error) {
	n, err := b.out.Write(p)
	_, _ = b.sum.Write(p[:n]) // it never fails
	b.at.Bytes += int64(n)
	return n, err
}

func (b *backup) stream(ctx context.Context, st *store, stream string, check bool) error {
	parts, messages := 0, uint64(0)
	flush := func() error {
		if len(b.part) == 0 {
			return nil
		}
		parts++
		err := b.entry(partName(stream, parts), b.part)
		b.part = b.part[:0]
		return err
	}
	err := st.takeOut(ctx, stream, check, func(s snapshot) error {
		state, err := s.state()
		if err != nil {
			return err
		}
		messages = state.Msgs
		return b.entry(stream+streamEntry, mustJSON(s))
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

func partName(stream string, part int) string { return fmt.Sprintf("%s/%06d", stream, part) }

// entry writes a file into the tar.
func (b *backup) entry(name string, data []byte) error {
	if err := putFile(b.tar, name, b.made, data); err != nil {
		return err
	}
	if b.tell != nil {
		b.tell(b.at)
	}
	return nil
}

func putFile(t *tar.Writer, name string, made time.Time, data []byte) error {
	err := t.WriteHeader(&tar.Header{Name: name, Size: int64(len(data)), Mode: 0o600, ModTime: made, Format: tar.FormatUSTAR})
	if err == nil {
		_, err = t.Write(data)
	}
	return err
}

// end writes the digest.
func (b *backup) end() error {
	err := b.tar.Flush()
	if err == nil {
		_, err = b.out.Write(ending(b.sum))
	}
	return err
}

// ending is all that follows the last stream: the entry with the digest, and the end of the tar.
func ending(sum hash.Hash) []byte {
	var b bytes.Buffer
	t := tar.NewWriter(&b)
	err := putFile(t, digestName, time.Unix(0, 0), append(hex.AppendEncode(nil, sum.Sum(nil)), '\n'))
	if err == nil {
		err = t.Close()
	}
	if err != nil {
		panic(err) // a buffer takes everything
	}
	return b.Bytes()
}
