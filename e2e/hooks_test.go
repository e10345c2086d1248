package e2e_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

const hookSecret = "known to both sides"

// receiver is what a hook posts to. It takes a request when it is let, and now and then refuses one.
type receiver struct {
	t   *testing.T
	url string
	let chan struct{} // one for each request that is looked at; closed: all are

	mu      sync.Mutex
	taken   map[string]string // bodies by Parley-Id
	last    map[string]uint64 // seq of the last that was new, by room
	repeats int
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t, let: make(chan struct{}), taken: make(map[string]string), last: make(map[string]uint64)}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	r.url = s.URL
	return r
}

var hookSignature = regexp.MustCompile(`^t=(\d+),v1=([0-9a-f]{64})$`)

// ServeHTTP checks and takes a request.
func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the server was killed
	}
	select {
	case <-r.let:
	case <-req.Context().Done():
		return
	}
	m := hookSignature.FindStringSubmatch(req.Header.Get("Parley-Signature"))
	if m == nil {
		r.t.Errorf("the signature is %q", req.Header.Get("Parley-Signature"))
		return
	}
	mac := hmac.New(sha256.New, []byte(hookSecret))
	fmt.Fprintf(mac, "%s.%s", m[1], body)
	if fmt.Sprintf("%x", mac.Sum(nil)) != m[2] {
		r.t.Errorf("%s is not signed by %s", body, m[2])
	}
	if rand.IntN(8) == 0 {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	r.take(req.Header.Get("Parley-Id"), body)
}

// take holds a message against those before it: what is new follows on the last one of its room, what is
// not has the same id and says the same.
func (r *receiver) take(id string, body []byte) {
	var m struct {
		Room      string
		Seq, Prev uint64
	}
	if err := json.Unmarshal(body, &m); err != nil {
		r.t.Error(err)
	}
	if want := fmt.Sprintf("%s:%d", m.Room, m.Seq); id != want {
		r.t.Errorf("the id of %s is %s", body, id)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, ok := r.taken[id]; ok {
		r.repeats++
		if before != string(body) {
			r.t.Errorf("%s came as %s before", body, before)
		}
		return
	}
	if m.Prev != r.last[m.Room] {
		r.t.Errorf("%s came behind %d", body, r.last[m.Room])
	}
	r.taken[id], r.last[m.Room] = string(body), m.Seq
}

// The server is killed again and again while a hook posts what has piled up: every message that was
// acknowledged is posted, those of a room in their order, and one that comes twice has the same id.
func TestHooksOutliveKills(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	s := newServer(t, nil)
	s.flags = []string{"--config", filepath.Join(s.dir, "hooks.yml")}
	s.write("key", hookSecret)
	s.write("hooks.yml", fmt.Sprintf("hooks: [{name: h, rooms: \"orders.*\", url: %q, secret_file: key, backoff: 1ms, tries: 1000, concurrency: 2}]\n", r.url))
	var sent []string
	for range 8 {
		s.start()
		c := hello(t, s, "ada")
		for i := range 30 {
			room := fmt.Sprint("orders.", i%3)
			sent = append(sent, fmt.Sprintf("%s:%d", room, c.publish(room, fmt.Sprint(i))))
		}
		for range rand.IntN(25) {
			r.let <- struct{}{}
		}
		s.kill()
	}
	close(r.let)
	s.start()
	eventually(t, "all is posted", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.taken) >= len(sent)
	})
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range sent {
		if _, ok := r.taken[id]; !ok {
			t.Errorf("%s was not posted", id)
		}
	}
	t.Logf("%d messages, %d of them twice", len(sent), r.repeats)
	if code := s.terminate(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
}

// One server's hook is another's webhook: what is said in a room here is said there.
func TestHookFromServerToServer(t *testing.T) {
	t.Parallel()
	there := newServer(t, nil)
	there.write("parley.yml", "inbound: [{name: here, kind: parley, secret_env: HOOK_SECRET, room: from}]\n")
	there.env = append(there.env, "HOOK_SECRET="+hookSecret)
	there.start()
	found, err := there.process.stderr.wait(regexp.MustCompile(`(?m)^http (\S+)$`), there.process.done, patience)
	if err != nil {
		t.Fatal(err)
	}
	here := newServer(t, nil)
	here.write("parley.yml", fmt.Sprintf("hooks: [{name: out, rooms: \"**\", url: \"http://%s/hooks/here\", secret_env: HOOK_SECRET}]\n", found[1]))
	here.env = append(here.env, "HOOK_SECRET="+hookSecret)
	here.start()
	reader := hello(t, there, "bob")
	reader.want(`{"op":"join","room":"from"}`, `{"op":"joined"}`)
	seq := hello(t, here, "ada").publish("lobby", "hi")
	f := reader.expect(`{"op":"message","room":"from","from":"hook:here","type":"json","body":{"op":"message","room":"lobby","from":"ada","body":"hi"}}`)
	if !strings.Contains(f.raw, fmt.Sprintf(`"id":"lobby:%d"`, seq)) {
		t.Errorf("the id is that of %s", f.raw)
	}
}

// write puts a file beside the server's data.
func (s *server) write(name, text string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
