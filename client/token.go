package client

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"time"

	"parley"
	"parley/wire"
)

// Tokens end, and with one its session. A client that is given tokens by a function shows the server
// another before that.

const (
	refreshBefore = time.Minute // a token ends, at most; of a short one, a fifth of what is left
	refreshLeast  = time.Second // from now: a function that gives the same token again is not asked on and on
)

// tokenEnd is when a token ends, by the exp of its payload, to the second as servers take it. It is not
// believed beyond this. ok is false where it cannot be known.
func tokenEnd(token string) (end time.Time, ok bool) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return end, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return end, false
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	const most = 253402300799 // the end of the year 9999
	if json.Unmarshal(payload, &claims) != nil || claims.Expires <= 0 || claims.Expires > most {
		return end, false
	}
	return time.Unix(int64(claims.Expires), 0), true
}

// refreshAfter is how long to wait before another token is asked for; ok is false where there is no use.
// Jitter, so that not all who got theirs at the same time come back at the same time.
func refreshAfter(token string) (wait time.Duration, ok bool) {
	end, ok := tokenEnd(token)
	if !ok {
		return 0, false
	}
	left := time.Until(end)
	before := min(refreshBefore, left/5)
	if before > 0 {
		before = before/2 + rand.N(before/2+1)
	}
	wait = left - before
	return wait, wait >= refreshLeast
}

// refresh shows the server another token before the one that it has ends, and so on, until ctx ends.
func (s *session) refresh(ctx context.Context) {
	token := s.token
	var again backoff
	for wait, ok := refreshAfter(token); ok; {
		if !sleep(ctx, wait) {
			return
		}
		next, err := s.client.opts.token(ctx)
		if err == nil {
			err = s.show(ctx, next)
		}
		switch {
		case err == nil:
			again.reset()
			token = next
			wait, ok = refreshAfter(token)
		case errors.Is(err, errLost), ctx.Err() != nil:
			return
		default:
			s.client.opts.log.Warn("the server has no new token yet", "error", err)
			wait = max(again.next(err), refreshLeast)
		}
	}
}

// show says hello again, with another token. Where the server does not take it for now, or takes it for
// somebody else's, the error says so; where it is no good at all, the session ends as well.
func (s *session) show(ctx context.Context, token string) error {
	s.client.mu.Lock()
	op := wire.Op{Kind: wire.Hello, Name: s.client.name, Token: token}
	s.client.mu.Unlock()
	reply := make(replyChan, 1)
	ref := s.ask(op, reply)
	select {
	case f := <-reply:
		switch {
		case f == nil:
			return errLost
		case f.Op == "error":
			return f.Err()
		}
		return nil
	case <-ctx.Done():
		s.forget(ref)
		return ctx.Err()
	}
}

// unauthorized says whether the server holds the client's token to be no good, or not any more.
func unauthorized(err error) bool {
	var e *parley.Error
	return errors.As(err, &e) && e.Code == parley.Unauthorized
}

// Revoke ends what a user, or the API key of a name, may do, and all their sessions; lift takes that back.
// It takes the right admin in every room. Give a user or a key, and not both.
func (c *Client) Revoke(ctx context.Context, user, key string, lift bool) error {
	if (user == "") == (key == "") {
		return parley.Errorf(parley.BadRequest, "a user is revoked, or an API key")
	}
	_, err := c.call(ctx, func(ref []byte) []byte {
		return wire.AppendOp(nil, wire.Op{Kind: wire.Revoke, Ref: ref, User: user, Key: key, Lift: lift})
	})
	return err
}
