package work

import (
	"context"
	"time"

	"parley"
)

// Books is what sessions use of the books: on a node alone the Manager itself, in a cluster what
// reaches the node that keeps a room's groups.
type Books interface {
	// Take gives jobs of a group to a worker; see [Manager.Take].
	Take(ctx context.Context, t Taking) (Worker, error)
	Done(ctx context.Context, room, name string, told Told) error
	Retry(ctx context.Context, room, name string, delay *time.Duration, reason string, told Told) error
	Release(ctx context.Context, room, name string, told Told) error
	Fail(ctx context.Context, room, name, reason string, told Told) error
	Busy(ctx context.Context, room, name string, d time.Duration) (time.Duration, error)
	PutBack(ctx context.Context, room string, letter uint64, told func(parley.Receipt, error)) error
	Groups(ctx context.Context, room string) ([]GroupInfo, error)
	Remove(ctx context.Context, room, name string) error
	Reader(ctx context.Context, room, name string) (r *Reader, position uint64, there bool, err error)
	Readers(ctx context.Context, room, after string, limit int) (list []ReaderInfo, more bool, err error)
	RemoveReader(ctx context.Context, room, name string) error
	Later(ctx context.Context, d parley.Draft, at time.Time, told func(parley.Receipt, error)) error
	Stats() Stats
}

// Worker is a worker's place in a group; see [Taker].
type Worker interface {
	Change(to Taking)
	Holds() int
	Stop()
	Leave()
}

// Books gives the manager as sessions use it on a node alone.
func (m *Manager) Books() Books { return alone{m} }

type alone struct{ *Manager }

func (a alone) Take(ctx context.Context, t Taking) (Worker, error) {
	taker, err := a.Manager.Take(ctx, t)
	if err != nil {
		return nil, err
	}
	return taker, nil
}
