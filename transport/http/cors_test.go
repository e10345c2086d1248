package httpapi_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/transport/http"
)

const (
	chat    = "https://chat.example"
	foreign = "https://evil.example"
)

func TestOriginsAreCheckedAndWrittenAsBrowsersDo(t *testing.T) {
	for given, want := range map[string]string{
		"https://chat.example":       "https://chat.example",
		"HTTPS://Chat.Example":       "https://chat.example",
		"https://chat.example:443":   "https://chat.example",
		"http://chat.example:80":     "http://chat.example",
		"http://chat.example:443":    "http://chat.example:443",
		"http://127.0.0.1:3000":      "http://127.0.0.1:3000",
		"http://[::1]:3000":          "http://[::1]:3000",
		"capacitor://localhost":      "capacitor://localhost",
		"https://xn--bcher-kva.test": "https://xn--bcher-kva.test",

		"":                           "",
		"*":                          "",
		"https://*":                  "",
		"https://*.chat.example":     "",
		"null":                       "",
		"chat.example":               "",
		"chat.example:443":           "",
		"//chat.example":             "",
		"https://":                   "",
		"https://:443":               "",
		"https://chat.example:":      "",
		"https://chat.example/":      "",
		"https://chat.example/x":     "",
		"https://chat.example?":      "",
		"https://chat.example?x":     "",
		"https://chat.example#":      "",
		"https://me@chat.example":    "",
		"https://chat.example:http":  "",
		"https://bücher.test":        "",
		"https://chat.example\r\nX:": "",
		"https://a.test https://b":   "",
		"file:///etc/passwd":         "",
	} {
		got, err := httpapi.ParseOrigins([]string{given})
		if want == "" && err == nil || want != "" && (err != nil || !slices.Equal(got, []string{want})) {
			t.Errorf("%q: %q, %v; want %q", given, got, err, want)
		}
	}
	if _, err := httpapi.ParseOrigins([]string{chat, "*"}); err == nil || !strings.Contains(err.Error(), "list each origin") {
		t.Errorf("a wildcard: %v", err)
	}
}

