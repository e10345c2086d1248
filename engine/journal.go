package engine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

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
	pl, err := e.journal(journal)
	if err != nil {
		return err
	}
	if len(record) == 0 || len(record) > parley.MaxRecord {
		return fmt.Errorf("a record has 1 to %d bytes; this one has %d", parley.MaxRecord, len(record))
	}
	s := slot{place: pl, done: func(r parley.Receipt, err error) { done(r.Seq, err) }}
	return e.append(ctx, s, len(record), func(token uint64) error {
		return e.committer().commit(pl.subject, token, "", record)
	})
}

// Records implements parley.Journals.
func (e *Engine) Records(ctx context.Context, journal string, after uint64, limit int) (records []parley.Record, more bool, err error) {
	pl, err := e.journal(journal)
	if err != nil {
		return nil, false, err
	}
	limit = min(max(limit, 1), parley.MaxPage)
	bound := pl.part.told.Load()
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
	seq, err := e.lastUpTo(ctx, pl, pl.part.told.Load())
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
	stream, err := e.store.Load().js.Stream(ctx, pl.part.stream)
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(pl.subject), jetstream.WithPurgeSequence(seq+1))
	}
	if err != nil {
		return errUnreachable.Because(fmt.Errorf("trim a journal: %w", err))
	}
	return nil
}

// Journals implements parley.Journals.
func (e *Engine) Journals(ctx context.Context, prefix string) ([]string, error) {
	var names []string
	for _, p := range e.parts[e.cfg.Partitions:] {
		stream, err := e.store.Load().js.Stream(ctx, p.stream)
		if err != nil {
			return nil, errUnreachable.Because(err)
		}
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(p.roomPrefix+"*"))
		if err != nil {
			return nil, errUnreachable.Because(err)
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

// journalConfig is the stream of a partition of journals.
func journalConfig(p *partition, c *Config) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        p.stream,
		Subjects:    []string{p.roomPrefix + "*"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Replicas:    1,
		Duplicates:  minDedupe, // no record has an id
		AllowDirect: true,
		Metadata:    map[string]string{metaPartitions: strconv.Itoa(c.Partitions)},
	}
}
