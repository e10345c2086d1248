package browser_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley/e2e/browser"
)

// elsewhere is another site: it has one page, with nothing on it.
func elsewhere(t *testing.T) string {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		_, _ = fmt.Fprint(w, `<!doctype html><link rel="icon" href="data:,"><title>elsewhere</title>`)
	}))
	t.Cleanup(site.Close)
	return site.URL
}

// attempts are what a page tries with a server of another site; each says how that went.
const attempts = `(async () => {
  const base = %q, tried = {};
  const attempt = async (name, fn) => {
    try { tried[name] = await fn(); } catch { tried[name] = 'refused'; }
  };
  const post = (type, body, headers = {}) => fetch(base + '/rooms/lobby', { method: 'POST', body, headers: { 'Content-Type': type, ...headers } });
  await attempt('a text', async () => (await post('text/plain', 'a text')).status);
  await attempt('a form', async () => (await post('application/x-www-form-urlencoded', 'a form')).status);
  await attempt('JSON, with a key', async () => (await post('application/json', '"JSON"', { 'Idempotency-Key': 'k', 'Parley-Name': 'page' })).status);
  await attempt('a text unseen', async () => (await fetch(base + '/rooms/lobby', { method: 'POST', body: 'unseen', mode: 'no-cors' })).type);
  await attempt('a page of history', async () => (await (await fetch(base + '/rooms/lobby?last=1')).json()).room);
  await attempt('an error', async () => (await (await fetch(base + '/rooms/a..b')).json()).code);
  await attempt('events', () => new Promise((done, fail) => {
    const events = new EventSource(base + '/rooms/lobby/events?presence=true&name=follower');
    const end = (how, what) => { events.close(); how(what); };
    events.addEventListener('presence', (e) => end(done, JSON.parse(e.data).members.map((m) => m.user).join()));
    events.onerror = () => end(fail);
  }));
  await attempt('WebSocket, by the client from there', async () => {
    const { connect } = await import(base + '/parley.js');
    const client = connect(base, { name: 'page' });
    const { seq } = await client.room('sockets').send('hi');
    client.close();
    return seq > 0 ? 'stored' : '';
  });
  await attempt('a WebSocket', () => new Promise((done, fail) => {
    const socket = new WebSocket(base.replace('http', 'ws') + '/ws', 'parley.v1');
    socket.onopen = () => { socket.close(); done('open'); };
    socket.onerror = () => fail();
  }));
  return tried;
})()`

// A page of a listed origin can do all that the server's own page can; another one nothing.
func TestPagesOfOtherSites(t *testing.T) {
	b := browser.New(t)
	listed, foreign := elsewhere(t), elsewhere(t)
	s := newServer(t, "--origin", listed)
	try := func(site string) map[string]any {
		p := b.Open(site, browser.Desk, nil)
		// The browser itself writes of what was refused.
		p.Allow("CORS policy")
		p.Allow("Failed to load resource")
		p.Allow("WebSocket connection to")
		var tried map[string]any
		p.Get(fmt.Sprintf(attempts, "http://"+s.http), &tried)
		return tried
	}
	refused := map[string]any{
		"a text": "refused", "a form": "refused", "JSON, with a key": "refused", "a text unseen": "refused", "a page of history": "refused",
		"an error": "refused", "events": "refused", "WebSocket, by the client from there": "refused", "a WebSocket": "refused",
	}
	if diff := cmp.Diff(refused, try(foreign)); diff != "" {
		t.Errorf("a page that is not listed (-want +got):\n%s", diff)
	}
	if got := s.bodies(); got != "" {
		t.Errorf("a page that is not listed has stored %s", got)
	}
	served := map[string]any{
		"a text": 201.0, "a form": 201.0, "JSON, with a key": 201.0, "a text unseen": "opaque", "a page of history": "lobby",
		"an error": "bad_request", "events": "follower", "WebSocket, by the client from there": "stored", "a WebSocket": "open",
	}
	if diff := cmp.Diff(served, try(listed)); diff != "" {
		t.Errorf("a page that is listed (-want +got):\n%s", diff)
	}
	if got := s.bodies(); !strings.HasPrefix(got, `"a text" "a form" "JSON"`) {
		t.Errorf("a page that is listed has stored %s", got)
	}
}

// bodies are those in the lobby.
func (s *server) bodies() string {
	s.t.Helper()
	resp, err := http.Get("http://" + s.http + "/rooms/lobby")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var page struct {
		Messages []struct{ Body json.RawMessage }
	}
	if err := json.NewDecoder(resp.Body).Decode(&page); err != nil {
		s.t.Fatal(err)
	}
	var all []string
	for _, m := range page.Messages {
		all = append(all, string(m.Body))
	}
	return strings.Join(all, " ")
}
