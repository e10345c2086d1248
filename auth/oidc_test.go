package auth_test

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"parley"
	"parley/auth"
	"parley/internal/oidctest"
)

// signIns is an authority at which people sign in, and their provider.
type signIns struct {
	t         *testing.T
	provider  *oidctest.Provider
	settings  auth.Settings
	authority *auth.Authority

	mu    sync.Mutex
	later time.Duration // by which the authority's clock is ahead
}

func newSignIns(t *testing.T, change func(*auth.OIDCConfig)) *signIns {
	t.Helper()
	s := &signIns{t: t, provider: oidctest.New(t)}
	secret := filepath.Join(t.TempDir(), "oidc.secret")
	if err := os.WriteFile(secret, []byte(oidctest.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := &auth.OIDCConfig{
		Issuer: s.provider.URL, ClientID: oidctest.ClientID, ClientSecretFile: secret,
		RedirectURL: "http://127.0.0.1:8080/login/callback", Grants: grants(t, "join,send=lobby"),
		Groups: auth.Groups{"ops": grants(t, "join,history=ops.**")},
	}
	if change != nil {
		change(c)
	}
	s.settings = auth.Settings{Auth: &auth.Config{OIDC: c}, Clock: s.clock}
	s.authority = s.start()
	return s
}

func (s *signIns) start() *auth.Authority {
	s.t.Helper()
	a, err := auth.New(s.t.Context(), s.settings, slog.New(slog.DiscardHandler))
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = a.Close() })
	return a
}

func (s *signIns) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Now().Add(s.later)
}

func (s *signIns) wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.later += d
}

// begin goes to the provider and comes back with its answer.
func (s *signIns) begin() (attempt string, answer url.Values) {
	s.t.Helper()
	to, attempt, err := s.authority.Login().Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	return attempt, s.provider.Visit(s.t, to).Query()
}

func (s *signIns) finish(attempt string, answer url.Values) (string, error) {
	token, _, err := s.authority.Login().Finish(s.t.Context(), attempt, answer)
	return token, err
}

func (s *signIns) signIn() string {
	s.t.Helper()
	token, err := s.finish(s.begin())
	if err != nil {
		s.t.Fatal(err, errors.Unwrap(err))
	}
	return token
}

func TestSigningInAtAProvider(t *testing.T) {
	t.Parallel()
	s := newSignIns(t, nil)
	s.provider.Claim("name", "Ada Lovelace")
	s.provider.Claim("groups", []string{"staff", "ops", "ops"})
	p, err := s.authority.Check(t.Context(), s.signIn())
	if err != nil {
		t.Fatal(err)
	}
	if p.User != "ada" || p.Name != "Ada Lovelace" || p.Key != "" || p.Anonymous {
		t.Errorf("%+v", p)
	}
	if got, want := p.Grants.String(), "join,send=lobby join,history=ops.**"; got != want {
		t.Errorf("grants %s, want %s", got, want)
	}
	if left := time.Until(p.Expires); left > auth.CookieLife || left < auth.CookieLife-time.Minute {
		t.Errorf("it ends in %v", left)
	}
}

