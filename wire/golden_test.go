package wire_test

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/wire"
)

// The files of testdata/frames are the protocol by example: clients in other languages are tested
// against the same ones.

// goldenOp is an entry of operations.json.
type goldenOp struct {
	Name  string
	Line  string
	Want  *opFields
	Error parley.Code
	Ref   string
}

// opFields is a wire.Op as the files write it.
type opFields struct {
	Op        string    `json:"op"`
	Ref       string    `json:"ref"`
	Room      string    `json:"room"`
	Token     string    `json:"token"`
	Name      string    `json:"name"`
	After     *uint64   `json:"after"`
	Before    *uint64   `json:"before"`
	Last      int       `json:"last"`
	Since     time.Time `json:"since"`
	Echo      *bool     `json:"echo"`
	Presence  bool      `json:"presence"`
	Limit     int       `json:"limit"`
	AfterRoom string    `json:"after_room"`
	AfterRdr  string    `json:"after_reader"`
	Reader    string    `json:"reader"`
	Seq       *uint64   `json:"seq"`
	Group     string    `json:"group"`
	Prefetch  int       `json:"prefetch"`
	Tries     int       `json:"tries"`
	Deadline  string    `json:"deadline"`
	Job       string    `json:"job"`
	Delay     string    `json:"delay"`
	Reason    string    `json:"reason"`
	JobKey    string    `json:"job_key"`
	Priority  int       `json:"priority"`
	TTL       string    `json:"ttl"`
	Question  string    `json:"question"`
	Most      int       `json:"most"`
	Timeout   string    `json:"timeout"`
	ID        string    `json:"id"`
	Type      string    `json:"type"`
	Body      string    `json:"body"`
	Body64    []byte    `json:"body64"`
	User      string    `json:"user"`
	Key       string    `json:"key"`
	Lift      bool      `json:"lift"`

	Cursor string            `json:"cursor"`
	Places map[string]uint64 `json:"places"`
	Rest   string            `json:"rest"`
}

func fieldsOf(op wire.Op) *opFields {
	f := &opFields{
		Op: string(op.Kind), Ref: string(op.Ref), Room: op.Room, Token: op.Token, Name: op.Name,
		After: op.After, Before: op.Before, Last: op.Start.Last, Since: op.Start.Since, Echo: op.Echo,
		Presence: op.Presence, Limit: op.Limit, AfterRoom: op.AfterRoom, AfterRdr: op.AfterReader, ID: op.ID,
		Reader: op.Reader, Seq: op.Seq, Group: op.Group, Prefetch: op.Prefetch, Tries: op.Tries, Job: op.Job, Reason: op.Reason,
		User: op.User, Key: op.Key, Lift: op.Lift,
	}
	f.JobKey, f.Priority = op.JobKey, op.Priority
	if op.TTL != 0 {
		f.TTL = op.TTL.String()
	}
	f.Question, f.Most = op.Question, op.Most
	if op.Timeout != 0 {
		f.Timeout = op.Timeout.String()
	}
	if op.Deadline != 0 {
		f.Deadline = op.Deadline.String()
	}
	if op.Delay != nil {
		f.Delay = op.Delay.String()
	}
	if op.Kind == wire.Join || op.Kind == wire.Take {
		f.After = op.Start.After
		f.Cursor, f.Places = op.Start.Cursor.String(), op.Start.Places
		if op.Start.Rest {
			f.Rest = "start"
		}
	}
	if op.Kind == wire.Signal {
		f.Body = string(op.Body)
	}
	if op.Kind == wire.Send || op.Kind == wire.Ask || op.Kind == wire.Answer {
		f.Type = op.Type.String()
		if op.Type == parley.Binary {
			f.Body64 = op.Body
		} else {
			f.Body = string(op.Body)
		}
	}
	return f
}

func readGolden(t testing.TB, file string, into any) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "frames", file))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func TestGoldenOperations(t *testing.T) {
	var golden struct{ Operations []goldenOp }
	readGolden(t, "operations.json", &golden)
	for _, g := range golden.Operations {
		t.Run(g.Name, func(t *testing.T) {
			op, err := wire.ParseOp([]byte(g.Line))
			if g.Error != "" {
				wantCode(t, err, g.Error)
				if string(op.Ref) != g.Ref {
					t.Errorf("the error bears the ref %q, want %q", op.Ref, g.Ref)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(g.Want, fieldsOf(op)); diff != "" {
				t.Errorf("wrong operation (-want +got):\n%s", diff)
			}
			again, err := wire.ParseOp(wire.AppendOp(nil, op))
			if err != nil {
				t.Fatalf("what AppendOp wrote is refused: %v", err)
			}
			if diff := cmp.Diff(op, again); diff != "" {
				t.Errorf("AppendOp lost something (-had +has):\n%s", diff)
			}
		})
	}
}

func wantCode(t *testing.T, err error, code parley.Code) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want %s", code)
	}
	if got := parley.AsError(err); got.Code != code {
		t.Errorf("%s, want %s: %v", got.Code, code, err)
	}
}

