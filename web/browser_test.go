package web_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp/kb"

	"parley/e2e/browser"
)

func TestTwoPeopleTalk(t *testing.T) {
	f := newFixture(t)
	b := browser.New(t)
	ada := b.OpenAs("ada", f.url+"/#ops.deploys", browser.Desk)
	bob := b.OpenAs("bob", f.url+"/#ops.deploys", browser.Phone)
	ada.Until("bob is there", `[...document.querySelectorAll('parley-people .name')].some((n) => n.textContent === 'bob')`)

	bob.Do("document.querySelector('parley-composer textarea').focus()")
	bob.Type("hel")
	ada.Until("bob types", `document.querySelector('.typing').textContent === 'bob is typing'`)
	bob.Type("lo ada")
	bob.Press("\r")
	ada.Sees("hello ada")
	ada.Until("bob types no more", `document.querySelector('.typing').textContent === ''`)
	ada.Say("hello bob")
	ada.Say("shall we?")
	bob.Sees("shall we?")
	ada.Until("two messages of one group, stored", `document.querySelectorAll('.message.own .state[aria-label=stored]').length === 2 && document.querySelectorAll('.message.own.head').length === 1`)
	if got := bob.Bodies(); !slices.Equal(got, []string{"hello ada", "hello bob", "shall we?"}) {
		t.Errorf("bob sees %q", got)
	}
}

func TestMarkupOfOthersStaysText(t *testing.T) {
	f := newFixture(t)
	evil := []string{
		`<img src=x onerror="window.hit=1">`,
		`<script>window.hit=1</script>`,
		`<a href="javascript:window.hit=1">x</a>`,
		`javascript:window.hit=1`,
		`[x](javascript:window.hit=1)`,
		`**<svg onload=window.hit=1>**`,
		"`</code><img src=x onerror=window.hit=1>`",
		`data:text/html,<script>window.hit=1</script> vbscript:x file:///etc/passwd`,
		`https://example.org/"onmouseover="window.hit=1`,
	}
	for _, body := range evil {
		f.say("lobby", `<b onclick=window.hit=1>eve`, body)
	}
	f.sayAt("lobby", "eve", "json", frame{"<img src=x onerror=window.hit=1>": "</pre><script>window.hit=1</script>"}, time.Now())
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	p.Until("all messages", fmt.Sprintf(`document.querySelectorAll('.message[data-seq]').length === %d`, len(evil)+1))
	for _, body := range evil[:5] {
		p.Sees(body)
	}
	var strange []string
	p.Get(`[...document.querySelectorAll('.messages *')].filter((e) => ['IMG', 'SCRIPT', 'SVG', 'IFRAME', 'B'].includes(e.tagName.toUpperCase()) || [...e.attributes].some((a) => a.name.startsWith('on'))).map((e) => e.outerHTML)`, &strange)
	if len(strange) > 0 {
		t.Errorf("markup became elements: %q", strange)
	}
	var links []string
	p.Get(`[...document.querySelectorAll('.body a')].map((a) => a.protocol + ' ' + a.rel + ' ' + a.target)`, &links)
	if want := "https: noopener noreferrer nofollow _blank"; len(links) != 1 || links[0] != want {
		t.Errorf("the links are %q, want one, %q", links, want)
	}
	if n := p.Int("window.hit ?? 0"); n != 0 {
		t.Error("a message ran as a script")
	}
}

