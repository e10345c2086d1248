// Package auth answers two questions: who is asking, and what may they do.
//
// An [Authority] checks credentials, which are tokens (JWT) or API keys, and gives a [Principal]:
// a user and their [Grants]. [Grants.Allows] answers for one room and one [Right]; it is asked for
// every operation and costs nanoseconds.
//
// It knows nothing of sessions and transports: who presents what, and when, is theirs.
package auth

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"parley"
)

// MaxCredential is how long a token or an API key may be, in bytes.
const MaxCredential = 8 << 10

// What those are told who are refused. None says anything that its reader could not know.
var (
	errNone    = parley.Errorf(parley.Unauthorized, "say first who you are: a token is needed")
	errLong    = parley.Errorf(parley.Unauthorized, "a token has at most %d bytes", MaxCredential)
	errNoAuth  = parley.Errorf(parley.Unauthorized, "this server knows nobody: it has no keys to check a token with")
	errRevoked = parley.Errorf(parley.Unauthorized, "your access has been revoked")
)

// Authority knows who may do what. All methods may be called at any time by any goroutine.
type Authority struct {
	// Fixed at birth.
	logger *slog.Logger
	clock  func() time.Time
	hashes *hasher

	rules    atomic.Pointer[rules]
	revoked  blocklist              // beside the configuration's
	loginKey atomic.Pointer[[]byte] // of the server's own tokens

	mu     sync.Mutex // held by who changes the rules, also while published keys are fetched
	closed bool
}

// rules are one configuration, read and found good. They do not change, but for the cache.
type rules struct {
	on        bool
	anonymous *Principal
	tokens    *tokens // nil: tokens are not taken
	apiKeys   map[string]*apiKey
	login     *Login // nil: nobody signs in at a provider
	revoked   revocations
	cache     *cache // of credentials that were found good, and API keys that were not
}

// New reads the keys that the settings name and makes an Authority of them, to be closed. Errors
// name the setting and the file. Published keys (JWKS) that cannot be fetched are no error: they
// are tried again, and until then nobody is let in by them.
func New(ctx context.Context, s Settings, logger *slog.Logger) (*Authority, error) {
	a := &Authority{logger: logger, clock: s.Clock, hashes: newHasher()}
	if a.clock == nil {
		a.clock = time.Now
	}
	a.loginKey.Store(newLoginKey())
	r, err := a.read(ctx, s, nil)
	if err != nil {
		return nil, err
	}
	a.rules.Store(r)
	return a, nil
}

// read makes rules of settings. What the old ones have that is still good is taken over.
func (a *Authority) read(ctx context.Context, s Settings, old *rules) (*rules, error) {
	r := &rules{on: s.Auth != nil || s.Anonymous != nil, cache: newCache()}
	granted := s.Anonymous
	if !r.on {
		granted = All()
	}
	if err := granted.Check(); err != nil {
		return nil, badSetting("anonymous", err)
	}
	r.anonymous = &Principal{Anonymous: true, Grants: granted}
	var err error
	if r.revoked, err = s.Revoked.read(); err != nil {
		return nil, err
	}
	if s.Auth == nil {
		return r, nil
	}
	if err := s.Auth.check(); err != nil {
		return nil, err
	}
	if r.apiKeys, err = readAPIKeys(s.Auth.APIKeys); err != nil {
		return nil, err
	}
	var before *Login
	if old != nil {
		before = old.login
	}
	if r.login, err = a.readLogin(s.Auth.OIDC, before); err != nil {
		return nil, err
	}
	if len(s.Auth.Keys) == 0 && s.Auth.JWKS == nil {
		return r, nil
	}
	var published *jwks
	if old != nil && old.tokens != nil {
		published = old.tokens.published
	}
	r.tokens, err = readTokens(ctx, s, published, a.clock, a.logger)
	return r, err
}

// On says that grants are in force: there is a section auth, or one of anonymous grants. Where it is
// off, anyone may do everything.
func (a *Authority) On() bool { return a.rules.Load().on }

