package sse_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"parley"
	"parley/internal/certtest"
	"parley/internal/logtest"
	"parley/room"
	"parley/session"
	"parley/transport/sock"
	"parley/transport/sse"
	"parley/wire"
	"parley/work"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// secure, if not nil, has fixtures speak TLS: tests of TestOverTLS run one by one.
var secure *certtest.Authority

// What holds over TCP holds over TLS, where the same bytes come through another socket.
func TestOverTLS(t *testing.T) {
	secure = certtest.New(t)
	defer func() { secure = nil }()
	for name, test := range map[string]func(*testing.T){
		"one room":                 TestOneRoom,
		"several rooms":            TestSeveralRooms,
		"what cannot be asked for": TestWhatCannotBeAskedFor,
		"heartbeats":               TestHeartbeatsComeAlsoToWhoSleeps,
		"drain":                    TestADrainSaysWhenToComeBack,
		"a reader that stops":      TestAReaderThatStopsMissesNothing,
	} {
		t.Run(name, test)
	}
}

// fixture is a server of streams on a log in memory.
type fixture struct {
	t      *testing.T
	log    *logtest.Memory
	hub    *room.Hub
	books  *work.Manager
	events *sse.Server
	addr   string
}

func serve(t *testing.T, options logtest.Options, config sse.Config) *fixture {
	t.Helper()
	config.Logger = slog.New(slog.DiscardHandler)
	f := &fixture{t: t, log: logtest.New(options)}
	f.hub = room.NewHub(f.log, room.Config{RetainMessages: options.RetainMessages, Logger: config.Logger})
	ctx, cancel := context.WithCancel(context.Background())
	f.books = work.New(work.Config{Log: f.log, Journals: f.log, Rooms: f.hub, Logger: config.Logger})
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		var running sync.WaitGroup
		running.Go(func() { _ = f.books.Run(ctx) })
		_ = f.hub.Run(ctx)
		running.Wait()
	}()
	sessions := &session.Server{Log: f.log, Hub: f.hub, Work: f.books.Books(), Limits: parley.DefaultLimits(), Logger: config.Logger}
	var err error
	if f.events, err = sse.NewServer(sessions, config); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	if secure != nil {
		l = sock.Listen(l.(*net.TCPListener), sock.ListenerConfig{TLS: secure.Server(), Logger: config.Logger})
	}
	web := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Caller", "said")
		if err := f.events.Stream(w, r, r.URL.Query()["room"]); err != nil {
			http.Error(w, string(parley.AsError(err).Code), http.StatusTeapot)
		}
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = web.Serve(l)
	}()
	t.Cleanup(func() {
		_ = web.Close()
		<-served
		drain, stop := context.WithTimeout(context.Background(), 5*time.Second)
		defer stop()
		f.events.Drain(drain)
		cancel()
		<-stopped
	})
	return f
}

// send stores a message and returns its seq.
func (f *fixture) send(room, body string) uint64 {
	f.t.Helper()
	done := make(chan parley.Receipt, 1)
	err := f.log.Append(context.Background(), parley.Draft{Room: room, ID: "i" + body, From: "ada", Body: []byte(body)}, func(r parley.Receipt, err error) {
		if err != nil {
			f.t.Error(err)
		}
		done <- r
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return (<-done).Seq
}

// event is one of a stream: as a browser would see it, and its comments.
type event struct{ ID, Name, Data, Comment, Retry string }

// stream is a client's.
type stream struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
	head *http.Response
}

// open asks for events; "GET" unless said otherwise, headers are "Name: value".
func (f *fixture) open(query string, headers ...string) *stream {
	f.t.Helper()
	nc, err := net.Dial("tcp", f.addr)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = nc.Close() })
	if secure != nil {
		nc = tls.Client(nc, secure.Client())
	}
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	request := "GET /?" + query + " HTTP/1.1\r\nHost: x\r\n"
	for _, h := range headers {
		request += h + "\r\n"
	}
	if _, err := io.WriteString(nc, request+"\r\n"); err != nil {
		f.t.Fatal(err)
	}
	s := &stream{t: f.t, conn: nc, in: bufio.NewReader(nc)}
	if s.head, err = http.ReadResponse(s.in, nil); err != nil { //nolint:bodyclose // the connection is closed at the end of the test
		f.t.Fatal(err)
	}
	return s
}

// next reads a block.
func (s *stream) next() (event, error) {
	var e event
	for {
		line, err := s.in.ReadString('\n')
		if err != nil {
			return e, err
		}
		line = strings.TrimSuffix(line, "\n")
		if line == "" {
			return e, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			e.Comment = ":" + value
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			e.Data = value
		case "retry":
			e.Retry = value
		default:
			s.t.Errorf("a line %q", line)
		}
	}
}