func TestTextIsFormatted(t *testing.T) {
	f := newFixture(t)
	f.say("lobby", "bob", "a **strong** and an *em* word, 2*3*4, `x < y`, see (https://example.org/a_(b)), ok?")
	f.say("lobby", "bob", "so:\n```go\nfunc main() {}\n```\nright")
	f.sayAt("lobby", "bob", "json", frame{"t": 21.5}, time.Now())
	f.sayAt("lobby", "bob", "binary", "AP+A", time.Now())
	f.say("lobby", "bob", strings.Repeat("line\n", 200))
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	p.Until("all messages", `document.querySelectorAll('.message[data-seq]').length === 5`)
	for what, want := range map[string]string{
		".body strong":   "strong",
		".body em":       "em",
		".body code":     "x < y",
		".body a":        "https://example.org/a_(b)",
		".body pre code": "func main() {}",
		".json-key":      `"t"`,
		".json-value":    "21.5",
		".download":      "lobby-4.bin3 bytes",
	} {
		if got := p.Text(what); got != want {
			t.Errorf("%s shows %q, want %q", what, got, want)
		}
	}
	p.Until("a long message is folded", `document.querySelector('.body.folded').clientHeight < 400`)
	p.Click(".unfold")
	p.Until("and unfolds", `!document.querySelector('.body.folded')`)
}

func TestFiveThousandMessagesNeedFewNodes(t *testing.T) {
	const messages = 5000
	f := newFixture(t)
	f.fill("lobby", messages)
	p := browser.New(t).OpenAs("dora", f.url, browser.Desk)
	p.Until("the newest", `document.querySelector('.message[data-seq="5000"]')`)
	// Up to the beginning, a screen at a time, and note the most nodes, whether what was in view
	// moved when others came above it, and the longest that a frame took.
	p.Do(`new Promise((done, fail) => {
  const s = document.querySelector('.scroller');
  window.most = 0; window.jumps = 0; window.seen = new Set();
  const end = Date.now() + 50000;
  const watch = new MutationObserver(() => { window.most = Math.max(window.most, document.querySelectorAll('.message').length); });
  watch.observe(s, { childList: true, subtree: true });
  const step = () => {
    if (Date.now() > end) return fail(new Error('the beginning is not reached'));
    const top = s.getBoundingClientRect().top;
    for (const m of document.querySelectorAll('.message')) window.seen.add(Number(m.dataset.seq));
    if (document.querySelector('.start').textContent.includes('begins') && s.scrollTop < 2) return done();
    s.scrollTop -= 800;
    requestAnimationFrame(step);
  };
  step();
})`)
	p.Until("the first message", `document.querySelector('.message').dataset.seq === '1'`)
	if most := p.Int("window.most"); most > 300 {
		t.Errorf("there were %d message nodes, want at most 300", most)
	}
	if seen := p.Int("window.seen.size"); seen != messages {
		t.Errorf("on the way up %d messages were seen, want %d", seen, messages)
	}
	p.Until("the button", `!document.querySelector('.jump').hidden`)
	f.say("lobby", "bob", "news")
	p.Until("is counted on the button", `document.querySelector('.jump').textContent === '1 new'`)
	p.Click(".jump")
	p.Sees("news")
	p.Until("the end", `document.querySelector('.jump').hidden`)
	p.Until("no hole", `(() => { const seqs = [...document.querySelectorAll('.message')].map((m) => Number(m.dataset.seq)); return seqs.at(-1) === 5001 && seqs.every((s, i) => i === 0 || s === seqs[i - 1] + 1) && seqs.length <= 300; })()`)
}

func TestScrollingDownAgainFetchesWhatWasDropped(t *testing.T) {
	f := newFixture(t)
	f.fill("lobby", 1000)
	p := browser.New(t).OpenAs("dora", f.url, browser.Phone)
	p.Until("the newest", `document.querySelector('.message[data-seq="1000"]')`)
	for range 3 {
		p.Do("document.querySelector('.scroller').scrollTop = 0")
		p.Until("older ones", `document.querySelector('.scroller').scrollTop > 500`)
	}
	// What is in view stays where it is when older ones come above it.
	p.Do(`new Promise((done, fail) => {
  const s = document.querySelector('.scroller');
  s.scrollTop = 1400;
  const first = Number(document.querySelector('.message').dataset.seq);
  const m = [...document.querySelectorAll('.message')].find((m) => m.getBoundingClientRect().top > 200);
  const was = m.getBoundingClientRect().top;
  const look = () => {
    if (Number(document.querySelector('.message').dataset.seq) === first) return setTimeout(look, 10);
    const moved = Math.abs(m.getBoundingClientRect().top - was);
    if (moved > 2) fail(new Error('moved by ' + moved)); else done();
  };
  look();
})`)
	p.Do(`new Promise((done) => {
  const s = document.querySelector('.scroller');
  const step = () => { if (document.querySelector('.jump').hidden) return done(); s.scrollTop += 600; requestAnimationFrame(step); };
  step();
})`)
	p.Until("the newest at the end", `[...document.querySelectorAll('.message')].at(-1).dataset.seq === '1000'`)
}