// TakesCredentials says whether there is a way to say who one is: a section auth.
func (a *Authority) TakesCredentials() bool {
	r := a.rules.Load()
	return r.tokens != nil || r.login != nil || len(r.apiKeys) > 0
}

// Anonymous is who shows no credential.
func (a *Authority) Anonymous() *Principal { return a.rules.Load().anonymous }

// Check finds whose a credential is. Where auth is off it is not looked at: everyone is Anonymous.
// Errors are *parley.Error: unauthorized, or unavailable when too many API keys are being checked.
func (a *Authority) Check(ctx context.Context, credential string) (*Principal, error) {
	r := a.rules.Load()
	switch {
	case !r.on:
		return r.anonymous, nil
	case credential == "":
		return nil, errNone
	case len(credential) > MaxCredential:
		return nil, errLong
	}
	sum := sha256.Sum256([]byte(credential))
	now := a.clock()
	p, known := r.cache.get(sum, now)
	if !known {
		var err error
		if p, err = a.look(ctx, r, credential, sum); err != nil {
			return nil, err
		}
	}
	switch {
	case p == nil:
		return nil, errAPIKey
	case a.isRevoked(r, p):
		return nil, errRevoked
	}
	return p, nil
}

// look checks a credential that is not in the cache.
func (a *Authority) look(ctx context.Context, r *rules, credential string, sum digest) (*Principal, error) {
	if isAPIKey(credential) {
		return a.hashes.check(r, credential, sum, a.clock)
	}
	var p *Principal
	var err error
	switch {
	case r.login != nil && typeOf(credential) == sessionType:
		p, err = a.signedIn(r, credential)
	case r.tokens == nil:
		return nil, errNoAuth
	default:
		p, err = r.tokens.read(ctx, credential)
	}
	if err != nil {
		return nil, err
	}
	if r.apiKeys[p.User] != nil {
		return nil, errTaken
	}
	r.cache.put(sum, p, p.Expires)
	return p, nil
}

// Renew gives who p has become by what has changed since it was made: p itself if nothing has. The
// error is unauthorized if p is nobody any more: revoked, expired, or its API key is another or gone.
func (a *Authority) Renew(p *Principal) (*Principal, error) {
	r := a.rules.Load()
	switch {
	case p.Anonymous:
		return r.anonymous, nil
	case a.isRevoked(r, p):
		return nil, errRevoked
	case !p.Expires.IsZero() && !a.clock().Before(p.Expires):
		return nil, errExpired
	case p.provider != "":
		return r.renewLogin(p)
	case p.Key == "":
		return p, nil
	}
	k := r.apiKeys[p.Key]
	if k == nil || k.principal.hash != p.hash {
		return nil, errAPIKey
	}
	return k.principal, nil
}

// Replace puts other settings in force; the clock stays. If there is an error, all is as it was.
// Beside New's, published keys at another URL than before must be there.
func (a *Authority) Replace(ctx context.Context, s Settings) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return parley.Errorf(parley.Unavailable, "the server is stopping")
	}
	old := a.rules.Load()
	r, err := a.read(ctx, s, old)
	if err != nil {
		return err
	}
	a.rules.Store(r)
	if old.tokens != nil && (r.tokens == nil || r.tokens.published != old.tokens.published) {
		old.tokens.close()
	}
	return nil
}

// Close ends what reads published keys, and waits for it. Checks go on with what there is.
func (a *Authority) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	if t := a.rules.Load().tokens; t != nil {
		t.close()
	}
	return nil
}

// Revoke refuses users and API keys by name from now on, whatever is configured, until Restore.
func (a *Authority) Revoke(users, keys []string) { a.revoked.set(users, keys, true) }

// Restore takes back what Revoke did. Who is revoked by the configuration stays so.
func (a *Authority) Restore(users, keys []string) { a.revoked.set(users, keys, false) }

// Revoked says whether a principal is refused now, whatever it has shown.
func (a *Authority) Revoked(p *Principal) bool { return a.isRevoked(a.rules.Load(), p) }

func (a *Authority) isRevoked(r *rules, p *Principal) bool {
	return !p.Anonymous && (r.revoked.has(p) || a.revoked.names.Load().has(p))
}
