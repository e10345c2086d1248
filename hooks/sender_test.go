package hooks_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/hooks"
	"parley/internal/certtest"
	"parley/internal/logtest"
	"parley/room"
	"parley/wire"
)

func TestMessagesArePostedInOrder(t *testing.T) {
	t.Parallel()
	b, s := newBench(t), newSink(t, nil)
	b.say("a", "before the hook")
	b.tick()
	o := b.hook("h", s.url, "a", "b.*")
	o.Headers = []hooks.Header{{Name: "X-Tenant", Value: "blue"}, {Name: "User-Agent", Value: "mine"}}
	b.use(o)
	b.say("other", "not for it")
	b.put(parley.Draft{Room: "a", Body: []byte("hé \"1\"\n")})
	r := s.next()
	if r.Op != "message" || r.Room != "a" || r.From != "ada" || r.ID != "id-2" || r.Type != "text" || string(r.Body) != `"hé \"1\"\n"` {
		t.Errorf("%s", r.raw)
	}
	if r.hook != "h" || r.unique != fmt.Sprint("a:", r.Seq) || r.Prev == 0 || r.header.Get("X-Tenant") != "blue" || r.header.Get("User-Agent") != "mine" {
		t.Errorf("%s with %v", r.raw, r.header)
	}
	b.put(parley.Draft{Room: "a", Type: parley.Binary, Body: []byte{0, 255}})
	b.put(parley.Draft{Room: "a", Type: parley.JSON, Body: []byte(`{"n":1.0}`)})
	for _, want := range []string{`"AP8="`, `{"n":1.0}`} {
		if r := s.next(); string(r.Body) != want {
			t.Errorf("%s, want %s", r.raw, want)
		}
	}
	var texts []string
	for i := range 200 {
		texts = append(texts, strconv.Itoa(i))
	}
	b.say("b.new", texts...) // it was not there when the hook began: all of it
	s.want(texts...)
	s.none()
}

// A log that cannot be read when a room grows is asked again, and what was there before the hook stays.
func TestALogThatCannotBeRead(t *testing.T) {
	t.Parallel()
	b, s := newBench(t), newSink(t, nil)
	b.say("a", "before")
	b.tick()
	b.lame.fails.Store(1)
	b.use(b.hook("h", s.url, "a"))
	b.say("a", "0", "1")
	s.want("0", "1")
}

// What the server keeps in rooms of its own is nobody's business.
func TestOwnRoomsAreNotPosted(t *testing.T) {
	t.Parallel()
	b, s := newBench(t), newSink(t, nil)
	b.use(b.hook("h", s.url, "**"))
	b.say("$revoked", "mallory")
	b.say("a", "0")
	s.want("0")
	b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 })
	s.none()
}

// A room's name need not be what a header can hold.
func TestIDsAreHeaders(t *testing.T) {
	t.Parallel()
	b, s := newBench(t), newSink(t, nil)
	b.use(b.hook("h", s.url, "**"))
	b.say("Ωμέγα", "x")
	if r := s.next(); r.unique != fmt.Sprint("%CE%A9%CE%BC%CE%AD%CE%B3%CE%B1:", r.Seq) || r.Room != "Ωμέγα" {
		t.Errorf("%s %s", r.unique, r.raw)
	}
}

func TestWhatIsNotTakenIsTriedAgain(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	b := newBench(t)
	s := newSink(t, func(w http.ResponseWriter, r *request) {
		if r.Room == "bad" && tries.Add(1)%3 != 0 {
			w.WriteHeader(500)
		}
	})
	b.use(b.hook("h", s.url, "*"))
	b.say("bad", "0", "1")
	var got, ids []string
	for range 6 {
		r := s.next()
		got, ids = append(got, string(r.Body)), append(ids, r.unique)
	}
	if want := `"0" "0" "0" "1" "1" "1"`; strings.Join(got, " ") != want {
		t.Errorf("%s, want %s", got, want)
	}
	if ids[0] != ids[2] || ids[2] == ids[3] {
		t.Errorf("the ids are %s", ids)
	}
	b.say("good", "0")
	s.want("0")
	if st := b.stats("h", func(s hooks.Stats) bool { return s.Sent == 3 }); st.Failed != 4 || st.Retried != 4 || st.Dead != 0 {
		t.Errorf("%+v", st)
	}
}

