package httpapi_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"parley"
	"parley/auth"
	"parley/internal/oidctest"
	"parley/transport/http"
)

// doorkeeper is an authority, and who signs tokens for it.
type doorkeeper struct {
	*auth.Authority
	t      *testing.T
	signer *auth.Signer
	key    string // an API key
}

const signingSecret = "0123456789abcdef0123456789abcdef"

func guard(t *testing.T, change func(*auth.Settings)) *doorkeeper {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hs.key")
	if err := os.WriteFile(file, []byte(signingSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	d := &doorkeeper{t: t}
	var hash string
	var err error
	if d.key, hash, err = auth.NewAPIKey("billing"); err != nil {
		t.Fatal(err)
	}
	may := auth.Grants{grantOf(t, "join,send,history=lobby")}
	s := auth.Settings{
		Auth: &auth.Config{
			Issuer: "https://id.example", Audience: "parley", Keys: []auth.KeyConfig{{Alg: "HS256", SecretFile: file}},
			APIKeys: []auth.APIKeyConfig{{Name: "billing", Hash: hash, Grants: may}},
		},
		Revoked: auth.Revoked{Users: []string{"mallory"}},
	}
	if change != nil {
		change(&s)
	}
	if d.Authority, err = auth.New(t.Context(), s, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	if d.signer, err = auth.LoadSigner(file, "", ""); err != nil {
		t.Fatal(err)
	}
	return d
}

func grantOf(t *testing.T, text string) auth.Grant {
	t.Helper()
	g, err := auth.ParseGrant(text)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// token makes one for somebody who may use the lobby.
func (d *doorkeeper) token(user string, life time.Duration) string {
	d.t.Helper()
	return d.tokenOf(auth.Token{User: user, Name: "The " + user}, life)
}

func (d *doorkeeper) tokenOf(token auth.Token, life time.Duration) string {
	d.t.Helper()
	now := time.Now()
	token.Issuer, token.Audience, token.Expires = "https://id.example", "parley", now.Add(life)
	if token.Grants == nil {
		token.Grants = auth.Grants{grantOf(d.t, "join,send,history=lobby")}
	}
	text, err := d.signer.Sign(token, now)
	if err != nil {
		d.t.Fatal(err)
	}
	return text
}

// cookie is the one of a name that an answer sets.
func (a answer) cookie(t *testing.T, name string) *http.Cookie {
	t.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// whoIs is the answer to GET /session.
type whoIs struct {
	User, Name string
	Grants     auth.Grants
	Expires    *time.Time
	Anonymous  bool
	Auth       bool
	Login      string
}

func (f *fixture) whoAmI(headers ...string) (w whoIs, a answer) {
	f.t.Helper()
	a = f.ask("GET", "/session", "", headers...)
	if a.status == http.StatusOK {
		if err := json.Unmarshal(a.body, &w); err != nil {
			f.t.Fatalf("%v: %s", err, a.body)
		}
	}
	return w, a
}

func TestATokenBecomesACookie(t *testing.T) {
	d := guard(t, nil)
	f := serveFor(t, httpapi.Config{}, d.Authority)
	for life, want := range map[time.Duration]int{time.Hour: 3600, 48 * time.Hour: 12 * 3600} {
		token := d.token("ada", life)
		a := f.ask("POST", "/session", "", "Authorization: Bearer "+token, "Sec-Fetch-Site: same-origin")
		c := a.cookie(t, "parley")
		if a.status != http.StatusNoContent || c == nil {
			t.Fatalf("%d %s", a.status, a.header)
		}
		if c.Value != token || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || c.Domain != "" || c.Secure {
			t.Errorf("the cookie is %s", a.header.Get("Set-Cookie"))
		}
		if c.MaxAge > want || c.MaxAge < want-60 {
			t.Errorf("a token for %v is kept for %d s, want %d", life, c.MaxAge, want)
		}
		w, _ := f.whoAmI("Cookie: parley=" + token)
		if w.User != "ada" || w.Name != "The ada" || w.Anonymous || !w.Auth || w.Grants.String() != "join,history,send=lobby" ||
			w.Expires == nil || time.Until(*w.Expires) > life {
			t.Errorf("%+v", w)
		}
		if a := f.ask("POST", "/rooms/lobby", "hello", "Cookie: parley="+token); a.status != http.StatusCreated {
			t.Errorf("sending by the cookie: %d %s", a.status, a.body)
		}
	}
	a := f.ask("DELETE", "/session", "")
	if c := a.cookie(t, "parley"); a.status != http.StatusNoContent || c == nil || c.MaxAge != -1 || c.Value != "" || c.Path != "/" {
		t.Errorf("signed out: %d %s", a.status, a.header)
	}
}

func TestCookiesAreSecureOverTLS(t *testing.T) {
	d := guard(t, nil)
	f := serveFor(t, httpapi.Config{Hostnames: []string{"chat.example"}}, d.Authority)
	bearer := "Authorization: Bearer " + d.token("ada", time.Hour)
	// The browser says so where a proxy speaks TLS for us.
	a := f.ask("POST", "/session", "", bearer, "Host: chat.example", "Origin: https://chat.example", "Sec-Fetch-Site: same-origin")
	if c := a.cookie(t, "__Host-parley"); c == nil || !c.Secure {
		t.Errorf("%d %s", a.status, a.header)
	}
}

func TestWhatBecomesNoCookie(t *testing.T) {
	d := guard(t, nil)
	f := serveFor(t, httpapi.Config{}, d.Authority)
	good := d.token("ada", time.Hour)
	long := d.tokenOf(auth.Token{User: "ada", Grants: slices.Repeat(auth.Grants{grantOf(t, "join="+strings.Repeat("n", 120))}, 30)}, time.Hour)
	for name, tt := range map[string]struct {
		headers []string
		status  int
		code    parley.Code
	}{
		"nothing shown":   {nil, 401, parley.Unauthorized},
		"a cookie":        {[]string{"Cookie: parley=" + good}, 401, parley.Unauthorized},
		"another scheme":  {[]string{"Authorization: Basic YTpi"}, 401, parley.Unauthorized},
		"no token":        {[]string{"Authorization: Bearer x; Domain=evil.example"}, 401, parley.Unauthorized},
		"an old token":    {[]string{"Authorization: Bearer " + d.token("ada", -time.Hour)}, 401, parley.Unauthorized},
		"revoked":         {[]string{"Authorization: Bearer " + d.token("mallory", time.Hour)}, 401, parley.Unauthorized},
		"an API key":      {[]string{"Authorization: Bearer " + d.key}, 400, parley.BadRequest},
		"a long token":    {[]string{"Authorization: Bearer " + long}, 413, parley.TooLarge},
		"another origin":  {[]string{"Authorization: Bearer " + good, "Origin: https://evil.example"}, 403, parley.Denied},
		"another site":    {[]string{"Authorization: Bearer " + good, "Sec-Fetch-Site: cross-site"}, 403, parley.Denied},
		"a neighbour":     {[]string{"Authorization: Bearer " + good, "Sec-Fetch-Site: same-site"}, 403, parley.Denied},
		"a hidden origin": {[]string{"Authorization: Bearer " + good, "Origin: null"}, 403, parley.Denied},
	} {
		a := f.ask("POST", "/session", "", tt.headers...)
		if a.status != tt.status || a.code() != tt.code || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%s: %d %s, cookie %q", name, a.status, a.body, a.header.Get("Set-Cookie"))
		}
		if challenge := a.header.Get("WWW-Authenticate"); (challenge == "Bearer") != (tt.status == 401) {
			t.Errorf("%s: %d with the challenge %q", name, a.status, challenge)
		}
		if bytes.Contains(a.body, []byte(good)) {
			t.Errorf("%s: the answer repeats the token", name)
		}
	}
}

// A page whose origin is listed may use this server with a token of its own, and never by the cookie of
// who looks at it.
func TestListedOriginsHaveNoCookies(t *testing.T) {
	const listed = "https://friend.example"
	d := guard(t, func(s *auth.Settings) { s.Anonymous = auth.Grants{grantOf(t, "join=lobby")} })
	f := serveFor(t, httpapi.Config{Origins: []string{listed}}, d.Authority)
	cookie, bearer := "Cookie: parley="+d.token("ada", time.Hour), "Authorization: Bearer "+d.token("ada", time.Hour)
	for _, site := range [][]string{{"Origin: " + listed}, {"Origin: " + listed, "Sec-Fetch-Site: cross-site"}} {
		if a := f.ask("POST", "/rooms/lobby", "by the cookie", append(site, cookie)...); a.status != http.StatusForbidden {
			t.Errorf("%s sends by a cookie: %d %s", site, a.status, a.body)
		}
		if a := f.ask("GET", "/rooms/lobby", "", append(site, cookie)...); a.status != http.StatusForbidden {
			t.Errorf("%s reads by a cookie: %d %s", site, a.status, a.body)
		}
		if a := f.ask("POST", "/rooms/lobby", "by its token", append(site, bearer)...); a.status != http.StatusCreated {
			t.Errorf("%s sends by a token: %d %s", site, a.status, a.body)
		}
		for _, method := range []string{"GET", "POST", "DELETE"} {
			if a := f.ask(method, "/session", "", append(site, cookie, bearer)...); a.status != http.StatusForbidden || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s %s /session: %d", site, method, a.status)
			}
		}
	}
}

func TestWhoOneIs(t *testing.T) {
	d := guard(t, func(s *auth.Settings) { s.Anonymous = auth.Grants{grantOf(t, "join=lobby")} })
	f := serveFor(t, httpapi.Config{}, d.Authority)
	if w, _ := f.whoAmI(); !w.Anonymous || w.User != "" || w.Grants.String() != "join=lobby" || !w.Auth || w.Expires != nil || w.Login != "" {
		t.Errorf("nobody is %+v", w)
	}
	if w, _ := f.whoAmI("Authorization: Bearer " + d.key); w.User != "billing" || w.Anonymous || w.Expires != nil {
		t.Errorf("a service is %+v", w)
	}
	w, a := f.whoAmI("Cookie: parley=" + d.token("ada", -time.Hour))
	if c := a.cookie(t, "parley"); !w.Anonymous || c == nil || c.MaxAge != -1 {
		t.Errorf("by an old cookie: %+v %s", w, a.header)
	}
	if _, a := f.whoAmI("Authorization: Bearer " + d.token("ada", -time.Hour)); a.status != http.StatusUnauthorized {
		t.Errorf("by an old token: %d", a.status)
	}
	open := serve(t, httpapi.Config{})
	if w, _ := open.whoAmI(); !w.Anonymous || w.Auth || len(w.Grants) != 1 {
		t.Errorf("where everybody may do everything: %+v", w)
	}
	if a := open.ask("POST", "/session", "", "Authorization: Bearer x"); a.status != http.StatusConflict {
		t.Errorf("signing in there: %d", a.status)
	}
	for _, path := range []string{"/login", "/login/callback?code=x&state=y"} {
		if a := open.ask("GET", path, ""); a.status != http.StatusNotFound {
			t.Errorf("%s there: %d", path, a.status)
		}
	}
}

// signInPage is a server at which people sign in at a provider.
func signInPage(t *testing.T) (*fixture, *oidctest.Provider, *bytes.Buffer) {
	t.Helper()
	p := oidctest.New(t)
	secret := filepath.Join(t.TempDir(), "oidc.secret")
	if err := os.WriteFile(secret, []byte(oidctest.ClientSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	d := guard(t, func(s *auth.Settings) {
		s.Auth.OIDC = &auth.OIDCConfig{
			Issuer: p.URL, ClientID: oidctest.ClientID, ClientSecretFile: secret,
			RedirectURL: "https://chat.example/login/callback", Grants: auth.Grants{grantOf(t, "join,send=lobby")},
		}
	})
	var log bytes.Buffer // read when nothing is asked
	f := serveGuarded(t, httpapi.Config{Hostnames: []string{"chat.example"}}, d.Authority,
		slog.New(slog.NewTextHandler(&log, nil)), func(*httpapi.Server) {})
	return f, p, &log
}

// goThere begins a sign-in, and gives the way back from the provider and the browser's cookie.
func goThere(t *testing.T, f *fixture, p *oidctest.Provider) (back *url.URL, cookie string) {
	t.Helper()
	a := f.ask("GET", "/login", "", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate")
	c := a.cookie(t, "parley_login")
	if a.status != http.StatusSeeOther || c == nil {
		t.Fatalf("%d %s", a.status, a.header)
	}
	if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/login" || c.MaxAge > 600 || c.MaxAge < 60 || !c.Secure {
		t.Errorf("the cookie is %s", a.header.Get("Set-Cookie"))
	}
	to, err := url.Parse(a.header.Get("Location"))
	if err != nil || !strings.HasPrefix(to.String(), p.URL+"/authorize?") {
		t.Fatalf("sent to %s", to)
	}
	q := to.Query()
	if q.Get("code_challenge_method") != "S256" || len(q.Get("code_challenge")) != 43 || q.Get("nonce") == "" || q.Get("state") == "" ||
		q.Get("redirect_uri") != "https://chat.example/login/callback" || q.Get("scope") != "openid profile email" {
		t.Errorf("the provider is asked %s", to)
	}
	return p.Visit(t, to.String()), "Cookie: parley_login=" + c.Value
}

// navigation are the headers of a browser that another site has sent here.
var navigation = []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}

func TestSigningInAtTheProvider(t *testing.T) {
	f, p, log := signInPage(t)
	if w, _ := f.whoAmI(); w.Login != "127.0.0.1" || !w.Anonymous {
		t.Errorf("%+v", w)
	}
	back, cookie := goThere(t, f, p)
	a := f.ask("GET", back.RequestURI(), "", append(navigation, cookie)...)
	c := a.cookie(t, "parley")
	if a.status != http.StatusSeeOther || a.header.Get("Location") != "/" || c == nil {
		t.Fatalf("%d %s %s", a.status, a.header, log)
	}
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || !c.Secure || c.MaxAge > 12*3600 || c.MaxAge < 11*3600 {
		t.Errorf("the cookie is %s", a.header)
	}
	if used := a.cookie(t, "parley_login"); used == nil || used.MaxAge != -1 {
		t.Errorf("the sign-in is not over: %s", a.header)
	}
	w, _ := f.whoAmI("Cookie: parley=" + c.Value)
	if w.User != "ada" || w.Anonymous || w.Grants.String() != "join,send=lobby" || w.Expires == nil {
		t.Errorf("%+v", w)
	}
	if a := f.ask("POST", "/rooms/lobby", "hello", "Cookie: parley="+c.Value); a.status != http.StatusCreated {
		t.Errorf("%d %s", a.status, a.body)
	}
	// Once more, by the same way back.
	if a := f.ask("GET", back.RequestURI(), "", append(navigation, cookie)...); a.cookie(t, "parley") != nil {
		t.Errorf("the code counts twice: %s", a.header)
	}
	for _, secret := range []string{back.Query().Get("code"), c.Value, oidctest.ClientSecret} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log tells a secret: %s", log)
		}
	}
}

// Whoever the browser comes back from, it goes on to the page and nowhere else.
func TestTheWayBackLeadsToThePageAlone(t *testing.T) {
	word := regexp.MustCompile(`^/\?signin=(unauthorized|denied|unavailable)$`)
	for name, path := range map[string]func(back *url.URL, p *oidctest.Provider) string{
		"another state": func(b *url.URL, _ *oidctest.Provider) string { return with(b, "state", "x") },
		"another code":  func(b *url.URL, _ *oidctest.Provider) string { return with(b, "code", "x") },
		"a way out": func(b *url.URL, _ *oidctest.Provider) string {
			return with(with2(b, "state", ""), "to", "https://evil.example")
		},
		"an error":        func(b *url.URL, _ *oidctest.Provider) string { return with(b, "error", "//evil.example") },
		"a revoked user":  func(b *url.URL, p *oidctest.Provider) string { p.Claim("sub", "mallory"); return b.RequestURI() },
		"no name of ours": func(b *url.URL, p *oidctest.Provider) string { p.Claim("sub", "~ada"); return b.RequestURI() },
		"nobody there":    func(b *url.URL, p *oidctest.Provider) string { p.SetDown(true); return b.RequestURI() },
		"no query":        func(*url.URL, *oidctest.Provider) string { return "/login/callback" },
		"half a query":    func(*url.URL, *oidctest.Provider) string { return "/login/callback?state=%zz" },
	} {
		t.Run(name, func(t *testing.T) {
			f, p, _ := signInPage(t)
			back, cookie := goThere(t, f, p)
			a := f.ask("GET", path(back, p), "", append(navigation, cookie)...)
			if a.status != http.StatusSeeOther || !word.MatchString(a.header.Get("Location")) || a.cookie(t, "parley") != nil {
				t.Errorf("%d %s", a.status, a.header)
			}
		})
	}
	t.Run("another browser", func(t *testing.T) {
		f, p, _ := signInPage(t)
		back, _ := goThere(t, f, p)
		if a := f.ask("GET", back.RequestURI(), "", navigation...); a.cookie(t, "parley") != nil || !word.MatchString(a.header.Get("Location")) {
			t.Errorf("%d %s", a.status, a.header)
		}
	})
	t.Run("a link elsewhere", func(t *testing.T) {
		f, _, _ := signInPage(t)
		if a := f.ask("GET", "/login?to=//evil.example", "", navigation...); a.header.Get("Location") != "/" || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%d %s", a.status, a.header)
		}
	})
	t.Run("no provider", func(t *testing.T) {
		f, p, _ := signInPage(t)
		p.SetDown(true)
		if a := f.ask("GET", "/login", ""); a.header.Get("Location") != "/?signin=unavailable" || a.header.Get("Set-Cookie") != "" {
			t.Errorf("%d %s", a.status, a.header)
		}
	})
}

func with2(u *url.URL, key, value string) *url.URL {
	q := u.Query()
	q.Set(key, value)
	other := *u
	other.RawQuery = q.Encode()
	return &other
}

func with(u *url.URL, key, value string) string { return with2(u, key, value).RequestURI() }

// TestCredentialsAreDescribed holds what shows a credential against the description.
func TestCredentialsAreDescribed(t *testing.T) {
	var doc struct {
		Security   []map[string][]string
		Paths      map[string]map[string]yaml.Node
		Components struct {
			SecuritySchemes map[string]struct{ Type, Scheme, In, Name string } `yaml:"securitySchemes"`
		}
	}
	file, _ := httpapi.Descriptions()
	if err := yaml.Unmarshal(file, &doc); err != nil {
		t.Fatal(err)
	}
	schemes := doc.Components.SecuritySchemes
	if c := schemes["cookie"]; c.In != "cookie" || c.Name != auth.Cookie {
		t.Errorf("the cookie is described as %+v", c)
	}
	if b := schemes["bearer"]; b.Type != "http" || b.Scheme != "bearer" {
		t.Errorf("Authorization is described as %+v", b)
	}
	if q := schemes["query"]; q.In != "query" || q.Name != "token" {
		t.Errorf("the query is described as %+v", q)
	}
	if len(doc.Security) != 3 {
		t.Errorf("by default %v", doc.Security)
	}
	inURL := map[string]bool{"/ws": true, "/events": true, "/rooms/{room}/events": true}
	d := guard(t, nil)
	f := serveFor(t, httpapi.Config{}, d.Authority)
	for path, item := range doc.Paths {
		get, ok := item["get"]
		if !ok || path == "/ws" {
			continue
		}
		var op struct {
			Security []map[string][]string
		}
		if err := get.Decode(&op); err != nil {
			t.Fatal(err)
		}
		described := slices.ContainsFunc(op.Security, func(s map[string][]string) bool { _, ok := s["query"]; return ok })
		if described != inURL[path] {
			t.Errorf("%s: a token in the URL is described: %v", path, described)
		}
		if !strings.HasPrefix(path, "/rooms") {
			continue
		}
		at := strings.Replace(path, "{room}", "lobby", 1)
		if a := f.ask("GET", at, "", "Cookie: parley=x.y.z"); a.status != http.StatusUnauthorized || a.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s by a bad cookie: %d", at, a.status)
		}
		if !inURL[path] {
			if a := f.ask("GET", at+"?token="+d.token("ada", time.Hour), "", "Sec-Fetch-Mode: cors"); a.status != http.StatusBadRequest {
				t.Errorf("%s by its URL: %d", at, a.status)
			}
		}
	}
}
