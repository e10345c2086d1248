package e2e_test

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"parley/internal/certtest"
	"parley/internal/oidctest"
)

const loginConfig = gateConfig + "origins: [\"https://friend.example\"]\n"

// TestACookieCountsForOwnPagesAlone: a page of another origin, listed or not, has nothing of the cookie
// that its visitor's browser may send along.
func TestACookieCountsForOwnPagesAlone(t *testing.T) {
	t.Parallel()
	s := guarded(t, loginConfig, lean)
	s.start()
	cookie := "parley=" + tokenFor(t, "ada", []grant{{"**", everyRight}})
	for name, tt := range map[string]struct {
		headers map[string]string
		status  int
		user    string // of the welcome; "guest" = any guest's
	}{
		"the own page":          {map[string]string{"Origin": "http://" + s.webAddress()}, 101, "ada"},
		"the own page, in full": {map[string]string{"Origin": "http://" + s.webAddress(), "Sec-Fetch-Site": "same-origin"}, 101, "ada"},
		"a listed origin":       {map[string]string{"Origin": "https://friend.example"}, 101, "guest"},
		"a listed neighbour":    {map[string]string{"Origin": "https://friend.example", "Sec-Fetch-Site": "same-site"}, 101, "guest"},
		"a foreign origin":      {map[string]string{"Origin": "https://evil.example"}, 403, ""},
		"a hidden origin":       {map[string]string{"Origin": "null"}, 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			h := http.Header{"Cookie": {cookie}}
			for key, value := range tt.headers {
				h.Set(key, value)
			}
			c, answer, err := websocket.Dial(ctx, "ws://"+s.webAddress()+"/ws", &websocket.DialOptions{HTTPHeader: h})
			if answer == nil || answer.StatusCode != tt.status {
				t.Fatalf("the handshake: %v, %v", answer, err)
			}
			if tt.status != http.StatusSwitchingProtocols {
				return
			}
			defer func() { _ = c.CloseNow() }()
			if err := c.Write(ctx, websocket.MessageText, []byte(`{"op":"hello","ref":1}`)); err != nil {
				t.Fatal(err)
			}
			_, data, err := c.Read(ctx)
			var welcome struct{ Op, User string }
			if err != nil || json.Unmarshal(data, &welcome) != nil || welcome.Op != "welcome" {
				t.Fatalf("%v: %s", err, data)
			}
			if welcome.User != tt.user && (tt.user != "guest" || !strings.HasPrefix(welcome.User, "guest-") && !strings.HasPrefix(welcome.User, "~guest-")) {
				t.Errorf("it is %s, want %s", welcome.User, tt.user)
			}
		})
	}
}

// TestSignInsOutlastARestart: who has signed in at the provider stays in, and the key of that is the
// server's alone.
func TestSignInsOutlastARestart(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	s := guarded(t, `
auth:
  oidc:
    issuer: `+p.URL+`
    client_id: `+oidctest.ClientID+`
    client_secret_file: oidc.secret
    redirect_url: https://chat.example/login/callback
    groups: {ops: [{rooms: "ops.*", may: [join, send]}]}
`, lean)
	if err := os.WriteFile(filepath.Join(s.dir, "oidc.secret"), []byte(oidctest.ClientSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.Claim("groups", []string{"ops"})
	s.start()
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(method, path, cookie, body string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.webAddress()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if cookie != "" {
			r.Header.Set("Cookie", cookie)
		}
		answer, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer
	}
	begun := ask("GET", "/login", "", "")
	back := p.Visit(t, begun.Header.Get("Location"))
	signed := ask("GET", back.RequestURI(), strings.Split(begun.Header.Get("Set-Cookie"), ";")[0], "")
	cookie := ""
	for _, c := range signed.Cookies() {
		if c.Name == "parley" {
			cookie = "parley=" + c.Value
		}
	}
	if cookie == "" {
		t.Fatalf("%s %v", signed.Status, signed.Header)
	}
	for _, again := range []bool{false, true} {
		if again {
			s.terminate()
			s.start()
		}
		if a := ask("POST", "/rooms/ops.a", cookie, "hello"); a.StatusCode != http.StatusCreated {
			t.Errorf("after a restart %v: %s", again, a.Status)
		}
		if a := ask("POST", "/rooms/lobby", cookie, "hello"); a.StatusCode != http.StatusForbidden {
			t.Errorf("after a restart %v, elsewhere: %s", again, a.Status)
		}
	}
	found, err := filepath.Glob(filepath.Join(s.dir, "*", "login.key"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the key is at %v, %v", found, err)
	}
	if info, err := os.Stat(found[0]); err != nil || info.Mode().Perm() != 0o600 || info.Size() != 32 {
		t.Errorf("%v, %v", info, err)
	}
	if log := s.process.stderr.String(); strings.Contains(log, strings.TrimPrefix(cookie, "parley=")) || strings.Contains(log, back.Query().Get("code")) {
		t.Error("the log tells a secret")
	}
}

// Who has signed in at one node of a cluster is in at all, and a sign-in begun at one can end at another.
// The nodes speak TLS to each other.
func TestSignInsCountAtEveryNode(t *testing.T) {
	t.Parallel()
	p := oidctest.New(t)
	p.Claim("groups", []string{"ops"})
	dir := t.TempDir()
	cert, key, ca := certtest.New(t).Write(dir)
	files := map[string]string{
		"cluster.secret": "known to the three nodes alone\n", "oidc.secret": oidctest.ClientSecret + "\n",
		"parley.yml": `
auth:
  oidc:
    issuer: ` + p.URL + `
    client_id: ` + oidctest.ClientID + `
    client_secret_file: oidc.secret
    redirect_url: https://chat.example/login/callback
    groups: {ops: [{rooms: "ops.*", may: [join, send]}]}
`,
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	nodes, _ := planNodes(t, "--config", filepath.Join(dir, "parley.yml"), "--cluster-secret-file", filepath.Join(dir, "cluster.secret"),
		"--cluster-tls-cert", cert, "--cluster-tls-key", key, "--cluster-tls-ca", ca)
	startAll(t, nodes...)
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	ask := func(s *server, method, path, cookie string) *http.Response {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, "http://"+s.webAddress()+path, strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", cookie)
		answer, err := browser.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = answer.Body.Close()
		return answer
	}
	begun := ask(nodes[0], "GET", "/login", "")
	back := p.Visit(t, begun.Header.Get("Location"))
	signed := ask(nodes[1], "GET", back.RequestURI(), strings.Split(begun.Header.Get("Set-Cookie"), ";")[0])
	cookie := ""
	for _, c := range signed.Cookies() {
		if c.Name == "parley" {
			cookie = "parley=" + c.Value
		}
	}
	if cookie == "" {
		t.Fatalf("%s %v", signed.Status, signed.Header)
	}
	for i, s := range nodes {
		if a := ask(s, "POST", "/rooms/ops.a", cookie); a.StatusCode != http.StatusCreated {
			t.Errorf("at node %d: %s", i+1, a.Status)
		}
		if a := ask(s, "POST", "/rooms/lobby", cookie); a.StatusCode != http.StatusForbidden {
			t.Errorf("at node %d, elsewhere: %s", i+1, a.Status)
		}
		if _, err := os.Stat(filepath.Join(s.data, "login.key")); err == nil {
			t.Error("a node has a key of its own")
		}
	}
}
