package auth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley"
)

// Inspection is what a credential says, and what the settings make of it. Nothing that it says is to be
// believed unless Good is true.
type Inspection struct {
	Header    map[string]any `json:"header,omitempty"` // of a token
	Issuer    string         `json:"iss,omitempty"`
	Audience  []string       `json:"aud,omitempty"`
	User      string         `json:"sub,omitempty"`
	Name      string         `json:"name,omitempty"`
	ID        string         `json:"jti,omitempty"`
	Issued    *time.Time     `json:"iat,omitempty"`
	NotBefore *time.Time     `json:"nbf,omitempty"`
	Expires   *time.Time     `json:"exp,omitempty"`
	Grants    Grants         `json:"grants"`
	Key       string         `json:"key,omitempty"` // the name of an API key

	Checked bool   `json:"checked"` // there are settings to check it by
	Good    bool   `json:"good"`
	Why     string `json:"why,omitempty"` // it is not good
}

// Inspect takes a credential apart and checks it by the settings, unless they have no section auth. An
// error is one of the settings.
func Inspect(ctx context.Context, s Settings, credential string) (*Inspection, error) {
	in := &Inspection{Grants: Grants{}}
	if err := in.read(credential); err != nil {
		in.Why = parley.AsError(err).Message
		return in, nil
	}
	if s.Auth == nil {
		return in, nil
	}
	quiet := slog.New(slog.DiscardHandler)
	a, err := New(ctx, s, quiet)
	if err != nil {
		return nil, err
	}
	defer func() { _ = a.Close() }()
	in.Checked = true
	p, err := a.Check(ctx, credential)
	if err != nil {
		in.Why = why(err)
		return in, nil
	}
	in.Good, in.User, in.Grants = true, p.User, p.Grants
	return in, nil
}

// why is an error's sentence, and its cause: who has the keys may know it.
func why(err error) string {
	e := parley.AsError(err)
	if cause := errors.Unwrap(e); cause != nil {
		return e.Message + ": " + cause.Error()
	}
	return e.Message
}

// read takes a credential apart, without believing it.
func (in *Inspection) read(credential string) error {
	switch {
	case len(credential) > MaxCredential:
		return errLong
	case isAPIKey(credential):
		name, _, ok := splitAPIKey(credential)
		if !ok {
			return errAPIKey
		}
		in.Key = name
		return nil
	case !looksLikeToken(credential):
		return errNoToken
	}
	var c claims
	token, _, err := jwt.NewParser(jwt.WithStrictDecoding()).ParseUnverified(credential, &c)
	if token != nil {
		in.Header = token.Header
	}
	if err != nil && !errors.Is(err, jwt.ErrTokenUnverifiable) {
		return errNoToken
	}
	in.Issuer, in.Audience, in.User, in.Name, in.ID = c.Issuer, c.Audience, c.Subject, c.Name, c.ID
	in.Issued, in.NotBefore, in.Expires = date(c.IssuedAt), date(c.NotBefore), date(c.ExpiresAt)
	_ = json.Unmarshal(c.Grants, &in.Grants) // what cannot be read is what Check will say
	return nil
}

func date(d *jwt.NumericDate) *time.Time {
	if d == nil {
		return nil
	}
	t := d.UTC()
	return &t
}