// stats waits until the counts are so.
func (b *bench) stats(name string, ok func(hooks.Stats) bool) hooks.Stats {
	b.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(patience); ; <-tick.C {
		for _, s := range b.sender.Stats() {
			if s.Hook == name && ok(s) {
				return s
			}
		}
		if time.Now().After(until) {
			b.t.Fatalf("the counts are %+v", b.sender.Stats())
		}
	}
}

// What a receiver answers decides what becomes of a message.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	other := newSink(t, func(http.ResponseWriter, *request) { elsewhere.Add(1) })
	for name, tt := range map[string]struct {
		answer func(w http.ResponseWriter)
		tries  int // 0: it is taken
		reason string
	}{
		"201":       {answer: func(w http.ResponseWriter) { w.WriteHeader(201) }},
		"204":       {answer: func(w http.ResponseWriter) { w.WriteHeader(204) }},
		"400":       {func(w http.ResponseWriter) { w.WriteHeader(400) }, 1, "answered 400 Bad Request"},
		"404":       {func(w http.ResponseWriter) { w.WriteHeader(404) }, 1, "answered 404 Not Found"},
		"408":       {func(w http.ResponseWriter) { w.WriteHeader(408) }, 3, "answered 408 Request Timeout"},
		"429":       {func(w http.ResponseWriter) { w.WriteHeader(429) }, 3, "answered 429 Too Many Requests"},
		"503":       {func(w http.ResponseWriter) { w.WriteHeader(503) }, 3, "answered 503 Service Unavailable"},
		"elsewhere": {func(w http.ResponseWriter) { w.Header().Set("Location", other.url); w.WriteHeader(307) }, 3, "answered 307 Temporary Redirect, a redirect, which is not followed"},
		"cut":       {func(http.ResponseWriter) { panic(http.ErrAbortHandler) }, 3, "EOF|.*reset.*"},
		"long": {answer: func(w http.ResponseWriter) {
			for i := 0; i < 1000; i++ { // far more than is read
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			s := newSink(t, func(w http.ResponseWriter, r *request) {
				if string(r.Body) == `"first"` {
					tt.answer(w)
				}
			})
			b.use(b.hook("h", s.url, "**"))
			b.say("a", "first", "second")
			for range max(tt.tries, 1) {
				s.want("first")
			}
			s.want("second")
			st := b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 })
			if tt.tries == 0 {
				if st.Dead != 0 || st.Failed != 0 {
					t.Errorf("%+v", st)
				}
				return
			}
			letters := b.messages("h.dead", 1)
			var l struct {
				Hook, Room, ID, From, Reason, Type, Body string
				Seq                                      uint64
				Tries                                    int
			}
			b.must(json.Unmarshal(letters[0].Body, &l))
			if l.Hook != "h" || l.Room != "a" || l.ID != "id-0" || l.From != "ada" || l.Body != "first" || l.Tries != tt.tries || !regexp.MustCompile("^("+tt.reason+")$").MatchString(l.Reason) {
				t.Errorf("the dead letter is %s", letters[0].Body)
			}
			if len(letters) != 1 || letters[0].From != "parley" || st.Dead != 1 {
				t.Errorf("%d letters, from %s; %+v", len(letters), letters[0].From, st)
			}
			s.none() // the pattern is for all rooms, and not for this one
		})
	}
	t.Cleanup(func() {
		if elsewhere.Load() > 0 {
			t.Error("a redirect was followed")
		}
	})
}

