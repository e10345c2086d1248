package auth

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"parley"
)

// What signing in at a provider may cost and how long it may take.
const (
	AttemptLife   = 10 * time.Minute // from /login to the callback
	providerFor   = time.Hour        // a discovery document is read anew then
	providerAsked = 10 * time.Second // all questions to the provider of one sign-in
	maxAsking     = 4                // sign-ins that ask the provider at a time
	maxAnswer     = 4 << 10          // bytes of a state or a code
)

// What people are told whose sign-in came to nothing. The cause says more, for our log.
var (
	errAttempt      = parley.Errorf(parley.Unauthorized, "the sign-in took too long, or was begun in another browser: begin again")
	errDeclined     = parley.Errorf(parley.Unauthorized, "the provider has not signed you in")
	errForeignToken = parley.Errorf(parley.Unauthorized, "what the provider said about you cannot be believed")
	errNameless     = parley.Errorf(parley.Denied, "the provider gives you no name that you could have here")
	errAsking       = &parley.Error{Code: parley.Unavailable, Message: "many people are signing in: try again", Retry: time.Second}
	errProviderDown = &parley.Error{Code: parley.Unavailable, Message: "the provider cannot be reached: try again later", Retry: 5 * time.Second}
)

// Login is signing in at an OpenID provider, by the authorization code flow with PKCE (OpenID Connect
// Core, section 3.1; RFC 7636). All methods may be called at any time by any goroutine.
type Login struct {
	// Fixed at birth.
	authority *Authority
	given     *OIDCConfig // as it was configured
	config    *OIDCConfig // with every default
	secret    string
	client    *http.Client
	asking    chan struct{}

	mu       sync.Mutex // not held while the provider is asked
	provider *oidc.Provider
	read     time.Time // when the provider was discovered
}

// readLogin makes a Login of settings, nil where they have none. The one before goes on if nothing has
// changed.
func (a *Authority) readLogin(c *OIDCConfig, before *Login) (*Login, error) {
	if c == nil {
		return nil, nil
	}
	if err := c.check(); err != nil {
		return nil, err
	}
	secret, err := c.secret()
	if err != nil {
		return nil, err
	}
	if before != nil && before.secret == secret && reflect.DeepEqual(before.given, c) {
		return before, nil
	}
	given := *c
	l := &Login{authority: a, given: &given, config: c.fill(), secret: secret, asking: make(chan struct{}, maxAsking)}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConns = 1
	transport.DisableKeepAlives = true // sign-ins are rare
	l.client = &http.Client{Transport: boundedBodies{transport}, CheckRedirect: checkRedirect, Timeout: fetchWithin}
	return l, nil
}

// Login is how people sign in at a provider; nil where they cannot.
func (a *Authority) Login() *Login { return a.rules.Load().login }

// Provider names the provider to people: its host.
func (l *Login) Provider() string {
	u, err := url.Parse(l.config.Issuer)
	if err != nil {
		return "" // it was checked
	}
	return u.Hostname()
}

// Secure says that browsers reach this server over TLS, be it that of a proxy.
func (l *Login) Secure() bool { return strings.HasPrefix(l.config.RedirectURL, "https://") }

// granted is what members of groups may do.
func (l *Login) granted(groups []string) Grants {
	grants := slices.Clone(l.config.Grants)
	for _, name := range groups {
		grants = append(grants, l.config.Groups[name]...)
	}
	return grants
}

// Begin begins a sign-in: the browser is sent to url and keeps attempt, which nobody else may see, for
// Finish. Errors are *parley.Error of code unavailable.
func (l *Login) Begin(ctx context.Context) (url, attempt string, err error) {
	ctx, done, err := l.ask(ctx)
	if err != nil {
		return "", "", err
	}
	defer done()
	flow, _, err := l.flow(ctx)
	if err != nil {
		return "", "", err
	}
	c := &attemptClaims{
		RegisteredClaims: registered("", l.authority.clock(), AttemptLife), Provider: l.config.Issuer,
		State: rand.Text(), Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
	}
	if attempt, err = l.authority.signOwn(attemptType, c); err != nil {
		return "", "", err
	}
	return flow.AuthCodeURL(c.State, oidc.Nonce(c.Nonce), oauth2.S256ChallengeOption(c.Verifier)), attempt, nil
}

