package browser_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

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