// One that does not answer is given up in time, and the rooms of others go on meanwhile.
func TestReceiverThatHangs(t *testing.T) {
	t.Parallel()
	b, end := newBench(t), make(chan struct{})
	s := newSink(t, func(_ http.ResponseWriter, r *request) {
		if r.Room == "hangs" {
			<-end
		}
	})
	defer close(end)
	o := b.hook("h", s.url, "*")
	o.Timeout, o.Tries = 3*time.Second, 1
	b.use(o)
	b.say("hangs", "0")
	b.say("goes", "1", "2")
	for got := ""; got != `"1""2"`; {
		if r := s.next(); r.Room == "goes" {
			got += string(r.Body)
		}
	}
	if l := b.messages("h.dead", 1)[0]; !strings.Contains(string(l.Body), `"reason":"no answer within 3s"`) {
		t.Errorf("%s", l.Body)
	}
}

// A receiver that asks for a pause gets it, from all rooms.
func TestRetryAfter(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64 // when
	b := newBench(t)
	s := newSink(t, func(w http.ResponseWriter, r *request) {
		if asked.CompareAndSwap(0, time.Now().UnixNano()) {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(429)
		} else if time.Since(time.Unix(0, asked.Load())) < 900*time.Millisecond {
			t.Errorf("%s came too early", r.raw)
		}
	})
	b.use(b.hook("h", s.url, "*"))
	b.say("a", "0")
	s.want("0")
	b.stats("h", func(st hooks.Stats) bool { return st.Failed == 1 })
	b.say("b", "1")
	b.say("c", "2")
	seen := map[string]bool{}
	for range 3 {
		seen[string(s.next().Body)] = true
	}
	if len(seen) != 3 {
		t.Errorf("%v came", seen)
	}
	now := time.Date(2026, 11, 22, 7, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "0": 0, "17": 17 * time.Second, "-1": 0, "x": 0, "999999": time.Hour, "99999999999999999999": 0,
		"Sun, 22 Nov 2026 07:00:30 GMT": 30 * time.Second, "Sun, 22 Nov 2026 06:00:00 GMT": 0,
	} {
		if got := hooks.RetryAfter(text, now); got != want {
			t.Errorf("Retry-After %q is %v, want %v", text, got, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	for tries, most := range map[int]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 11: hooks.MaxBackoff, 1000: hooks.MaxBackoff} {
		for range 100 {
			if d := hooks.Backoff(time.Second, tries); d < most/2 || d > most {
				t.Errorf("after %d tries %v", tries, d)
			}
		}
	}
}

// After a restart a hook goes on where it was, also with what came while it was away.
func TestPlacesAreRemembered(t *testing.T) {
	t.Parallel()
	b, s := newBench(t), newSink(t, nil)
	o := b.hook("h", s.url, "*")
	b.use(o)
	b.say("a", "0", "1")
	s.want("0", "1")
	b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 })
	b.stop()
	b.say("a", "2")
	b.say("new", "3")
	b.start()
	b.use(o)
	got := map[string]bool{}
	for range 2 {
		got[string(s.next().Body)] = true
	}
	if !got[`"2"`] || !got[`"3"`] {
		t.Errorf("%v came", got)
	}
	b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 })
	s.none()
}

// What a room no longer keeps is missed, and that is counted, once.
func TestRetentionOvertakes(t *testing.T) {
	t.Parallel()
	var tries atomic.Int32
	b := newBenchOn(t, logtest.Options{RetainMessages: 2})
	s := newSink(t, func(w http.ResponseWriter, r *request) {
		if string(r.Body) == `"3"` && tries.Add(1) < 3 {
			w.WriteHeader(500)
		}
	})
	o := b.hook("h", s.url, "a")
	b.use(o)
	b.say("a", "0")
	s.want("0")
	b.stats("h", func(st hooks.Stats) bool { return st.Sent == 1 && st.Behind == 0 })
	b.stop()
	b.say("a", "1", "2", "3", "4")
	b.start()
	b.use(o)
	s.want("3", "3", "3", "4")
	if st := b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 }); st.Missed != 1 || st.Dead != 0 {
		t.Errorf("%+v", st)
	}
}