// read reads blocks up to n events with data, as "id name body".
func (s *stream) read(n int) []string {
	s.t.Helper()
	var got []string
	for len(got) < n {
		e, err := s.next()
		if err != nil {
			s.t.Fatalf("after %q: %v", got, err)
		}
		if e.Data == "" {
			continue
		}
		f, err := wire.ParseFrame([]byte(e.Data))
		if err != nil || f.Op != e.Name {
			s.t.Fatalf("%+v, %v", e, err)
		}
		got = append(got, strings.TrimSpace(e.ID+" "+e.Name+" "+strings.Trim(string(f.Body), `"`)))
	}
	return got
}

// began reads the id that says where the stream begins.
func (s *stream) began() string {
	s.t.Helper()
	for {
		e, err := s.next()
		if err != nil {
			s.t.Fatal(err)
		}
		if e.ID != "" && e.Data == "" {
			return e.ID
		}
	}
}

func (s *stream) want(want ...string) {
	s.t.Helper()
	if diff := cmp.Diff(want, s.read(len(want))); diff != "" {
		s.t.Errorf("(-want +got):\n%s", diff)
	}
}

// wantOneOf reads as many as the first, and wants them to be one of the sequences.
func (s *stream) wantOneOf(sequences ...[]string) {
	s.t.Helper()
	got := s.read(len(sequences[0]))
	if !slices.ContainsFunc(sequences, func(want []string) bool { return slices.Equal(got, want) }) {
		s.t.Errorf("got %q, want one of %q", got, sequences)
	}
}

func TestOneRoom(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	for _, body := range []string{"a", "b", "c"} {
		f.send("lobby", body)
	}
	live := f.open("room=lobby")
	if got := live.head.Header.Get("Content-Type"); live.head.StatusCode != http.StatusOK || got != "text/event-stream" {
		t.Errorf("%d, %s", live.head.StatusCode, got)
	}
	if got := live.began(); got != "3" {
		t.Errorf("a live stream begins at %s", got)
	}
	f.open("room=lobby&after=1").want("2 message b", "3 message c")
	f.open("room=lobby&last=1").want("3 message c")
	f.open("room=lobby&since=1h").want("1 message a", "2 message b", "3 message c")
	f.open("room=lobby&after=0", "Last-Event-ID: 2").want("3 message c")
	f.open("room=lobby", "Last-Event-ID: lobby:1,other:9").want("2 message b", "3 message c")
	if got := f.open("room=lobby&since=0s").began(); got != "3" {
		t.Errorf("where nothing is new a stream begins at %s", got)
	}
	if got := f.open("room=empty&last=5").began(); got != "0" {
		t.Errorf("an empty room begins at %s", got)
	}
	f.send("lobby", "d")
	live.want("4 message d")
}

func TestWhatCannotBeAskedFor(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	many := ""
	for i := range 65 {
		many += fmt.Sprintf("&room=r%d", i)
	}
	for name, tt := range map[string]struct {
		query, header string
		want          parley.Code
	}{
		"no room":             {"", "", parley.BadRequest},
		"a bad room":          {"room=a..b", "", parley.BadRequest},
		"a room twice":        {"room=a&room=a", "", parley.BadRequest},
		"a room in two forms": {"room=%C3%A9&room=e%CC%81", "", parley.BadRequest},
		"too many rooms":      {many[1:], "", parley.Conflict},
		"a bad position":      {"room=a&after=x", "", parley.BadRequest},
		"two positions":       {"room=a&after=1&last=1", "", parley.BadRequest},
		"an id no number":     {"room=a", "Last-Event-ID: x", parley.BadRequest},
		"an id of one":        {"room=a&room=b", "Last-Event-ID: 5", parley.BadRequest},
		"a torn id":           {"room=a&room=b", "Last-Event-ID: a:1,b", parley.BadRequest},
		"an id of no room":    {"room=a&room=b", "Last-Event-ID: a..b:1", parley.BadRequest},
		"a negative id":       {"room=a", "Last-Event-ID: -1", parley.BadRequest},
		"a bad since":         {"room=a&since=yesterday", "", parley.BadRequest},
		"a bad name":          {"room=a&name=%E2%80%AE", "", parley.BadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			headers := []string{"Connection: close"}
			if tt.header != "" {
				headers = append(headers, tt.header)
			}
			s := f.open(tt.query, headers...)
			body := make([]byte, s.head.ContentLength)
			_, _ = io.ReadFull(s.head.Body, body)
			if got := strings.TrimSpace(string(body)); s.head.StatusCode != http.StatusTeapot || got != string(tt.want) {
				t.Errorf("%d %s, want %s", s.head.StatusCode, got, tt.want)
			}
		})
	}
}

