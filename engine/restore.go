package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// ErrNotEmpty says that a backup is to be restored over messages.
var ErrNotEmpty = errors.New("there are messages already")

// Restoring says how a backup is restored.
type Restoring struct {
	// Replace puts a log that is there already aside, into a directory of its own in the data directory.
	Replace  bool
	Progress func(Progress) // nil = nobody wants to know
}

// Restore makes a log of a backup, every message at its seq, that is opened afterwards: in c.Dir, where
// it is one node's alone, which a cluster can adopt; or in the external cluster at c.URL, which nobody else
// may use meanwhile. The whole backup is read and checked before anything is changed. A restore that is
// broken off, however, leaves what was there before.
func Restore(ctx context.Context, c Config, backup io.ReadSeeker, how Restoring) (BackupInfo, error) {
	c.Cluster, c.Node = nil, ""
	c, err := c.withDefaults()
	if err != nil {
		return BackupInfo{}, err
	}
	info, err := ReadBackup(backup, func(p Progress) {
		if p.Checking = true; how.Progress != nil {
			how.Progress(p)
		}
	})
	if err != nil {
		return info, err
	}
	if info.Partitions != c.Partitions {
		return info, fmt.Errorf("%w: the backup has %d partitions, not %d: rooms would not be found again", errFormat, info.Partitions, c.Partitions)
	}
	if _, err := backup.Seek(0, io.SeekStart); err != nil {
		return info, fmt.Errorf("read the backup: %w", err)
	}
	b := newBackupReader(backup, how.Progress)
	if c.URL != "" {
		return info, b.intoURL(ctx, &c, how.Replace)
	}
	return info, b.intoDir(ctx, &c, how.Replace)
}

// A restore into a directory is made in "restoring", which a start ignores, and the next restore removes.
// Whole and synced, it becomes "restored", and from then on it takes the log's place, whoever ends that.
const (
	restoringDir = "restoring"
	restoredDir  = "restored"
	replacedDir  = "replaced-" // and when
)

func (b *backupReader) intoDir(ctx context.Context, c *Config, replace bool) (err error) {
	lock, err := lockDir(c.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock.Close()) }()
	if err := endRestore(c.Dir); err != nil {
		return err
	}
	if err := unused(ctx, c); err != nil && (!replace || !errors.Is(err, ErrNotEmpty)) {
		return err
	}
	making := filepath.Join(c.Dir, restoringDir)
	if err := os.RemoveAll(making); err != nil {
		return fmt.Errorf("engine: restore: %w", err)
	}
	apart := *c
	apart.Dir = making
	err = b.makeIn(ctx, &apart)
	if err == nil {
		err = os.Remove(filepath.Join(making, lockName))
	}
	if err == nil {
		err = os.Rename(making, filepath.Join(c.Dir, restoredDir))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("engine: restore: %w", err), os.RemoveAll(making))
	}
	return endRestore(c.Dir)
}

// makeIn makes a log in a directory of its own, and sees that it is on disk.
func (b *backupReader) makeIn(ctx context.Context, c *Config) (err error) {
	d, err := openDisk(c)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	st, err := openStore(ctx, c, d.storeMustSync, func(string) {})
	if err != nil {
		return err
	}
	err = b.into(ctx, st, c)
	st.close()
	if err != nil {
		return err
	}
	return d.sync()
}

// endRestore puts a log that was restored in its place, and what was there aside. It may have been begun
// before, and broken off anywhere.
func endRestore(dir string) error {
	from := filepath.Join(dir, restoredDir)
	if _, err := os.Stat(from); err != nil {
		return nil // which is usual
	}
	err := takePlace(dir, from)
	if err == nil {
		err = syncDir(dir)
	}
	if err == nil {
		err = os.RemoveAll(from)
	}
	if err != nil {
		return fmt.Errorf("engine: restore: %w", err)
	}
	return nil
}

