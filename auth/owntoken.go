package auth

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"parley"
)

// Who signs in at a provider is given a token of the server's own. Its header says what it is (RFC 8725,
// section 3.11), and by that alone it goes to the key it is signed with: a configured key can sign none,
// and this key nothing else. Nobody can configure its issuer.

// Types of the server's own tokens.
const (
	sessionType = "parley-session+jwt" // of who has signed in
	attemptType = "parley-attempt+jwt" // of a sign-in that is under way
)

// ownIssuer is the issuer of the server's own tokens, and their audience.
const (
	ownIssuer = "urn:parley:server"
	ownPrefix = "urn:parley:"
)

// LoginKeySize is how many bytes the key has that the server's own tokens are signed with.
const LoginKeySize = 32

// newLoginKey makes one.
func newLoginKey() *[]byte {
	key := make([]byte, LoginKeySize)
	_, _ = rand.Read(key) // it never fails
	return &key
}

// SetLoginKey has the server's own tokens signed with a key that is kept: those signed with it before are
// good again. It is called before anybody signs in.
func (a *Authority) SetLoginKey(key []byte) {
	key = slices.Clone(key)
	a.loginKey.Store(&key)
}

// typeOf is what a token's header says that it is, "" for what is no token.
func typeOf(token string) string {
	head, _, _ := strings.Cut(token, ".")
	data, err := base64.RawURLEncoding.DecodeString(head)
	if err != nil {
		return ""
	}
	var header struct {
		Type string `json:"typ"`
	}
	if json.Unmarshal(data, &header) != nil {
		return ""
	}
	return header.Type
}

// sessionClaims are those of somebody who has signed in. Groups are such as have grants: what they grant
// is looked up when the token is shown, so that it follows the configuration.
type sessionClaims struct {
	jwt.RegisteredClaims
	Name     string   `json:"name,omitempty"`
	Provider string   `json:"provider"`
	Groups   []string `json:"groups,omitempty"`
}

// attemptClaims are those of a sign-in under way.
type attemptClaims struct {
	jwt.RegisteredClaims
	Provider string `json:"provider"`
	State    string `json:"state"`
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"`
}

// registered are the claims that every token of the server's own has.
func registered(user string, now time.Time, life time.Duration) jwt.RegisteredClaims {
	return jwt.RegisteredClaims{
		Issuer: ownIssuer, Audience: jwt.ClaimStrings{ownIssuer}, Subject: user, ID: ulid.Make().String(),
		IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(life)),
	}
}

func (a *Authority) signOwn(kind string, claims jwt.Claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, claims)
	t.Header["typ"] = kind
	return t.SignedString(*a.loginKey.Load())
}

// readOwn checks a token of the server's own. There is no leeway: its clock is ours.
func (a *Authority) readOwn(kind, token string, claims jwt.Claims) error {
	if !looksLikeToken(token) || typeOf(token) != kind {
		return errNoToken
	}
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{hs256}), jwt.WithStrictDecoding(), jwt.WithIssuer(ownIssuer),
		jwt.WithAudience(ownIssuer), jwt.WithExpirationRequired(), jwt.WithTimeFunc(a.clock),
	)
	_, err := parser.ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return *a.loginKey.Load(), nil })
	if err != nil {
		return refusal(err)
	}
	return nil
}

var errProvider = parley.Errorf(parley.Unauthorized, "people do not sign in here any more as they did when this session began")

// signedIn finds who a token of the server's own is about.
func (a *Authority) signedIn(r *rules, token string) (*Principal, error) {
	var c sessionClaims
	if err := a.readOwn(sessionType, token, &c); err != nil {
		return nil, err
	}
	if err := checkUser(c.Subject); err != nil {
		return nil, err
	}
	p := &Principal{User: c.Subject, Name: c.Name, Expires: c.ExpiresAt.Time, TokenID: c.ID, provider: c.Provider, groups: c.Groups}
	return r.renewLogin(p)
}

// renewLogin gives who somebody that has signed in is by these rules: p itself if nothing has changed.
func (r *rules) renewLogin(p *Principal) (*Principal, error) {
	if r.login == nil || r.login.config.Issuer != p.provider {
		return nil, errProvider
	}
	grants := r.login.granted(p.groups)
	if slices.Equal(grants, p.Grants) {
		return p, nil
	}
	renewed := *p
	renewed.Grants = grants
	return &renewed, nil
}
