package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"parley"
)

// Journals lie in streams of their own, one for each partition of the rooms: the same writes and
// the same group commit, but no retention, no live copies and no ids.

var _ parley.Journals = (*Engine)(nil)

const journalPrefix = "journal."

// newJournalPartition makes the partition that holds the journals number i, at index in the
// watermark.
func newJournalPartition(i, index int) *partition {
	n := strconv.Itoa(i)
	return &partition{index: index, stream: "journal_" + n, roomPrefix: journalPrefix + n + ".", quiet: true}
}

// journal is where a journal lies.
func (e *Engine) journal(name string) (place, error) {
	if len(name) == 0 || len(name) > parley.MaxJournalName {
		return place{}, fmt.Errorf("a journal's name has 1 to %d bytes; this one has %d", parley.MaxJournalName, len(name))
	}
	part := e.parts[e.cfg.Partitions+partitionOf(name, e.cfg.Partitions)]
	return place{room: name, part: part, subject: part.roomPrefix + nameEncoding.EncodeToString([]byte(name))}, nil
}

// Write implements parley.Journals.
func (e *Engine) Write(ctx context.Context, journal string, record []byte, done func(uint64, error)) error {
	return e.write(ctx, journal, nil, record, done)
}

// WriteNext implements parley.Journals.
func (e *Engine) WriteNext(ctx context.Context, journal string, last uint64, record []byte, done func(uint64, error)) error {
	return e.write(ctx, journal, &last, record, done)
}

// write writes a record; behind, where not nil, is the seq of the journal's newest one.
func (e *Engine) write(ctx context.Context, journal string, behind *uint64, record []byte, done func(uint64, error)) error {
	pl, err := e.journal(journal)
	if err != nil {
		return err
	}
	if len(record) == 0 || len(record) > parley.MaxRecord {
		return fmt.Errorf("a record has 1 to %d bytes; this one has %d", parley.MaxRecord, len(record))
	}
	s := slot{place: pl, done: func(r parley.Receipt, err error) { done(r.Seq, err) }}
	return e.append(ctx, s, len(record), func(token uint64) error {
		if behind != nil && e.batches != nil {
			return e.batches.commitBehind(pl, token, *behind, record)
		}
		return e.committer().commit(pl, token, "", record)
	})
}

// end gives the seq up to which a partition's journals are shown. In a cluster another node may have
// written last: the leader is asked, and this node's replica waited for.
func (e *Engine) end(ctx context.Context, p *partition) (uint64, error) {
	bound := p.told.Load()
	if e.batches == nil {
		return bound, nil
	}
	err := e.asking(ctx, func(ctx context.Context) error {
		last, err := e.store.Load().lastSeq(ctx, p)
		bound = max(bound, last)
		return err
	})
	if err != nil {
		return 0, err
	}
	return bound, e.fence(ctx, p, bound)
}

