package logtest

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"

	"parley"
)

var _ parley.Journals = (*Memory)(nil)

var errRecord = errors.New("no journal takes such a record")

// Write implements parley.Journals.
func (l *Memory) Write(_ context.Context, journal string, record []byte, done func(uint64, error)) error {
	return l.write(journal, nil, record, done)
}

// WriteNext implements parley.Journals.
func (l *Memory) WriteNext(_ context.Context, journal string, last uint64, record []byte, done func(uint64, error)) error {
	return l.write(journal, &last, record, done)
}

func (l *Memory) write(journal string, behind *uint64, record []byte, done func(uint64, error)) error {
	if len(journal) == 0 || len(journal) > parley.MaxJournalName || len(record) == 0 || len(record) > parley.MaxRecord {
		return errRecord
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed != nil {
		return l.failed
	}
	if newest := l.newest(journal); behind != nil && *behind != newest {
		return parley.ErrOvertaken
	}
	l.record++
	l.journals[journal] = append(l.journals[journal], parley.Record{Seq: l.record, Data: slices.Clone(record)})
	l.waiting = append(l.waiting, event{
		record:  true,
		receipt: parley.Receipt{Seq: l.record},
		done:    func(r parley.Receipt, err error) { done(r.Seq, err) },
	})
	l.settle()
	return nil
}

// newest gives the seq of a journal's newest record, durable or not. l.mu is held.
func (l *Memory) newest(journal string) uint64 {
	all := l.journals[journal]
	if len(all) == 0 {
		return 0
	}
	return all[len(all)-1].Seq
}

// left gives the journal's durable records. l.mu is held.
func (l *Memory) left(journal string) []parley.Record {
	all := l.journals[journal]
	return all[:sort.Search(len(all), func(i int) bool { return all[i].Seq > l.recorded })]
}

// Records implements parley.Journals.
func (l *Memory) Records(_ context.Context, journal string, after uint64, limit int) ([]parley.Record, bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.left(journal)
	all = all[sort.Search(len(all), func(i int) bool { return all[i].Seq > after }):]
	n := min(len(all), min(max(limit, 1), parley.MaxPage))
	out := make([]parley.Record, n)
	for i, r := range all[:n] {
		out[i] = parley.Record{Seq: r.Seq, Data: slices.Clone(r.Data)}
	}
	return out, n < len(all), nil
}

// Newest implements parley.Journals.
func (l *Memory) Newest(_ context.Context, journal string) (parley.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.left(journal)
	if len(all) == 0 {
		return parley.Record{}, nil
	}
	last := all[len(all)-1]
	return parley.Record{Seq: last.Seq, Data: slices.Clone(last.Data)}, nil
}

// Trim implements parley.Journals.
func (l *Memory) Trim(_ context.Context, journal string, seq uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.journals[journal]
	all = slices.Clone(all[sort.Search(len(all), func(i int) bool { return all[i].Seq > seq }):])
	if l.journals[journal] = all; len(all) == 0 {
		delete(l.journals, journal)
	}
	return nil
}

// Journals implements parley.Journals.
func (l *Memory) Journals(_ context.Context, prefix string) ([]string, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var names []string
	for name := range l.journals {
		if strings.HasPrefix(name, prefix) && len(l.left(name)) > 0 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, nil
}