func TestRoomLeftFarUpOpensAtItsEnd(t *testing.T) {
	f := newFixture(t)
	f.fill("lobby", 1000)
	p := browser.New(t).OpenAs("dora", f.url, browser.Desk)
	p.Until("the newest", `document.querySelector('.message[data-seq="1000"]')`)
	p.Do(`new Promise((done) => {
  const s = document.querySelector('.scroller');
  const step = () => { if (Number(document.querySelector('.message')?.dataset.seq) < 300) return done(); s.scrollTop -= 900; requestAnimationFrame(step); };
  step();
})`)
	p.Do("location.hash = '#other'")
	p.Until("the other room", `document.querySelector('.start').textContent.startsWith('Nobody')`)
	p.Do("location.hash = '#lobby'")
	p.Until("the newest in view", `document.querySelector('.message[data-seq="1000"]').getBoundingClientRect().bottom <= innerHeight && document.querySelector('.jump').hidden`)
}

func TestUnreadMessagesAreCounted(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("ada", f.url+"/#ops", browser.Desk)
	p.Do("location.hash = '#lobby'")
	p.Until("the lobby", `document.querySelector('.room-name').textContent === 'lobby'`)
	f.say("ops", "bob", "one")
	f.say("ops", "bob", "two")
	p.Until("the badge", `document.querySelector('.rooms .badge:not([hidden])').textContent === '2'`)
	p.Until("the title", `document.title === '(2) lobby · Parley'`)
	// A person who leaves and comes back later sees the same.
	p.Reload()
	p.Until("the badge after a reload", `document.querySelector('.rooms .badge:not([hidden])').textContent === '2'`)
	p.Press(kb.ArrowUp, kb.ModifierAlt)
	p.Until("the line above what is new", `document.querySelector('.divider.unread').nextSibling.querySelector('.body').textContent === 'one'`)
	p.Until("no badge", `!document.querySelector('.rooms .badge:not([hidden])') && document.title === 'ops · Parley'`)
	p.Press(kb.ArrowDown, kb.ModifierAlt)
	p.Until("the lobby again", `document.querySelector('.room-name').textContent === 'lobby'`)
	p.Press(kb.ArrowUp, kb.ModifierAlt)
	p.Until("no line", `document.querySelector('.room-name').textContent === 'ops' && !document.querySelector('.divider.unread') && document.querySelectorAll('.message').length === 2`)
}

func TestDeliveryIsShown(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	f.set(func() { f.refuse = "denied" })
	p.Say("no good")
	p.Until("it failed", `document.querySelector('.draft[data-state=failed] .failed').textContent.includes('you may not send here')`)
	f.set(func() { f.refuse = "" })
	p.Click(".retry")
	p.Until("it is stored", `document.querySelector('.message[data-seq] .state[aria-label=stored]') && !document.querySelector('.draft')`)
	f.set(func() { f.mute = true })
	p.Say("slow")
	p.Until("it is being sent", `document.querySelector('.draft .state[aria-label=sending]')`)
	if got := p.Bodies(); !slices.Equal(got, []string{"no good", "slow"}) {
		t.Errorf("the log shows %q", got)
	}
}

