package session

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"parley"
	"parley/wire"
)

// Revocations made by an operation are messages of a room of their own, so they are as durable as
// any message, have one order, and reach every node that follows the log. No client can name it.
// Retention holds for it as for any room; so each message bears, beside the change, all that is
// revoked, and one that has become old is written anew. Where two nodes make one at the same time the
// second does not know of the first; then all is written anew, too.
const revokedRoom = "$revoked"

// revocation is the body of such a message.
type revocation struct {
	User string `json:"user,omitempty"` // the change; neither: none
	Key  string `json:"key,omitempty"`
	Lift bool   `json:"lift,omitempty"`

	Users []string `json:"users"` // all that are revoked, with the change
	Keys  []string `json:"keys"`
	After uint64   `json:"after"` // seq of the last one that they take into account
}

// maxRevoked bounds the users and keys that operations may revoke: there is one list of them in each
// message.
const maxRevoked = 10_000

// revoke ends what a user or a key may do, or lets them again. It is answered once it is durable.
func (s *Session) revoke(ctx context.Context, op *wire.Op) error {
	if !s.server.guarded() {
		return parley.Errorf(parley.Conflict, "nobody has to say who they are here, so there is nothing to revoke")
	}
	f := s.server.revoker.Load()
	if f == nil {
		return parley.Errorf(parley.Unavailable, "the server is starting")
	}
	if err := f.revoke(ctx, s.user, op); err != nil {
		return err
	}
	s.acted(op)
	s.out.Reply(func(enc wire.Encoding, dst []byte) []byte { return enc.Revoked(dst, op.Ref) })
	return nil
}

// revokedPage is how many revocations are read at a time.
const revokedPage = 500

// FollowRevocations applies what operations have revoked, on whatever node, until ctx ends. It
// returns when all that there is has been applied; wait returns after ctx has ended. The log forgets
// what is older than retain.
func (s *Server) FollowRevocations(ctx context.Context, retain time.Duration) (wait func(), err error) {
	f := &revoker{
		server: s, retain: retain, more: make(chan struct{}, 1),
		users: make(map[string]bool), keys: make(map[string]bool), next: make(chan struct{}),
	}
	_, stop, err := s.Log.Follow(ctx, revokedRoom, f.take)
	if err != nil {
		return nil, fmt.Errorf("follow revocations: %w", err)
	}
	if err := f.catchUp(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("read revocations: %w", err)
	}
	s.revoker.Store(f)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer stop()
		f.run(ctx)
	}()
	return func() { <-done }, nil
}

// revoker applies revocations in the log's order, and makes them.
type revoker struct {
	server *Server
	retain time.Duration

	making sync.Mutex // held by who makes one at this node: each bears all before it

	state sync.Mutex // guards what follows
	seq   uint64     // of the last that was applied
	at    time.Time  // when it was made; zero: there is none
	exact bool       // it bears all that is revoked: it was made when the one before it was known
	users map[string]bool
	keys  map[string]bool
	next  chan struct{} // closed when seq changes

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

// run applies what comes, and keeps it from growing old.
func (f *revoker) run(ctx context.Context) {
	look := time.NewTicker(min(max(f.retain/8, time.Second), time.Hour))
	defer look.Stop()
	f.renew(ctx)
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
			f.renew(ctx)
		case <-f.more:
		}
		f.mu.Lock()
		news := f.news
		f.news = nil
		f.mu.Unlock()
		f.apply(news)
	}
}

// renew writes anew what is revoked if it has become old, or if no message bears all of it.
func (f *revoker) renew(ctx context.Context) {
	f.state.Lock()
	old := f.seq > 0 && !f.exact || len(f.users)+len(f.keys) > 0 && time.Since(f.at) > f.retain/2
	f.state.Unlock()
	if !old || !f.making.TryLock() { // one that is being made will do as well
		return
	}
	defer f.making.Unlock()
	f.anew(ctx)
}

