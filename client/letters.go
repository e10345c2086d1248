package client

import (
	"context"

	"parley"
	"parley/wire"
)

// PutBack makes a job again of a dead letter, in the group that it came from: letter is its seq in the room
// of dead letters, which has the name of this room and .dead behind it. It returns when the server has
// that on disk. A letter is put back once: before says that this one was already. So it may be said again
// after an error, and is, after a lost connection, until ctx ends.
func (r *Room) PutBack(ctx context.Context, letter uint64) (before bool, err error) {
	if r.fault != nil {
		return false, r.fault
	}
	if letter == 0 {
		return false, parley.Errorf(parley.BadRequest, "no letter has seq 0")
	}
	f, err := r.client.call(ctx, func(ref []byte) []byte {
		return wire.AppendOp(nil, wire.Op{Kind: wire.Retry, Ref: ref, Room: r.name, Letter: letter})
	})
	if err != nil {
		return false, err
	}
	return f.Duplicate, nil
}
