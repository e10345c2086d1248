package engine

import (
	"context"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"parley"
)

// Rooms implements parley.Log. It looks at every room there is, and takes its time.
func (e *Engine) Rooms(ctx context.Context) ([]parley.RoomInfo, error) {
	var out []parley.RoomInfo
	for _, p := range e.parts[:e.cfg.Partitions] {
		rooms, err := e.roomsOf(ctx, p)
		if err != nil {
			return nil, err
		}
		out = append(out, rooms...)
	}
	slices.SortFunc(out, func(a, b parley.RoomInfo) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// roomsOf lists the partition's rooms that hold durable messages.
func (e *Engine) roomsOf(ctx context.Context, p *partition) ([]parley.RoomInfo, error) {
	st, mark := e.store.Load(), e.mark.at(p)
	if err := e.fence(ctx, p, mark); err != nil {
		return nil, err
	}
	stream, err := st.js.Stream(ctx, p.stream)
	if err != nil {
		return nil, errUnreachable.Because(err)
	}
	info, err := stream.Info(ctx, jetstream.WithSubjectFilter(p.roomPrefix+"*"))
	if err != nil {
		return nil, errUnreachable.Because(err)
	}
	subjects := make([]string, 0, len(info.State.Subjects))
	for s := range info.State.Subjects {
		subjects = append(subjects, s)
	}
	out := make([]parley.RoomInfo, 0, len(subjects))
	for chunk := range slices.Chunk(subjects, multiLast) {
		last, err := st.slow.lasts(ctx, p.stream, chunk, mark)
		if err != nil {
			return nil, err
		}
		for _, l := range last {
			name, err := roomOf(l.subject)
			if err != nil {
				return nil, err
			}
			out = append(out, parley.RoomInfo{Name: name, Seq: l.seq, Messages: info.State.Subjects[l.subject]})
		}
	}
	return out, nil
}
