package httpapi_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"parley/hooks"
	"parley/transport/http"
)

const hookSecret = "a secret of some bytes"

// inbound has hooks in force.
func inbound(t *testing.T, in ...hooks.In) httpapi.Config {
	t.Helper()
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(hookSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for i := range in {
		in[i].SecretFile = key
	}
	if wrong := hooks.Check(nil, in); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	r := new(hooks.Receiver)
	apply, err := r.Prepare(in)
	if err != nil {
		t.Fatal(err)
	}
	apply()
	return httpapi.Config{Hooks: r}
}

// signedAs is the header that GitHub signs a body with.
func signedAs(secret, body string) string {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(body))
	return fmt.Sprintf("X-Hub-Signature-256: sha256=%x", m.Sum(nil))
}

func TestWebhooksBecomeMessages(t *testing.T) {
	f := serve(t, inbound(t, hooks.In{Name: "gh", Kind: "github", Room: "github", RoomHeader: "X-GitHub-Event"}))
	const body, typed, event = `{"action": "opened",  "n":1.0}`, "Content-Type: application/json", "X-GitHub-Event: issues"
	post := func(name, body string, headers ...string) answer {
		return f.ask("POST", "/hooks/"+name, body, append(headers, typed, event)...)
	}
	a := post("gh", body, signedAs(hookSecret, body), "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958",
		"Origin: https://elsewhere.example", "Sec-Fetch-Site: cross-site", "Parley-Name: eve") // it is no page's business
	if a.status != 200 || string(a.body) != `{"room":"github.issues","seq":1,"id":"72d3162e-cc78-11e3-81ab-4c9367dc0958"}`+"\n" {
		t.Fatalf("%d %s", a.status, a.body)
	}
	again := post("gh", body, signedAs(hookSecret, body), "X-GitHub-Delivery: 72d3162e-cc78-11e3-81ab-4c9367dc0958")
	if again.status != 200 || !strings.Contains(string(again.body), `"seq":1,`) || !strings.Contains(string(again.body), `"duplicate":true`) {
		t.Errorf("%d %s", again.status, again.body)
	}
	for name, refused := range map[string]struct {
		a      answer
		status int
	}{
		"by another":       {post("gh", body, signedAs("another secret of bytes", body)), 401},
		"of another body":  {post("gh", body+" ", signedAs(hookSecret, body)), 401},
		"not signed":       {post("gh", body), 401},
		"no JSON":          {post("gh", "{", signedAs(hookSecret, "{")), 400},
		"no JSON, unsaid":  {post("gh", "{", signedAs(hookSecret, body)), 401}, // the signature comes first
		"empty":            {post("gh", "", signedAs(hookSecret, "")), 400},
		"packed":           {post("gh", body, signedAs(hookSecret, body), "Content-Encoding: gzip"), 400},
		"another name":     {post("other", body, signedAs(hookSecret, body)), 404},
		"too large":        {post("gh", strings.Repeat(" ", 300<<10), "X-Hub-Signature-256: sha256=00"), 413},
		"too large a text": {post("gh", `"`+strings.Repeat("x", 70<<10)+`"`, signedAs(hookSecret, `"`+strings.Repeat("x", 70<<10)+`"`)), 413},
	} {
		if refused.a.status != refused.status {
			t.Errorf("%s: %d %s, want %d", name, refused.a.status, refused.a.body, refused.status)
		}
	}
	page := f.ask("GET", "/rooms/github.issues", "")
	var got struct {
		Messages []struct {
			From, Type string
			Body       json.RawMessage
		}
	}
	if err := json.Unmarshal(page.body, &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Messages) != 1 || got.Messages[0].From != "hook:gh" || got.Messages[0].Type != "json" || string(got.Messages[0].Body) != `{"action":"opened","n":1.0}` {
		t.Errorf("%s", page.body)
	}
	if rooms := f.ask("GET", "/rooms", ""); strings.Count(string(rooms.body), `"room"`) != 1 {
		t.Errorf("something else was stored: %s", rooms.body)
	}
	if a := f.ask("POST", "/rooms/github.issues", "x", "Parley-Name: hook:gh"); a.status != 400 {
		t.Errorf("somebody else is called so: %d %s", a.status, a.body)
	}
}

func TestNoHooks(t *testing.T) {
	f := serve(t, httpapi.Config{})
	if a := f.ask("POST", "/hooks/gh", "x"); a.status != 404 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
