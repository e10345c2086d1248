package web_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"parley/e2e/browser"
)

// A lively room, for people to look at: PARLEY_SCREENSHOTS=dir go test -run Screenshots ./web
func TestScreenshots(t *testing.T) {
	dir := os.Getenv("PARLEY_SCREENSHOTS")
	if dir == "" {
		t.Skip("makes pictures where PARLEY_SCREENSHOTS says")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t)
	lively(f)
	b := browser.New(t)
	for _, s := range []struct {
		name string
		size browser.Size
	}{{"desk", browser.Desk}, {"phone", browser.Phone}} {
		me := b.Open(f.url+"/#ops.deploys", s.size, map[string]string{
			"name": "Ada Lovelace", "rooms": `["lobby","ops.deploys","sensors","design"]`,
			"read.lobby": "1", "read.ops.deploys": "18", "read.design": "0",
		})
		bob := b.OpenAs("bob", f.url+"/#ops.deploys", browser.Desk)
		b.OpenAs("Grace Hopper", f.url+"/#ops.deploys", browser.Desk)
		b.OpenAs("chidi", f.url+"/#ops.deploys", browser.Desk)
		me.Until("the room", `document.querySelectorAll('.message').length > 5 && document.querySelectorAll('parley-people li').length > 2`)
		bob.Do("document.querySelector('parley-composer textarea').focus()")
		bob.Type("hm")
		me.Until("bob types", `document.querySelector('.typing').textContent.includes('bob')`)
		for _, theme := range []string{"light", "dark"} {
			me.Dark(theme == "dark")
			me.Do("new Promise((f) => requestAnimationFrame(() => requestAnimationFrame(f)))")
			me.Screenshot(filepath.Join(dir, s.name+"-"+theme+".png"))
		}
		me.Do("document.querySelector('.scroller').scrollTop = 0")
		me.Until("the beginning", `document.querySelector('.scroller').scrollTop < 5 && !document.querySelector('.jump').hidden`)
		me.Screenshot(filepath.Join(dir, s.name+"-scrolled.png"))
		me.Press(kb.Escape)
		f.set(func() { f.refuse = "denied" })
		me.Say("this one will not pass")
		me.Until("failed", `document.querySelector('.draft[data-state=failed]')`)
		f.set(func() { f.refuse = ""; f.mute = true })
		me.Say("and this one takes its time")
		me.Allow("WebSocket")
		me.Dark(false)
		me.Screenshot(filepath.Join(dir, s.name+"-delivery.png"))
		f.set(func() { f.mute = false })
		if s.name == "phone" {
			me.Click(".menu")
			me.Do("new Promise((f) => setTimeout(f, 400))")
			me.Screenshot(filepath.Join(dir, "phone-drawer.png"))
		}
		first := b.Open(f.url, s.size, nil)
		first.Until("the dialog", `document.querySelector('dialog').open`)
		first.Screenshot(filepath.Join(dir, s.name+"-welcome.png"))
	}
}

// lively fills some rooms.
func lively(f *fixture) {
	now := time.Now()
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	f.sayAt("lobby", "chidi", "text", "good morning everyone", ago(190))
	f.sayAt("lobby", "Grace Hopper", "text", "lunch at half past twelve?", ago(31))
	f.sayAt("lobby", "bob", "text", "yes please", ago(30))
	f.sayAt("design", "Grace Hopper", "text", "I have put the new sketches on the wall", ago(50))
	f.sayAt("sensors", "thermo-7", "json", frame{"t": 21.5, "unit": "C"}, ago(2))
	room := "ops.deploys"
	f.sayAt(room, "Grace Hopper", "text", "Deploy window for **release 42** is tomorrow at ten.\nChecklist: https://wiki.example.org/deploys/42", ago(1500))
	f.sayAt(room, "bob", "text", "I'll take the *database* part.", ago(1498))
	f.sayAt(room, "Ada Lovelace", "text", "And I do the load balancers.", ago(1490))
	f.sayAt(room, "chidi", "text", "Morning! Everything is green on staging.", ago(72))
	f.sayAt(room, "chidi", "text", "The migration took 41 s there, so count on two minutes in production.", ago(71))
	f.sayAt(room, "bob", "text", "Starting then:\n```\n$ parley send ops.deploys 'migrate 0042'\n$ make migrate ENV=prod\napplied 0042_rooms.sql in 1m58s\n```\nThat was quick.", ago(64))
	f.sayAt(room, "deploy-bot", "json", frame{"release": 42, "commit": "9f3c1ab", "ok": true, "took": "1m58s"}, ago(63))
	f.sayAt(room, "Ada Lovelace", "text", "Switching traffic, `10%` first.", ago(58))
	f.sayAt(room, "Ada Lovelace", "text", "Error rate is flat. Going to all of it.", ago(52))
	f.sayAt(room, "Grace Hopper", "text", "Nicely done 👏", ago(51))
	f.sayAt(room, "deploy-bot", "binary", "UEsDBBQAAAAIAGFzZGZhc2RmYXNkZmFzZGZhc2RmYXNkZmFzZGZhc2Rm", ago(50))
	f.sayAt(room, "deploy-bot", "text", "Logs of release 42 are attached above.", ago(50))
	f.sayAt(room, "bob", "text", "One slow query shows up in the traces, nothing urgent. I have opened https://tracker.example.org/issues/1815 for it.", ago(12))
	f.sayAt(room, "chidi", "text", "I can look at it after lunch.", ago(3))
}
