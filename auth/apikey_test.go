package auth_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/argon2"

	"parley"
	"parley/auth"
)

// apiKey makes one with its configuration.
func apiKey(t testing.TB, name string, may ...string) (string, auth.APIKeyConfig) {
	t.Helper()
	key, hash, err := auth.NewAPIKey(name)
	if err != nil {
		t.Fatal(err)
	}
	return key, auth.APIKeyConfig{Name: name, Hash: hash, Grants: grants(t, may...)}
}

func TestAPIKeys(t *testing.T) {
	t.Parallel()
	key, billing := apiKey(t, "billing", "join,send=orders.**")
	other, shop := apiKey(t, "shop_front.v2", "send=shop")
	settings := auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{billing, shop}}}
	a := authority(t, settings)
	p, err := a.Check(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if p.User != "billing" || p.Key != "billing" || !p.Expires.IsZero() || p.Anonymous || show(p.Grants) != "[join,send=orders.**]" {
		t.Errorf("%+v", p)
	}
	if q, err := a.Check(t.Context(), other); err != nil || q.User != "shop_front.v2" {
		t.Errorf("%+v, %v", q, err)
	}
	if again, err := a.Check(t.Context(), key); err != nil || again != p {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	secret := key[strings.LastIndexByte(key, '_')+1:]
	for name, bad := range map[string]string{
		"another secret":        "pk_billing_AAAAAAAAAAAAAAAAAAAAAAAAAA",
		"another's name":        "pk_shop_front.v2_" + secret,
		"a name nobody has":     "pk_nobody_" + secret,
		"the secret in part":    key[:len(key)-1],
		"and more":              key + "A",
		"no secret":             "pk_billing_",
		"no name":               "pk__" + secret,
		"neither":               "pk_",
		"a space":               key + " ",
		"a long secret":         "pk_billing_" + strings.Repeat("A", 1000),
		"the hash":              "pk_billing_" + billing.Hash,
		"another case":          strings.ToUpper(key),
		"the secret alone":      secret,
		"a name with a newline": "pk_bil\nling_" + secret,
	} {
		for range 2 { // the second time it is remembered
			p, err := a.Check(t.Context(), bad)
			if e := parley.AsError(err); err == nil || e.Code != parley.Unauthorized || strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %+v, %v", name, p, err)
			}
		}
	}

	// Revoked, given other grants, another secret, or taken away.
	if a.Revoke(nil, []string{"billing"}); !a.Revoked(p) {
		t.Error("not revoked")
	}
	if _, err := a.Check(t.Context(), key); err == nil {
		t.Error("revoked, and let in")
	}
	a.Restore(nil, []string{"billing"})
	settings.Auth.APIKeys[0].Grants = grants(t, "join=lobby")
	if err := a.Replace(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	if q, err := a.Renew(p); err != nil || show(q.Grants) != "[join=lobby]" {
		t.Errorf("other grants: %+v, %v", q, err)
	}
	_, settings.Auth.APIKeys[0] = apiKey(t, "billing", "join=lobby")
	if err := a.Replace(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	if q, err := a.Renew(p); err == nil {
		t.Errorf("another secret: %+v", q)
	}
	if q, err := a.Check(t.Context(), key); err == nil {
		t.Errorf("another secret: %+v", q)
	}
	settings.Auth.APIKeys = settings.Auth.APIKeys[1:]
	if err := a.Replace(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	if q, err := a.Renew(p); err == nil {
		t.Errorf("taken away: %+v", q)
	}
}

// Many clients of one key that come at once are all let in, at the price of one hash.
func TestAPIKeyOfMany(t *testing.T) {
	t.Parallel()
	key, config := apiKey(t, "fleet", "send=**")
	a := authority(t, auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{config}}})
	var wg sync.WaitGroup
	for range 500 {
		wg.Go(func() {
			if _, err := a.Check(t.Context(), key); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// Hashes of other tools, whose parameters are not ours.
func TestHashesOfOthers(t *testing.T) {
	t.Parallel()
	salt := "c2FsdHNhbHRzYWx0"
	for _, c := range []struct {
		params string
		sum    string // "" = a good one
		want   string // of the error; "" = none
	}{
		{"m=64,t=1,p=1", "", ""},
		{"m=65536,t=3,p=4", "", ""},
		{"m=262144,t=1,p=1", "", "m=262144"},
		{"m=131072,t=16,p=1", "", "takes too long"},
		{"m=4294967295,t=1,p=1", "", "m=4294967295"},
		{"m=19456,t=4294967295,p=1", "", "t=4294967295"},
		{"m=64,t=0,p=1", "AAAAAAAAAAAAAAAAAAAAAA", "t=0"},
		{"m=64,t=1,p=0", "AAAAAAAAAAAAAAAAAAAAAA", "p=0"},
		{"m=64,t=1,p=9", "", "p=9"},
		{"m=8,t=1,p=4", "", "m=8"},
		{"m=64,t=1,p=300", "AAAAAAAAAAAAAAAAAAAAAA", "no argon2id hash"},
		{"m=64,t=1", "", "no argon2id hash"},
		{"t=1,m=64,p=1", "", "no argon2id hash"},
		{"m=64,t=1,p=1,x=1", "", "no argon2id hash"},
		{"m=64,t=1,p=1", "AAAA", "a hash of 3 bytes"},
		{"m=64,t=1,p=1", "AAAAAAAAAAAAAAAAAAAAAA==", "no argon2id hash"},
		{"m=64,t=1,p=1", "A", "no argon2id hash"},
		{"m=064,t=1,p=1", "", "no argon2id hash"},
	} {
		sum := c.sum
		if sum == "" {
			var memory, time, threads int
			_, _ = fmt.Sscanf(c.params, "m=%d,t=%d,p=%d", &memory, &time, &threads)
			if memory > 65536 || time > 16 || threads < 1 {
				memory, time, threads = 64, 1, 1
			}
			sum = b64(argon2.IDKey([]byte("sesame"), []byte("saltsaltsalt"), uint32(time), uint32(memory), uint8(threads), 32))
		}
		hash := "$argon2id$v=19$" + c.params + "$" + salt + "$" + sum
		a, err := auth.New(t.Context(), auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{{Name: "x", Hash: hash, Grants: grants(t, "join=a")}}}}, quiet)
		switch {
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "auth.api_keys[0].hash: of x: ")):
			t.Errorf("%s: %v; want %q", hash, err, c.want)
		case c.want == "" && err != nil:
			t.Errorf("%s: %v", hash, err)
		case c.want == "":
			if _, err := a.Check(t.Context(), "pk_x_sesame"); err != nil {
				t.Errorf("%s: %v", hash, err)
			}
		}
	}
}

func FuzzCheckAPIKey(f *testing.F) {
	key, config := apiKey(f, "billing", "send=orders")
	config.Hash = "$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHRzYWx0$" + b64(argon2.IDKey([]byte("sesame"), []byte("saltsaltsalt"), 1, 64, 1, 32))
	a := authority(f, auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{config}}})
	for _, s := range []string{key, "pk_billing_sesame", "pk_", "pk__", "pk_billing_", "pk_a_b_c", "pk_\xff_x", "sesame"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, credential string) {
		p, err := a.Check(t.Context(), credential)
		if good := credential == "pk_billing_sesame"; good != (err == nil) || good != (p != nil) {
			t.Fatalf("%q: %+v, %v", credential, p, err)
		}
		if err != nil && parley.AsError(err).Code != parley.Unauthorized {
			t.Fatalf("%q: %v", credential, err)
		}
	})
}

func FuzzParseHash(f *testing.F) {
	_, config := apiKey(f, "x", "send=a")
	f.Add(config.Hash)
	f.Add("$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ$AAAAAAAAAAAAAAAAAAAAAA")
	f.Fuzz(func(t *testing.T, hash string) {
		settings := auth.Settings{Auth: &auth.Config{APIKeys: []auth.APIKeyConfig{{Name: "x", Hash: hash, Grants: config.Grants}}}}
		if _, err := auth.New(t.Context(), settings, quiet); err == nil && !strings.HasPrefix(hash, "$argon2id$v=19$m=") {
			t.Fatalf("%q is a hash", hash)
		}
	})
}
