package auth

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"parley"
)

// Settings is what an Authority goes by: three sections of the configuration file.
type Settings struct {
	Auth      *Config // nil = nobody can say who they are
	Anonymous Grants  // of who shows no credential; nil = not given: everything if Auth is nil too, else nothing
	Revoked   Revoked

	Clock func() time.Time // nil = time.Now
}

// Config is the section auth: whose tokens and which API keys are good.
type Config struct {
	Issuer   string         `yaml:"issuer"`             // a token's iss
	Audience string         `yaml:"audience"`           // must be among a token's aud
	Leeway   time.Duration  `yaml:"leeway,omitempty"`   // by which clocks may differ; 0 = DefaultLeeway
	Keys     []KeyConfig    `yaml:"keys,omitempty"`     // that sign tokens
	JWKS     *JWKSConfig    `yaml:"jwks,omitempty"`     // where more of them are found
	APIKeys  []APIKeyConfig `yaml:"api_keys,omitempty"` // of services
	OIDC     *OIDCConfig    `yaml:"oidc,omitempty"`     // where people can sign in to the page
}

// DefaultLeeway is by how much the clocks of who issues a token and who checks it may differ.
const DefaultLeeway = 30 * time.Second

// KeyConfig is a key that tokens are checked with, for one algorithm and no other. It comes from
// exactly one place: a shared secret from a file or the environment, a public key from a PEM file.
type KeyConfig struct {
	Alg           string `yaml:"alg"`                       // HS256, RS256, ES256 or EdDSA
	KID           string `yaml:"kid,omitempty"`             // which tokens may name; "" = any
	SecretFile    string `yaml:"secret_file,omitempty"`     // HS256: at least 32 bytes; a newline at the end does not count
	SecretEnv     string `yaml:"secret_env,omitempty"`      // HS256: a variable of the environment
	PublicKeyFile string `yaml:"public_key_file,omitempty"` // the others: PEM
}

// JWKSConfig is a set of keys that an issuer publishes.
type JWKSConfig struct {
	URL     string        `yaml:"url"`               // https, or http on this machine
	Algs    []string      `yaml:"algs"`              // RS256, ES256, EdDSA: those that tokens may use
	Refresh time.Duration `yaml:"refresh,omitempty"` // how often it is read anew; 0 = DefaultRefresh
}

// DefaultRefresh is how often published keys are read anew.
const DefaultRefresh = 15 * time.Minute

// APIKeyConfig is a service's key. Its name is the user that the service is.
type APIKeyConfig struct {
	Name   string `yaml:"name"`
	Hash   string `yaml:"hash"` // argon2id in PHC form, of the key's secret part
	Grants Grants `yaml:"grants"`
}

// Revoked are those who are refused whatever they show.
type Revoked struct {
	Users []string `yaml:"users"`
	Keys  []string `yaml:"keys"` // names of API keys, and kids of keys that sign tokens
}

// SettingError is a mistake in the settings: the user's to mend.
type SettingError struct {
	Path string // of the setting, as auth.keys[0].alg
	Err  error
}

func (e *SettingError) Error() string { return e.Path + ": " + e.Err.Error() }

// Unwrap gives the mistake.
func (e *SettingError) Unwrap() error { return e.Err }

// badSetting makes a mistake of an error, in its words for people.
func badSetting(path string, err error) error {
	var refusal *parley.Error
	if errors.As(err, &refusal) {
		err = errors.New(refusal.Message)
	}
	return &SettingError{path, err}
}

func badSettingf(path, format string, args ...any) error {
	return &SettingError{path, fmt.Errorf(format, args...)}
}

// Bounds of what may be configured.
const (
	maxKeys    = 16              // keys of tokens: without a kid each is tried
	maxLeeway  = 5 * time.Minute // more is no difference of clocks
	minRefresh = 100 * time.Millisecond
	maxAPIKeys = 10_000
)

// check finds what does not depend on files.
func (c *Config) check() error {
	switch {
	case len(c.Keys) == 0 && c.JWKS == nil && len(c.APIKeys) == 0 && c.OIDC == nil:
		return badSettingf("auth", "without keys, jwks, api_keys or oidc nobody could be let in")
	case strings.HasPrefix(c.Issuer, ownPrefix):
		return badSettingf("auth.issuer", "%s is the server's own", ownPrefix)
	case c.Leeway < 0 || c.Leeway > maxLeeway:
		return badSettingf("auth.leeway", "0s to %v, not %v", maxLeeway, c.Leeway)
	case len(c.Keys) > maxKeys:
		return badSettingf("auth.keys", "%d keys; there may be %d", len(c.Keys), maxKeys)
	case len(c.APIKeys) > maxAPIKeys:
		return badSettingf("auth.api_keys", "%d keys; there may be %d", len(c.APIKeys), maxAPIKeys)
	case len(c.Keys) == 0 && c.JWKS == nil:
		return nil
	case c.Issuer == "":
		return badSettingf("auth.issuer", "whose tokens are taken: their iss")
	case c.Audience == "":
		return badSettingf("auth.audience", "what tokens must be for: one of their aud")
	case c.JWKS != nil:
		return c.JWKS.check()
	}
	return nil
}

func (c *JWKSConfig) check() error {
	if err := checkPublishedAt(c.URL); err != nil {
		return badSetting("auth.jwks.url", err)
	}
	if len(c.Algs) == 0 {
		return badSettingf("auth.jwks.algs", "which algorithms tokens may use: RS256, ES256, EdDSA")
	}
	for _, alg := range c.Algs {
		if alg == hs256 || !slices.Contains(algs, alg) {
			return badSettingf("auth.jwks.algs", "RS256, ES256 or EdDSA, not %q", clip(alg))
		}
	}
	if c.Refresh != 0 && c.Refresh < minRefresh {
		return badSettingf("auth.jwks.refresh", "at least %v, not %v", minRefresh, c.Refresh)
	}
	return nil
}