func takePlace(dir, from string) error {
	if _, err := os.Stat(filepath.Join(from, storeDir)); errors.Is(err, os.ErrNotExist) {
		return nil // it is in its place
	}
	aside := filepath.Join(dir, replacedDir+time.Now().UTC().Format("20060102-150405.000"))
	for _, name := range []string{storeDir, aloneDir} {
		if _, err := os.Stat(filepath.Join(dir, name)); errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err := os.MkdirAll(aside, 0o750); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(dir, name), filepath.Join(aside, name)); err != nil {
			return err
		}
	}
	return os.Rename(filepath.Join(from, storeDir), filepath.Join(dir, storeDir))
}

// syncDir has what was renamed in a directory stay so.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// unused says with an error that a directory holds, or has held, messages.
func unused(ctx context.Context, c *Config) error {
	for _, name := range []string{aloneDir, metaDir} { // of a cluster, or to become one's
		if _, err := os.Stat(filepath.Join(c.Dir, filepath.FromSlash(name))); err == nil {
			return fmt.Errorf("%w: %s belongs to a cluster", ErrNotEmpty, c.Dir)
		}
	}
	streams, err := os.ReadDir(filepath.Join(c.Dir, filepath.FromSlash(streamsDir)))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("engine: data directory: %w", err)
	}
	if len(streams) == 0 {
		return nil
	}
	st, err := openStore(ctx, c, false, func(string) {})
	if err != nil {
		return fmt.Errorf("engine: %s: %w", filepath.Clean(c.Dir), err)
	}
	defer st.close()
	for _, s := range streams {
		if err := st.vacant(ctx, s.Name()); err != nil {
			return err
		}
	}
	return nil
}

// intoURL makes the log in an external cluster. What it has made of one that fails it takes away again.
func (b *backupReader) intoURL(ctx context.Context, c *Config, replace bool) error {
	if replace {
		return errors.New("the streams of an external cluster are not replaced: remove them there first")
	}
	st, err := openStore(ctx, c, false, func(string) {})
	if err != nil {
		return fmt.Errorf("engine: %w", err)
	}
	defer st.close()
	if err := b.head(); err != nil {
		return err
	}
	streams := b.info.Streams
	for _, s := range streams {
		if err := st.vacant(ctx, s.Name); err != nil {
			return err
		}
	}
	err = b.streams(ctx, st, c)
	if err == nil {
		return nil
	}
	cleaning, cancel := context.WithTimeout(context.WithoutCancel(ctx), chunkWithin)
	defer cancel()
	for _, s := range streams {
		if e := st.js.DeleteStream(cleaning, s.Name); e != nil && st.vacant(cleaning, s.Name) != nil {
			err = errors.Join(err, e)
		}
	}
	return fmt.Errorf("engine: restore: %w", err)
}

// into puts all streams into a store.
func (b *backupReader) into(ctx context.Context, st *store, c *Config) error {
	if err := b.head(); err != nil {
		return err
	}
	if err := b.streams(ctx, st, c); err != nil {
		return err
	}
	if reason := st.broke.Load(); reason != nil {
		return errors.New(*reason)
	}
	return nil
}

func (b *backupReader) streams(ctx context.Context, st *store, c *Config) error {
	err := b.next()
	for _, s := range b.info.Streams {
		if err != nil {
			return err
		}
		err = b.stream(ctx, st, s.Name, c)
	}
	if err == nil {
		err = b.next()
	}
	switch {
	case errors.Is(err, io.EOF):
		return b.whole() // it may have changed since it was checked
	case err == nil:
		return errDamaged
	}
	return err
}

// stream puts one in; its first entry was read, and behind it the one that follows the last is.
func (b *backupReader) stream(ctx context.Context, st *store, stream string, c *Config) error {
	var head snapshot
	if b.name != stream+streamEntry || json.Unmarshal(b.data, &head) != nil {
		return errDamaged
	}
	if err := st.vacate(ctx, stream); err != nil {
		return err
	}
	if err := b.next(); err != nil {
		return err
	}
	parts := 1
	return st.putIn(ctx, stream, head, c, func() ([]byte, error) {
		if b.name != partName(stream, parts) {
			return nil, nil
		}
		chunk := b.data[:min(len(b.data), snapshotChunk)]
		if b.data = b.data[len(chunk):]; len(b.data) == 0 {
			parts++
			return chunk, b.next()
		}
		return chunk, nil
	})
}
