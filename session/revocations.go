package session

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

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

// FollowRevocations applies what operations have revoked, on whatever node, until ctx ends. It
// returns when all that there is has been applied; wait returns after ctx has ended.
func (s *Server) FollowRevocations(ctx context.Context) (wait func(), err error) {
	f := &revoker{server: s, more: make(chan struct{}, 1)}
	_, stop, err := s.Log.Follow(ctx, revokedRoom, f.take)
	if err != nil {
		return nil, fmt.Errorf("follow revocations: %w", err)
	}
	if err := f.catchUp(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer stop()
		f.run(ctx)
	}()
	return func() { <-done }, nil
}

// revoker applies revocations in the log's order.
type revoker struct {
	server *Server
	seq    uint64 // of the last that was applied

	mu   sync.Mutex
	news []*parley.Message
	more chan struct{} // there are news
}

// take is called by the log's tail.
func (f *revoker) take(batch []*parley.Message) {
	f.mu.Lock()
	f.news = append(f.news, batch...)
	f.mu.Unlock()
	select {
	case f.more <- struct{}{}:
	default: // it is awake
	}
}

// catchUp applies what was there before the tail.
func (f *revoker) catchUp(ctx context.Context) error {
	for {
		page, err := f.server.Log.Read(ctx, revokedRoom, f.seq, revokedPage)
		if err != nil {
			return err
		}
		f.apply(page.Messages)
		if !page.More {
			return nil
		}
	}
}

// run applies what comes.
func (f *revoker) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-f.more:
		}
		f.mu.Lock()
		news := f.news
		f.news = nil
		f.mu.Unlock()
		f.apply(news)
	}
}

func (f *revoker) apply(batch []*parley.Message) {
	changed := false
	for _, m := range batch {
		if m.Seq <= f.seq {
			continue
		}
		f.seq = m.Seq
		var r revocation
		if err := json.Unmarshal(m.Body, &r); err != nil {
			f.server.Logger.Error("a revocation cannot be read", "seq", m.Seq, "err", err)
			continue
		}
		f.server.apply(r)
		changed = true
	}
	if changed {
		f.server.Recheck()
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