// Other settings change what is posted where, and not what was posted already. A hook that was taken
// away and comes back has missed nothing.
func TestSettingsChange(t *testing.T) {
	t.Parallel()
	b, s, down := newBench(t), newSink(t, nil), newSink(t, func(w http.ResponseWriter, _ *request) { w.WriteHeader(500) })
	o := b.hook("h", down.url, "a")
	o.Backoff = time.Minute // what a change does not wait for
	b.use(o)
	b.say("a", "0")
	down.want("0")
	o.URL = s.url
	b.use(o)
	s.want("0")
	b.use()
	b.say("a", "1")
	o.Rooms = append(o.Rooms, b.hook("", "", "c").Rooms...)
	b.say("c", "2")
	b.use(o)
	got := map[string]bool{string(s.next().Body): true, string(s.next().Body): true}
	if !got[`"1"`] || !got[`"2"`] {
		t.Errorf("%v came", got)
	}
	down.none()
}

// Each room has one request at a time, and all rooms together no more than they may.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	open, most := map[string]int{}, 0
	full, all := make(chan struct{}), 0
	b := newBench(t)
	s := newSink(t, func(_ http.ResponseWriter, r *request) {
		mu.Lock()
		if open[r.Room]++; open[r.Room] > 1 {
			t.Errorf("%s has two requests at once", r.Room)
		}
		if all++; all == 3 && most < 3 {
			close(full)
		}
		most = max(most, all)
		mu.Unlock()
		<-full // so many are needed to go on
		mu.Lock()
		open[r.Room]--
		all--
		mu.Unlock()
	})
	o := b.hook("h", s.url, "*")
	o.Concurrency = 3
	b.use(o)
	for i := range 10 {
		for r := range 8 {
			b.say(fmt.Sprint("r", r), fmt.Sprint(i))
		}
	}
	next := map[string]int{}
	for range 80 {
		r := s.next()
		if want := fmt.Sprintf("%q", strconv.Itoa(next[r.Room])); string(r.Body) != want {
			t.Errorf("in %s %s came, want %s", r.Room, r.Body, want)
		}
		next[r.Room]++
	}
	mu.Lock()
	defer mu.Unlock()
	if most != 3 {
		t.Errorf("%d requests at once, want 3", most)
	}
}

func TestRoomsThatOpen(t *testing.T) {
	t.Parallel()
	b, s := newBench(t), newSink(t, nil)
	b.say("old", "0")
	b.tick()
	o := b.hook("h", s.url, "*")
	o.Events = []string{hooks.EventRoom}
	b.use(o)
	b.say("old", "1")
	b.say("new", "2", "3")
	if r := s.next(); r.Op != "room" || r.Event != "created" || r.Room != "new" || r.unique != "new:created" || r.Seq == 0 || r.At == "" {
		t.Errorf("%s %s", r.unique, r.raw)
	}
	b.stats("h", func(st hooks.Stats) bool { return st.Behind == 0 })
	o.Events = append(o.Events, hooks.EventMessage)
	b.use(o)
	b.say("newer", "4")
	if r := s.next(); r.Op != "room" || r.Room != "newer" {
		t.Errorf("%s", r.raw)
	}
	s.want("4")
	s.none()
}

// somebody is a member's socket that takes everything.
type somebody struct{}

func (somebody) TryWrite(p []byte) (int, error) { return len(p), nil }
func (somebody) WaitWritable() error            { return nil }
func (somebody) Abort()                         {}

func TestPresence(t *testing.T) {
	t.Parallel()
	b, s := newBench(t), newSink(t, nil)
	o := b.hook("h", s.url, "a")
	o.Events = []string{hooks.EventPresence}
	b.use(o)
	enter := func(user, in string) *room.Outlet {
		out := b.hub.NewOutlet(somebody{}, 1, wire.JSONLines{})
		out.Rename(user, wire.JSONLines{})
		if _, err := b.hub.Join(context.Background(), out, room.Joining{Room: in}); err != nil {
			t.Fatal(err)
		}
		return out
	}
	here := map[string]bool{}
	told := func(count int, users ...string) { // until these are here, however many frames say so
		t.Helper()
		for {
			r := s.next()
			if r.Op != "presence" || r.Room != "a" || !strings.HasPrefix(r.unique, "a:presence:") {
				t.Errorf("%s %s", r.unique, r.raw)
			}
			for _, u := range r.Joined {
				here[u.User] = true
			}
			for _, u := range r.Left {
				delete(here, u.User)
			}
			if r.Count == count && slices.Equal(slices.Sorted(maps.Keys(here)), users) {
				return
			}
		}
	}
	eve := enter("eve", "b")
	defer eve.Close()
	enter("bob", "a").Close()
	ada, bob := enter("ada", "a"), enter("bob", "a")
	told(2, "ada", "bob")
	ada.Close()
	told(1, "bob")
	bob.Close()
	told(0)
}

