package web_test

import (
	"os"
	"path/filepath"
	"testing"

	"parley/e2e/browser"
)

// inside is a page that somebody is signed in on and connected by.
const inside = `document.querySelectorAll('parley-people li').length > 0 && !document.querySelector('parley-banner').dataset.kind && !document.querySelector('dialog[open]')`

// guardedFixture is a fixture that lets in ada alone, by a token.
func guardedFixture(t *testing.T) *fixture {
	f := newFixture(t)
	f.set(func() { f.trust = trust{token: "s3cret", user: "ada", grants: everything} })
	return f
}

// signIn gives the token where the page asks for it.
func signIn(p *browser.Page, token string) {
	p.Until("the token's field", `document.querySelector('parley-signin dialog').open && document.activeElement.id === 'your-token'`)
	p.Type(token)
	p.Press("\r")
}

func TestSigningInAndOut(t *testing.T) {
	f := guardedFixture(t)
	p := browser.New(t).Open(f.url, browser.Desk, nil)
	p.Allow("401")
	signIn(p, "wrong")
	p.Until("why not", `document.querySelector('parley-signin .failed').textContent === 'The token has expired.'`)
	p.Press("\x1b") // there is nothing behind it
	p.Until("it stays", `document.querySelector('parley-signin dialog').open`)
	p.Do("document.querySelector('#your-token').select()")
	signIn(p, "s3cret")
	p.UntilAnew("ada is in", inside+` && document.querySelector('.me .name').textContent === 'ada'`)
	p.Say("hello")
	p.Sees("hello")
	p.Until("no script can read who we are", `document.cookie === '' && !Object.values(localStorage).some((v) => v.includes('s3cret'))`)
	p.Reload()
	p.Until("still in", inside+` && document.querySelector('.me .name').textContent === 'ada'`)
	p.Click(".me")
	p.Until("who one is", `document.querySelector('parley-account dialog').open && document.querySelector('parley-account strong').textContent === 'Ada Lovelace'`)
	p.Click("parley-account .quiet")
	p.UntilAnew("out", `document.querySelector('parley-signin dialog').open && document.activeElement.id === 'your-token'`)
}

// When the token ends the page says so, and keeps what one writes until one is in again.
func TestASessionEndsAndGoesOn(t *testing.T) {
	f := guardedFixture(t)
	f.say("lobby", "bob", "before")
	p := browser.New(t).Open(f.url, browser.Desk, nil)
	p.Allow("WebSocket")
	signIn(p, "s3cret")
	p.UntilAnew("ada is in", inside)
	p.Sees("before")
	p.Do("document.querySelector('parley-composer textarea').focus()")
	p.Type("half a sent")
	f.end("another")
	p.Until("it says so", `document.querySelector('parley-banner').textContent.includes('Your session has ended') && !document.querySelector('dialog[open]')`)
	p.Until("the draft stays", `document.querySelector('parley-composer textarea').value === 'half a sent' && !document.querySelector('parley-composer textarea').disabled`)
	p.Type("ence")
	p.Press("\r")
	p.Until("it waits", `document.querySelector('.draft[data-state=sending]')`)
	p.Do("document.querySelector('parley-composer textarea').focus()")
	p.Type("the next one")
	f.say("lobby", "bob", "meanwhile")
	p.Click("parley-banner button")
	signIn(p, "another")
	p.Sees("half a sentence")
	p.Sees("meanwhile")
	p.Until("the draft is still there", `document.querySelector('parley-composer textarea').value === 'the next one' && document.querySelectorAll('.draft').length === 0 && !document.querySelector('dialog[open]')`)
}

func TestWhatOneMayNotDoIsNotOffered(t *testing.T) {
	f := guardedFixture(t)
	f.set(func() {
		f.trust.grants = []frame{
			{"rooms": "news", "may": []string{"join", "history"}},
			{"rooms": "ops.*", "may": []string{"join", "send"}},
		}
	})
	f.say("news", "bob", "read all about it")
	f.say("ops.a", "bob", "before you came")
	p := browser.New(t).Open(f.url, browser.Narrow, nil)
	p.Allow("WebSocket")
	signIn(p, "s3cret")
	p.UntilAnew("a room that one may join", `document.querySelector('.room-name').textContent === 'news'`)
	p.Sees("read all about it")
	p.Until("the box is shut, with a reason", `document.querySelector('parley-composer textarea').disabled && document.querySelector('.send').disabled && document.querySelector('.reason').textContent === 'You may read news, and not write in it.'`)
	f.end("another")
	p.Until("it says so", `document.querySelector('parley-banner').textContent.includes('Your session has ended')`)
	p.Until("and the box stays shut", `document.querySelector('parley-composer textarea').disabled`)
	p.Click("parley-banner button")
	signIn(p, "another")
	p.Until("in again", `!document.querySelector('parley-signin dialog').open && document.querySelector('parley-banner').dataset.kind !== 'bad'`)
	p.Do("location.hash = 'ops.a'")
	p.Until("the box is open", `!document.querySelector('parley-composer textarea').disabled && document.querySelector('.reason').textContent === ''`)
	p.Until("the past is not asked for", `document.querySelector('.start').textContent.includes('from now on')`)
	p.Say("hello")
	p.Sees("hello")
	p.Do("location.hash = 'ops.a.b'")
	p.Until("it says so", `document.querySelector('.reason').textContent === 'You may not join ops.a.b.'`)
}

