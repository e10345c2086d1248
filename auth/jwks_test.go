package auth_test

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"parley/auth"
)

// publisher is an issuer's server of keys.
type publisher struct {
	*httptest.Server

	mu      sync.Mutex
	body    []byte
	status  int
	fetches int
	fetched chan struct{} // told of each, if it listens
}

func publish(t testing.TB, keys ...object) *publisher {
	p := &publisher{fetched: make(chan struct{}, 1000)}
	p.set(http.StatusOK, keys...)
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.fetches++
		w.WriteHeader(p.status)
		_, _ = w.Write(p.body)
		p.fetched <- struct{}{}
	}))
	t.Cleanup(p.Close)
	return p
}

func (p *publisher) set(status int, keys ...object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body = status, must(json.Marshal(object{"keys": append([]object{}, keys...)}))
}

func (p *publisher) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fetches
}

func (p *publisher) settings(refresh time.Duration, algs ...string) auth.Settings {
	return auth.Settings{Auth: &auth.Config{
		Issuer: issuer, Audience: audience,
		JWKS: &auth.JWKSConfig{URL: p.URL, Algs: algs, Refresh: refresh},
	}}
}

func jwk(kid string, public crypto.PublicKey) object {
	b := base64.RawURLEncoding
	k := public.(*rsa.PublicKey)
	return object{"kty": "RSA", "kid": kid, "alg": "RS256", "use": "sig", "n": b.EncodeToString(k.N.Bytes()), "e": b.EncodeToString(big.NewInt(int64(k.E)).Bytes())}
}

func rs(t testing.TB, kid string, key *rsa.PrivateKey) string {
	header := object{"alg": "RS256"}
	if kid != "" {
		header["kid"] = kid
	}
	return encode(t, header, but(good(), "jti", rand.Text()), by("RS256", key)) // none is remembered
}