func TestListedOriginsAreServedAndOthersRefused(t *testing.T) {
	f := serve(t, httpapi.Config{Origins: []string{chat, "http://127.0.0.1:1"}})
	for name, tt := range map[string]struct {
		method, path string
		headers      []string
		want         int
	}{
		"a text of a listed page":        {"POST", "/rooms/lobby", []string{"Origin: " + chat, "Sec-Fetch-Site: cross-site", "Content-Type: text/plain"}, 201},
		"JSON of a listed page":          {"POST", "/rooms/lobby", []string{"Origin: " + chat, "Sec-Fetch-Site: cross-site", "Content-Type: application/json"}, 201},
		"another port of this machine":   {"POST", "/rooms/lobby", []string{"Origin: http://127.0.0.1:1", "Sec-Fetch-Site: same-site"}, 201},
		"an old browser":                 {"GET", "/rooms/lobby", []string{"Origin: " + chat}, 200},
		"a listed page asks":             {"GET", "/rooms", []string{"Origin: " + chat, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, 200},
		"a listed page follows":          {"HEAD", "/rooms/lobby/events", []string{"Origin: " + chat, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors"}, 200},
		"a listed page errs":             {"POST", "/rooms/a..b", []string{"Origin: " + chat}, 400},
		"a listed page finds nothing":    {"GET", "/nothing", []string{"Origin: " + chat}, 404},
		"a listed page and a bad method": {"DELETE", "/rooms/lobby", []string{"Origin: " + chat}, 405},
		"a listed page and another host": {"GET", "/rooms", []string{"Origin: " + chat, "Host: evil.example"}, 403},
		"no origin, no browser":          {"POST", "/rooms/lobby", nil, 201},
		"an image of a listed page":      {"GET", "/rooms", []string{"Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: no-cors"}, 403},
		"a form of another page":         {"POST", "/rooms/lobby", []string{"Origin: " + foreign, "Sec-Fetch-Site: cross-site", "Content-Type: application/x-www-form-urlencoded"}, 403},
		"JSON of another page":           {"POST", "/rooms/lobby", []string{"Origin: " + foreign, "Content-Type: application/json"}, 403},
		"a name that ends like a listed": {"GET", "/rooms", []string{"Origin: " + chat + ".evil.example"}, 403},
		"another scheme":                 {"GET", "/rooms", []string{"Origin: http://chat.example"}, 403},
		"another port":                   {"GET", "/rooms", []string{"Origin: https://chat.example:8443"}, 403},
		"a hidden origin":                {"POST", "/rooms/lobby", []string{"Origin: null"}, 403},
		"an empty origin":                {"GET", "/rooms", []string{"Origin: "}, 403},
		"a wildcard":                     {"GET", "/rooms", []string{"Origin: *"}, 403},
		"another page follows":           {"GET", "/rooms/lobby/events", []string{"Origin: " + foreign}, 403},
		"another page errs":              {"GET", "/rooms/a..b", []string{"Origin: " + foreign}, 403},
	} {
		t.Run(name, func(t *testing.T) {
			f.t = t
			if a := f.ask(tt.method, tt.path, "1", tt.headers...); a.status != tt.want {
				t.Errorf("%d, want %d: %s", a.status, tt.want, a.body)
			}
		})
	}
	f.t = t
	if got := f.ask("GET", "/rooms/lobby", "").texts(t); len(got) != 4 {
		t.Errorf("stored: %v", got)
	}
	both := []string{"Origin: " + chat, "Origin: " + foreign}
	f.listed = nil // neither is believed
	if a := f.ask("POST", "/rooms/lobby", "1", both...); a.status != 403 {
		t.Errorf("two origins: %d", a.status)
	}
}

func TestPreflights(t *testing.T) {
	f := serve(t, httpapi.Config{Origins: []string{chat}})
	asks := func(origin string) []string {
		return []string{"Origin: " + origin, "Sec-Fetch-Site: cross-site", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type,idempotency-key"}
	}
	for _, path := range []string{"/rooms/lobby", "/rooms", "/events", "/readyz"} {
		a := f.ask("OPTIONS", path, "", asks(chat)...)
		want := http.Header{
			"Access-Control-Allow-Methods": {"GET, POST, DELETE"},
			"Access-Control-Allow-Headers": {"Content-Type, Idempotency-Key, Parley-Name, Last-Event-ID, Authorization"},
			"Access-Control-Max-Age":       {"7200"},
		}
		for name := range want {
			if diff := cmp.Diff(want[name], a.header[name]); a.status != 204 || diff != "" {
				t.Errorf("%s answers %d; %s (-want +got):\n%s", path, a.status, name, diff)
			}
		}
		a = f.ask("OPTIONS", path, "", asks(foreign)...)
		if got := a.header.Get("Access-Control-Allow-Methods"); a.status != 403 || got != "" {
			t.Errorf("%s lets another page: %d, %s", path, a.status, got)
		}
	}
	if a := f.ask("OPTIONS", "/rooms", ""); a.status != 204 || a.header.Get("Access-Control-Allow-Methods") != "" {
		t.Errorf("no page asks: %d %v", a.status, a.header)
	}
}

func TestErrorsAreSharedWithListedOrigins(t *testing.T) {
	f := serve(t, httpapi.Config{Origins: []string{chat}})
	f.log.Fail(errors.New("no disk"))
	a := f.ask("POST", "/rooms/lobby", "x", "Origin: "+chat)
	if a.status != 503 || a.header.Get("Retry-After") == "" || a.code() != parley.Unavailable {
		t.Errorf("%d %v", a.status, a.header)
	}
}

// The head of a stream is not written by net/http.
func TestStreamsAreSharedWithListedOrigins(t *testing.T) {
	f := serve(t, httpapi.Config{Origins: []string{chat}})
	for origin, want := range map[string]int{chat: 200, foreign: 403, "": 200} {
		for _, path := range []string{"/rooms/lobby/events", "/events?room=a&room=b"} {
			req, err := http.NewRequest(http.MethodGet, f.scheme()+"://"+f.addr+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			if origin != "" {
				req.Header.Set("Origin", origin)
			}
			resp, err := f.client.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			if resp.StatusCode != want || resp.Header.Get("Vary") != "Origin" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
				t.Errorf("%s for %q: %d %v", path, origin, resp.StatusCode, resp.Header)
			}
			f.checkShared(path, resp)
		}
	}
}

func TestTheDescriptionSaysWhatListedPagesMayDo(t *testing.T) {
	file, _ := httpapi.Descriptions()
	text := strings.Join(strings.Fields(string(file)), " ")
	f := serve(t, httpapi.Config{Origins: []string{chat}})
	a := f.ask("OPTIONS", "/rooms", "", "Origin: "+chat, "Access-Control-Request-Method: GET")
	for _, name := range []string{"Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "Access-Control-Max-Age", "Access-Control-Expose-Headers"} {
		for value := range strings.SplitSeq(a.header.Get(name), ", ") {
			if !strings.Contains(text, value) {
				t.Errorf("%s of %s is not described", value, name)
			}
		}
	}
}
