package hooks_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"parley"
	"parley/auth"
	"parley/hooks"
	"parley/internal/logtest"
	"parley/room"
	"parley/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take that is bound to happen.
const patience = 2 * time.Minute

const secret = "sixteen bytes or more"

// bench is a sender over a log in memory. The log outlives each life of the sender.
type bench struct {
	t      testing.TB
	log    *logtest.Memory
	lame   *lameLog
	ids    int
	key    string // file with the secret
	hub    *room.Hub
	sender *hooks.Sender
	stop   func()

	keeps func(room string) bool // nil: the sender is alone
	tail  hooks.Tail             // nil: the log
}

func newBench(t testing.TB) *bench { return newBenchOn(t, logtest.Options{}) }

func newBenchOn(t testing.TB, o logtest.Options) *bench {
	b := &bench{t: t, log: logtest.New(o), key: filepath.Join(t.TempDir(), "key")}
	b.lame = &lameLog{Log: b.log}
	b.must(os.WriteFile(b.key, []byte(secret+"\n"), 0o600))
	b.start()
	t.Cleanup(func() { b.stop() })
	return b
}

// lameLog cannot say now and then where to read from.
type lameLog struct {
	parley.Log
	fails atomic.Int32 // so often
}

func (l *lameLog) Since(ctx context.Context, room string, t time.Time) (uint64, error) {
	if l.fails.Add(-1) >= 0 {
		return 0, parley.Errorf(parley.Unavailable, "not now")
	}
	return l.Log.Since(ctx, room, t)
}

// start begins a life without hooks.
func (b *bench) start() {
	logger := slog.New(slog.NewTextHandler(b.t.Output(), nil))
	hub := room.NewHub(b.log, room.Config{Logger: logger})
	config := work.Config{Log: b.log, Journals: b.log, Rooms: hub, Logger: logger}
	if b.keeps != nil {
		config.Part = b.log.Part
	}
	books := work.New(config)
	if b.tail == nil {
		b.tail = b.log
	}
	sender := hooks.New(hooks.Config{
		Log: b.lame, Journals: b.log, Work: books, Tail: b.tail, Rooms: hub, Logger: logger, Keeps: b.keeps,
	})
	b.hub, b.sender = hub, sender
	var stops []func()
	for _, run := range []func(context.Context) error{hub.Run, books.Run, sender.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = run(ctx)
		}()
		stops = append(stops, func() { cancel(); <-done })
	}
	b.stop = sync.OnceFunc(func() { stops[2](); stops[1](); stops[0]() })
}

// use puts hooks into force.
func (b *bench) use(out ...hooks.Out) {
	b.t.Helper()
	apply, err := b.sender.Prepare(context.Background(), out)
	b.must(err)
	apply()
}

// hook is one that tries again quickly.
func (b *bench) hook(name, url string, rooms ...string) hooks.Out {
	o := hooks.Out{Name: name, URL: url, SecretFile: b.key, Backoff: time.Millisecond, Timeout: time.Minute, Tries: 3}
	for _, r := range rooms {
		p, err := auth.ParsePattern(r)
		b.must(err)
		o.Rooms = append(o.Rooms, p)
	}
	return o
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// say puts texts into a room.
func (b *bench) say(room string, texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		b.put(parley.Draft{Room: room, Body: []byte(text)})
	}
}

func (b *bench) put(d parley.Draft) {
	b.t.Helper()
	d.ID, d.From = fmt.Sprint("id-", b.ids), "ada"
	b.ids++
	done := make(chan error, 1)
	b.must(b.log.Append(context.Background(), d, func(_ parley.Receipt, err error) { done <- err }))
	b.must(<-done)
}

// tick waits for the clock to go on: what is older than a hook is so by a millisecond.
func (b *bench) tick() {
	for now := time.Now().UnixMilli(); time.Now().UnixMilli() == now; {
		runtime.Gosched()
	}
}

// messages waits until a room has n messages.
func (b *bench) messages(room string, n int) []*parley.Message {
	b.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for until := time.Now().Add(patience); ; <-tick.C {
		page, err := b.log.Read(context.Background(), room, 0, parley.MaxPage)
		b.must(err)
		if len(page.Messages) >= n {
			return page.Messages
		}
		if time.Now().After(until) {
			b.t.Fatalf("%s has %d messages, want %d", room, len(page.Messages), n)
		}
	}
}

// request is what a sink was sent.
type request struct {
	Op, Room, ID, From, At, Type, Event string
	Seq, Prev                           uint64
	Body                                json.RawMessage
	Joined, Left                        []struct{ User string }
	Count                               int

	hook, unique string
	header       http.Header
	raw          []byte
}

// sink is a receiver that checks what every request must be, and answers as it is told.
type sink struct {
	t        testing.TB
	url      string
	requests chan *request
	server   *httptest.Server
}

// newSink answers what answer says, and 200 where that is nil.
func newSink(t testing.TB, answer func(w http.ResponseWriter, r *request)) *sink {
	s := &sink{t: t, requests: make(chan *request, 10_000)}
	s.server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, err := read(r)
		if err != nil {
			t.Error(err)
		}
		s.requests <- req
		if answer != nil {
			answer(w, req)
		}
	}))
	s.url = s.server.URL
	t.Cleanup(s.server.Close)
	return s
}

var signature = regexp.MustCompile(`^t=(\d{10}),v1=([0-9a-f]{64})$`)

// read checks a request as a receiver should, by the documents and not by our code.
func read(r *http.Request) (*request, error) {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	m := signature.FindStringSubmatch(r.Header.Get("Parley-Signature"))
	if m == nil {
		return nil, fmt.Errorf("the signature is %q", r.Header.Get("Parley-Signature"))
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", m[1], raw)
	if want := fmt.Sprintf("%x", mac.Sum(nil)); want != m[2] {
		return nil, fmt.Errorf("the signature is %s, want %s", m[2], want)
	}
	if at, _ := strconv.ParseInt(m[1], 10, 64); time.Since(time.Unix(at, 0)).Abs() > patience {
		return nil, fmt.Errorf("the signature is of %d", at)
	}
	if r.Method != "POST" || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("User-Agent") == "" {
		return nil, fmt.Errorf("%s with %v", r.Method, r.Header)
	}
	req := &request{raw: raw, header: r.Header, hook: r.Header.Get("Parley-Hook"), unique: r.Header.Get("Parley-Id")}
	return req, json.Unmarshal(raw, req)
}

// next waits for a request.
func (s *sink) next() *request {
	s.t.Helper()
	select {
	case r := <-s.requests:
		return r
	case <-time.After(patience):
		s.t.Fatal("no request came")
		return nil
	}
}

// want waits for messages with these texts, in this order.
func (s *sink) want(texts ...string) {
	s.t.Helper()
	for _, text := range texts {
		if r := s.next(); r.Op != "message" || string(r.Body) != strconv.Quote(text) {
			s.t.Fatalf("%s came, want the message %q", r.raw, text)
		}
	}
}

// none checks that nothing has come by now.
func (s *sink) none() {
	s.t.Helper()
	select {
	case r := <-s.requests:
		s.t.Fatalf("%s came", r.raw)
	default:
	}
}