// anew writes all that is revoked; f.making is held.
func (f *revoker) anew(ctx context.Context) {
	if _, err := f.store(ctx, "", &wire.Op{Kind: wire.Revoke}); err != nil && ctx.Err() == nil {
		f.server.Logger.Warn("what is revoked cannot be written anew; trying again", "err", err)
	}
}

// revoke makes a revocation, and returns when it is durable and in force.
func (f *revoker) revoke(ctx context.Context, by string, op *wire.Op) error {
	f.making.Lock()
	defer f.making.Unlock()
	seq, err := f.store(ctx, by, op)
	if err != nil {
		return err
	}
	if err := f.applied(ctx, seq); err != nil {
		return err
	}
	f.state.Lock()
	exact := f.exact
	f.state.Unlock()
	if !exact {
		f.anew(ctx)
	}
	return nil
}

// store stores a revocation; f.making is held.
func (f *revoker) store(ctx context.Context, by string, op *wire.Op) (seq uint64, err error) {
	r := f.with(op)
	if len(r.Users)+len(r.Keys) > maxRevoked {
		return 0, parley.Errorf(parley.Conflict, "%d users and keys are revoked, as many as may be: put them into the configuration", maxRevoked)
	}
	body, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	d := parley.Draft{Room: revokedRoom, ID: ulid.Make().String(), From: by, Type: parley.JSON, Body: body}
	stored, err := await(ctx, func(told receive) error { return f.server.Log.Append(ctx, d, told) })
	return stored.Seq, err
}

// with is what is revoked, with a change.
func (f *revoker) with(op *wire.Op) revocation {
	f.state.Lock()
	defer f.state.Unlock()
	r := revocation{User: op.User, Key: op.Key, Lift: op.Lift, After: f.seq}
	users, keys := maps.Clone(f.users), maps.Clone(f.keys)
	r.change(users, keys)
	r.Users, r.Keys = slices.Sorted(maps.Keys(users)), slices.Sorted(maps.Keys(keys))
	return r
}

// change makes the change in what is revoked.
func (r *revocation) change(users, keys map[string]bool) {
	set := func(names map[string]bool, name string) {
		switch {
		case name == "":
		case r.Lift:
			delete(names, name)
		default:
			names[name] = true
		}
	}
	set(users, r.User)
	set(keys, r.Key)
}

// applied waits until a revocation has come back by the tail and is in force.
func (f *revoker) applied(ctx context.Context, seq uint64) error {
	for {
		f.state.Lock()
		there, next := f.seq >= seq, f.next
		f.state.Unlock()
		if there {
			return nil
		}
		select {
		case <-next:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (f *revoker) apply(batch []*parley.Message) {
	changed := false
	for _, m := range batch {
		if m.Seq <= f.seq {
			continue
		}
		var r revocation
		if err := json.Unmarshal(m.Body, &r); err != nil {
			f.server.Logger.Error("a revocation cannot be read", "seq", m.Seq, "err", err)
		}
		f.state.Lock()
		first := f.seq == 0
		r.change(f.users, f.keys)
		f.server.apply(r)
		if f.exact = r.After == f.seq || first && r.After == m.Prev; f.exact || first { // what was before it may be gone
			f.become(set(r.Users), set(r.Keys))
		}
		f.seq, f.at = m.Seq, m.At
		close(f.next)
		f.next = make(chan struct{})
		f.state.Unlock()
		changed = true
	}
	if changed {
		f.server.Recheck()
	}
}

// become has these revoked and no others; f.state is held.
func (f *revoker) become(users, keys map[string]bool) {
	f.server.Auth.Restore(without(f.users, users), without(f.keys, keys))
	f.server.Auth.Revoke(without(users, f.users), without(keys, f.keys))
	f.users, f.keys = users, keys
}

// without gives the names of one set that are not in another.
func without(names, other map[string]bool) (rest []string) {
	for name := range names {
		if !other[name] {
			rest = append(rest, name)
		}
	}
	return rest
}

func set(names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, name := range names {
		all[name] = true
	}
	return all
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
