package server_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/audit"
	"parley/auth"
	"parley/hooks"
	"parley/server"
)

// posted keeps the bodies of what a hook posts.
func posted(t *testing.T) (url string, bodies <-chan string) {
	t.Helper()
	c := make(chan string, 1000)
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var m struct{ Body json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		c <- string(m.Body)
	}))
	t.Cleanup(s.Close)
	return s.URL, c
}

func awaitBody(t *testing.T, bodies <-chan string, want string) {
	t.Helper()
	select {
	case got := <-bodies:
		if got != want {
			t.Errorf("%s was posted, want %s", got, want)
		}
	case <-time.After(2 * time.Minute):
		t.Fatalf("%s was not posted", want)
	}
}

// Hooks come, change and go while the server runs, and a bad configuration changes none.
func TestReloadChangesHooks(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	addresses, log, reload := reloadable(t, c)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	lobby, err := auth.ParsePattern("lobby")
	if err != nil {
		t.Fatal(err)
	}
	one, first := posted(t)
	two, second := posted(t)
	ada := talk(t, addresses.TCP)

	c.Hooks = []hooks.Out{{Name: "h", Rooms: []auth.Pattern{lobby}, URL: one, SecretFile: key}}
	c.Inbound = []hooks.In{{Name: "in", Kind: "github", Room: "lobby", SecretFile: key}}
	reload(c)
	ada.ask(`"op":"send","room":"lobby","body":"1"`, `"op":"ack"`)
	awaitBody(t, first, `"1"`)
	if _, text := get(t, "http://"+addresses.HTTP+"/metrics"); !regexp.MustCompile(`(?m)^parley_hooks_sent_total\{hook="h"\} \d$`).MatchString(text) {
		t.Error("the metrics do not tell of the hook")
	}

	bad := c
	bad.Hooks = []hooks.Out{{Name: "h", Rooms: []auth.Pattern{lobby}, URL: two, SecretFile: key + "-gone"}}
	reload(bad)
	ada.ask(`"op":"send","room":"lobby","body":"2"`, `"op":"ack"`)
	awaitBody(t, first, `"2"`)
	if !strings.Contains(log.String(), "hooks[0].secret_file: open ") {
		t.Errorf("it does not say what is wrong:\n%s", log)
	}

	c.Hooks = []hooks.Out{{Name: "h", Rooms: []auth.Pattern{lobby}, URL: two, SecretFile: key}}
	reload(c)
	req, err := http.NewRequest(http.MethodPost, "http://"+addresses.HTTP+"/hooks/in", strings.NewReader(`{"n":3}`))
	if err != nil {
		t.Fatal(err)
	}
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(`{"n":3}`))
	req.Header.Set("X-Hub-Signature-256", fmt.Sprintf("sha256=%x", m.Sum(nil)))
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != 200 {
		t.Errorf("%d", resp.StatusCode)
	}
	awaitBody(t, second, `{"n":3}`)
}

// A wrong signature is in the audit log, and the secret in no log.
func TestWrongSignaturesAreAudited(t *testing.T) {
	t.Parallel()
	c := configuration(t)
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	c.Inbound = []hooks.In{{Name: "in", Kind: "github", Room: "lobby", SecretFile: key}}
	ctx, cancel := context.WithCancel(context.Background())
	lines, ready, ended := new(said), make(chan server.Addresses, 1), make(chan error, 1)
	handler := slog.NewTextHandler(lines, nil)
	go func() {
		ended <- server.Run(ctx, c, server.Options{
			Logger: slog.New(handler), Audit: audit.New(handler), Ready: func(a server.Addresses) { ready <- a },
		})
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Post("http://"+(<-ready).HTTP+"/hooks/in", "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	text := lines.String()
	if resp.StatusCode != 401 || !regexp.MustCompile(`msg=refused .*transport=http address=127\.0\.0\.1:\d+ op=hook:in room=lobby code=unauthorized`).MatchString(text) || strings.Contains(text, secret) {
		t.Errorf("%d, and the log says\n%s", resp.StatusCode, text)
	}
}

func TestMistakesOfHooks(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key}]":                                                   "",
		"hooks: [{name: h, rooms: [a, \"b.**\"], url: \"https://x/\", secret_file: hs.key, headers: [{name: A, value: b}]}]":      "",
		"hooks: [{name: h, rooms: a, url: \"ftp://x/\", secret_file: hs.key}]":                                                    "hooks[0].url: where to post to",
		"hooks: [{name: h, rooms: a, url: \"http://u:p@x/\", secret_file: hs.key}]":                                               "hooks[0].url: a password",
		"hooks: [{name: h, rooms: a, url: \"http://x/\"}]":                                                                        "hooks[0].secret_file: a hook takes either",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: gone.key}]":                                                 "hooks[0].secret_file: open ",
		"hooks: [{name: h h, rooms: a, url: \"http://x/\", secret_file: hs.key}]":                                                 "hooks[0].name: 1 to 56",
		"hooks: [{name: h, url: \"http://x/\", secret_file: hs.key}]":                                                             "hooks[0].rooms: 1 to 64",
		"hooks: [{name: h, rooms: \"a*\", url: \"http://x/\", secret_file: hs.key}]":                                              "hooks[0].rooms[0]: \"a*\" is no pattern",
		"hooks: [{name: h, rooms: h.dead, url: \"http://x/\", secret_file: hs.key}]":                                              "hooks[0].rooms: a hook's own dead letters",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key, events: [all]}]":                                    "hooks[0].events[0]: message, presence or room",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key, tries: -1}]":                                        "hooks[0].tries: 1 to 1000",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key, timeout: 1ms}]":                                     "hooks[0].timeout: 100ms to 5m",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key, dead: \"a b\"}]":                                    "hooks[0].dead: \"a b\" is no room",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key, headers: [{name: Parley-Id, value: x}]}]":           "hooks[0].headers[0].name: Parley-Id is the hook's own",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key, headers: [{name: A, value: \"b\\nc: d\"}]}]":        "hooks[0].headers[0].value: it has characters",
		"hooks: [{name: h, rooms: a, url: \"http://x/\", secret_file: hs.key, colour: red}]":                                      "hooks[0].colour: no such key",
		"inbound: [{name: i, kind: github, room: r, secret_file: hs.key}, {name: i, kind: github, room: r, secret_file: hs.key}]": "inbound[1].name: there are two",
		"inbound: [{name: i, kind: gitlab, room: r, secret_file: hs.key}]":                                                        "inbound[0].kind: github, parley or generic",
		"inbound: [{name: i, kind: generic, room: r, secret_file: hs.key}]":                                                       "inbound[0].signature_header: which header",
		"inbound: [{name: i, kind: github, room: \"r.*\", secret_file: hs.key}]":                                                  "inbound[0].room: where messages go",
		"inbound: [{name: i, kind: github, room: r, secret_file: short.key}]":                                                     "inbound[0].secret_file: a secret has at least 16 bytes",
	} {
		file := write(t, map[string]string{"hs.key": secret, "short.key": "fifteen bytes..\n", "parley.yml": text})
		_, err := server.Sources{File: file}.Read()
		if (want == "") != (err == nil) || err != nil && !strings.HasPrefix(err.Error(), file+":1: "+want) {
			t.Errorf("%s\nis %v\nwant %s", text, err, want)
		}
	}
}
