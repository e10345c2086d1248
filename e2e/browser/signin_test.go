package browser_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"parley/e2e/browser"
	"parley/internal/oidctest"
)

// in says that a page is connected and shows its room.
const in = `document.querySelectorAll('parley-people li').length > 0 && !document.querySelector('parley-banner').dataset.kind && !document.querySelector('dialog[open]')`

// guarded starts a server with a configuration, of which HTTP names its address.
func guarded(t *testing.T, config func(http string) string, files map[string]string) *server {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "parley.yml")
	s := &server{t: t, path: path, dir: t.TempDir(), tcp: freeAddress(t), http: freeAddress(t), flags: []string{"--config", file}}
	if err := os.WriteFile(file, []byte(config(s.http)), 0o600); err != nil {
		t.Fatal(err)
	}
	s.start()
	t.Cleanup(s.kill)
	return s
}

// TestSigningInAtAProvider goes the whole way with a real browser: from the page to the provider and back,
// with cookies that the browser itself decides on.
func TestSigningInAtAProvider(t *testing.T) {
	p := oidctest.New(t)
	p.Claim("name", "Ada Lovelace")
	s := guarded(t, func(http string) string {
		return `
auth:
  oidc:
    issuer: ` + p.URL + `
    client_id: ` + oidctest.ClientID + `
    client_secret_file: oidc.secret
    redirect_url: http://` + http + `/login/callback
    grants: [{rooms: "**", may: [join, history, send, members, signal]}]
`
	}, map[string]string{"oidc.secret": oidctest.ClientSecret})
	page := browser.New(t).Open(s.url("lobby"), browser.Desk, nil)
	page.Allow("WebSocket")
	page.Allow("ERR_CONNECTION_REFUSED")
	page.Until("the way there", `document.querySelector('.provider').textContent === 'Sign in with 127.0.0.1'`)

	p.SetRefuse(true)
	page.Click(".provider")
	page.UntilAnew("back without", `document.querySelector('parley-signin .failed').textContent.startsWith('You were not signed in')`)
	p.SetRefuse(false)
	page.Click(".provider")
	page.UntilAnew("ada is in", in+` && document.querySelector('.me .name').textContent === 'ada'`)
	page.Say("hello from the provider's")
	page.Sees("hello from the provider's")
	page.Until("no script can read who we are", `document.cookie === ''`)

	// A restart is no end of it.
	s.kill()
	page.Until("offline", `document.querySelector('parley-banner').dataset.kind === 'bad'`)
	s.start()
	page.Until("back again", in)
	page.Say("and after a restart")
	page.Sees("and after a restart")

	page.Click(".me")
	page.Until("who one is", `document.querySelector('parley-account strong').textContent === 'Ada Lovelace'`)
	page.Click("parley-account .quiet")
	page.UntilAnew("out", `document.querySelector('parley-signin dialog').open`)
	if log := s.log.String(); strings.Contains(log, "eyJ") || strings.Contains(log, oidctest.ClientSecret) {
		t.Errorf("the log tells a secret:\n%s", log)
	}
}

// TestATokenEndsUnderAPage: the page says so, keeps what is written, and sends it when somebody has signed
// in again.
func TestATokenEndsUnderAPage(t *testing.T) {
	const secret = "0123456789abcdef0123456789abcdef"
	s := guarded(t, func(string) string {
		return `
auth:
  issuer: https://id.example
  audience: parley
  keys: [{alg: HS256, secret_file: hs.key}]
`
	}, map[string]string{"hs.key": secret})
	token := func(life time.Duration) string {
		text, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"iss": "https://id.example", "aud": "parley", "sub": "ada", "exp": time.Now().Add(life).Unix(),
			"parley": []map[string]any{{"rooms": "**", "may": []string{"join", "history", "send", "members", "signal"}}},
		}).SignedString([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	signIn := func(page *browser.Page, life time.Duration) {
		page.UntilAnew("the token's field", `document.querySelector('parley-signin dialog').open && document.activeElement.id === 'your-token'`)
		page.Type(token(life))
		page.Press("\r")
	}
	page := browser.New(t).Open(s.url("lobby"), browser.Phone, nil)
	page.Allow("WebSocket")
	signIn(page, 15*time.Second)
	page.UntilAnew("ada is in", in)
	page.Say("in time")
	page.Sees("in time")
	page.Until("the token's end", `document.querySelector('parley-banner').textContent.includes('Your session has ended')`)
	page.Say("too late")
	page.Until("it waits", `document.querySelector('.draft[data-state=sending]')`)
	page.Do("document.querySelector('parley-composer textarea').focus()")
	page.Type("half a th")
	page.Click("parley-banner button")
	signIn(page, time.Hour)
	page.Sees("too late")
	page.Until("the draft is there", `document.querySelector('parley-composer textarea').value === 'half a th' && document.querySelectorAll('.draft').length === 0`)
	if got := page.Bodies(); !slices.Equal(got, []string{"in time", "too late"}) {
		t.Errorf("the page shows %q", got)
	}
}
