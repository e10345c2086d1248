package client

import (
	"context"

	"parley"
	"parley/wire"
)

// Done says that a durable reader of the room has dealt with all up to and including seq, and returns
// when the server has that on disk: [AsReader] goes on behind it. A position only rises; the one that
// counts now is returned. It is said again after a lost connection, until ctx ends.
func (r *Room) Done(ctx context.Context, reader string, seq uint64) (position uint64, err error) {
	if r.fault != nil {
		return 0, r.fault
	}
	if reader, err = parley.ParseRoom(reader); err != nil {
		return 0, err
	}
	f, err := r.client.call(ctx, func(ref []byte) []byte {
		return wire.AppendOp(nil, wire.Op{Kind: wire.Done, Ref: ref, Room: r.name, Reader: reader, Seq: &seq})
	})
	if err != nil {
		return 0, err
	}
	return f.Seq, nil
}