func TestGuestsMaySignIn(t *testing.T) {
	f := guardedFixture(t)
	f.set(func() { f.trust.open = []frame{{"rooms": "lobby", "may": []string{"join", "history", "members"}}} })
	f.say("lobby", "bob", "welcome")
	p := browser.New(t).Open(f.url, browser.Desk, map[string]string{"guest": "~guest-abcde"})
	p.Sees("welcome")
	p.Until("the box says how", `document.querySelector('.reason').textContent === 'Sign in to write in lobby.'`)
	p.Click(".sign-in")
	signIn(p, "s3cret")
	p.UntilAnew("ada is in", inside+` && document.querySelector('.me .name').textContent === 'ada' && document.querySelector('.sign-in').hidden`)
}

func TestAProviderIsOffered(t *testing.T) {
	f := guardedFixture(t)
	f.set(func() { f.trust.login = "id.example" })
	p := browser.New(t).Open(f.url+"/?signin=denied", browser.Narrow, nil)
	p.Until("the way there", `document.querySelector('.provider').textContent === 'Sign in with id.example' && document.querySelector('.provider').getAttribute('href') === '/login' && document.activeElement.className === 'provider'`)
	p.Until("what went wrong", `document.querySelector('parley-signin .failed').textContent.startsWith('You were signed in, but') && location.search === ''`)
	p.Until("the token is aside", `!document.querySelector('parley-signin details').open && document.querySelector('parley-signin .primary').hidden`)
	p.Click("parley-signin summary")
	p.Do("document.querySelector('#your-token').focus()")
	signIn(p, "s3cret")
	p.UntilAnew("ada is in", inside)
}

// Pictures of signing in, for people to look at, as TestScreenshots'.
func TestSignInScreenshots(t *testing.T) {
	dir := os.Getenv("PARLEY_SCREENSHOTS")
	if dir == "" {
		t.Skip("makes pictures where PARLEY_SCREENSHOTS says")
	}
	f := guardedFixture(t)
	f.set(func() {
		f.trust.grants = []frame{
			{"rooms": "ops.**", "may": []string{"join", "history", "members"}},
			{"rooms": "lobby", "may": []string{"join", "history", "members", "send", "signal"}},
		}
	})
	lively(f)
	b := browser.New(t)
	for name, size := range map[string]browser.Size{"desk": browser.Desk, "narrow": browser.Narrow} {
		for _, theme := range []string{"light", "dark"} {
			f.set(func() { f.trust.token, f.trust.login = "s3cret", "" })
			p := b.Open(f.url+"/#ops.deploys", size, map[string]string{"theme": theme})
			p.Allow("401")
			p.Allow("WebSocket")
			shoot := func(what string) {
				p.Do("new Promise((f) => setTimeout(f, 250))")
				p.Screenshot(filepath.Join(dir, name+"-"+what+"-"+theme+".png"))
			}
			p.Until("the dialog", `document.querySelector('dialog').open || document.querySelector('parley-signin dialog').open`)
			shoot("signin")
			signIn(p, "wrong")
			p.Until("why not", `document.querySelector('parley-signin .failed').textContent !== ''`)
			shoot("refused")
			p.Do("document.querySelector('#your-token').select()")
			signIn(p, "s3cret")
			p.UntilAnew("in", inside)
			shoot("readonly")
			p.Click(".me")
			shoot("account")
			p.Click("parley-account .primary")
			f.end("another")
			p.Until("ended", `document.querySelector('parley-banner').textContent.includes('ended')`)
			shoot("ended")
			p.Click("parley-banner button")
			shoot("again")
			f.set(func() { f.trust.login = "accounts.id.example" })
			other := b.Open(f.url, size, map[string]string{"theme": theme})
			other.Until("the provider", `document.querySelector('.provider').textContent !== ''`)
			other.Do("new Promise((f) => setTimeout(f, 250))")
			other.Screenshot(filepath.Join(dir, name+"-provider-"+theme+".png"))
			f.set(func() {
				f.trust.login, f.trust.open = "", []frame{{"rooms": "lobby", "may": []string{"join", "history", "members"}}}
			})
			guest := b.Open(f.url, size, map[string]string{"theme": theme, "guest": "~guest-abcde"})
			guest.Until("the way in", `!document.querySelector('.sign-in').hidden`)
			guest.Do("new Promise((f) => setTimeout(f, 250))")
			guest.Screenshot(filepath.Join(dir, name+"-guest-"+theme+".png"))
			f.set(func() { f.trust.open = nil })
		}
	}
}