func TestSeveralRooms(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	f.send("a", "1") // seqs of the log in memory run through all rooms
	f.send("b", "2")
	s := f.open("room=a&room=b")
	if got := s.began(); got != "a:1" {
		t.Errorf("begins at %s", got)
	}
	if got := s.began(); got != "a:1,b:2" {
		t.Errorf("begins at %s", got)
	}
	f.send("a", "3")
	s.want("a:3,b:2 message 3")
	f.send("b", "4")
	s.want("a:3,b:4 message 4")
	_ = s.conn.Close()
	f.send("a", "5")
	f.send("b", "6")
	for _, s := range []*stream{
		f.open("room=a&room=b", "Last-Event-ID: a:3,b:4"),
		f.open("room=a&room=b&last=1", "Last-Event-ID: b:4"),
	} {
		s.wantOneOf( // each room has an order; between rooms there is none
			[]string{"a:5,b:4 message 5", "a:5,b:6 message 6"},
			[]string{"a:3,b:6 message 6", "a:5,b:6 message 5"},
		)
	}
	f.open("room=a&room=b&after=a:3,b:6").want("a:5,b:6 message 5")
}

// What the server says of itself comes between the events of a stream of one room and of several, without an id.
func TestStatusIsTold(t *testing.T) {
	for _, query := range []string{"room=a", "room=a&room=b"} {
		f := serve(t, logtest.Options{}, sse.Config{})
		s := f.open(query)
		for range strings.Count(query, "room") {
			s.began()
		}
		f.hub.Announce(wire.Status{Message: "down"})
		f.hub.Announce(wire.Status{Available: true, Message: "up"})
		for _, want := range []string{`{"op":"status","available":false,"message":"down"}`, `{"op":"status","available":true,"message":"up"}`} {
			e, err := s.next()
			if err != nil || e != (event{Name: "status", Data: want}) {
				t.Errorf("%s: %+v, %v; want %s", query, e, err, want)
			}
		}
	}
}

func TestMembersAndNames(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	f.open("room=lobby&name=bob").began()
	f.open("room=lobby", "Parley-Name: ada").began()
	users, count := f.hub.Members("lobby", 10)
	if diff := cmp.Diff([]string{"ada", "bob"}, users); diff != "" && count == 2 {
		users[0], users[1] = users[1], users[0]
	}
	if diff := cmp.Diff([]string{"ada", "bob"}, users); diff != "" || count != 2 {
		t.Errorf("%d members (-want +got):\n%s", count, diff)
	}
}

func TestWhatRetentionTookIsTold(t *testing.T) {
	f := serve(t, logtest.Options{RetainMessages: 2}, sse.Config{})
	for i := range 9 {
		f.send("lobby", strconv.Itoa(i+1))
	}
	f.open("room=lobby", "Last-Event-ID: 3").want("gap", "8 message 8", "9 message 9")
	f.open("room=lobby&after=0").want("8 message 8", "9 message 9")
}

func TestHeartbeatsComeAlsoToWhoSleeps(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{Heartbeat: 200 * time.Millisecond})
	s := f.open("room=lobby")
	s.began()
	for beats := 0; beats < 20; { // for longer than it takes to fall asleep
		e, err := s.next()
		if err != nil {
			t.Fatal(err)
		}
		if e.Comment == ":" {
			beats++
		}
	}
	f.send("lobby", "still here")
	s.want("1 message still here")
}

func TestADrainSaysWhenToComeBack(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	s := f.open("room=lobby&room=b")
	s.began()
	s.began()
	f.events.Drain(context.Background())
	e, err := s.next()
	if ms, bad := strconv.Atoi(e.Retry); err != nil || bad != nil || ms < 1000 {
		t.Errorf("%+v, %v", e, err)
	}
	if e, err := s.next(); err != io.EOF {
		t.Errorf("behind the end: %+v, %v", e, err)
	}
	if st := f.events.Stats(); st.Accepted != 1 || st.Open != 0 {
		t.Errorf("%+v", st)
	}
}

// TestAReaderThatStopsMissesNothing fills the socket of streams that do not read.
func TestAReaderThatStopsMissesNothing(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	one, two := f.open("room=lobby"), f.open("room=lobby&room=b")
	one.began()
	two.began()
	two.began()
	const n = 400
	body := strings.Repeat("x", 30<<10)
	for i := range n {
		f.send([]string{"lobby", "b"}[i%2], fmt.Sprintf("%d-%s", i, body))
	}
	if f.hub.Stats().Parked == 0 {
		t.Log("nobody is parked yet") // the rest is as true
	}
	last, lobby, b := -2, uint64(0), uint64(0)
	for range n / 2 {
		e, err := one.next()
		for err == nil && e.Data == "" {
			e, err = one.next()
		}
		if err != nil {
			t.Fatal(err)
		}
		i := numberOf(t, e)
		if i != last+2 {
			t.Fatalf("%d behind %d", i, last)
		}
		last = i
	}
	for range n {
		e, err := two.next()
		for err == nil && e.Data == "" {
			e, err = two.next()
		}
		if err != nil {
			t.Fatal(err)
		}
		seq := uint64(numberOf(t, e)) + 1
		if seq%2 == 1 {
			if lobby != 0 && seq != lobby+2 {
				t.Fatalf("%d behind %d", seq, lobby)
			}
			lobby = seq
		} else {
			if b != 0 && seq != b+2 {
				t.Fatalf("%d behind %d", seq, b)
			}
			b = seq
		}
		if want := fmt.Sprintf("lobby:%d,b:%d", lobby, b); e.ID != want {
			t.Fatalf("the id is %s, want %s", e.ID, want)
		}
	}
}