func TestClientsOfAProvider(t *testing.T) {
	t.Parallel()
	for _, method := range []string{oidctest.Basic, oidctest.Post, oidctest.Public} {
		s := newSignIns(t, func(c *auth.OIDCConfig) {
			if method == oidctest.Public {
				c.ClientSecretFile = ""
			}
		})
		s.provider.SetMethod(method)
		if _, err := s.authority.Check(t.Context(), s.signIn()); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
	s := newSignIns(t, func(c *auth.OIDCConfig) { c.ClientID = "another" })
	to, _, err := s.authority.Login().Begin(t.Context())
	if err != nil || !strings.Contains(to, "client_id=another") {
		t.Errorf("%s, %v", to, err)
	}
}

func TestUsersOfAProvider(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		claim  string
		claims map[string]any
		user   string // "" = refused
	}{
		"the subject":         {"", map[string]any{"sub": "248289761001"}, "248289761001"},
		"an email":            {"email", map[string]any{"email": "ada@id.example", "email_verified": true}, "ada@id.example"},
		"verified in words":   {"email", map[string]any{"email": "ada@id.example", "email_verified": "true"}, "ada@id.example"},
		"an unverified email": {"email", map[string]any{"email": "ada@id.example", "email_verified": false}, ""},
		"an email by itself":  {"email", map[string]any{"email": "ada@id.example"}, ""},
		"another claim":       {"preferred_username", map[string]any{"preferred_username": "countess"}, "countess"},
		"a claim there isn't": {"preferred_username", nil, ""},
		"no text":             {"number", map[string]any{"number": 7}, ""},
		"a guest's mark":      {"nick", map[string]any{"nick": "~ada"}, ""},
		"a hidden character":  {"nick", map[string]any{"nick": "ad\u202ea"}, ""},
		"not NFC":             {"nick", map[string]any{"nick": "e\u0301"}, ""},
		"too long":            {"nick", map[string]any{"nick": strings.Repeat("n", 65)}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSignIns(t, func(c *auth.OIDCConfig) { c.UserClaim = tt.claim })
			for claim, value := range tt.claims {
				s.provider.Claim(claim, value)
			}
			token, err := s.finish(s.begin())
			if tt.user == "" {
				if code(err) != parley.Denied || token != "" {
					t.Errorf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if p, err := s.authority.Check(t.Context(), token); err != nil || p.User != tt.user {
				t.Errorf("%+v, %v", p, err)
			}
		})
	}
}

func code(err error) parley.Code {
	if err == nil {
		return ""
	}
	return parley.AsError(err).Code
}

func TestSignInsThatAreRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		with  func(s *signIns, attempt *string, answer url.Values)
		want  parley.Code
		cause string
	}{
		"another state":        {func(_ *signIns, _ *string, a url.Values) { a.Set("state", "guessed") }, parley.Unauthorized, "state"},
		"no state":             {func(_ *signIns, _ *string, a url.Values) { a.Del("state") }, parley.Unauthorized, "state"},
		"two states":           {func(_ *signIns, _ *string, a url.Values) { a.Add("state", "x") }, parley.Unauthorized, "twice"},
		"another browser":      {func(_ *signIns, attempt *string, _ url.Values) { *attempt = "" }, parley.Unauthorized, "token"},
		"another sign-in":      {func(s *signIns, attempt *string, _ url.Values) { *attempt, _ = s.begin() }, parley.Unauthorized, "state"},
		"a session's token":    {func(s *signIns, attempt *string, _ url.Values) { *attempt = s.signIn() }, parley.Unauthorized, "token"},
		"too late":             {func(s *signIns, _ *string, _ url.Values) { s.wait(11 * time.Minute) }, parley.Unauthorized, "expired"},
		"no code":              {func(_ *signIns, _ *string, a url.Values) { a.Del("code") }, parley.Unauthorized, "no code"},
		"another code":         {func(_ *signIns, _ *string, a url.Values) { a.Set("code", "guessed") }, parley.Unauthorized, "invalid_grant"},
		"another issuer":       {func(_ *signIns, _ *string, a url.Values) { a.Set("iss", "https://evil.example") }, parley.Unauthorized, "evil"},
		"the user says no":     {func(_ *signIns, _ *string, a url.Values) { a.Set("error", "access_denied") }, parley.Unauthorized, "access_denied"},
		"a nonce of another":   {claiming("nonce", "guessed"), parley.Unauthorized, "nonce"},
		"no nonce":             {claiming("nonce", nil), parley.Unauthorized, "nonce"},
		"another audience":     {claiming("aud", "another"), parley.Unauthorized, "audience"},
		"several audiences":    {claiming("aud", []string{"parley", "another"}), parley.Unauthorized, "another client"},
		"another party":        {claiming("azp", "another"), parley.Unauthorized, "another client"},
		"an issuer of another": {claiming("iss", "https://evil.example"), parley.Unauthorized, "issued by a different provider"},
		"expired":              {claiming("exp", time.Now().Add(-time.Minute).Unix()), parley.Unauthorized, "expired"},
		"another's signature":  {func(s *signIns, _ *string, _ url.Values) { s.provider.Forge(s.t) }, parley.Unauthorized, "signature"},
		"a provider that fell": {func(s *signIns, _ *string, _ url.Values) { s.provider.SetDown(true) }, parley.Unavailable, "502"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSignIns(t, nil)
			attempt, answer := s.begin()
			tt.with(s, &attempt, answer)
			token, err := s.finish(attempt, answer)
			if code(err) != tt.want || token != "" {
				t.Fatalf("got %q, %v", token, err)
			}
			if cause := errors.Unwrap(err); cause == nil || !strings.Contains(cause.Error(), tt.cause) {
				t.Errorf("the cause is %v, want %q in it", cause, tt.cause)
			}
			for _, secret := range []string{answer.Get("code"), oidctest.ClientSecret} {
				if secret != "" && secret != "guessed" && strings.Contains(err.Error()+errors.Unwrap(err).Error(), secret) {
					t.Errorf("the error tells %q", secret)
				}
			}
		})
	}
}