// Finish ends a sign-in with the query that the provider has sent the browser back with, and gives a token
// of the server's own, which ends at expires. Errors are *parley.Error: unauthorized, denied to who has no
// name that is one here, or unavailable.
func (l *Login) Finish(ctx context.Context, attempt string, answer url.Values) (token string, expires time.Time, err error) {
	var begun attemptClaims
	if err := l.authority.readOwn(attemptType, attempt, &begun); err != nil {
		return "", expires, errAttempt.Because(err)
	}
	code, err := l.code(&begun, answer)
	if err != nil {
		return "", expires, err
	}
	ctx, done, err := l.ask(ctx)
	if err != nil {
		return "", expires, err
	}
	defer done()
	proof, err := l.exchange(ctx, code, &begun)
	if err != nil {
		return "", expires, err
	}
	c, err := l.claims(proof)
	if err != nil {
		return "", expires, err
	}
	if token, err = l.authority.signOwn(sessionType, c); err == nil && len(token) > MaxCookie {
		err = errNameless.Because(fmt.Errorf("a token of %d bytes", len(token)))
	}
	return token, c.ExpiresAt.Time, err
}

// ask takes a place among those who ask the provider, and bounds the time. done gives it back.
func (l *Login) ask(ctx context.Context) (_ context.Context, done func(), err error) {
	select {
	case l.asking <- struct{}{}:
	default:
		return nil, nil, errAsking
	}
	ctx, cancel := context.WithTimeout(oidc.ClientContext(ctx, l.client), providerAsked)
	return ctx, func() { cancel(); <-l.asking }, nil
}

// flow finds the provider, whose discovery document is read when it is needed first and then now and then.
// Where it cannot be read any more, the old one stays.
func (l *Login) flow(ctx context.Context) (*oauth2.Config, *oidc.Provider, error) {
	l.mu.Lock()
	p, now := l.provider, l.authority.clock()
	fresh := p != nil && now.Sub(l.read) < providerFor
	l.mu.Unlock()
	if !fresh {
		found, err := oidc.NewProvider(ctx, l.config.Issuer)
		if err == nil {
			err = checkEndpoints(found)
		}
		switch {
		case err == nil:
			l.mu.Lock()
			p, l.provider, l.read = found, found, now
			l.mu.Unlock()
		case p == nil:
			return nil, nil, errProviderDown.Because(brief(err))
		}
	}
	endpoint := p.Endpoint()
	endpoint.AuthStyle = l.style(p)
	return &oauth2.Config{
		ClientID: l.config.ClientID, ClientSecret: l.secret, Endpoint: endpoint,
		RedirectURL: l.config.RedirectURL, Scopes: l.config.Scopes,
	}, p, nil
}

// style is how we show the provider who we are. To find that out by trying would show a code twice, and it
// counts once.
func (l *Login) style(p *oidc.Provider) oauth2.AuthStyle {
	var more struct {
		Methods []string `json:"token_endpoint_auth_methods_supported"`
	}
	_ = p.Claims(&more) // what cannot be read is not said
	const basic, post = "client_secret_basic", "client_secret_post"
	if l.secret == "" || slices.Contains(more.Methods, post) && !slices.Contains(more.Methods, basic) {
		return oauth2.AuthStyleInParams
	}
	return oauth2.AuthStyleInHeader
}

// checkEndpoints: the code, the secret and what proves who somebody is go over wires nobody can read.
func checkEndpoints(p *oidc.Provider) error {
	var more struct {
		Keys string `json:"jwks_uri"`
	}
	if err := p.Claims(&more); err != nil {
		return err
	}
	for _, at := range []string{p.Endpoint().AuthURL, p.Endpoint().TokenURL, more.Keys} {
		if err := checkPublishedAt(at); err != nil {
			return err
		}
	}
	return nil
}

// code takes the code out of what the browser came back with, if it is the answer to what was begun.
func (l *Login) code(begun *attemptClaims, answer url.Values) (string, error) {
	for _, key := range []string{"state", "code", "error", "iss"} {
		if all := answer[key]; len(all) > 1 || len(all) == 1 && len(all[0]) > maxAnswer {
			return "", errAttempt.Because(fmt.Errorf("%s stands twice, or is too long", key))
		}
	}
	state, code, iss := answer.Get("state"), answer.Get("code"), answer.Get("iss")
	switch {
	case begun.Provider != l.config.Issuer:
		return "", errAttempt.Because(errors.New("it was begun at another provider"))
	case subtle.ConstantTimeCompare([]byte(state), []byte(begun.State)) != 1:
		return "", errAttempt.Because(errors.New("the state is another"))
	case iss != "" && iss != l.config.Issuer: // RFC 9207
		return "", errAttempt.Because(fmt.Errorf("the answer is of %q", clip(iss)))
	case answer.Has("error"):
		return "", errDeclined.Because(fmt.Errorf("it says %q", clip(answer.Get("error"))))
	case code == "":
		return "", errDeclined.Because(errors.New("there is no code"))
	}
	return code, nil
}

