// Package oidctest is an OpenID provider for tests: discovery, keys, and the authorization code flow with
// PKCE, whose user says yes at once.
package oidctest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What the provider knows its one client by.
const (
	ClientID     = "parley"
	ClientSecret = "a secret of the client's"
)

// Provider is an OpenID provider. Its fields may be changed with Set.
type Provider struct {
	URL string

	mu     sync.Mutex
	key    *ecdsa.PrivateKey
	codes  map[string]asked
	claims map[string]any
	method string // by which the client shows who it is
	refuse bool
	down   bool
}

// asked is what a code was given for.
type asked struct{ nonce, challenge, redirect string }

// New starts a provider, which ends with the test, and whose user is ada.
func New(t testing.TB) *Provider {
	t.Helper()
	p := &Provider{codes: make(map[string]asked), key: newKey(t), claims: map[string]any{"sub": "ada"}, method: Basic}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", p.discovery)
	mux.HandleFunc("GET /keys", p.keys)
	mux.HandleFunc("GET /authorize", p.authorize)
	mux.HandleFunc("POST /token", p.token)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.down {
			http.Error(w, "down", http.StatusBadGateway)
			return
		}
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// Claim has ID tokens say this from now on; nil takes a claim away. What the flow itself puts there, as
// aud and nonce, can be overruled so.
func (p *Provider) Claim(name string, value any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.claims[name] = value
}

// SetDown has it answer nothing but errors.
func (p *Provider) SetDown(down bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
}

// SetRefuse has its user say no.
func (p *Provider) SetRefuse(refuse bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuse = refuse
}

// Ways for a client to show who it is, as discovery names them.
const (
	Basic  = "client_secret_basic"
	Post   = "client_secret_post"
	Public = "none"
)

// SetMethod has it take clients that show who they are in this way, and in no other.
func (p *Provider) SetMethod(method string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.method = method
}

// Forge has ID tokens signed with a key that is not published.
func (p *Provider) Forge(t testing.TB) {
	key := newKey(t)
	p.mu.Lock()
	defer p.mu.Unlock()
	key.PublicKey, p.key = p.key.PublicKey, key
}

// Visit is what a browser does that is sent to url: it gives where the provider sends it back to.
func (p *Provider) Visit(t testing.TB, url string) *url.URL {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	answer, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	back, err := answer.Location()
	if err != nil {
		t.Fatalf("the provider answers %s to %s", answer.Status, url)
	}
	return back
}

func (p *Provider) discovery(w http.ResponseWriter, _ *http.Request) {
	reply(w, http.StatusOK, map[string]any{
		"issuer": p.URL, "authorization_endpoint": p.URL + "/authorize", "token_endpoint": p.URL + "/token",
		"jwks_uri": p.URL + "/keys", "id_token_signing_alg_values_supported": []string{"ES256"},
		"token_endpoint_auth_methods_supported": []string{p.method},
	})
}

func (p *Provider) keys(w http.ResponseWriter, _ *http.Request) {
	point, err := p.key.PublicKey.Bytes() // uncompressed: 4, x, y
	if err != nil {
		panic(err)
	}
	reply(w, http.StatusOK, map[string]any{"keys": []any{map[string]any{
		"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": "one",
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}}})
}

func (p *Provider) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != ClientID || q.Get("response_type") != "code" || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "no request of this client", http.StatusBadRequest)
		return
	}
	back, err := url.Parse(q.Get("redirect_uri"))
	if err != nil {
		http.Error(w, "no redirect_uri", http.StatusBadRequest)
		return
	}
	answer := url.Values{"state": {q.Get("state")}, "iss": {p.URL}}
	if p.refuse {
		answer.Set("error", "access_denied")
	} else {
		code := rand.Text()
		p.codes[code] = asked{q.Get("nonce"), q.Get("code_challenge"), back.String()}
		answer.Set("code", code)
	}
	back.RawQuery = answer.Encode()
	http.Redirect(w, r, back.String(), http.StatusFound)
}

func (p *Provider) token(w http.ResponseWriter, r *http.Request) {
	code := r.PostFormValue("code")
	a, ok := p.codes[code]
	delete(p.codes, code) // it counts once
	if !p.isClient(r) {
		reply(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
		return
	}
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	if !ok || a.challenge != base64.RawURLEncoding.EncodeToString(sum[:]) || a.redirect != r.PostFormValue("redirect_uri") {
		reply(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
		return
	}
	claims := jwt.MapClaims{
		"iss": p.URL, "aud": ClientID, "nonce": a.nonce,
		"iat": time.Now().Unix(), "exp": time.Now().Add(5 * time.Minute).Unix(),
	}
	maps.Copy(claims, p.claims)
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	proof := jwt.NewWithClaims(jwt.SigningMethodES256, claims)
	proof.Header["kid"] = "one"
	text, err := proof.SignedString(p.key)
	if err != nil {
		panic(err)
	}
	reply(w, http.StatusOK, map[string]any{"access_token": rand.Text(), "token_type": "Bearer", "id_token": text})
}

// isClient says whether a request is the client's.
func (p *Provider) isClient(r *http.Request) bool {
	id, secret, basic := r.BasicAuth() // what is in it is encoded as a form's (RFC 6749, section 2.3.1)
	if basic {
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	want := ClientSecret
	if p.method == Public {
		want = ""
	}
	return id == ClientID && secret == want && basic == (p.method == Basic)
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // who has gone does not read it
}