func TestOfflineAndBack(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	p.Allow("WebSocket connection to")
	p.Allow("503")
	f.say("lobby", "bob", "before")
	p.Sees("before")
	f.cut()
	p.Until("the banner", `document.querySelector('parley-banner').textContent.includes('You are offline')`)
	p.Until("the countdown", `/Reconnecting in \d+ s/.test(document.querySelector('parley-banner').textContent)`)
	f.say("lobby", "bob", "missed one")
	f.say("lobby", "bob", "missed two")
	p.Say("written offline")
	p.Until("it waits", `document.querySelector('.draft[data-state=sending]')`)
	f.set(func() { f.down = false })
	p.Sees("written offline")
	p.Until("good news", `/Back online, caught up 2 messages/.test(document.querySelector('parley-banner').textContent)`)
	p.Until("nothing waits", `!document.querySelector('.draft')`)
	if got := p.Bodies(); !slices.Equal(got, []string{"before", "missed one", "missed two", "written offline"}) {
		t.Errorf("the log shows %q", got)
	}
}

func TestAServerThatCanStoreNothingIsShown(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	f.say("lobby", "bob", "before")
	p.Sees("before")
	f.set(func() { f.refuse = "unavailable" })
	f.status(false)
	p.Until("the banner", `document.querySelector('parley-banner').textContent.includes('lost touch with the others')`)
	p.Say("written meanwhile")
	p.Until("it waits", `document.querySelector('.draft[data-state=sending]')`)
	f.set(func() { f.refuse = "" })
	f.status(true)
	p.Sees("written meanwhile")
	p.Until("good news", `/Back online/.test(document.querySelector('parley-banner').textContent)`)
	p.Until("nothing waits", `!document.querySelector('.draft')`)
}

func TestGapIsALine(t *testing.T) {
	f := newFixture(t)
	f.fill("lobby", 100)
	p := browser.New(t).OpenAs("dora", f.url, browser.Desk)
	p.Allow("WebSocket connection to")
	p.Allow("503")
	p.Until("the last", `[...document.querySelectorAll('.message')].at(-1).dataset.seq === '100'`)
	f.cut()
	p.Until("offline", `document.querySelector('parley-banner').dataset.kind === 'bad'`)
	f.fill("lobby2", 80)
	f.say("lobby", "bob", "after the gap")
	f.expire("lobby", 1)
	f.set(func() { f.down = false })
	p.Sees("after the gap")
	p.Until("the line", `document.querySelector('.divider.gap').textContent === 'Messages 101–180 are no longer kept' && document.querySelector('.divider.gap').nextSibling.querySelector('.body').textContent === 'after the gap'`)
}

func TestNarrowPhoneScrollsOnlyDown(t *testing.T) {
	f := newFixture(t)
	lively(f)
	f.say("ops.deploys", strings.Repeat("Wolfeschlegelsteinhausen", 2), strings.Repeat("unbreakable", 60)+" https://example.org/"+strings.Repeat("long", 80))
	p := browser.New(t).OpenAs("ada", f.url+"/#ops.deploys", browser.Narrow)
	p.Sees("Nicely done 👏")
	wide := `[...document.querySelectorAll('main, main *')].filter((e) => !e.closest('pre') && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.className || e.tagName)`
	var over []string
	p.Get(wide, &over)
	if len(over) > 0 {
		t.Errorf("wider than the screen: %q", over)
	}
	if w := p.Int("document.documentElement.scrollWidth"); w > 360 {
		t.Errorf("the page is %d wide, want 360", w)
	}
	p.Click(".menu")
	p.Until("the drawer is open", `document.querySelector('parley-sidebar').getBoundingClientRect().left === 0 && document.querySelector('.menu').ariaExpanded === 'true'`)
	p.Do("document.querySelector('.join input').focus()")
	p.Type("another room")
	p.Press("\r")
	p.Until("the room, drawer closed", `document.querySelector('.room-name').textContent === 'another-room' && !document.querySelector('.drawer-open')`)
	p.Click(".here-button")
	p.Until("the people", `document.querySelector('parley-people').getBoundingClientRect().right <= innerWidth`)
	p.Press(kb.Escape)
	p.Until("closed", `!document.querySelector('.people-open')`)
}

