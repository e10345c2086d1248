package auth_test

import (
	"crypto/x509"
	"encoding/pem"
	"strings"
	"testing"
	"time"

	"parley/auth"
)

// What a new key signs, its public part checks, for each algorithm.
func TestSignAndCheck(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{"HS256", "RS256", "ES256", "EdDSA"} {
		private, public, err := auth.NewKey(alg)
		if err != nil {
			t.Fatal(err)
		}
		signer, err := auth.LoadSigner(write(t, "private", private), "", "k1")
		if err != nil {
			t.Fatal(err)
		}
		key := auth.KeyConfig{Alg: alg, KID: "k1"}
		if file := write(t, "public", public); auth.IsSecret(alg) {
			key.SecretFile = file
		} else {
			key.PublicKeyFile = file
		}
		config := &auth.Config{Issuer: issuer, Audience: audience, Keys: []auth.KeyConfig{key}}
		what := auth.Token{
			Issuer: issuer, Audience: audience, User: "ada", Name: "Ada",
			Grants: grants(t, "join,send=lobby"), Expires: noon.Add(time.Hour),
		}
		token, err := signer.Sign(what, noon)
		if err != nil {
			t.Fatal(err)
		}
		p, err := authority(t, auth.Settings{Auth: config}).Check(t.Context(), token)
		if err != nil {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		if p.User != "ada" || p.Name != "Ada" || show(p.Grants) != "[join,send=lobby]" || !p.Expires.Equal(what.Expires) || p.TokenID == "" {
			t.Errorf("%s: %+v", alg, p)
		}
		in, err := auth.Inspect(t.Context(), auth.Settings{Auth: config, Clock: clockAt(noon)}, token)
		if err != nil || !in.Checked || !in.Good || in.Why != "" || in.Header["alg"] != alg || in.User != "ada" || !in.Expires.Equal(what.Expires) {
			t.Errorf("%s: %+v, %v", alg, in, err)
		}
		for name, wrong := range map[string]auth.Token{
			"a name that is none": {User: "~ada"},
			"no name":             {},
			"a grant of nothing":  {User: "ada", Grants: auth.Grants{{}}},
			"more than is taken":  {User: "ada", Issuer: strings.Repeat("x", auth.MaxCredential)},
		} {
			if token, err := signer.Sign(wrong, noon); err == nil {
				t.Errorf("%s: %s", name, token)
			}
		}
	}
	if _, _, err := auth.NewKey("none"); err == nil {
		t.Error("a key for none")
	}
}

func TestSignersThatCannotBe(t *testing.T) {
	t.Parallel()
	private, public, err := auth.NewKey("EdDSA")
	if err != nil {
		t.Fatal(err)
	}
	old := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: must(x509.MarshalECPrivateKey(ecKey()))})
	if _, err := auth.LoadSigner(write(t, "old", old), "ES256", ""); err != nil {
		t.Error(err)
	}
	for _, c := range []struct {
		data []byte
		alg  string
		want string
	}{
		{private, "RS256", "an Ed25519 key is no key for RS256"},
		{private, "HS256", "no key for HS256"},
		{public, "", "not of a private key"},
		{[]byte("short"), "", "a secret of 5 bytes"},
		{[]byte(secret), "RS256", "no private key in PEM"},
		{pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: []byte("x")}), "", "asn1"},
	} {
		if _, err := auth.LoadSigner(write(t, "key", c.data), c.alg, ""); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want %q", c.alg, err, c.want)
		}
	}
	if _, err := config(t).Signer("RS256", ""); err == nil {
		t.Error("a public key signs")
	}
	if _, err := config(t).Signer("", "main"); err == nil {
		t.Error("another key signs")
	}
	if _, err := config(t).Signer("", ""); err != nil {
		t.Error(err)
	}
}

// An inspection says what is wrong, and reads what it does not believe.
func TestInspect(t *testing.T) {
	t.Parallel()
	settings := auth.Settings{Auth: config(t), Clock: clockAt(noon)}
	for name, c := range map[string]struct {
		credential string
		why        string
		user       string
	}{
		"another key":     {encode(t, object{"alg": "RS256", "kid": "other"}, good(), by("RS256", rsaKey())), `no key here is for alg "RS256", kid "other"`, "ada"},
		"unsigned":        {encode(t, object{"alg": "none"}, good(), func(string) []byte { return nil }), "not signed", "ada"},
		"an unknown alg":  {encode(t, object{"alg": "X"}, good(), func(string) []byte { return nil }), "not signed", "ada"},
		"expired":         {hs(t, but(good(), "exp", 1)), "has expired", "ada"},
		"a bad right":     {hs(t, but(good(), "parley", []object{{"rooms": "a", "may": []string{"fly"}}})), `no right "fly"`, "ada"},
		"no token":        {"hello", "neither a token nor an API key", ""},
		"half an API key": {"pk_x", "API key is not known", ""},
	} {
		in, err := auth.Inspect(t.Context(), settings, c.credential)
		if err != nil || in.Good || !strings.Contains(in.Why, c.why) || in.User != c.user {
			t.Errorf("%s: %+v, %v", name, in, err)
		}
	}
	in, err := auth.Inspect(t.Context(), auth.Settings{}, hs(t, good()))
	if err != nil || in.Checked || in.Good || in.User != "ada" || show(in.Grants) != "[join,send=ops.*]" {
		t.Errorf("without settings: %+v, %v", in, err)
	}
}
