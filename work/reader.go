package work

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"parley"
)

// readerPrefix begins the name of a reader's journal.
const readerPrefix = "reader\x00"

// maxReaders is how many readers of clients a server remembers.
const maxReaders = 100_000

// OwnReader begins the names of the server's own readers. No client's has it, and they are not counted:
// their number follows from the configuration, and nobody else can keep one from being remembered.
const OwnReader = "$"

// counted says whether a reader, by the journal it has, is among those that are bounded.
func counted(journal string) bool {
	return !strings.HasPrefix(journal[strings.LastIndexByte(journal, 0)+1:], OwnReader)
}

// trimEvery is how many positions a reader's journal gathers before it is trimmed.
const trimEvery = 256

// How often a reader's journal is read again that looks older than it is known to be.
const (
	staleReads = 5
	stalePause = 50 * time.Millisecond
)

type readerKey struct{ room, name string }

// reader is a place in a room that is remembered. It is in memory while somebody uses it.
type reader struct {
	manager *Manager
	key     readerKey
	journal string

	// Guarded by the manager's mu.
	users   int           // sessions, and a write under way
	handles int           // sessions alone
	idle    chan struct{} // closed when there are no users; nil = nobody asks

	mu       sync.Mutex
	loaded   bool
	there    bool   // a position was ever written
	position uint64 // durable
	last     uint64 // seq of the journal's newest record
	wanted   uint64 // the highest that was asked for
	waiting  []awaited
	writing  bool
	writes   int // since it was trimmed
}

// awaited is who waits for a position to be durable.
type awaited struct {
	position uint64
	told     Told
}

// Reader keeps a reader in memory until Close: a session that has joined as one.
type Reader struct {
	r    *reader
	once sync.Once
}

// Reader finds a reader and says where it is; ok is false where it has never been anywhere.
func (m *Manager) Reader(ctx context.Context, room, name string) (rd *Reader, position uint64, ok bool, err error) {
	r, err := m.useReader(ctx, readerKey{room, name})
	if err != nil {
		return nil, 0, false, err
	}
	r.fresh()
	if err := r.load(ctx); err != nil {
		m.leaveReader(r)
		return nil, 0, false, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return &Reader{r: r}, r.position, r.there, nil
}

// Name is the reader's name.
func (rd *Reader) Name() string { return rd.r.key.name }

// Done moves the reader to a position, if it is behind it. told is called with where it is once
// that is durable, unless Done fails itself.
func (rd *Reader) Done(ctx context.Context, position uint64, told Told) error {
	if err := rd.r.load(ctx); err != nil {
		return err
	}
	return rd.r.move(ctx, position, told)
}

// Close lets go of the reader. It may be called again.
func (rd *Reader) Close() { rd.once.Do(func() { rd.r.manager.leaveReader(rd.r) }) }

func (m *Manager) useReader(ctx context.Context, key readerKey) (*reader, error) {
	if err := m.lockFor(ctx, key); err != nil {
		return nil, err
	}
	defer m.mu.Unlock()
	r := m.readers[key]
	if r == nil {
		r = &reader{manager: m, key: key, journal: readerPrefix + key.room + "\x00" + key.name}
		m.readers[key] = r
	}
	r.users++
	r.handles++
	return r, nil
}

func (m *Manager) retain(r *reader) {
	m.mu.Lock()
	r.users++
	m.mu.Unlock()
}

// leaveReader lets go of what useReader gave.
func (m *Manager) leaveReader(r *reader) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r.handles--
	m.unuse(r)
}

func (m *Manager) unuseReader(r *reader) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.unuse(r)
}

// unuse takes a user from a reader; m.mu is held.
func (m *Manager) unuse(r *reader) {
	if r.users--; r.users > 0 {
		return
	}
	if m.readers[r.key] == r {
		delete(m.readers, r.key)
	}
	if r.idle != nil {
		close(r.idle)
	}
}

