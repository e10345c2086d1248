package auth_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"log/slog"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"parley/auth"
)

var quiet = slog.New(slog.DiscardHandler)

func b64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

func TestConfigInYAML(t *testing.T) {
	t.Parallel()
	const text = `
auth:
  issuer: https://id.example
  audience: parley
  keys:
    - {alg: HS256, secret_file: hs.key}
    - {alg: HS256, kid: env, secret_env: HS_KEY}
    - {alg: RS256, kid: main, public_key_file: rs.pem}
  jwks: {url: https://id.example/jwks.json, algs: [RS256], refresh: 10m}
  api_keys:
    - {name: billing, hash: "$argon2id$…", grants: [{rooms: "orders.**", may: [join, history, send]}]}
anonymous:
  - {rooms: lobby, may: [join, send, history, members]}
revoked: {users: [mallory], keys: []}
`
	var got struct {
		Auth      *auth.Config
		Anonymous auth.Grants
		Revoked   auth.Revoked
	}
	d := yaml.NewDecoder(strings.NewReader(text))
	d.KnownFields(true)
	if err := d.Decode(&got); err != nil {
		t.Fatal(err)
	}
	want := &auth.Config{
		Issuer: issuer, Audience: audience,
		Keys: []auth.KeyConfig{
			{Alg: "HS256", SecretFile: "hs.key"},
			{Alg: "HS256", KID: "env", SecretEnv: "HS_KEY"},
			{Alg: "RS256", KID: "main", PublicKeyFile: "rs.pem"},
		},
		JWKS:    &auth.JWKSConfig{URL: issuer + "/jwks.json", Algs: []string{"RS256"}, Refresh: 10 * time.Minute},
		APIKeys: []auth.APIKeyConfig{{Name: "billing", Hash: "$argon2id$…", Grants: grants(t, "join,history,send=orders.**")}},
	}
	same := cmp.Comparer(func(a, b auth.Pattern) bool { return a == b })
	if diff := cmp.Diff(want, got.Auth, same); diff != "" {
		t.Error(diff)
	}
	if show(got.Anonymous) != "[join,history,send,members=lobby]" || len(got.Revoked.Users) != 1 {
		t.Errorf("%v, %v", got.Anonymous, got.Revoked)
	}
}

func TestSecretsOfTheEnvironment(t *testing.T) {
	t.Setenv("PARLEY_TEST_SECRET", secret)
	c := &auth.Config{Issuer: issuer, Audience: audience, Keys: []auth.KeyConfig{{Alg: "HS256", SecretEnv: "PARLEY_TEST_SECRET"}}}
	a := authority(t, auth.Settings{Auth: c})
	if _, err := a.Check(t.Context(), hs(t, good())); err != nil {
		t.Error(err)
	}
}