// exchange gives the ID token for a code, checked.
func (l *Login) exchange(ctx context.Context, code string, begun *attemptClaims) (*oidc.IDToken, error) {
	flow, provider, err := l.flow(ctx)
	if err != nil {
		return nil, err
	}
	tokens, err := flow.Exchange(ctx, code, oauth2.VerifierOption(begun.Verifier))
	if err != nil {
		return nil, exchangeError(err)
	}
	text, ok := tokens.Extra("id_token").(string)
	if !ok {
		return nil, errForeignToken.Because(errors.New("there is no ID token"))
	}
	verifier := provider.VerifierContext(oidc.ClientContext(context.WithoutCancel(ctx), l.client),
		&oidc.Config{ClientID: l.config.ClientID, Now: l.authority.clock})
	proof, err := verifier.Verify(ctx, text)
	if err != nil {
		return nil, errForeignToken.Because(brief(err))
	}
	var more struct {
		Party string `json:"azp"`
	}
	switch {
	case proof.Claims(&more) != nil:
		return nil, errForeignToken.Because(errors.New("its claims cannot be read"))
	case subtle.ConstantTimeCompare([]byte(proof.Nonce), []byte(begun.Nonce)) != 1:
		return nil, errForeignToken.Because(errors.New("the nonce is another"))
	case more.Party != "" && more.Party != l.config.ClientID, more.Party == "" && len(proof.Audience) > 1:
		return nil, errForeignToken.Because(errors.New("it was issued to another client"))
	case proof.AccessTokenHash != "" && proof.VerifyAccessToken(tokens.AccessToken) != nil:
		return nil, errForeignToken.Because(errors.New("its access token is another"))
	}
	return proof, nil
}

// exchangeError tells a code that is no good from a provider that does not answer. What the provider
// answered is not repeated: it may hold the code.
func exchangeError(err error) error {
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.Response.StatusCode < http.StatusInternalServerError {
		return errDeclined.Because(fmt.Errorf("the code was refused: %d %q", refused.Response.StatusCode, clip(refused.ErrorCode)))
	}
	if errors.As(err, &refused) {
		return errProviderDown.Because(fmt.Errorf("it answers %d", refused.Response.StatusCode))
	}
	return errProviderDown.Because(brief(err))
}

// brief is an error bounded, since it may repeat what somebody else has written.
func brief(err error) error {
	const most = 300
	if text := err.Error(); len(text) > most {
		return fmt.Errorf("%q…", text[:most])
	}
	return fmt.Errorf("%q", err.Error())
}

// claims are those of the server's own token for somebody whom the provider has signed in.
func (l *Login) claims(proof *oidc.IDToken) (*sessionClaims, error) {
	var all map[string]json.RawMessage
	if err := proof.Claims(&all); err != nil {
		return nil, errForeignToken.Because(errors.New("its claims cannot be read"))
	}
	user := text(all[l.config.UserClaim])
	if l.config.UserClaim == "email" && !isTrue(all["email_verified"]) {
		return nil, errNameless.Because(errors.New("the email is not verified"))
	}
	if err := checkUser(user); err != nil {
		return nil, errNameless.Because(fmt.Errorf("its %s is no user's name", l.config.UserClaim))
	}
	c := &sessionClaims{RegisteredClaims: registered(user, l.authority.clock(), CookieLife), Provider: l.config.Issuer}
	if name, err := parley.ParseName(text(all[l.config.NameClaim])); err == nil {
		c.Name = name
	}
	for _, group := range texts(all[l.config.GroupsClaim]) {
		if _, known := l.config.Groups[group]; known && !slices.Contains(c.Groups, group) {
			c.Groups = append(c.Groups, group)
		}
	}
	return c, nil
}

// text reads a claim that is a string, "" if it is none.
func text(claim json.RawMessage) (s string) {
	if json.Unmarshal(claim, &s) != nil {
		return ""
	}
	return s
}

// texts reads a claim that is a list of strings, or one.
func texts(claim json.RawMessage) (list []string) {
	if json.Unmarshal(claim, &list) == nil {
		return list
	}
	if one := text(claim); one != "" {
		return []string{one}
	}
	return nil
}

// isTrue reads a claim that is true; some providers write it as a string.
func isTrue(claim json.RawMessage) bool { return string(claim) == "true" || string(claim) == `"true"` }
