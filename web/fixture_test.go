package web_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"parley/clients/js"
	"parley/web"
)

// frame is an operation or an answer.
type frame = map[string]any

// fixture is a server for the page alone: it speaks the protocol over WebSocket, keeps its rooms in
// memory, and does what a test tells it to. The real server is in e2e/browser.
type fixture struct {
	url string

	mu       sync.Mutex
	rooms    map[string][]frame
	sessions map[*speaker]bool
	down     bool   // nobody gets in
	refuse   string // the code that sends are answered with, if not empty
	trust    trust
	mute     bool // sends are not answered, and not stored
	seq      int
}

// speaker is one session. The fixture's mu guards it.
type speaker struct {
	conn *websocket.Conn
	user string
	in   map[string]bool

	known bool // by its cookie
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{rooms: make(map[string][]frame), sessions: make(map[*speaker]bool)}
	page := web.Handler(js.Source)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/ws":
			f.serve(w, r)
			return
		case "/session":
			f.session(w, r)
			return
		}
		page.ServeHTTP(w, r)
	}))
	t.Cleanup(func() {
		f.cut()
		server.Close()
	})
	f.url = server.URL
	return f
}

func (f *fixture) serve(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	down, known := f.down, f.trust.knows(r)
	f.mu.Unlock()
	if down {
		http.Error(w, "down", http.StatusServiceUnavailable)
		return
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"parley.v1"}})
	if err != nil {
		return
	}
	conn.SetReadLimit(1 << 20)
	s := &speaker{conn: conn, user: "guest-abcde", in: make(map[string]bool), known: known}
	f.mu.Lock()
	f.sessions[s] = true
	f.mu.Unlock()
	for {
		_, data, err := conn.Read(context.Background())
		if err != nil {
			break
		}
		var op frame
		if json.Unmarshal(data, &op) == nil {
			f.do(s, op)
		}
	}
	_ = conn.CloseNow()
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.sessions, s)
	for room := range s.in {
		f.present(room, nil, []any{frame{"user": s.user}})
	}
}

func (f *fixture) do(s *speaker, op frame) {
	f.mu.Lock()
	defer f.mu.Unlock()
	room, _ := op["room"].(string)
	answer := frame{"ref": op["ref"], "room": room}
	switch op["op"] {
	case "hello":
		if f.trust.token != "" && !s.known && f.trust.open == nil {
			s.write(frame{"op": "error", "ref": op["ref"], "code": "unauthorized", "message": "a token is needed"})
			go func() { _ = s.conn.Close(websocket.StatusPolicyViolation, "unauthorized") }()
			return
		}
		f.hello(s, op, answer)
	case "join":
		f.join(s, answer)
	case "send":
		if f.mute {
			return
		}
		f.send(s, op, answer)
	case "history":
		f.history(op, answer)
	case "leave":
		delete(s.in, room)
		answer["op"] = "left"
		f.present(room, nil, []any{frame{"user": s.user}})
	case "members":
		answer["op"] = "members"
		f.members(room, answer)
	case "rooms":
		answer["op"], answer["more"] = "rooms", false
		rooms := []frame{}
		for name, log := range f.rooms {
			rooms = append(rooms, frame{"room": name, "seq": len(log), "messages": len(log), "members": 0})
		}
		answer["rooms"] = rooms
	case "signal":
		f.tell(room, frame{"op": "signal", "room": room, "from": s.user, "body": op["body"]}, s)
		return
	case "ping":
		answer["op"] = "pong"
	}
	s.write(answer)
	if op["op"] == "join" {
		f.replay(s, room, op)
	}
}

func (f *fixture) hello(s *speaker, op, answer frame) {
	name, _ := op["name"].(string)
	if s.known {
		name = f.trust.user
	}
	if name != "" {
		for room := range s.in {
			f.present(room, []any{frame{"user": name}}, []any{frame{"user": s.user}})
		}
		s.user = name
	}
	answer["op"], answer["user"], answer["session"] = "welcome", s.user, "5f0c31aa97d2be04"
	answer["limits"] = frame{"message": 65536, "frame": 262144, "inflight": 256, "rooms": 64, "dedupe_ms": 600000}
}

func (f *fixture) join(s *speaker, answer frame) {
	room := answer["room"].(string)
	f.present(room, []any{frame{"user": s.user}}, nil)
	s.in[room] = true
	answer["op"], answer["seq"] = "joined", 0
	if log := f.rooms[room]; len(log) > 0 {
		answer["seq"] = log[len(log)-1]["seq"]
	}
	f.members(room, answer)
}

// replay writes what a join asked for.
func (f *fixture) replay(s *speaker, room string, op frame) {
	log := f.rooms[room]
	if last, ok := op["last"].(float64); ok {
		log = log[max(0, len(log)-int(last)):]
	} else if after, ok := op["after"].(float64); ok {
		at := slices.IndexFunc(log, func(m frame) bool { return m["seq"].(int) > int(after) })
		switch {
		case at < 0:
			log = nil
		case at == 0 && after > 0 && log[0]["seq"].(int) > int(after)+1:
			s.write(frame{"op": "gap", "room": room, "after": after, "next": log[0]["seq"]})
		default:
			log = log[at:]
		}
	}
	for _, m := range log {
		s.write(m)
	}
}