// load reads the journal, where it is not known what is in it.
func (r *reader) load(ctx context.Context) error {
	r.mu.Lock()
	loaded := r.loaded
	r.mu.Unlock()
	if loaded {
		return nil
	}
	newest, err := r.newest(ctx)
	if err != nil {
		return fmt.Errorf("read a reader's journal: %w", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.loaded {
		return nil
	}
	if newest.Seq > 0 {
		d := open(newest.Data)
		r.position, r.there = d.uint(), true
		if err := d.err(); err != nil {
			return fmt.Errorf("read a reader's journal: %w", err)
		}
	} else { // it was never anywhere, or was removed by another node
		r.position, r.there, r.wanted = 0, false, 0
		for _, w := range r.waiting {
			r.wanted = max(r.wanted, w.position)
		}
	}
	r.last, r.loaded = newest.Seq, true
	r.wanted = max(r.wanted, r.position)
	return nil
}

// newest reads the journal's last record. One that is in front of this node's own last may have been read
// where that is not known yet, so it is read again some times; or another node has removed the reader.
func (r *reader) newest(ctx context.Context) (newest parley.Record, err error) {
	r.mu.Lock()
	last := r.last
	r.mu.Unlock()
	for range staleReads {
		if newest, err = r.manager.Journals.Newest(ctx, r.journal); err != nil || newest.Seq >= last {
			break
		}
		if !sleep(ctx, stalePause) {
			return newest, ctx.Err()
		}
	}
	return newest, err
}

// move has a position written, with what else is asked for meanwhile.
func (r *reader) move(ctx context.Context, position uint64, told Told) error {
	r.mu.Lock()
	if r.there && position <= r.position {
		at := r.position
		r.mu.Unlock()
		if told != nil {
			told(at, nil)
		}
		return nil
	}
	if !r.there && !r.writing && counted(r.journal) && r.manager.known.Add(1) > maxReaders {
		r.manager.known.Add(-1)
		r.mu.Unlock()
		return parley.Errorf(parley.Conflict, "there are too many durable readers: a server has at most %d", maxReaders)
	}
	r.wanted = max(r.wanted, position)
	r.waiting = append(r.waiting, awaited{position, told})
	idle := !r.writing
	r.writing = true
	r.mu.Unlock()
	if idle {
		r.manager.retain(r) // until the last write has its outcome
		r.write(ctx)
	}
	return nil
}

// write writes the highest position asked for. The caller has set writing.
func (r *reader) write(ctx context.Context) {
	r.mu.Lock()
	position, waiting, last := r.wanted, r.waiting, r.last
	r.waiting = nil
	r.mu.Unlock()
	record := binary.AppendUvarint([]byte{version}, position)
	err := r.manager.Journals.WriteNext(context.WithoutCancel(ctx), r.journal, last, record, func(seq uint64, err error) {
		r.wrote(seq, position, waiting, err)
	})
	if err != nil {
		r.wrote(0, position, waiting, err)
	}
}

// wrote notes the outcome of a write and begins the next. It runs in a goroutine of the log's, which
// must not be made to wait: so the next write, and a trim, get one of their own.
func (r *reader) wrote(seq, position uint64, waiting []awaited, err error) {
	if errors.Is(err, parley.ErrOvertaken) {
		r.overtaken(waiting)
		return
	}
	r.mu.Lock()
	if err == nil {
		r.position, r.there, r.last = max(r.position, position), true, seq
		r.writes++
	} else {
		if !r.there && counted(r.journal) {
			r.manager.known.Add(-1)
		}
		r.wanted = r.position // what is asked for again is written again
		r.loaded = false      // nobody knows whether this was
	}
	at := r.position
	trim := r.writes >= trimEvery
	if trim {
		r.writes = 0
	}
	again := len(r.waiting) > 0
	for _, w := range r.waiting {
		r.wanted = max(r.wanted, w.position)
	}
	r.writing = again
	r.mu.Unlock()
	for _, w := range waiting {
		if w.told != nil {
			w.told(at, err)
		}
	}
	if !again {
		r.manager.unuseReader(r)
	}
	if again || trim {
		r.manager.spawn(func(ctx context.Context) {
			if again {
				r.write(ctx)
			}
			if trim {
				_ = r.manager.Journals.Trim(ctx, r.journal, seq-1) // the next time will do
			}
		})
	}
}

// spawn runs f in a goroutine that Run waits for; with a context that has ended, once Run has.
func (m *Manager) spawn(f func(context.Context)) {
	m.mu.Lock()
	closed := m.closed
	if !closed {
		m.running.Go(func() { f(m.ctx) })
	}
	m.mu.Unlock()
	if closed {
		f(m.ctx)
	}
}