// answers are what each frame of answers.json is made of.
func answers() map[string][]byte {
	var enc wire.Encoding = wire.JSONLines{}
	ref := func(s string) []byte { return []byte(s) }
	at := func(ms int) time.Time { return time.Date(2026, 11, 22, 7, 0, 0, ms*1e6, time.UTC) }
	page := parley.Page{More: true, Messages: []*parley.Message{
		{Room: "lobby", Seq: 811, ID: "c1-6", From: "ada", At: at(0), Body: []byte("hi")},
		{Room: "lobby", Seq: 813, Prev: 811, ID: "c1-7", From: "bob", At: at(123), Type: parley.JSON, Body: []byte(`{"t":21}`)},
	}}
	away := parley.Errorf(parley.Unavailable, `the server is "going" away`)
	away.Retry = 1500 * time.Millisecond
	elsewhere := parley.Errorf(parley.Unavailable, "go to the others")
	elsewhere.Retry, elsewhere.Servers = 60*time.Millisecond, []string{"10.0.0.2:8000", "ws://10.0.0.2:8080/ws"}
	wait := parley.Errorf(parley.Unavailable, "wait")
	wait.Retry = time.Microsecond
	job := &parley.Job{
		Message: &parley.Message{Room: "squares", Seq: 813, Prev: 812, ID: "c1-7", From: "ada", At: at(123), Body: []byte("12")},
		Group:   "g", Job: "g.813.1", Tries: 1, Deadline: 30 * time.Second,
	}
	success, failure := at(123), at(1000)
	return map[string][]byte{
		"groups":            enc.Groups(nil, ref("1"), "squares", []wire.GroupEntry{{Group: "g", Pending: 3, Taken: 1, Dead: 2, Sessions: 4}}),
		"groups, none":      enc.Groups(nil, nil, "squares", nil),
		"readers":           enc.Readers(nil, ref("2"), "orders", []wire.ReaderEntry{{Reader: "billing", Seq: 812}}, true),
		"removed, a group":  enc.Removed(nil, ref("3"), "squares", "g", ""),
		"removed, a reader": enc.Removed(nil, ref("4"), "orders", "", "billing"),
		"hooks": enc.Hooks(nil, ref("5"), []wire.HookEntry{
			{
				Hook: "billing", To: "https://billing.example", Rooms: []string{"orders.**"}, Pending: 2, LagMS: 35_000, Sent: 812, Dead: 1,
				LastSuccess: &success, FailingSince: &failure, Why: "answered 500 Internal Server Error",
			},
			{Hook: "new", To: "http://127.0.0.1:9000", Rooms: []string{"lobby"}},
		}),
		"welcome": enc.Welcome(nil, ref(`"k3xq9"`), wire.Welcome{
			User: "ada", Session: 0x00c0ffee00c0ffee, Limits: parley.DefaultLimits(),
		}),
		"joined":                        enc.Joined(nil, ref("1"), "lobby", 812),
		"joined, an empty room, no ref": enc.Joined(nil, nil, "lobby", 0),
		"joined, with who is there":     enc.JoinedMembers(nil, ref("1"), "lobby", 812, []string{"ada"}, 1),
		"joined, too many for names":    enc.JoinedMembers(nil, ref("1"), "lobby", 812, nil, 201),
		"joined, a pattern":             enc.JoinedMany(nil, ref("1"), "orders.**", parley.Position{812, 0, 40017, 3}),
		"joined, a pattern with places": enc.JoinedMany(nil, ref("1"), "orders.**", nil),
		"cursor":                        enc.Cursor(nil, "orders.**", parley.Position{813, 0, 40017, 3}),
		"left":                          enc.Left(nil, ref("2"), "lobby"),
		"ack":                           enc.Ack(nil, ref("3"), "lobby", parley.Receipt{Seq: 813}),
		"ack of a repeated id":          enc.Ack(nil, ref("3"), "lobby", parley.Receipt{Seq: 813, Duplicate: true}),
		"page":                          enc.Page(nil, ref("4"), "lobby", page),
		"page, empty":                   enc.Page(nil, ref("4"), "lobby", parley.Page{}),
		"members":                       enc.Members(nil, ref("6"), "lobby", []string{"ada", `b"b`}, 2),
		"members, none by name":         enc.Members(nil, nil, "lobby", nil, 201),
		"rooms": enc.Rooms(nil, ref("7"), []wire.RoomEntry{
			{Room: "lobby", Seq: 813, Messages: 812, Members: 3},
			{Room: "ops.deploys", Members: 1},
		}, true),
		"rooms, none":                   enc.Rooms(nil, nil, nil, false),
		"pong":                          enc.Pong(nil, ref("5")),
		"pong, a ref as it was written": enc.Pong(nil, ref("1e3")),
		"revoked":                       enc.Revoked(nil, ref("9")),
		"draining":                      enc.Draining(nil, ref("9")),
		"error":                         enc.Error(nil, ref("3"), parley.Errorf(parley.Denied, "you may not send in ops")),
		"error of nobody, with a time to come back": enc.Error(nil, nil, away),
		"error of a node that goes away":            enc.Error(nil, nil, elsewhere),
		"error, a time below a millisecond":         enc.Error(nil, nil, wait),
		"stopped serving":                           enc.Stopped(nil, ref("9"), "prices", ""),
		"serving":                                   enc.Serving(nil, ref("2"), "prices"),
		"question": enc.Question(nil, &parley.Question{
			Room: "prices", ID: "4f.1", From: "ada", Timeout: 5 * time.Second, Body: []byte("apple"),
		}),
		"answer":                        enc.OneAnswer(nil, ref("1"), "prices", &parley.Answer{From: "bob", Type: parley.JSON, Body: []byte(`{"eur":1.20}`)}),
		"answered":                      enc.Answered(nil, ref("1"), "prices", 1),
		"taking":                        enc.Taking(nil, ref("1"), "squares", "g"),
		"stopped":                       enc.Stopped(nil, ref("9"), "squares", "g"),
		"busy":                          enc.Busy(nil, ref("6"), "squares", "g.813.1", 30*time.Second),
		"job":                           enc.Job(nil, job),
		"gap":                           enc.Gap(nil, "lobby", 100, 181),
		"presence, one came":            enc.Presence(nil, "lobby", wire.Presence{Joined: []string{"bob"}, Count: 2}),
		"presence, a new name":          enc.Presence(nil, "lobby", wire.Presence{Joined: []string{`b"b`}, Left: []string{"bob"}, Count: 2}),
		"presence, all anew":            enc.Presence(nil, "lobby", wire.Presence{Members: []string{"ada", "bob"}, Count: 2}),
		"presence, too many for names":  enc.Presence(nil, "lobby", wire.Presence{Count: 201}),
		"signal":                        enc.Signal(nil, "lobby", "ada", []byte(`{"typing":true}`)),
		"signal, any value":             enc.Signal(nil, "lobby", `b"b`, []byte("null")),
		"status, nothing can be stored": enc.Status(nil, wire.Status{Message: "too few nodes of the cluster can be reached"}),
		"status, all is well":           enc.Status(nil, wire.Status{Available: true, Message: `enough nodes can be reached "again"`}),
	}
}

