package client

import (
	"context"
	"errors"
	"slices"

	"parley"
	"parley/wire"
)

// Drain has the server that the client is connected to end in order: its clients are sent elsewhere
// first, this one too. It takes the right admin in every room, or, where nobody has to say who they are,
// a TCP connection from the same machine.
//
// It is asked for once: after a lost connection the client might be at another node, which would end
// too. It fails where the client is at a node that it was not given but learned of.
func (c *Client) Drain(ctx context.Context) error {
	s, err := c.session(ctx)
	if err != nil {
		return err
	}
	if !slices.Contains(c.addrs, s.addr) {
		return parley.Errorf(parley.Conflict, "the server cannot be reached; this one, at %s, is another", s.addr)
	}
	reply := make(replyChan, 1)
	ref := s.ask(wire.Op{Kind: wire.Drain}, reply)
	select {
	case f := <-reply:
		switch {
		case f == nil:
			return errDrainUnanswered
		case f.Op == "error":
			return f.Err()
		}
		return nil
	case <-ctx.Done():
		s.forget(ref)
		return gaveUp(ctx, errUnanswered)
	}
}

var errDrainUnanswered = errors.New("the connection ended before the server answered; it may drain, or not")
