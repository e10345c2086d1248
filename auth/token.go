package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley"
)

// unproven begins the names of clients that have proved none: no user's does.
const unproven = "~"

// What those are told whose tokens are refused. What is wrong with its claims is said only of a token
// whose signature is good.
var (
	errNoToken  = parley.Errorf(parley.Unauthorized, "this is neither a token nor an API key")
	errSigned   = parley.Errorf(parley.Unauthorized, "the token is not signed with a key that this server takes")
	errExpired  = parley.Errorf(parley.Unauthorized, "the token has expired")
	errEarly    = parley.Errorf(parley.Unauthorized, "the token is not valid yet")
	errIssuer   = parley.Errorf(parley.Unauthorized, "the token is from another issuer")
	errAudience = parley.Errorf(parley.Unauthorized, "the token is for another audience")
	errClaims   = parley.Errorf(parley.Unauthorized, "the token lacks a claim: it must have iss, aud, sub and exp")
	errUser     = parley.Errorf(parley.Unauthorized, "the token's sub is no user's name: 1 to %d characters, NFC, none of them hidden, no %s in front",
		parley.MaxUserName, unproven)
	errTaken  = parley.Errorf(parley.Unauthorized, "the token's sub is the name of an API key: a user has another")
	errGrants = parley.Errorf(parley.Unauthorized, "the token's grants, in its claim parley, cannot be read")
)

// tokens checks tokens by the keys of one configuration.
type tokens struct {
	parser    *jwt.Parser
	keys      []key
	published *jwks // nil: none
	clock     func() time.Time
}

// readTokens reads keys. Those that were published before are taken over if they are from the same
// place.
func readTokens(ctx context.Context, s Settings, before *jwks, clock func() time.Time, logger *slog.Logger) (*tokens, error) {
	t := &tokens{clock: clock}
	var err error
	if t.keys, err = readKeys(s.Auth.Keys); err != nil {
		return nil, err
	}
	leeway := s.Auth.Leeway
	if leeway == 0 {
		leeway = DefaultLeeway
	}
	t.parser = jwt.NewParser(
		jwt.WithValidMethods(algs), jwt.WithStrictDecoding(),
		jwt.WithIssuer(s.Auth.Issuer), jwt.WithAudience(s.Auth.Audience),
		jwt.WithExpirationRequired(), jwt.WithLeeway(leeway), jwt.WithTimeFunc(clock),
	)
	switch {
	case s.Auth.JWKS == nil:
	case before != nil && before.is(s.Auth.JWKS):
		t.published = before
	default:
		t.published, err = readPublished(ctx, s.Auth.JWKS, before != nil, logger)
	}
	return t, err
}

func (t *tokens) close() {
	if t.published != nil {
		t.published.close()
	}
}

// read checks a token and gives whose it is. Errors are *parley.Error; the cause says more than the
// client is told, for our log, and nothing that is secret.
func (t *tokens) read(ctx context.Context, text string) (*Principal, error) {
	if !looksLikeToken(text) {
		return nil, errNoToken
	}
	var c claims
	token, err := t.parser.ParseWithClaims(text, &c, func(token *jwt.Token) (any, error) { return t.keysFor(ctx, token) })
	if err != nil {
		return nil, refusal(err)
	}
	p, err := t.principal(&c)
	if err != nil {
		return nil, err
	}
	p.kid = t.kidOf(token)
	return p, nil
}

// kidOf names the key that a good token was signed with: the one it says, which was the only one tried
// beside keys without a name, or the first of those configured that fits. "" = one without a name.
func (t *tokens) kidOf(token *jwt.Token) string {
	if kid, ok := token.Header["kid"].(string); ok {
		return kid
	}
	end := strings.LastIndexByte(token.Raw, '.')
	for _, k := range t.keys {
		if k.alg == token.Method.Alg() && token.Method.Verify(token.Raw[:end], token.Signature, k.material) == nil {
			return k.kid
		}
	}
	return ""
}

