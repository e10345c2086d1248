package auth_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/goleak"

	"parley"
	"parley/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	issuer   = "https://id.example"
	audience = "parley"
	secret   = "0123456789abcdef0123456789abcdef"
)

// noon is when most tests take place.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// signing keys, made once.
var (
	rsaKey   = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	rsaOther = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })
	ecKey    = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	ecOther  = sync.OnceValue(func() *ecdsa.PrivateKey { return must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)) })
	edKey    = sync.OnceValue(func() ed25519.PrivateKey { return ed25519.NewKeyFromSeed([]byte(secret)) })
)

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func publicPEM(public crypto.PublicKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: must(x509.MarshalPKIXPublicKey(public))})
}

// write writes a file of a test.
func write(t testing.TB, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// config takes a key of each kind.
func config(t testing.TB) *auth.Config {
	return &auth.Config{Issuer: issuer, Audience: audience, Keys: []auth.KeyConfig{
		{Alg: "HS256", SecretFile: write(t, "hs.key", []byte(secret+"\n"))},
		{Alg: "RS256", KID: "main", PublicKeyFile: write(t, "rs.pem", publicPEM(rsaKey().Public()))},
		{Alg: "ES256", KID: "ec", PublicKeyFile: write(t, "ec.pem", publicPEM(ecKey().Public()))},
		{Alg: "EdDSA", PublicKeyFile: write(t, "ed.pem", publicPEM(edKey().Public()))},
	}}
}

func clockAt(at time.Time) func() time.Time { return func() time.Time { return at } }

func authority(t testing.TB, s auth.Settings) *auth.Authority {
	t.Helper()
	if s.Clock == nil {
		s.Clock = clockAt(noon)
	}
	a, err := auth.New(t.Context(), s, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return a
}

type object = map[string]any

// good are claims that are.
func good() object {
	return object{
		"iss": issuer, "aud": audience, "sub": "ada", "exp": noon.Add(time.Hour).Unix(), "name": "Ada Lovelace", "jti": "t-1",
		"parley": []object{{"rooms": "ops.*", "may": []string{"join", "send"}}},
	}
}

// but changes claims: keys and values; a value of nil leaves the claim out.
func but(claims object, changes ...any) object {
	for i := 0; i < len(changes); i += 2 {
		if changes[i+1] == nil {
			delete(claims, changes[i].(string))
		} else {
			claims[changes[i].(string)] = changes[i+1]
		}
	}
	return claims
}

// encode makes a token of whatever header and payload; sign is given what is to be signed.
func encode(t testing.TB, header object, payload any, sign func(text string) []byte) string {
	t.Helper()
	b := base64.RawURLEncoding
	text := b.EncodeToString(must(json.Marshal(header))) + "." + b.EncodeToString(must(json.Marshal(payload)))
	return text + "." + b.EncodeToString(sign(text))
}

// by signs as an algorithm does.
func by(alg string, key any) func(string) []byte {
	return func(text string) []byte { return must(jwt.GetSigningMethod(alg).Sign(text, key)) }
}

func hs(t testing.TB, claims any) string {
	return encode(t, object{"alg": "HS256", "typ": "JWT"}, claims, by("HS256", []byte(secret)))
}

func TestGoodTokens(t *testing.T) {
	t.Parallel()
	a := authority(t, auth.Settings{Auth: config(t)})
	for name, token := range map[string]string{
		"HS256":                      hs(t, good()),
		"RS256":                      encode(t, object{"alg": "RS256", "kid": "main"}, good(), by("RS256", rsaKey())),
		"ES256":                      encode(t, object{"alg": "ES256", "kid": "ec"}, good(), by("ES256", ecKey())),
		"EdDSA":                      encode(t, object{"alg": "EdDSA"}, good(), by("EdDSA", edKey())),
		"no kid for a key with one":  encode(t, object{"alg": "RS256"}, good(), by("RS256", rsaKey())),
		"a kid for a key with none":  encode(t, object{"alg": "EdDSA", "kid": "any"}, good(), by("EdDSA", edKey())),
		"several audiences":          hs(t, but(good(), "aud", []string{"other", audience})),
		"claims nobody knows":        hs(t, but(good(), "groups", []string{"x"}, "Sub", "mallory", "SUB", "mallory", "Parley", 7)),
		"expired within the leeway":  hs(t, but(good(), "exp", noon.Add(-29*time.Second).Unix())),
		"early within the leeway":    hs(t, but(good(), "nbf", noon.Add(29*time.Second).Unix())),
		"an end in parts of seconds": hs(t, but(good(), "exp", float64(noon.Unix())+0.5)),
	} {
		p, err := a.Check(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if p.User != "ada" || p.Name != "Ada Lovelace" || p.TokenID != "t-1" || p.Anonymous || p.Key != "" {
			t.Errorf("%s: %+v", name, p)
		}
		if show(p.Grants) != "[join,send=ops.*]" || !p.Expires.After(noon) || p.Expires.After(noon.Add(time.Hour)) {
			t.Errorf("%s: %v until %v", name, p.Grants, p.Expires)
		}
	}
}

func TestBadTokens(t *testing.T) {
	t.Parallel()
	a := authority(t, auth.Settings{Auth: config(t), Revoked: auth.Revoked{Users: []string{"mallory"}}})
	const (
		unsigned = "is not signed with a key that this server takes"
		noToken  = "neither a token nor an API key"
		lacks    = "must have iss, aud, sub and exp"
		noUser   = "sub is no user's name"
		noGrants = "grants"
	)
	nothing := func(string) []byte { return nil }
	valid := hs(t, good())
	header, rest, _ := strings.Cut(valid, ".")
	payload, signature, _ := strings.Cut(rest, ".")
	publicKey := publicPEM(rsaKey().Public())
	der := must(x509.MarshalPKIXPublicKey(rsaKey().Public()))
	claim := func(changes ...any) string { return hs(t, but(good(), changes...)) }
	for _, c := range []struct {
		name  string
		token string
		want  string // in the sentence
	}{
		{"nothing", "", "say first who you are"},
		{"a word", "secret", noToken},
		{"dots", "..", noToken},
		{"two parts", header + "." + payload, noToken},
		{"four parts", valid + ".x", noToken},
		{"a line end inside", header + ".\n" + payload + "." + signature, noToken},
		{"a space in front", " " + valid, noToken},
		{"padding", valid + "=", noToken},
		{"too long", valid + strings.Repeat("A", auth.MaxCredential), "at most 8192 bytes"},
		{"a header that is no JSON", "AAAA." + payload + "." + signature, noToken},
		{"a payload that is no JSON", header + ".AAAA." + signature, noToken},
		{"a payload that is null", hs(t, nil), lacks},
		{"a payload that is a list", hs(t, []int{1}), noToken},
		{"deep nesting", hs(t, json.RawMessage(strings.Repeat("[", 2000)+strings.Repeat("]", 2000))), noToken},

		{"alg none", encode(t, object{"alg": "none"}, good(), nothing), unsigned},
		{"alg None", encode(t, object{"alg": "None"}, good(), nothing), unsigned},
		{"alg none, signed", encode(t, object{"alg": "none"}, good(), by("HS256", []byte(secret))), unsigned},
		{"no alg", encode(t, object{"typ": "JWT"}, good(), by("HS256", []byte(secret))), unsigned},
		{"alg a number", encode(t, object{"alg": 7}, good(), by("HS256", []byte(secret))), unsigned},
		{"alg hs256", encode(t, object{"alg": "hs256"}, good(), by("HS256", []byte(secret))), unsigned},
		{"alg HS512 with the secret", encode(t, object{"alg": "HS512"}, good(), by("HS512", []byte(secret))), unsigned},
		{"alg RS512 with the key", encode(t, object{"alg": "RS512", "kid": "main"}, good(), by("RS512", rsaKey())), unsigned},
		{"alg PS256 with the key", encode(t, object{"alg": "PS256", "kid": "main"}, good(), by("PS256", rsaKey())), unsigned},
		{"HS256 with the RSA public key", encode(t, object{"alg": "HS256", "kid": "main"}, good(), by("HS256", publicKey)), unsigned},
		{"HS256 with the RSA public key trimmed", encode(t, object{"alg": "HS256"}, good(), by("HS256", publicKey[:len(publicKey)-1])), unsigned},
		{"HS256 with the RSA public key in DER", encode(t, object{"alg": "HS256"}, good(), by("HS256", der)), unsigned},
		{"HS256 with nothing", encode(t, object{"alg": "HS256"}, good(), by("HS256", []byte{})), unsigned},
		{"no signature", header + "." + payload + ".", unsigned},
		{"another's signature", encode(t, object{"alg": "RS256", "kid": "main"}, good(), by("RS256", rsaOther())), unsigned},
		{"another's curve point", encode(t, object{"alg": "ES256", "kid": "ec"}, good(), by("ES256", ecOther())), unsigned},
		{"an ES256 signature of zeros", encode(t, object{"alg": "ES256", "kid": "ec"}, good(), func(string) []byte { return make([]byte, 64) }), unsigned},
		{"a key in the header", encode(t, object{"alg": "HS256", "jwk": object{"kty": "oct", "k": "AAAA"}}, good(), by("HS256", []byte{0, 0, 0})), unsigned},
		{"a wrong kid", encode(t, object{"alg": "RS256", "kid": "other"}, good(), by("RS256", rsaKey())), unsigned},
		{"the kid of another algorithm", encode(t, object{"alg": "RS256", "kid": "ec"}, good(), by("RS256", rsaKey())), unsigned},
		{"a kid that is a path", encode(t, object{"alg": "RS256", "kid": "../../dev/null"}, good(), by("RS256", rsaKey())), unsigned},
		{"a kid that is a number", encode(t, object{"alg": "HS256", "kid": 7}, good(), by("HS256", []byte(secret))), unsigned},
		{"a demand in the header", encode(t, object{"alg": "HS256", "crit": []string{"b64"}, "b64": false}, good(), by("HS256", []byte(secret))), unsigned},
		{"another payload", header + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"eve"}`)) + "." + signature, unsigned},

		{"no iss", claim("iss", nil), lacks},
		{"no aud", claim("aud", nil), lacks},
		{"no sub", claim("sub", nil), lacks},
		{"no exp", claim("exp", nil), lacks},
		{"Exp for exp", claim("exp", nil, "Exp", noon.Add(time.Hour).Unix()), lacks},
		{"an empty sub", claim("sub", ""), lacks},
		{"no audience in the list", claim("aud", []string{}), lacks},
		{"another issuer", claim("iss", issuer+"/"), "another issuer"},
		{"another audience", claim("aud", "nats"), "another audience"},
		{"other audiences", claim("aud", []string{"nats", "parley2"}), "another audience"},
		{"expired", claim("exp", noon.Add(-31*time.Second).Unix()), "has expired"},
		{"expired just as the leeway ends", claim("exp", noon.Add(-30*time.Second).Unix()), "has expired"},
		{"expired in 1970", claim("exp", 0), "has expired"},
		{"not yet valid", claim("nbf", noon.Add(31*time.Second).Unix()), "not valid yet"},
		{"exp a text", claim("exp", "tomorrow"), noToken},
		{"exp null", claim("exp", json.RawMessage("null")), noToken},
		{"exp beyond all years", claim("exp", 1e300), noToken},
		{"exp before all years", claim("exp", -1), noToken},
		{"nbf beyond all years", claim("nbf", 1e18), noToken},
		{"sub a number", claim("sub", 7), noToken},
		{"aud an object", claim("aud", object{}), noToken},

		{"sub too long", claim("sub", strings.Repeat("a", 65)), noUser},
		{"sub with a newline", claim("sub", "ada\nbob"), noUser},
		{"sub with an escape", claim("sub", "\x1b[31mada"), noUser},
		{"sub with a bidi mark", claim("sub", "ada\u202e"), noUser},
		{"sub not NFC", claim("sub", "jose\u0301"), noUser},
		{"sub of spaces", claim("sub", "  "), noUser},
		{"sub with the mark of those who prove nothing", claim("sub", "~ada"), noUser},

		{"grants a text", claim("parley", "all"), noGrants},
		{"grants an object", claim("parley", object{"rooms": "a", "may": []string{"join"}}), noGrants},
		{"an unknown right", claim("parley", []object{{"rooms": "a", "may": []string{"join", "fly"}}}), noGrants},
		{"a bad pattern", claim("parley", []object{{"rooms": "a b", "may": []string{"join"}}}), noGrants},
		{"one bad grant among good ones", claim("parley", []object{{"rooms": "a", "may": []string{"join"}}, {"rooms": ">", "may": []string{"join"}}}), noGrants},
		{"a grant that is narrowed", claim("parley", []object{{"rooms": "a", "may": []string{"join"}, "not": "b"}}), noGrants},

		{"revoked", claim("sub", "mallory"), "revoked"},
	} {
		p, err := a.Check(t.Context(), c.token)
		refusal := parley.AsError(err)
		if err == nil || p != nil || refusal.Code != parley.Unauthorized || !strings.Contains(refusal.Message, c.want) {
			t.Errorf("%s: %+v, %v; want %q", c.name, p, err, c.want)
			continue
		}
		if len(c.token) > 20 && strings.Contains(err.Error(), c.token[len(c.token)-20:]) || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: the error tells the token: %v", c.name, err)
		}
	}
}

// A name to be shown that cannot be, or no grants, are no reason to refuse somebody.
func TestTokensThatSayLittle(t *testing.T) {
	t.Parallel()
	a := authority(t, auth.Settings{Auth: config(t), Anonymous: grants(t, "join=lobby")})
	p, err := a.Check(t.Context(), hs(t, but(good(), "name", "\x1b[31m", "parley", nil, "jti", nil)))
	if err != nil || p.Name != "" || len(p.Grants) != 0 || p.TokenID != "" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err = a.Check(t.Context(), hs(t, but(good(), "name", 7, "parley", []object{}))); err != nil || p.Name != "" || len(p.Grants) != 0 {
		t.Errorf("%+v, %v", p, err)
	}
}

// What is known of a token ends when it does.
func TestTokensEnd(t *testing.T) {
	t.Parallel()
	now := noon
	a := authority(t, auth.Settings{Auth: config(t), Clock: func() time.Time { return now }})
	token := hs(t, good())
	p, err := a.Check(t.Context(), token)
	if err != nil || !p.Expires.Equal(noon.Add(time.Hour)) {
		t.Fatalf("%+v, %v", p, err)
	}
	if again, err := a.Check(t.Context(), token); err != nil || again != p {
		t.Errorf("the second time it is %p, %v; want %p", again, err, p)
	}
	now = noon.Add(time.Hour)
	if _, err := a.Renew(p); parley.AsError(err).Code != parley.Unauthorized {
		t.Errorf("expired, and renewed: %v", err)
	}
	now = noon.Add(time.Hour + 20*time.Second)
	if late, err := a.Check(t.Context(), token); err != nil || !late.Expires.After(now) {
		t.Errorf("within the leeway: %+v, %v", late, err)
	}
	now = noon.Add(time.Hour + 40*time.Second)
	if _, err := a.Check(t.Context(), token); err == nil || !strings.Contains(err.Error(), "expired") {
		t.Errorf("after the leeway: %v", err)
	}
}

func TestRevoking(t *testing.T) {
	t.Parallel()
	a := authority(t, auth.Settings{Auth: config(t)})
	token := hs(t, good())
	p, err := a.Check(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		a.Revoke([]string{"ada", "\x00"}, nil)
		if _, err := a.Check(t.Context(), token); parley.AsError(err).Code != parley.Unauthorized || !a.Revoked(p) {
			t.Errorf("revoked: %v", err)
		}
		if _, err := a.Renew(p); parley.AsError(err).Code != parley.Unauthorized {
			t.Errorf("renewed: %v", err)
		}
		a.Restore([]string{"ada"}, nil)
		if _, err := a.Check(t.Context(), token); err != nil || a.Revoked(p) {
			t.Errorf("restored: %v", err)
		}
		if same, err := a.Renew(p); err != nil || same != p {
			t.Errorf("renewed: %p, %v", same, err)
		}
	}
	if a.Revoke([]string{""}, []string{""}); a.Revoked(a.Anonymous()) {
		t.Error("nobody in particular is revoked")
	}
}

// A key that signs is revoked by its kid: for tokens that name it, and for those that hide it.
func TestRevokingWhatSigns(t *testing.T) {
	t.Parallel()
	a := authority(t, auth.Settings{Auth: config(t)})
	for _, header := range []object{{"alg": "RS256", "kid": "main"}, {"alg": "RS256"}} {
		leaked := encode(t, header, good(), by("RS256", rsaKey()))
		p, err := a.Check(t.Context(), leaked)
		if err != nil {
			t.Fatal(err)
		}
		a.Revoke(nil, []string{"main"})
		if _, err := a.Check(t.Context(), leaked); parley.AsError(err).Code != parley.Unauthorized {
			t.Errorf("%v: a token of a revoked key: %v", header, err)
		}
		fresh := encode(t, header, but(good(), "jti", "t-2"), by("RS256", rsaKey()))
		if _, err := a.Check(t.Context(), fresh); parley.AsError(err).Code != parley.Unauthorized {
			t.Errorf("%v: another token of a revoked key: %v", header, err)
		}
		if _, err := a.Renew(p); err == nil {
			t.Errorf("%v: a session goes on whose key is revoked", header)
		}
		if _, err := a.Check(t.Context(), hs(t, good())); err != nil {
			t.Errorf("a token of another key: %v", err)
		}
		a.Restore(nil, []string{"main"})
	}
}

func TestWhoeverShowsNothing(t *testing.T) {
	t.Parallel()
	lobby := grants(t, "join=lobby")
	for name, c := range map[string]struct {
		settings auth.Settings
		on       bool
		grants   string
	}{
		"nothing configured": {auth.Settings{}, false, show(auth.All())},
		"anonymous":          {auth.Settings{Anonymous: lobby}, true, "[join=lobby]"},
		"anonymous nothing":  {auth.Settings{Anonymous: auth.Grants{}}, true, "[]"},
		"auth":               {auth.Settings{Auth: config(t)}, true, "[]"},
		"both":               {auth.Settings{Auth: config(t), Anonymous: lobby}, true, "[join=lobby]"},
	} {
		a := authority(t, c.settings)
		p := a.Anonymous()
		if a.On() != c.on || show(p.Grants) != c.grants || !p.Anonymous || p.User != "" || !p.Expires.IsZero() {
			t.Errorf("%s: on %v, %+v", name, a.On(), p)
		}
		got, err := a.Check(t.Context(), "whatever")
		if !c.on && (err != nil || got != p) || c.on && err == nil {
			t.Errorf("%s: a credential is %+v, %v", name, got, err)
		}
		if same, err := a.Renew(p); err != nil || same != p {
			t.Errorf("%s: renewed: %+v, %v", name, same, err)
		}
	}
}

// Settings are replaced while credentials are checked, all or nothing.
func TestReplace(t *testing.T) {
	t.Parallel()
	settings := auth.Settings{Auth: config(t), Anonymous: grants(t, "join=lobby")}
	a := authority(t, settings)
	token := hs(t, good())
	var wg sync.WaitGroup
	ctx, stop := context.WithCancel(t.Context())
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				if p, err := a.Check(ctx, token); err != nil || !p.Grants.Allows(auth.Send, "ops.a") {
					t.Errorf("%+v, %v", p, err)
					return
				}
			}
		})
	}
	for i := range 20 {
		settings.Anonymous = grants(t, fmt.Sprintf("join=room%d", i))
		if err := a.Replace(t.Context(), settings); err != nil {
			t.Fatal(err)
		}
		bad := settings
		bad.Auth = config(t)
		bad.Anonymous = grants(t, "admin=**")
		bad.Auth.Keys[1].PublicKeyFile = "nothing"
		if err := a.Replace(t.Context(), bad); err == nil || !strings.Contains(err.Error(), "auth.keys[1].public_key_file: open nothing") {
			t.Errorf("bad settings: %v", err)
		}
		if got := show(a.Anonymous().Grants); got != fmt.Sprintf("[join=room%d]", i) {
			t.Errorf("after bad settings: %s", got)
		}
	}
	stop()
	wg.Wait()
	settings.Auth.Keys = settings.Auth.Keys[1:]
	if err := a.Replace(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	if p, err := a.Check(t.Context(), token); err == nil {
		t.Errorf("its key is gone: %+v", p)
	}
}

func FuzzCheckToken(f *testing.F) {
	a := authority(f, auth.Settings{Auth: config(f)})
	header := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`))
	f.Add(hs(f, good()), []byte(nil))
	for _, claims := range []object{good(), but(good(), "exp", nil), but(good(), "parley", "x"), but(good(), "sub", "~a"), {}} {
		f.Add(header, must(json.Marshal(claims)))
	}
	f.Add("eyJhbGciOiJub25lIn0", []byte(`{"sub":"ada"}`))
	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		credentials := []string{text}
		if payload != nil { // signed, so that what is behind the signature is read too
			signed := text + "." + base64.RawURLEncoding.EncodeToString(payload)
			credentials = append(credentials, signed+"."+base64.RawURLEncoding.EncodeToString(by("HS256", []byte(secret))(signed)))
		}
		for _, credential := range credentials {
			p, err := a.Check(t.Context(), credential)
			if err != nil {
				e := parley.AsError(err)
				if p != nil || e.Code != parley.Unauthorized || e.Message == "" || len(err.Error()) > 2000 {
					t.Fatalf("%q: %+v, %v", credential, p, err)
				}
				continue
			}
			if name, err := parley.ParseName(p.User); err != nil || name != p.User || p.User[0] == '~' {
				t.Fatalf("%q is %q", credential, p.User)
			}
			if p.Anonymous || !p.Expires.After(noon) || p.Grants.Check() != nil {
				t.Fatalf("%q: %+v", credential, p)
			}
		}
	})
}

// A token that was never seen before, by a key that was.
func BenchmarkCheckCold(b *testing.B) {
	a := authority(b, auth.Settings{Auth: config(b)})
	for alg, key := range map[string]any{"HS256": []byte(secret), "RS256": rsaKey(), "ES256": ecKey(), "EdDSA": edKey()} {
		b.Run(alg, func(b *testing.B) {
			tokens := make([]string, 5000) // more than are remembered
			for i := range tokens {
				tokens[i] = encode(b, object{"alg": alg}, but(good(), "jti", fmt.Sprint(i)), by(alg, key))
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := a.Check(b.Context(), tokens[i%len(tokens)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkCheckAgain(b *testing.B) {
	a := authority(b, auth.Settings{Auth: config(b)})
	token := hs(b, good())
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Check(b.Context(), token); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckForged(b *testing.B) {
	a := authority(b, auth.Settings{Auth: config(b)})
	token := encode(b, object{"alg": "HS256"}, good(), by("HS256", []byte("another")))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Check(b.Context(), token); err == nil {
			b.Fatal("a forged token is good")
		}
	}
}