func TestNameIsAskedForOnceAndKept(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).Open(f.url, browser.Desk, nil)
	p.Until("the dialog", `document.querySelector('dialog').open && document.activeElement.id === 'your-name'`)
	p.Type("Grace Hopper")
	p.Press("\r")
	p.Until("the name", `document.querySelector('.me .name').textContent === 'Grace Hopper' && !document.querySelector('dialog').open`)
	p.Reload()
	p.Until("the name after a reload", `document.querySelector('.me .name').textContent === 'Grace Hopper' && document.querySelector('parley-people .name').textContent === 'Grace Hopper'`)
	p.Until("no dialog", `!document.querySelector('dialog').open`)
	p.Click(".me")
	p.Until("the dialog again", `document.querySelector('dialog').open && document.getElementById('your-name').value === 'Grace Hopper'`)
	p.Press(kb.Escape)
	p.Until("it closes, the box has the focus", `!document.querySelector('dialog').open && document.activeElement.tagName === 'TEXTAREA'`)
}

func TestKeysAndThemes(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	p.Do("document.querySelector('parley-composer textarea').focus()")
	p.Type("one")
	p.Press("\r", kb.ModifierShift)
	p.Type("two")
	p.Press("\r")
	p.Sees("one\ntwo")
	p.Dark(true)
	p.Until("dark", `getComputedStyle(document.body).backgroundColor === 'rgb(20, 26, 25)'`)
	p.Click(".theme")
	p.Until("light by choice", `getComputedStyle(document.body).backgroundColor === 'rgb(251, 248, 242)'`)
	p.Reload()
	p.Until("light after a reload", `document.querySelector('.theme') && getComputedStyle(document.body).backgroundColor === 'rgb(251, 248, 242)'`)
	// Everything that can be clicked says what it does.
	var mute []string
	p.Get(`[...document.querySelectorAll('button:not([hidden]), a, input, textarea')].filter((e) => !(e.ariaLabel || e.textContent.trim() || e.labels?.length)).map((e) => e.outerHTML)`, &mute)
	if len(mute) > 0 {
		t.Errorf("without a name for a screen reader: %q", mute)
	}
}

func TestRoomsAreJoinedAndLeft(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	for _, room := range []string{"ops.deploys", "Küche"} {
		p.Do("document.querySelector('.join input').focus()")
		p.Type(room)
		p.Press("\r")
		p.Until(room, fmt.Sprintf(`document.querySelector('.room-name').textContent === %q && decodeURIComponent(location.hash) === %[1]q.replace(/^/, '#')`, room))
	}
	p.Do("document.querySelector('.join input').focus()")
	p.Type("no..such")
	p.Press("\r")
	p.Until("a word on names", `document.querySelector('#join-error').textContent !== ''`)
	p.Click(`[aria-label="Leave Küche"]`)
	p.Until("the next room", `document.querySelector('.room-name').textContent === 'lobby'`)
	p.Reload()
	p.Until("the others are remembered", `[...document.querySelectorAll('.rooms .name')].map((n) => n.textContent).join() === 'lobby,ops.deploys'`)
}

func TestBigRoomIsCountedNotListed(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("ada", f.url, browser.Desk)
	f.set(func() {
		f.tell("lobby", frame{"op": "presence", "room": "lobby", "joined": []any{}, "left": []any{}, "count": 1234}, nil)
	})
	p.Until("the count", `document.querySelector('parley-people h2').textContent === '1,234 people here' && !document.querySelector('parley-people li')`)
}

func TestBusyRoomStaysBoundedAndFollowed(t *testing.T) {
	f := newFixture(t)
	p := browser.New(t).OpenAs("dora", f.url, browser.Desk)
	f.say("lobby", "bob", "first")
	p.Sees("first")
	f.fill("lobby", 2000)
	p.Until("the newest, in few nodes", `[...document.querySelectorAll('.message')].at(-1).dataset.seq === '2001' && document.querySelectorAll('.message').length <= 300`)
	p.Until("the end in view", `(() => { const s = document.querySelector('.scroller'); return s.scrollHeight - s.scrollTop - s.clientHeight < 4; })()`)
	p.Until("all read", `document.title === 'lobby · Parley'`)
}