// looksLikeToken: base64url in three parts. Decoders would let line ends pass.
func looksLikeToken(text string) bool {
	for i := range len(text) {
		switch c := text[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return strings.Count(text, ".") == 2
}

// keyError says why there is no key for a token: of words of ours and what its header has, in
// quotes and bounded.
type keyError struct{ text string }

func (e keyError) Error() string { return e.text }

// keysFor finds the keys that a token may be signed with: those of its algorithm, and of the kid it
// names. A token that names none, and a key that has none, may be any's.
func (t *tokens) keysFor(ctx context.Context, token *jwt.Token) (any, error) {
	if _, ok := token.Header["crit"]; ok {
		return nil, keyError{"its header demands what is not known here (crit)"}
	}
	alg := token.Method.Alg()
	kid, ok := token.Header["kid"].(string)
	if _, named := token.Header["kid"]; named && !ok {
		return nil, keyError{"its kid is no text"}
	}
	var set jwt.VerificationKeySet
	for _, k := range t.keys {
		if k.alg == alg && (k.kid == "" || kid == "" || k.kid == kid) {
			set.Keys = append(set.Keys, k.material)
		}
	}
	if len(set.Keys) == 0 && t.published != nil {
		public, err := t.published.keysFor(ctx, token, alg)
		if err != nil {
			return nil, err
		}
		set.Keys = public
	}
	if len(set.Keys) == 0 {
		return nil, keyError{fmt.Sprintf("no key here is for alg %q, kid %q", alg, clip(kid))}
	}
	return set, nil
}

// refusal is what a client is told of the parser's error.
func refusal(err error) *parley.Error {
	var cause keyError
	if errors.As(err, &cause) {
		return errSigned.Because(cause)
	}
	for _, r := range []struct {
		is   error
		tell *parley.Error
	}{
		{jwt.ErrTokenMalformed, errNoToken},
		{jwt.ErrTokenUnverifiable, errSigned}, // an alg there is not, or none
		{jwt.ErrTokenSignatureInvalid, errSigned},
		{jwt.ErrTokenRequiredClaimMissing, errClaims},
		{jwt.ErrTokenInvalidIssuer, errIssuer},
		{jwt.ErrTokenInvalidAudience, errAudience},
		{jwt.ErrTokenExpired, errExpired},
		{jwt.ErrTokenNotValidYet, errEarly},
	} {
		if errors.Is(err, r.is) {
			return r.tell
		}
	}
	return errNoToken
}

// principal makes of claims that are good who they are about.
func (t *tokens) principal(c *claims) (*Principal, error) {
	if c.Subject == "" {
		return nil, errClaims
	}
	if err := checkUser(c.Subject); err != nil {
		return nil, err
	}
	var err error
	p := &Principal{User: c.Subject, Expires: c.ExpiresAt.Time, TokenID: c.ID}
	if now := t.clock(); !now.Before(p.Expires) {
		p.Expires = now.Add(lateLeft) // taken within the leeway: good for what it is shown for
	}
	if p.Name, err = parley.ParseName(c.Name); err != nil {
		p.Name = "" // a name to be shown is nothing to refuse somebody for
	}
	if c.Grants == nil {
		return p, nil
	}
	if p.Grants, err = ParseGrants(c.Grants); err != nil {
		return nil, errGrants.Because(err)
	}
	return p, nil
}

// checkUser refuses what is no name, and one that is not NFC: the issuer may hold it to be another
// user than the one whose name it would become.
func checkUser(sub string) error {
	if user, err := parley.ParseName(sub); err != nil || user != sub || strings.HasPrefix(user, unproven) {
		return errUser
	}
	return nil
}

// lateLeft is how long a token counts that is shown after its end and within the leeway.
const lateLeft = time.Second

// claims are those of a token that are read, by their exact names.
type claims struct {
	jwt.RegisteredClaims
	Name   string
	Grants json.RawMessage // nil: none
}

// UnmarshalJSON reads the claims. encoding/json by itself would take Sub for sub, and an issuer may
// let its users choose claims that it does not know.
func (c *claims) UnmarshalJSON(data []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(data, &all); err != nil {
		return err
	}
	for _, f := range []struct {
		name string
		into any
	}{
		{"iss", &c.Issuer},
		{"sub", &c.Subject},
		{"aud", &c.Audience},
		{"jti", &c.ID},
	} {
		if text, ok := all[f.name]; ok {
			if err := json.Unmarshal(text, f.into); err != nil {
				return fmt.Errorf("%s: %w", f.name, err)
			}
		}
	}
	for name, into := range map[string]**jwt.NumericDate{"exp": &c.ExpiresAt, "nbf": &c.NotBefore, "iat": &c.IssuedAt} {
		if text, ok := all[name]; ok {
			at, err := parseDate(text)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			*into = jwt.NewNumericDate(at)
		}
	}
	if err := json.Unmarshal(all["name"], &c.Name); err != nil {
		c.Name = ""
	}
	c.Grants = all["parley"]
	return nil
}

// parseDate reads seconds since 1970, to the millisecond and up to the year 9999.
func parseDate(text []byte) (time.Time, error) {
	const most = 253402300799
	var seconds float64
	if err := json.Unmarshal(text, &seconds); err != nil {
		return time.Time{}, err
	}
	if string(text) == "null" || seconds < 0 || seconds > most {
		return time.Time{}, errors.New("no date")
	}
	return time.UnixMilli(int64(seconds * 1000)), nil
}