func TestSettingsThatCannotBe(t *testing.T) {
	t.Parallel()
	file := func(data []byte) string { return write(t, "key", data) }
	private := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey())})
	weak := &rsa.PublicKey{N: new(big.Int).Rsh(rsaKey().N, 1024), E: 65537}
	p384 := must(ecdsa.GenerateKey(elliptic.P384(), rand.Reader))
	with := func(keys ...auth.KeyConfig) auth.Settings {
		return auth.Settings{Auth: &auth.Config{Issuer: issuer, Audience: audience, Keys: keys}}
	}
	jwks := func(url string, algs ...string) auth.Settings {
		return auth.Settings{Auth: &auth.Config{Issuer: issuer, Audience: audience, JWKS: &auth.JWKSConfig{URL: url, Algs: algs}}}
	}
	hsKey := file([]byte(secret))
	rsKey := file(publicPEM(rsaKey().Public()))
	_, key := apiKey(t, "a", "send=a")
	nameless, grantless := key, key
	nameless.Name = "~a"
	grantless.Grants = auth.Grants{{}}
	leeway := with(auth.KeyConfig{Alg: "HS256", SecretFile: hsKey})
	leeway.Auth.Leeway = time.Hour
	noIssuer := with(auth.KeyConfig{Alg: "HS256", SecretFile: hsKey})
	noIssuer.Auth.Issuer = ""
	noAudience := with(auth.KeyConfig{Alg: "HS256", SecretFile: hsKey})
	noAudience.Auth.Audience = ""
	for _, c := range []struct {
		settings auth.Settings
		want     string
	}{
		{auth.Settings{Auth: &auth.Config{}}, "auth: without keys, jwks, api_keys or oidc"},
		{noIssuer, "auth.issuer: "},
		{noAudience, "auth.audience: "},
		{leeway, "auth.leeway: "},
		{with(make([]auth.KeyConfig, 17)...), "auth.keys: 17 keys"},
		{with(auth.KeyConfig{}), "auth.keys[0].alg: "},
		{with(auth.KeyConfig{Alg: "none"}), `auth.keys[0].alg: HS256, RS256, ES256 or EdDSA, not "none"`},
		{with(auth.KeyConfig{Alg: "HS512", SecretFile: hsKey}), "auth.keys[0].alg"},
		{with(auth.KeyConfig{Alg: "HS256"}), "auth.keys[0]: HS256 takes either"},
		{with(auth.KeyConfig{Alg: "HS256", SecretFile: hsKey, SecretEnv: "X"}), "auth.keys[0]: HS256 takes either"},
		{with(auth.KeyConfig{Alg: "HS256", PublicKeyFile: rsKey}), "auth.keys[0].public_key_file: HS256 has a secret"},
		{with(auth.KeyConfig{Alg: "HS256", SecretFile: rsKey}), "this is a PEM file"},
		{with(auth.KeyConfig{Alg: "HS256", SecretFile: file([]byte(secret[:31] + "\n"))}), "a secret of 31 bytes"},
		{with(auth.KeyConfig{Alg: "HS256", SecretFile: file(make([]byte, 1<<20))}), "larger than any key"},
		{with(auth.KeyConfig{Alg: "HS256", SecretFile: t.TempDir()}), "auth.keys[0].secret_file: "},
		{with(auth.KeyConfig{Alg: "HS256", SecretEnv: "PARLEY_NO_SUCH"}), "auth.keys[0].secret_env: PARLEY_NO_SUCH is not set"},
		{with(auth.KeyConfig{Alg: "RS256"}), "auth.keys[0].public_key_file: RS256 needs one"},
		{with(auth.KeyConfig{Alg: "RS256", SecretFile: hsKey}), "RS256 has a public key and no secret"},
		{with(auth.KeyConfig{Alg: "RS256", PublicKeyFile: hsKey}), "no PEM file"},
		{with(auth.KeyConfig{Alg: "RS256", PublicKeyFile: "nothing"}), "auth.keys[0].public_key_file: open nothing"},
		{with(auth.KeyConfig{Alg: "RS256", PublicKeyFile: file(private)}), "this is a private key"},
		{with(auth.KeyConfig{Alg: "RS256", PublicKeyFile: file(publicPEM(weak))}), "an RSA key of 1024 bits"},
		{with(auth.KeyConfig{Alg: "ES256", PublicKeyFile: rsKey}), "an RSA key is no key for ES256"},
		{with(auth.KeyConfig{Alg: "ES256", PublicKeyFile: file(publicPEM(p384.Public()))}), "P-384"},
		{with(auth.KeyConfig{Alg: "EdDSA", PublicKeyFile: file(publicPEM(ecKey().Public()))}), "an ECDSA key is no key for EdDSA"},
		{jwks("http://id.example/jwks.json", "RS256"), "auth.jwks.url: "},
		{jwks("id.example", "RS256"), "auth.jwks.url: "},
		{jwks("https://u:p@id.example/", "RS256"), "auth.jwks.url: a URL without a password"},
		{jwks("https://id.example/"), "auth.jwks.algs: "},
		{jwks("https://id.example/", "HS256"), "auth.jwks.algs: "},
		{jwks("https://id.example/", "RS256", "none"), "auth.jwks.algs: "},
		{auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{key, key}}}, "auth.api_keys[1].name: there are two keys called a"},
		{auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{nameless}}}, "auth.api_keys[0].name: "},
		{auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{grantless}}}, "auth.api_keys[0].grants: grant 1 has no rooms"},
		{auth.Settings{Anonymous: auth.Grants{{}}}, "anonymous: grant 1 has no rooms"},
		{auth.Settings{Revoked: auth.Revoked{Users: []string{"a\n"}}}, "revoked.users: "},
		{auth.Settings{Revoked: auth.Revoked{Keys: []string{""}}}, "revoked.keys: "},
	} {
		a, err := auth.New(t.Context(), c.settings, quiet)
		var mistake *auth.SettingError
		if !errors.As(err, &mistake) || a != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), secret[:31]) {
			t.Errorf("the error tells a secret: %v", err)
		}
	}
}
