package auth_test

import (
	"encoding/base64"
	"encoding/json"
	"log/slog"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/auth"
)

// ownClaims are those of the server's own token for ada.
func ownClaims() object {
	return object{
		"iss": "urn:parley:server", "aud": []string{"urn:parley:server"}, "sub": "ada", "exp": time.Now().Add(time.Hour).Unix(),
		"provider": "https://id.example", "groups": []string{"ops"},
	}
}

// FuzzOwnToken reads what is signed with the server's own key, and what is not.
func FuzzOwnToken(f *testing.F) {
	a, err := auth.New(f.Context(), auth.Settings{Auth: &auth.Config{OIDC: &auth.OIDCConfig{
		Issuer: "https://id.example", ClientID: "parley", RedirectURL: "https://chat.example/login/callback",
		Grants: grants(f, "join=lobby"), Groups: auth.Groups{"ops": grants(f, "send=ops")},
	}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = a.Close() })
	key := []byte(strings.Repeat("k", auth.LoginKeySize))
	a.SetLoginKey(key)
	b64 := base64.RawURLEncoding.EncodeToString
	for _, header := range []string{
		`{"alg":"HS256","typ":"parley-session+jwt"}`, `{"alg":"HS256","typ":"parley-attempt+jwt"}`,
		`{"alg":"none","typ":"parley-session+jwt"}`, `{"alg":"HS256","typ":["parley-session+jwt"]}`, `{"alg":"HS256"}`, `x`,
	} {
		for _, claims := range []object{
			ownClaims(), but(ownClaims(), "exp", nil), but(ownClaims(), "exp", 1), but(ownClaims(), "sub", "~ada"),
			but(ownClaims(), "aud", "parley"), but(ownClaims(), "iss", "https://id.example"),
			but(ownClaims(), "provider", "https://evil.example"), but(ownClaims(), "groups", "ops"),
			{},
		} {
			f.Add(header, must(json.Marshal(claims)))
		}
	}
	f.Fuzz(func(t *testing.T, header string, payload []byte) {
		text := b64([]byte(header)) + "." + b64(payload)
		p, err := a.Check(t.Context(), text+"."+b64(by("HS256", key)(text)))
		if other, err := a.Check(t.Context(), text+"."+b64(by("HS256", []byte(strings.Repeat("o", 32)))(text))); err == nil {
			t.Fatalf("by another key %s, %s is %+v", header, payload, other)
		}
		if err != nil {
			if e := parley.AsError(err); e.Code != parley.Unauthorized || len(err.Error()) > 2000 {
				t.Fatal(err)
			}
			return
		}
		name, err := parley.ParseName(p.User)
		if err != nil || name != p.User || p.User[0] == '~' || p.Anonymous || p.Key != "" || !p.Expires.After(time.Now()) {
			t.Fatalf("%s, %s is %+v", header, payload, p)
		}
		if may := p.Grants.String(); may != "join=lobby" && !strings.HasPrefix(may, "join=lobby send=ops") {
			t.Fatalf("%s, %s may %s", header, payload, may)
		}
	})
}

func TestOwnTokenByHand(t *testing.T) {
	t.Parallel()
	a, err := auth.New(t.Context(), auth.Settings{Auth: &auth.Config{OIDC: &auth.OIDCConfig{
		Issuer: "https://id.example", ClientID: "parley", RedirectURL: "https://chat.example/login/callback", Grants: grants(t, "join=lobby"),
		Groups: auth.Groups{"ops": grants(t, "send=ops")},
	}}}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	key := []byte(strings.Repeat("k", auth.LoginKeySize))
	a.SetLoginKey(key)
	for name, tt := range map[string]struct {
		header, claims object
		good           bool
	}{
		"as it is":         {object{"alg": "HS256", "typ": "parley-session+jwt"}, ownClaims(), true},
		"another type":     {object{"alg": "HS256", "typ": "JWT"}, ownClaims(), false},
		"an attempt":       {object{"alg": "HS256", "typ": "parley-attempt+jwt"}, ownClaims(), false},
		"no end":           {object{"alg": "HS256", "typ": "parley-session+jwt"}, but(ownClaims(), "exp", nil), false},
		"ended":            {object{"alg": "HS256", "typ": "parley-session+jwt"}, but(ownClaims(), "exp", time.Now().Unix()-1), false},
		"another audience": {object{"alg": "HS256", "typ": "parley-session+jwt"}, but(ownClaims(), "aud", "parley"), false},
		"another issuer":   {object{"alg": "HS256", "typ": "parley-session+jwt"}, but(ownClaims(), "iss", "https://id.example"), false},
		"another provider": {object{"alg": "HS256", "typ": "parley-session+jwt"}, but(ownClaims(), "provider", "https://evil.example"), false},
		"no user's name":   {object{"alg": "HS256", "typ": "parley-session+jwt"}, but(ownClaims(), "sub", "~ada"), false},
	} {
		p, err := a.Check(t.Context(), encode(t, tt.header, tt.claims, by("HS256", key)))
		if (err == nil) != tt.good {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
		if tt.good && p.Grants.String() != "join=lobby send=ops" {
			t.Errorf("%s may %s", name, p.Grants)
		}
	}
}