// asking has a partition's leader asked again where it does not answer: a question may go to one that
// has just been replaced, and nobody says so.
func (e *Engine) asking(ctx context.Context, ask func(context.Context) error) error {
	if e.batches == nil {
		if err := ask(ctx); err != nil {
			return errUnreachable.Because(err)
		}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	for {
		once, done := context.WithTimeout(ctx, watchWithin)
		err := ask(once)
		done()
		if err == nil {
			return nil
		}
		if rest(ctx, retryPause) != nil {
			return errUnreachable.Because(err)
		}
	}
}

// Records implements parley.Journals.
func (e *Engine) Records(ctx context.Context, journal string, after uint64, limit int) (records []parley.Record, more bool, err error) {
	pl, err := e.journal(journal)
	if err != nil {
		return nil, false, err
	}
	limit = min(max(limit, 1), parley.MaxPage)
	bound, err := e.end(ctx, pl.part)
	if err != nil {
		return nil, false, err
	}
	for next := after + 1; next <= bound; {
		answers, err := e.store.Load().slow.batch(ctx, pl.part.stream,
			request{Seq: next, Next: pl.subject, Batch: limit + 1 - len(records), MaxBytes: batchBytes})
		if err != nil {
			return nil, false, err
		}
		for _, a := range answers {
			seq := headerNumber(a.Header, hdrSeq)
			switch {
			case seq > bound:
				return records, false, nil
			case len(records) == limit:
				return records, true, nil
			}
			records = append(records, parley.Record{Seq: seq, Data: a.Data})
			next = seq + 1
		}
		if len(answers) == 0 || headerNumber(answers[len(answers)-1].Header, hdrPending) == 0 {
			return records, false, nil
		}
	}
	return records, false, nil
}

// Newest implements parley.Journals.
func (e *Engine) Newest(ctx context.Context, journal string) (parley.Record, error) {
	pl, err := e.journal(journal)
	if err != nil {
		return parley.Record{}, err
	}
	bound, err := e.end(ctx, pl.part)
	if err != nil || bound == 0 {
		return parley.Record{}, err
	}
	seq, err := e.lastUpTo(ctx, pl, bound)
	if err != nil || seq == 0 {
		return parley.Record{}, err
	}
	found, err := e.store.Load().quick.bySeq(ctx, pl.part.stream, []uint64{seq})
	if err != nil || len(found) == 0 {
		return parley.Record{}, err
	}
	return parley.Record{Seq: seq, Data: found[0].Data}, nil
}

// Trim implements parley.Journals.
func (e *Engine) Trim(ctx context.Context, journal string, seq uint64) error {
	pl, err := e.journal(journal)
	if err != nil || seq == 0 {
		return err
	}
	err = e.asking(ctx, func(ctx context.Context) error {
		stream, err := e.store.Load().js.Stream(ctx, pl.part.stream)
		if err == nil {
			err = stream.Purge(ctx, jetstream.WithPurgeSubject(pl.subject), jetstream.WithPurgeSequence(seq+1))
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("trim a journal: %w", err)
	}
	return e.trimmed(ctx, pl, seq)
}

// trimmed waits until the replica that answers this node's reads has trimmed a journal too.
func (e *Engine) trimmed(ctx context.Context, pl place, seq uint64) error {
	if e.batches == nil {
		return nil
	}
	if bound, err := e.end(ctx, pl.part); err != nil || bound == 0 {
		return err
	}
	for {
		n, first, err := e.countFrom(ctx, pl, 1)
		if err != nil || n == 0 || first > seq {
			return err
		}
		if err := rest(ctx, fencePause); err != nil {
			return errUnreachable.Because(errBehind)
		}
	}
}

// Journals implements parley.Journals.
func (e *Engine) Journals(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	for _, p := range e.parts[e.cfg.Partitions:] {
		var info *jetstream.StreamInfo
		err := e.asking(ctx, func(ctx context.Context) error {
			stream, err := e.store.Load().js.Stream(ctx, p.stream)
			if err == nil {
				info, err = stream.Info(ctx, jetstream.WithSubjectFilter(p.roomPrefix+"*"))
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		for subject := range info.State.Subjects {
			name, err := roomOf(subject)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	return names, nil
}

// journalDedupe is how long the ids of a partition of journals are known: no record has one, but in a
// cluster its batch has, by which it is seen whether one whose answer was lost has been stored.
func journalDedupe(c *Config) time.Duration {
	if c.replicated() {
		return max(minDedupe, 2*c.AppendTimeout)
	}
	return minDedupe
}

// journalConfig is the stream of a partition of journals.
func journalConfig(p *partition, c *Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               p.stream,
		Subjects:           []string{p.roomPrefix + "*"},
		Storage:            jetstream.FileStorage,
		Retention:          jetstream.LimitsPolicy,
		Replicas:           c.replicas(),
		Duplicates:         journalDedupe(c),
		AllowDirect:        true,
		AllowAtomicPublish: true,
		Metadata:           map[string]string{metaPartitions: strconv.Itoa(c.Partitions)},
	}
}
