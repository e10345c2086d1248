package engine

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"regexp"
	"strings"
)

// ErrBackup says that a file is no backup, or a damaged one.
var ErrBackup = errors.New("not a whole backup")

var errDamaged = fmt.Errorf("%w: it was damaged or cut off", ErrBackup)

// ReadBackup reads a backup to its end and checks every byte. Its errors of kind ErrBackup are the file's.
// progress, if not nil, is told how far it is.
func ReadBackup(r io.Reader, progress func(Progress)) (BackupInfo, error) {
	b := newBackupReader(r, progress)
	err := b.head()
	for err == nil {
		err = b.next()
	}
	if !errors.Is(err, io.EOF) {
		return b.info, err
	}
	return b.info, b.whole()
}

// backupReader is a backup that is being read.
type backupReader struct {
	file *checked
	tar  *tar.Reader
	tell func(Progress)
	at   Progress
	info BackupInfo

	name string // of the entry that was read last
	data []byte
}

func newBackupReader(r io.Reader, progress func(Progress)) *backupReader {
	file := &checked{from: r, sum: sha256.New()}
	return &backupReader{file: file, tar: tar.NewReader(file), tell: progress}
}

// head reads what the backup says of itself.
func (b *backupReader) head() error {
	if err := b.next(); err != nil || b.name != headName {
		if err != nil && !errors.Is(err, ErrBackup) && !errors.Is(err, io.EOF) {
			return err
		}
		return fmt.Errorf("%w: it does not begin like one", ErrBackup)
	}
	if json.Unmarshal(b.data, &b.info) != nil {
		return errDamaged
	}
	if b.info.Version != backupVersion {
		return fmt.Errorf("%w that can be read here: it is of version %d, and this is for version %d", ErrBackup, b.info.Version, backupVersion)
	}
	if len(b.info.Streams) == 0 {
		return errDamaged
	}
	for _, s := range b.info.Streams {
		if !streamNames.MatchString(s.Name) {
			return errDamaged
		}
	}
	b.at.Streams = len(b.info.Streams)
	return nil
}

// streamNames are those that can be in a backup: they become parts of subjects.
var streamNames = regexp.MustCompile(`^[0-9A-Za-z_-]{1,64}$`)

// next reads the next entry; io.EOF is the end, where the digest has been read.
func (b *backupReader) next() error {
	h, err := b.tar.Next()
	if errors.Is(err, io.EOF) && b.name != digestName {
		return errDamaged
	}
	if err != nil {
		return b.file.because(err)
	}
	if h.Size > 2*partBytes {
		return errDamaged
	}
	if b.data, err = io.ReadAll(b.tar); err != nil {
		return b.file.because(err)
	}
	b.name = h.Name
	return b.watch()
}

// watch counts what was read.
func (b *backupReader) watch() error {
	b.at.Bytes = b.file.size
	if stream, begins := strings.CutSuffix(b.name, streamEntry); begins {
		if b.at.Number == len(b.info.Streams) || b.info.Streams[b.at.Number].Name != stream {
			return errDamaged
		}
		var s snapshot
		err := json.Unmarshal(b.data, &s)
		state, e := s.state()
		if err != nil || e != nil {
			return errDamaged
		}
		if b.at.Number > 0 {
			b.at.Messages += b.info.Streams[b.at.Number-1].Messages
		}
		b.info.Streams[b.at.Number].Messages = state.Msgs // those it has in truth
		b.at.Stream = stream
		b.at.Number++
	}
	if b.tell != nil {
		b.tell(b.at)
	}
	return nil
}

// whole checks the file behind its last entry.
func (b *backupReader) whole() error {
	if _, err := io.Copy(io.Discard, b.file); err != nil {
		return b.file.because(err)
	}
	if b.at.Number != len(b.info.Streams) || !b.file.ended() {
		return errDamaged
	}
	return nil
}

// endBytes is how long an ending is.
var endBytes = len(ending(sha256.New()))

// checked is a file of which each byte is accounted for.
type checked struct {
	from   io.Reader
	size   int64
	sum    hash.Hash // of all but held
	held   []byte    // the newest bytes, as many as an ending has
	failed error     // of the reader, if it has failed
}

// Read implements io.Reader.
func (c *checked) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.size += int64(n)
	c.held = append(c.held, p[:n]...)
	if over := len(c.held) - endBytes; over > 0 {
		_, _ = c.sum.Write(c.held[:over]) // it never fails
		c.held = c.held[:copy(c.held, c.held[over:])]
	}
	if err != nil && !errors.Is(err, io.EOF) {
		c.failed = err
	}
	return n, err
}

// ended says whether the file ends with the digest of what is before.
func (c *checked) ended() bool { return bytes.Equal(c.held, ending(c.sum)) }

// because gives the reason of an error: the reader's own, or the file is no good.
func (c *checked) because(err error) error {
	switch {
	case c.failed != nil:
		return fmt.Errorf("read the backup: %w", c.failed)
	case errors.Is(err, io.EOF):
		return err
	}
	return errDamaged
}