func (f *fixture) send(s *speaker, op, answer frame) {
	if f.refuse != "" {
		answer["op"], answer["code"], answer["message"] = "error", f.refuse, "you may not send here"
		return
	}
	kind, _ := op["type"].(string)
	seq, duplicate := f.store(answer["room"].(string), s.user, op["id"], kind, op["body"], time.Now())
	answer["op"], answer["seq"] = "ack", seq
	if duplicate {
		answer["duplicate"] = true
	}
}

func (f *fixture) history(op, answer frame) {
	log := f.rooms[answer["room"].(string)]
	limit, _ := op["limit"].(float64)
	from, to := max(0, len(log)-int(limit)), len(log)
	more := from > 0
	if before, ok := op["before"].(float64); ok {
		to = slices.IndexFunc(log, func(m frame) bool { return m["seq"].(int) >= int(before) })
		if to < 0 {
			to = len(log)
		}
		from = max(0, to-int(limit))
		more = from > 0
	} else if after, ok := op["after"].(float64); ok {
		from = slices.IndexFunc(log, func(m frame) bool { return m["seq"].(int) > int(after) })
		if from < 0 {
			from = len(log)
		}
		to = min(len(log), from+int(limit))
		more = to < len(log)
	}
	answer["op"], answer["messages"], answer["more"] = "page", append([]frame{}, log[from:to]...), more
}

func (f *fixture) members(room string, answer frame) {
	names := map[string]bool{}
	for s := range f.sessions {
		if s.in[room] {
			names[s.user] = true
		}
	}
	list := []frame{}
	for name := range names {
		list = append(list, frame{"user": name})
	}
	answer["members"], answer["count"] = list, len(list)
}

// present tells of who came and went, before s.in has changed where one comes.
func (f *fixture) present(room string, joined, left []any) {
	change := frame{}
	f.members(room, change)
	f.tell(room, frame{
		"op": "presence", "room": room, "count": change["count"].(int) + len(joined),
		"joined": append([]any{}, joined...), "left": append([]any{}, left...),
	}, nil)
}

func (f *fixture) store(room, from string, id any, kind string, body any, at time.Time) (seq int, duplicate bool) {
	log := f.rooms[room]
	for _, m := range log {
		if id != nil && m["id"] == id && m["from"] == from {
			return m["seq"].(int), true
		}
	}
	prev := 0
	if len(log) > 0 {
		prev = log[len(log)-1]["seq"].(int)
	}
	f.seq++
	if kind == "" {
		kind = "text"
	}
	if id == nil {
		id = fmt.Sprintf("x-%d", f.seq)
	}
	m := frame{
		"op": "message", "room": room, "seq": f.seq, "prev": prev, "id": id, "from": from,
		"at": at.UTC().Format("2006-01-02T15:04:05.000Z"), "type": kind, "body": body,
	}
	f.rooms[room] = append(log, m)
	f.tell(room, m, nil)
	return f.seq, false
}

// tell writes to the members of a room, but not to one.
func (f *fixture) tell(room string, m frame, except *speaker) {
	for s := range f.sessions {
		if s.in[room] && s != except {
			s.write(m)
		}
	}
}

func (s *speaker) write(m frame) {
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_ = s.conn.Write(ctx, websocket.MessageText, data)
}

// say stores a text of somebody's.
func (f *fixture) say(room, from, body string) { f.sayAt(room, from, "text", body, time.Now()) }

func (f *fixture) sayAt(room, from, kind string, body any, at time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store(room, from, nil, kind, body, at)
}

// fill stores so many texts: "message 1" and so on.
func (f *fixture) fill(room string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	begin := time.Now().Add(-time.Duration(n) * time.Minute)
	people := []string{"ada", "bob", "carol"}
	for i := 1; i <= n; i++ {
		body := fmt.Sprintf("message %d", i) + strings.Repeat(" and some more words", i%7)
		f.store(room, people[i/3%3], fmt.Sprintf("fill-%d", i), "text", body, begin.Add(time.Duration(i)*time.Minute))
	}
}

// expire removes all but the newest n, as retention would.
func (f *fixture) expire(room string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rooms[room] = f.rooms[room][len(f.rooms[room])-n:]
}

// set changes how the fixture behaves.
func (f *fixture) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// status tells every session whether messages can be stored.
func (f *fixture) status(available bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for s := range f.sessions {
		s.write(frame{"op": "status", "available": available, "message": "for people"})
	}
}

// cut drops every connection and lets nobody in.
func (f *fixture) cut() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = true
	for s := range f.sessions {
		_ = s.conn.CloseNow()
	}
}
