package session

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"parley"
	"parley/wire"
)

// Revocations made by an operation are messages of a room of their own, so they are as durable as
// any message, have one order, and reach every node that follows the log. No client can name it.
const revokedRoom = "$revoked"

// revocation is the body of such a message.
type revocation struct {
	User string `json:"user,omitempty"`
	Key  string `json:"key,omitempty"`
	Lift bool   `json:"lift,omitempty"`
}

// revoke ends what a user or a key may do. It is answered once it is durable.
func (s *Session) revoke(ctx context.Context, op *wire.Op) error {
	if !s.server.guarded() {
		return parley.Errorf(parley.Conflict, "nobody has to say who they are here, so there is nothing to revoke")
	}
	if err := s.server.revoke(ctx, s.user, op); err != nil {
		return err
	}
	s.acted(op)
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Revoked(dst, op.Ref) })
	return nil
}

func (s *Server) revoke(ctx context.Context, by string, op *wire.Op) error {
	body, err := json.Marshal(revocation{User: op.User, Key: op.Key, Lift: op.Lift})
	if err != nil {
		return err
	}
	_, _, err = s.store(ctx, by, &wire.Op{Kind: wire.Send, Room: revokedRoom, Type: parley.JSON, Body: body})
	return err
}

// revokedPage is how many revocations are read at a time.
const revokedPage = 500

// readAgain is when a log that could not be read is read again.
const readAgain = time.Second

// FollowRevocations applies what operations have revoked, on whatever node, until ctx ends. It
// returns when all that there is has been applied; wait returns after ctx has ended.
func (s *Server) FollowRevocations(ctx context.Context) (wait func(), err error) {
	news := make(chan struct{}, 1)
	_, stop, err := s.Log.Follow(ctx, revokedRoom, func([]*parley.Message) {
		select {
		case news <- struct{}{}:
		default: // it will look anyway
		}
	})
	if err != nil {
		return nil, fmt.Errorf("follow revocations: %w", err)
	}
	at, err := s.applyRevocations(ctx, 0)
	if err != nil {
		stop()
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer stop()
		s.keepRevoking(ctx, at, news)
	}()
	return func() { <-done }, nil
}

func (s *Server) keepRevoking(ctx context.Context, at uint64, news <-chan struct{}) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-news:
		case <-again:
		}
		again = nil
		next, err := s.applyRevocations(ctx, at)
		if err != nil && ctx.Err() == nil {
			s.Logger.Warn("revocations cannot be read; trying again", "err", err)
			again = time.After(readAgain)
		}
		at = next
	}
}

// applyRevocations applies those behind a seq, and gives the seq of the last.
func (s *Server) applyRevocations(ctx context.Context, after uint64) (uint64, error) {
	changed := false
	defer func() {
		if changed {
			s.Recheck()
		}
	}()
	for {
		page, err := s.Log.Read(ctx, revokedRoom, after, revokedPage)
		if err != nil {
			return after, err
		}
		for _, m := range page.Messages {
			var r revocation
			if err := json.Unmarshal(m.Body, &r); err != nil {
				s.Logger.Error("a revocation cannot be read", "seq", m.Seq, "err", err)
			} else {
				s.apply(r)
				changed = true
			}
			after = m.Seq
		}
		if !page.More {
			return after, nil
		}
	}
}

func (s *Server) apply(r revocation) {
	users, keys := []string{r.User}, []string{r.Key}
	if r.User == "" {
		users = nil
	}
	if r.Key == "" {
		keys = nil
	}
	if r.Lift {
		s.Auth.Restore(users, keys)
	} else {
		s.Auth.Revoke(users, keys)
	}
}