func claiming(name string, value any) func(*signIns, *string, url.Values) {
	return func(s *signIns, _ *string, _ url.Values) { s.provider.Claim(name, value) }
}

func TestACodeCountsOnce(t *testing.T) {
	t.Parallel()
	s := newSignIns(t, nil)
	attempt, answer := s.begin()
	if _, err := s.finish(attempt, answer); err != nil {
		t.Fatal(err)
	}
	if token, err := s.finish(attempt, answer); code(err) != parley.Unauthorized {
		t.Errorf("again: %q, %v", token, err)
	}
}

func TestAProviderThatIsDown(t *testing.T) {
	t.Parallel()
	s := newSignIns(t, nil)
	s.provider.SetDown(true)
	if _, _, err := s.authority.Login().Begin(t.Context()); code(err) != parley.Unavailable {
		t.Fatal(err)
	}
	s.provider.SetDown(false)
	token := s.signIn()
	s.provider.SetDown(true) // who is in stays in
	if _, err := s.authority.Check(t.Context(), token); err != nil {
		t.Error(err)
	}
}

func TestASignInEnds(t *testing.T) {
	t.Parallel()
	s := newSignIns(t, nil)
	token := s.signIn()
	s.wait(auth.CookieLife + time.Second)
	if _, err := s.authority.Check(t.Context(), token); code(err) != parley.Unauthorized {
		t.Error(err)
	}
}