func TestGoldenAnswers(t *testing.T) {
	var golden struct{ Frames []struct{ Name, Line string } }
	readGolden(t, "answers.json", &golden)
	made := answers()
	for _, g := range golden.Frames {
		t.Run(g.Name, func(t *testing.T) {
			if diff := cmp.Diff(g.Line+"\n", string(made[g.Name])); diff != "" {
				t.Errorf("wrong bytes (-want +got):\n%s", diff)
			}
			if !json.Valid([]byte(g.Line)) {
				t.Error("the frame is no JSON")
			}
			if _, err := wire.ParseFrame([]byte(g.Line)); err != nil {
				t.Error(err)
			}
		})
		delete(made, g.Name)
	}
	for name := range made {
		t.Errorf("answers.json has no frame %q", name)
	}
}

func TestGoldenMessages(t *testing.T) {
	var golden struct {
		Messages []struct {
			Name string
			Line string
			Want struct {
				Room, ID, From, Type, Body string
				Seq, Prev                  uint64
				At                         time.Time
				Body64                     string
			}
		}
	}
	readGolden(t, "messages.json", &golden)
	for _, g := range golden.Messages {
		t.Run(g.Name, func(t *testing.T) {
			typ, err := parley.ParseType(g.Want.Type)
			if err != nil {
				t.Fatal(err)
			}
			body := []byte(g.Want.Body)
			if typ == parley.Binary {
				if body, err = base64.StdEncoding.DecodeString(g.Want.Body64); err != nil {
					t.Fatal(err)
				}
			}
			want := &parley.Message{
				Room: g.Want.Room, Seq: g.Want.Seq, Prev: g.Want.Prev, ID: g.Want.ID, From: g.Want.From,
				At: g.Want.At, Type: typ, Body: body,
			}
			if diff := cmp.Diff(g.Line+"\n", string(wire.JSONLines{}.Message(nil, want))); diff != "" {
				t.Errorf("wrong bytes (-want +got):\n%s", diff)
			}
			got := decode(t, []byte(g.Line))
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("wrong message (-want +got):\n%s", diff)
			}
		})
	}
}

// decode reads a message frame as a client does.
func decode(t *testing.T, line []byte) *parley.Message {
	t.Helper()
	frame, err := wire.ParseFrame(line)
	if err != nil {
		t.Fatal(err)
	}
	if frame.Op != "message" {
		t.Fatalf("op %q, want message", frame.Op)
	}
	m, err := frame.Decode()
	if err != nil {
		t.Fatal(err)
	}
	return m
}
