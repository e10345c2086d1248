package e2e_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// get makes a request that has to be answered, and reads the answer.
func (w *web) get(method, path, body string, into any) {
	w.t.Helper()
	code, answer := w.do(method, path, body)
	if code != "" {
		w.t.Fatalf("%s %s: %s", method, path, code)
	}
	if err := json.Unmarshal(answer, into); err != nil {
		w.t.Fatalf("%s %s: %s: %v", method, path, answer, err)
	}
}

// A service reads events over HTTP alone, and says over HTTP how far it is, while the server is killed again
// and again: it deals with every message, and none that it has reported comes again.
func TestAReaderOverHTTPOutlivesKills(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	const lives, each = 4, 20
	seen, reported := make(map[string]bool), uint64(0)
	for life := range lives {
		s.start()
		w := webWay(t, s, principal{}).(*web)
		for i := range each {
			w.get(http.MethodPost, "/rooms/orders", fmt.Sprint(life*each+i), new(any))
		}
		code, next := streamOf(t, s, principal{}, "orders", patternStart{query: "&reader=billing&after=0"})
		if code != "" {
			t.Fatal(code)
		}
		for n := 0; n < each; { // the first of them may have come before
			m, err := next()
			if err != nil {
				t.Fatal(err)
			}
			if m.Op != "message" {
				continue
			}
			n++
			if m.Seq <= reported {
				t.Errorf("message %d came again, and all up to %d were dealt with", m.Seq, reported)
			}
			seen[m.text()] = true
			if n%3 == 0 {
				var at struct{ Seq uint64 }
				w.get(http.MethodPost, fmt.Sprintf("/rooms/orders/readers/billing/done?seq=%d", m.Seq), "", &at)
				reported = m.Seq
				if at.Seq != reported {
					t.Errorf("it is at %d, and has said %d", at.Seq, reported)
				}
			}
		}
		s.kill()
	}
	s.start()
	_, next := streamOf(t, s, principal{}, "orders", patternStart{query: "&reader=billing"})
	for len(seen) < lives*each {
		m, err := next()
		if err != nil {
			t.Fatalf("%d of %d messages: %v", len(seen), lives*each, err)
		}
		if m.Op == "message" {
			seen[m.text()] = true
		}
	}
}

// What was removed is gone after a kill too, and what comes in its place begins anew.
func TestWhatIsRemovedStaysAwayAfterKill9(t *testing.T) {
	t.Parallel()
	s := newServer(t, nil)
	s.start()
	w := webWay(t, s, principal{}).(*web)
	for i := range 5 {
		w.get(http.MethodPost, "/rooms/squares", fmt.Sprint(i), new(any))
	}
	for _, group := range []string{"g", "kept"} {
		w.get(http.MethodPost, "/rooms/squares/take?group="+group+"&prefetch=3", "", new(any))
	}
	w.get(http.MethodPost, "/rooms/squares/readers/billing/done?seq=3", "", new(any))
	w.get(http.MethodPost, "/rooms/squares/readers/kept/done?seq=2", "", new(any))
	w.get(http.MethodDelete, "/rooms/squares/groups/g", "", new(any))
	w.get(http.MethodDelete, "/rooms/squares/readers/billing", "", new(any))
	s.kill()
	s.start()
	w = webWay(t, s, principal{}).(*web)
	const kept = `{"group":"kept","pending":5,"taken":0,"dead":0,"sessions":0}`
	if _, got := w.do(http.MethodGet, "/rooms/squares/groups", ""); strings.TrimSpace(string(got)) != `{"room":"squares","groups":[`+kept+`]}` {
		t.Errorf("groups: %s", got)
	}
	if _, got := w.do(http.MethodGet, "/rooms/squares/readers", ""); strings.TrimSpace(string(got)) != `{"room":"squares","readers":[{"reader":"kept","seq":2}],"more":false}` {
		t.Errorf("readers: %s", got)
	}
	var taken struct{ Jobs []entry }
	w.get(http.MethodPost, "/rooms/squares/take?group=g&prefetch=5", "", &taken)
	if len(taken.Jobs) == 0 || taken.Jobs[0].text() != "0" {
		t.Errorf("a new group begins with %v", taken.Jobs)
	}
	var read []string
	_, next := streamOf(t, s, principal{}, "squares", patternStart{query: "&reader=billing&after=0"})
	for len(read) < 5 {
		m, err := next()
		if err != nil {
			t.Fatal(err)
		}
		if m.Op == "message" {
			read = append(read, m.text())
		}
	}
	if !slices.Equal(read, []string{"0", "1", "2", "3", "4"}) {
		t.Errorf("a new reader reads %q", read)
	}
}

// Whoever administers sees which hook is in trouble, since when and why, and when it is not any more.
func TestHooksAreListedAsTheyFare(t *testing.T) {
	t.Parallel()
	var well atomic.Bool
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !well.Load() {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(receiver.Close)
	s := newServer(t, nil)
	s.flags = []string{"--config", filepath.Join(s.dir, "hooks.yml")}
	s.write("key", hookSecret)
	s.write("hooks.yml", fmt.Sprintf("hooks: [{name: h, rooms: orders, url: \"%s/hidden\", secret_file: key, backoff: 10ms, tries: 1000}]\n", receiver.URL))
	s.start()
	w := webWay(t, s, principal{}).(*web)
	type state struct {
		Hook, To, Why string
		Pending       int
		Sent          int
		LastSuccess   *time.Time `json:"last_success"`
		FailingSince  *time.Time `json:"failing_since"`
	}
	look := func() state {
		var list struct{ Hooks []state }
		w.get(http.MethodGet, "/hooks", "", &list)
		if len(list.Hooks) != 1 || list.Hooks[0].Hook != "h" || list.Hooks[0].To != receiver.URL {
			t.Fatalf("%+v", list)
		}
		return list.Hooks[0]
	}
	if h := look(); h.Pending != 0 || h.LastSuccess != nil || h.FailingSince != nil || h.Why != "" {
		t.Errorf("at first: %+v", h)
	}
	w.get(http.MethodPost, "/rooms/orders", "a book", new(any))
	var ill state
	eventually(t, "it fails", func() bool {
		ill = look()
		return ill.FailingSince != nil
	})
	if ill.Pending != 1 || ill.LastSuccess != nil || ill.Why != "answered 502 Bad Gateway" || ill.Sent != 0 {
		t.Errorf("in trouble: %+v", ill)
	}
	well.Store(true)
	eventually(t, "it is well", func() bool {
		h := look()
		return h.FailingSince == nil && h.LastSuccess != nil && h.Sent == 1 && h.Pending == 0 && h.Why == ""
	})
}