func TestPublishedKeys(t *testing.T) {
	t.Parallel()
	p := publish(t, jwk("one", rsaKey().Public()))
	a := authority(t, p.settings(time.Hour, "RS256"))
	if _, err := a.Check(t.Context(), rs(t, "one", rsaKey())); err != nil {
		t.Error(err)
	}
	if _, err := a.Check(t.Context(), rs(t, "", rsaKey())); err != nil {
		t.Errorf("without a kid: %v", err)
	}
	for name, token := range map[string]string{
		"another's signature":         rs(t, "one", rsaOther()),
		"an algorithm not taken":      encode(t, object{"alg": "ES256", "kid": "one"}, good(), by("ES256", ecKey())),
		"HS256 with the public key":   encode(t, object{"alg": "HS256", "kid": "one"}, good(), by("HS256", publicPEM(rsaKey().Public()))),
		"HS256 with the modulus":      encode(t, object{"alg": "HS256", "kid": "one"}, good(), by("HS256", rsaKey().N.Bytes())),
		"alg none":                    encode(t, object{"alg": "none", "kid": "one"}, good(), func(string) []byte { return nil }),
		"RS512, which the key is not": encode(t, object{"alg": "RS512", "kid": "one"}, good(), by("RS512", rsaKey())),
	} {
		if who, err := a.Check(t.Context(), token); err == nil || !strings.Contains(err.Error(), "not signed with a key") {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
	}
	if n := p.count(); n != 1 {
		t.Errorf("%d fetches", n)
	}
}

// A new key is found when a token names it. Tokens that name keys there are not cost a few fetches.
func TestPublishedKeysRotate(t *testing.T) {
	t.Parallel()
	p := publish(t, jwk("one", rsaKey().Public()))
	a := authority(t, p.settings(time.Hour, "RS256"))
	p.set(http.StatusOK, jwk("two", rsaOther().Public()))
	if _, err := a.Check(t.Context(), rs(t, "two", rsaOther())); err != nil {
		t.Errorf("the new key: %v", err)
	}
	if who, err := a.Check(t.Context(), rs(t, "one", rsaKey())); err == nil {
		t.Errorf("the old key: %+v", who)
	}
	before, began := p.count(), time.Now()
	var wg sync.WaitGroup
	for i := range 100 {
		token := rs(t, strings.Repeat("x", i+1), rsaOther())
		wg.Go(func() {
			if who, err := a.Check(t.Context(), token); err == nil {
				t.Errorf("a key there is not: %+v", who)
			}
		})
	}
	wg.Wait()
	if n := p.count() - before; n > 2+int(time.Since(began)/(5*time.Second)) {
		t.Errorf("%d fetches", n)
	}
}

// Keys are read anew by themselves. While that fails the last ones count.
func TestPublishedKeysRefresh(t *testing.T) {
	t.Parallel()
	p := publish(t, jwk("one", rsaKey().Public()))
	a := authority(t, p.settings(100*time.Millisecond, "RS256"))
	token := rs(t, "one", rsaKey())
	for _, fail := range []func(){
		func() { p.set(http.StatusInternalServerError) },
		func() { p.set(http.StatusNotFound, jwk("two", rsaOther().Public())) },
		func() { p.garble(`{"keys":[{"kty":"RSA","kid":"one","n":"%"}]}`) },
		func() { p.garble(`<html>`) },
		func() { p.garble(`{"keys":[`, strings.Repeat(" ", 2<<20), `]}`) },
	} {
		fail()
		p.awaitFetches(t, 3)
		if _, err := a.Check(t.Context(), rs(t, "", rsaKey())); err != nil {
			t.Errorf("while there are no new ones: %v", err)
		}
	}
	p.set(http.StatusOK, jwk("two", rsaOther().Public()))
	p.awaitFetches(t, 3)
	if who, err := a.Check(t.Context(), token); err == nil {
		t.Errorf("a key that is published no more: %+v", who)
	}
	if _, err := a.Check(t.Context(), rs(t, "two", rsaOther())); err != nil {
		t.Error(err)
	}
}

func (p *publisher) garble(parts ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status, p.body = http.StatusOK, []byte(strings.Join(parts, ""))
}

// awaitFetches waits for fetches that begin after now: the one before the last has been taken in.
func (p *publisher) awaitFetches(t testing.TB, n int) {
	t.Helper()
	for len(p.fetched) > 0 {
		<-p.fetched
	}
	for range n {
		select {
		case <-p.fetched:
		case <-time.After(30 * time.Second):
			t.Fatal("keys are not fetched any more")
		}
	}
}

// An issuer that is away when the server starts lets nobody in, and is asked again.
func TestPublishedKeysThatComeLate(t *testing.T) {
	t.Parallel()
	p := publish(t)
	p.set(http.StatusServiceUnavailable)
	a := authority(t, p.settings(100*time.Millisecond, "RS256"))
	token := rs(t, "one", rsaKey())
	if who, err := a.Check(t.Context(), token); err == nil {
		t.Errorf("there are no keys: %+v", who)
	}
	p.set(http.StatusOK, jwk("one", rsaKey().Public()))
	p.awaitFetches(t, 3)
	if _, err := a.Check(t.Context(), token); err != nil {
		t.Error(err)
	}
}

// A reload keeps the keys that are there, and takes no URL that has none.
func TestPublishedKeysInReloads(t *testing.T) {
	t.Parallel()
	p := publish(t, jwk("one", rsaKey().Public()))
	a := authority(t, p.settings(time.Hour, "RS256"))
	if err := a.Replace(t.Context(), p.settings(time.Hour, "RS256")); err != nil || p.count() != 1 {
		t.Errorf("the same again: %v, %d fetches", err, p.count())
	}
	away := publish(t)
	away.set(http.StatusNotFound)
	if err := a.Replace(t.Context(), away.settings(time.Hour, "RS256")); err == nil || !strings.Contains(err.Error(), "auth.jwks.url: ") {
		t.Errorf("no keys at the new URL: %v", err)
	}
	if _, err := a.Check(t.Context(), rs(t, "one", rsaKey())); err != nil {
		t.Error(err)
	}
	other := publish(t, jwk("two", rsaOther().Public()))
	if err := a.Replace(t.Context(), other.settings(time.Hour, "RS256")); err != nil {
		t.Fatal(err)
	}
	if _, err := a.Check(t.Context(), rs(t, "two", rsaOther())); err != nil {
		t.Error(err)
	}
}

// Keys do not come from where somebody on the way could have put them, and weak ones do not count.
func TestPublishedKeysOfNoWorth(t *testing.T) {
	t.Parallel()
	to := httptest.NewServer(http.RedirectHandler("http://192.0.2.1/jwks.json", http.StatusFound))
	t.Cleanup(to.Close)
	settings := publish(t).settings(time.Hour, "RS256")
	settings.Auth.JWKS.URL = to.URL
	var log bytes.Buffer
	a, err := auth.New(t.Context(), settings, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if !strings.Contains(log.String(), "is not https") {
		t.Errorf("redirected: %s", log.String())
	}
	weak := &rsa.PublicKey{N: new(big.Int).Rsh(rsaKey().N, 1024), E: rsaKey().E}
	b := authority(t, publish(t, jwk("weak", weak)).settings(time.Hour, "RS256"))
	if who, err := b.Check(t.Context(), encode(t, object{"alg": "RS256", "kid": "weak"}, good(), func(string) []byte { return make([]byte, 128) })); err == nil {
		t.Errorf("%+v", who)
	}
}
