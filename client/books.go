package client

import (
	"context"
	"iter"

	"parley"
	"parley/wire"
)

// Groups lists the groups of workers of the room, by name, with the jobs that each has. It takes the right
// to work in the room.
func (r *Room) Groups(ctx context.Context) ([]wire.GroupEntry, error) {
	if r.fault != nil {
		return nil, r.fault
	}
	f, err := r.client.call(ctx, func(ref []byte) []byte {
		return wire.AppendOp(nil, wire.Op{Kind: wire.ListGroups, Ref: ref, Room: r.name})
	})
	if err != nil {
		return nil, err
	}
	return f.Groups, nil
}

// Readers iterates over the durable readers of the room, by name, with where each is. An error is the last
// thing it yields. It takes the right to read the room.
func (r *Room) Readers(ctx context.Context) iter.Seq2[wire.ReaderEntry, error] {
	return func(yield func(wire.ReaderEntry, error) bool) {
		if r.fault != nil {
			yield(wire.ReaderEntry{}, r.fault)
			return
		}
		after := ""
		for more := true; more; {
			f, err := r.client.call(ctx, func(ref []byte) []byte {
				return wire.AppendOp(nil, wire.Op{Kind: wire.ListReaders, Ref: ref, Room: r.name, AfterReader: after, Limit: parley.MaxPage})
			})
			if err != nil {
				yield(wire.ReaderEntry{}, err)
				return
			}
			for _, reader := range f.Readers {
				if !yield(reader, nil) {
					return
				}
				after = reader.Reader
			}
			more = f.More && len(f.Readers) > 0
		}
	}
}

// RemoveGroup removes a group of the room with its jobs, and returns when that is durable: those that were
// not finished are never done. It is conflict while anybody takes from it, and not_found where there is
// none, as when the answer to an earlier try was lost. It takes the right to moderate the room.
func (r *Room) RemoveGroup(ctx context.Context, group string) error {
	return r.remove(ctx, wire.Op{Group: group}, group)
}

// RemoveReader removes a durable reader of the room with its position; likewise.
func (r *Room) RemoveReader(ctx context.Context, reader string) error {
	return r.remove(ctx, wire.Op{Reader: reader}, reader)
}

func (r *Room) remove(ctx context.Context, op wire.Op, name string) error {
	if r.fault != nil {
		return r.fault
	}
	if _, err := parley.ParseRoom(name); err != nil {
		return err
	}
	op.Kind, op.Room = wire.Remove, r.name
	_, err := r.client.call(ctx, func(ref []byte) []byte {
		op.Ref = ref
		return wire.AppendOp(nil, op)
	})
	return err
}

// Hooks lists the hooks of the server that post, by name, and how each fares. It takes the right admin for
// every room.
func (c *Client) Hooks(ctx context.Context) ([]wire.HookEntry, error) {
	f, err := c.call(ctx, func(ref []byte) []byte {
		return wire.AppendOp(nil, wire.Op{Kind: wire.ListHooks, Ref: ref})
	})
	if err != nil {
		return nil, err
	}
	return f.Hooks, nil
}