// What comes behind a message that is refused is not posted before that one's dead letter is on disk.
func TestDeadLettersAreDurableFirst(t *testing.T) {
	t.Parallel()
	b, held := newBench(t), make(chan struct{})
	s := newSink(t, func(w http.ResponseWriter, r *request) {
		if string(r.Body) == `"0"` {
			<-held
			w.WriteHeader(400)
			return
		}
		if page, err := b.log.Read(context.Background(), "h.dead", 0, 10); err != nil || len(page.Messages) != 1 {
			t.Errorf("%d dead letters when %s came; %v", len(page.Messages), r.Body, err)
		}
	})
	b.use(b.hook("h", s.url, "a"))
	b.say("a", "0", "1")
	release := b.log.Hold()
	close(held)
	s.want("0")
	time.AfterFunc(10*time.Millisecond, release)
	s.want("1")
}

func TestTLS(t *testing.T) {
	t.Parallel()
	authority, other := certtest.New(t), certtest.New(t)
	b := newBench(t)
	s := newSink(t, nil)
	secure := httptest.NewUnstartedServer(s.server.Config.Handler)
	secure.TLS, secure.Config.ErrorLog = authority.Server(), log.New(io.Discard, "", 0)
	secure.StartTLS()
	defer secure.Close()
	file := filepath.Join(t.TempDir(), "ca.pem")
	o := b.hook("h", secure.URL, "a")
	o.CAFile, o.Tries = file, 1
	b.must(os.WriteFile(file, other.PEM(), 0o600))
	b.use(o)
	b.say("a", "0")
	if l := b.messages("h.dead", 1)[0]; !strings.Contains(string(l.Body), "certificate") {
		t.Errorf("%s", l.Body)
	}
	s.none()
	b.must(os.WriteFile(file, authority.PEM(), 0o600))
	b.use(o)
	b.say("a", "1")
	s.want("1")
}

// A secret in a URL is in no error.
func TestURLsAreNotSaid(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s := newSink(t, nil)
	s.server.Close()
	o := b.hook("h", s.url+"/hidden-token", "a")
	o.Tries = 1
	b.use(o)
	b.say("a", "0")
	if l := b.messages("h.dead", 1)[0]; strings.Contains(string(l.Body), "hidden") || !strings.Contains(string(l.Body), "refused") {
		t.Errorf("%s", l.Body)
	}
}

func TestFilesThatCannotBe(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	short := filepath.Join(t.TempDir(), "short")
	b.must(os.WriteFile(short, []byte("fifteen bytes.."), 0o600))
	for want, spoil := range map[string]func(o *hooks.Out){
		"hooks[1].secret_file: open ":                   func(o *hooks.Out) { o.SecretFile = "nowhere" },
		"hooks[1].secret_file: a secret has at least":   func(o *hooks.Out) { o.SecretFile = short },
		"hooks[1].secret_env: PARLEY_NO_SUCH is not":    func(o *hooks.Out) { o.SecretFile, o.SecretEnv = "", "PARLEY_NO_SUCH" },
		"hooks[1].ca_file: no certificate":              func(o *hooks.Out) { o.CAFile = short },
		"hooks[1].headers[0].value_file: open nowhere:": func(o *hooks.Out) { o.Headers = []hooks.Header{{Name: "A", ValueFile: "nowhere"}} },
	} {
		good, bad := b.hook("good", "http://127.0.0.1:1", "a"), b.hook("bad", "http://127.0.0.1:1", "a")
		spoil(&bad)
		_, err := b.sender.Prepare(context.Background(), []hooks.Out{good, bad})
		var wrong *hooks.Mistake
		if !errors.As(err, &wrong) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}
