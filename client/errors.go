package client

import (
	"context"
	"errors"
	"fmt"

	"parley"
)

var (
	// ErrConnect says that no server could be reached. A cause is wrapped with it.
	ErrConnect = errors.New("cannot connect")

	// ErrAddress says that an address is not one this client can dial.
	ErrAddress = errors.New("not an address of a server")

	// ErrClosed is what every call on a closed client returns, and what ends its iterators.
	ErrClosed = errors.New("the client is closed")

	// ErrUnknown says that a message was sent and no answer came: it may be stored or not.
	ErrUnknown = errors.New("sent, but not acknowledged: it may be stored or not")
)

var (
	errSilent = errors.New("the server has gone silent")
	errEnded  = errors.New("the server closed the connection")
	errLost   = errors.New("the connection is lost")
)

// Gap is yielded, as an error that ends nothing, in the place of messages that the server has, or
// may have, removed: those behind After and before Next.
type Gap struct {
	Room        string
	After, Next uint64 // seqs of the messages on either side, exclusive
}

// Error is a sentence for people.
func (g *Gap) Error() string {
	return fmt.Sprintf("messages of %s between %d and %d are gone", g.Room, g.After, g.Next)
}

// temporary says whether the server may answer otherwise when it is asked again later.
func temporary(err error) bool {
	var e *parley.Error
	return !errors.As(err, &e) || e.Code == parley.Unavailable || e.Code == parley.RateLimited
}

// refused says whether the answer to a hello is no, for good.
func refused(err error) bool {
	var e *parley.Error
	return errors.As(err, &e) && (e.Code == parley.Unauthorized || e.Code == parley.Denied || e.Code == parley.BadRequest)
}

// gaveUp is the error of a wait that ctx has ended, with what stood in its way, if that is known.
func gaveUp(ctx context.Context, obstacle error) error {
	if obstacle == nil {
		return context.Cause(ctx)
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), obstacle)
}
