package auth

import (
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/singleflight"

	"parley"
)

// An API key is pk_NAME_SECRET: easy to recognise, by programs that look for leaked ones too. The
// configuration has the secret's hash under the name. The secret has no _, so the last one ends the
// name.
const apiKeyPrefix = "pk_"

const maxSecret = 128 // bytes of an API key's secret part

var (
	errAPIKey = parley.Errorf(parley.Unauthorized, "the API key is not known here")
	errBusy   = &parley.Error{Code: parley.Unavailable, Message: "too many API keys are being checked: try again", Retry: time.Second}
)

// NewAPIKey makes the API key of a name: what its holder keeps, and the hash for the configuration.
func NewAPIKey(name string) (key, hash string, err error) {
	if err := checkKeyName(name); err != nil {
		return "", "", err
	}
	secret := rand.Text()
	return apiKeyPrefix + name + "_" + secret, newHash(secret).String(), nil
}

// isAPIKey tells an API key from a token, which begins with an encoded {.
func isAPIKey(credential string) bool { return strings.HasPrefix(credential, apiKeyPrefix) }

// splitAPIKey takes an API key apart. ok is false for what is none.
func splitAPIKey(credential string) (name, secret string, ok bool) {
	rest, found := strings.CutPrefix(credential, apiKeyPrefix)
	i := strings.LastIndexByte(rest, '_')
	if !found || i < 0 {
		return "", "", false
	}
	name, secret = rest[:i], rest[i+1:]
	if len(secret) == 0 || len(secret) > maxSecret || checkKeyName(name) != nil {
		return "", "", false
	}
	for i := range len(secret) {
		if secret[i] <= ' ' || secret[i] > '~' {
			return "", "", false
		}
	}
	return name, secret, true
}

// checkKeyName: letters, digits, and . _ - inside; it is a user's name too.
func checkKeyName(name string) error {
	ok := len(name) > 0 && len(name) <= parley.MaxUserName
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case (c == '.' || c == '_' || c == '-') && i > 0:
		default:
			ok = false
		}
	}
	if !ok {
		return parley.Errorf(parley.BadRequest,
			"%q is no name of an API key: 1 to %d letters and digits, with . _ or - behind the first", clip(name), parley.MaxUserName)
	}
	return nil
}

// apiKey is one of the configuration.
type apiKey struct {
	hash      *argonHash
	principal *Principal
}

func readAPIKeys(configs []APIKeyConfig) (map[string]*apiKey, error) {
	keys := make(map[string]*apiKey, len(configs))
	for i, c := range configs {
		where := fmt.Sprintf("auth.api_keys[%d]", i)
		if err := checkKeyName(c.Name); err != nil {
			return nil, badSetting(where+".name", err)
		}
		if keys[c.Name] != nil {
			return nil, badSettingf(where+".name", "there are two keys called %s", c.Name)
		}
		hash, err := parseHash(c.Hash)
		if err != nil {
			return nil, badSettingf(where+".hash", "of %s: %w", c.Name, err)
		}
		if err := c.Grants.Check(); err != nil {
			return nil, badSetting(where+".grants", err)
		}
		keys[c.Name] = &apiKey{hash, &Principal{User: c.Name, Key: c.Name, Grants: c.Grants, hash: c.Hash}}
	}
	return keys, nil
}

// hasher checks secrets against hashes, few at a time: each takes megabytes and milliseconds.
type hasher struct {
	slots   chan struct{}
	flights singleflight.Group // clients of one key that come at once cost one hash
}

// A check waits so long for its turn. One that has failed is remembered for a while, for clients
// that try the same again and again.
const (
	hashWait   = 5 * time.Second
	rememberNo = time.Minute
)

// newHasher leaves a core to those who are let in, where there are two.
func newHasher() *hasher {
	return &hasher{slots: make(chan struct{}, min(2, max(1, runtime.GOMAXPROCS(0)/2)))}
}

// check finds whose an API key is; nobody's is a nil principal.
func (h *hasher) check(r *rules, credential string, sum digest, clock func() time.Time) (*Principal, error) {
	name, secret, ok := splitAPIKey(credential)
	if !ok || len(r.apiKeys) == 0 {
		return nil, errAPIKey
	}
	v, err, _ := h.flights.Do(fmt.Sprintf("%p %x", r, sum), func() (any, error) {
		if p, known := r.cache.get(sum, clock()); known {
			return p, nil
		}
		turn := time.NewTimer(hashWait)
		defer turn.Stop()
		select {
		case h.slots <- struct{}{}:
			defer func() { <-h.slots }()
		case <-turn.C:
			return nil, errBusy
		}
		p := verify(r.apiKeys, name, secret)
		until := time.Time{}
		if p == nil {
			until = clock().Add(rememberNo)
		}
		r.cache.put(sum, p, until)
		return p, nil
	})
	if err != nil {
		return nil, err
	}
	return v.(*Principal), nil
}

// verify holds a secret against the hash of the key so named. A name that nobody has costs as much
// as one that somebody has, or the time would tell which there are.
func verify(keys map[string]*apiKey, name, secret string) *Principal {
	k, known := keys[name]
	if !known {
		for _, k = range keys {
			break
		}
	}
	if !k.hash.matches(secret) || !known {
		return nil
	}
	return k.principal
}