// numberOf is the number before the dash of an event's body.
func numberOf(t *testing.T, e event) int {
	t.Helper()
	var m struct{ Body string }
	if err := json.Unmarshal([]byte(e.Data), &m); err != nil {
		t.Fatalf("%v: %.80s", err, e.Data)
	}
	digits, _, _ := strings.Cut(m.Body, "-")
	n, err := strconv.Atoi(digits)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestEventsWrittenInPart cuts a write at every byte and goes on as an outlet does: what comes out is
// always the same.
func TestEventsWrittenInPart(t *testing.T) {
	var shared []byte
	shared = wire.SSE{}.Error(shared, nil, parley.Errorf(parley.Internal, "x"))
	for i, room := range []string{"lobby", "b", "b", "other", "lobby"} {
		shared = wire.SSE{}.Message(shared, &parley.Message{Room: room, Seq: uint64(10 + i), ID: "i", From: "ada", Body: []byte("event: \n\nid: 5\n")})
	}
	shared = wire.SSE{}.Gap(shared, "b", 3, 9)
	places := func() *sse.Places {
		p := new(sse.Places)
		p.Add("lobby", 1)
		p.Add("b", 2)
		return p
	}
	whole := string(places().Compose(shared))
	if !strings.Contains(whole, "id: lobby:10,b:2\nevent: message\n") || !strings.Contains(whole, "id: lobby:14,b:12\n") {
		t.Fatalf("composed:\n%s", whole)
	}
	for cut := range len(whole) + 1 {
		p := places()
		first := p.Compose(shared)
		n, owed := p.Accept(first, cut)
		out := string(first[:cut]) + string(owed)
		if n < len(shared) {
			second := p.Compose(shared[n:])
			m, left := p.Accept(second, len(second))
			out += string(second)
			if n+m != len(shared) || len(left) > 0 {
				t.Fatalf("cut at %d: %d and %d of %d, %q left", cut, n, m, len(shared), left)
			}
		} else if len(owed) > 0 {
			t.Fatalf("cut at %d: all is taken and %q owed", cut, owed)
		}
		if out != whole {
			t.Fatalf("cut at %d:\n%s", cut, out)
		}
		if got := p.ID(); got != "id: lobby:14,b:12\n" {
			t.Fatalf("cut at %d: ends at %s", cut, got)
		}
	}
}

// What the caller says of all its answers is said of a stream, whose head is not net/http's.
func TestHeadOfAStream(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	got := f.open("room=lobby").head.Header
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
		"X-Accel-Buffering": "no", "X-Caller": "said",
	} {
		if got.Get(name) != want {
			t.Errorf("%s: %q, want %q", name, got.Get(name), want)
		}
	}
}

// A client has nothing to say once it has asked: what it sends is read and forgotten.
func TestWhatAClientSendsIsForgotten(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	s := f.open("room=lobby")
	s.began()
	if _, err := io.WriteString(s.conn, strings.Repeat("GET /?room=other HTTP/1.1\r\nHost: x\r\n\r\n", 100_000)); err != nil {
		t.Fatal(err)
	}
	f.send("lobby", "a")
	s.want("1 message a")
	if users, _ := f.hub.Members("other", 10); len(users) != 0 {
		t.Errorf("it has joined another room: %q", users)
	}
}

// A client that does not read cannot hold up the end beyond its bound.
func TestADrainCutsThoseWhoDoNotRead(t *testing.T) {
	f := serve(t, logtest.Options{}, sse.Config{})
	s := f.open("room=lobby&after=0")
	_ = s.conn.(*net.TCPConn).SetReadBuffer(4 << 10)
	s.began()
	body := strings.Repeat("x", 60_000)
	for i := range 200 { // more than the sockets hold
		f.send("lobby", strconv.Itoa(i)+body)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
	defer cancel()
	began := time.Now()
	f.events.Drain(ctx)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("the drain took %v", took)
	}
	if got := f.events.Stats().Open; got != 0 {
		t.Errorf("%d streams are open", got)
	}
}