// A restart keeps sessions where it keeps the key, and no key but that one makes them.
func TestSignInsOutlastARestart(t *testing.T) {
	t.Parallel()
	s := newSignIns(t, nil)
	key := []byte(strings.Repeat("k", auth.LoginKeySize))
	s.authority.SetLoginKey(key)
	token := s.signIn()
	again := s.start()
	if _, err := again.Check(t.Context(), token); code(err) != parley.Unauthorized {
		t.Errorf("by another key: %v", err)
	}
	again.SetLoginKey(key)
	if p, err := again.Check(t.Context(), token); err != nil || p.User != "ada" {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestSignInsFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	s := newSignIns(t, nil)
	s.provider.Claim("groups", "ops")
	token := s.signIn()
	p, err := s.authority.Check(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	if same, err := s.authority.Renew(p); err != nil || same != p {
		t.Errorf("nothing has changed, and it becomes %+v, %v", same, err)
	}
	replace := func(change func(*auth.OIDCConfig)) {
		t.Helper()
		settings, config := s.settings, *s.settings.Auth.OIDC
		change(&config)
		settings.Auth = &auth.Config{OIDC: &config}
		if err := s.authority.Replace(t.Context(), settings); err != nil {
			t.Fatal(err)
		}
	}
	replace(func(c *auth.OIDCConfig) { c.Groups = auth.Groups{"ops": grants(t, "members=ops.**")} })
	for what, find := range map[string]func() (*auth.Principal, error){
		"checked": func() (*auth.Principal, error) { return s.authority.Check(t.Context(), token) },
		"renewed": func() (*auth.Principal, error) { return s.authority.Renew(p) },
	} {
		if p, err := find(); err != nil || p.Grants.String() != "join,send=lobby members=ops.**" {
			t.Errorf("%s: %+v, %v", what, p, err)
		}
	}
	replace(func(c *auth.OIDCConfig) { c.Issuer = "https://id.example" })
	if _, err := s.authority.Renew(p); code(err) != parley.Unauthorized {
		t.Errorf("of another provider: %v", err)
	}
	s.authority.Revoke([]string{"ada"}, nil)
	replace(func(*auth.OIDCConfig) {})
	if _, err := s.authority.Check(t.Context(), token); code(err) != parley.Unauthorized {
		t.Errorf("revoked: %v", err)
	}
}

// The server's own tokens and configured ones are never taken for each other, whatever they say.
func TestOwnTokensAreApart(t *testing.T) {
	t.Parallel()
	s := newSignIns(t, nil)
	s.settings.Auth.Issuer, s.settings.Auth.Audience = "https://id.example", "parley"
	file := filepath.Join(t.TempDir(), "hs.key")
	if err := os.WriteFile(file, []byte(strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.settings.Auth.Keys = []auth.KeyConfig{{Alg: "HS256", SecretFile: file}}
	both := s.start()
	signer, err := auth.LoadSigner(file, "", "")
	if err != nil {
		t.Fatal(err)
	}
	for _, issuer := range []string{"urn:parley:server", "https://id.example"} {
		token, err := signer.Sign(auth.Token{Issuer: issuer, Audience: "urn:parley:server", User: "eve", Expires: time.Now().Add(time.Hour)}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if p, err := both.Check(t.Context(), token); err == nil {
			t.Errorf("a configured key made %+v", p)
		}
	}
	attempt, _ := s.begin()
	if p, err := s.authority.Check(t.Context(), attempt); err == nil {
		t.Errorf("a sign-in under way is %+v", p)
	}
	if p, err := both.Check(t.Context(), s.signIn()); err == nil {
		t.Errorf("another server's own token is %+v", p)
	}
}

func TestOIDCSettings(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change func(*auth.OIDCConfig)
		want   string
	}{
		"an issuer anyone can read": {func(c *auth.OIDCConfig) { c.Issuer = "http://id.example" }, "auth.oidc.issuer"},
		"a callback elsewhere":      {func(c *auth.OIDCConfig) { c.RedirectURL = "https://chat.example/other" }, "auth.oidc.redirect_url"},
		"an open callback":          {func(c *auth.OIDCConfig) { c.RedirectURL = "http://chat.example/login/callback" }, "auth.oidc.redirect_url"},
		"a query of its own":        {func(c *auth.OIDCConfig) { c.RedirectURL += "?to=x" }, "auth.oidc.redirect_url"},
		"no client":                 {func(c *auth.OIDCConfig) { c.ClientID = "" }, "auth.oidc.client_id"},
		"no grants":                 {func(c *auth.OIDCConfig) { c.Grants, c.Groups = nil, nil }, "auth.oidc.grants"},
		"no secret there":           {func(c *auth.OIDCConfig) { c.ClientSecretFile = "nowhere" }, "auth.oidc.client_secret_file"},
		"no scope":                  {func(c *auth.OIDCConfig) { c.Scopes = []string{"a b"} }, "auth.oidc.scopes"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := &auth.OIDCConfig{
				Issuer: "https://id.example", ClientID: "parley",
				RedirectURL: "https://chat.example/login/callback", Grants: grants(t, "join=lobby"),
			}
			tt.change(c)
			_, err := auth.New(context.Background(), auth.Settings{Auth: &auth.Config{OIDC: c}}, slog.New(slog.DiscardHandler))
			var wrong *auth.SettingError
			if !errors.As(err, &wrong) || wrong.Path != tt.want {
				t.Errorf("got %v, want one of %s", err, tt.want)
			}
		})
	}
}
