package wire_test

import (
	"bytes"
	"encoding/json"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/wire"
)

// The specification is tested like code: what it shows a client sending is taken, what it shows a
// server sending is what this package writes, and each operation and frame is shown.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	ops := map[wire.Kind]bool{
		wire.Hello: false, wire.Join: false, wire.Leave: false, wire.Send: false, wire.History: false,
		wire.Members: false, wire.ListRooms: false, wire.Ping: false, wire.Signal: false,
		wire.Take: false, wire.Stop: false, wire.Done: false, wire.Retry: false, wire.Release: false, wire.Fail: false, wire.Busy: false,
		wire.Ask: false, wire.Serve: false, wire.Answer: false,
		wire.ListGroups: false, wire.ListReaders: false, wire.Remove: false, wire.ListHooks: false, wire.Revoke: false,
	}
	frames := map[string]bool{
		"welcome": false, "joined": false, "left": false, "ack": false, "page": false, "members": false,
		"rooms": false, "pong": false, "message": false, "gap": false, "error": false,
		"presence": false, "status": false, "signal": false, "cursor": false, "taking": false, "stopped": false, "busy": false, "job": false,
		"serving": false, "question": false, "answer": false, "answered": false,
		"groups": false, "readers": false, "removed": false, "hooks": false, "revoked": false,
	}
	quoted := regexp.MustCompile(`'(\{"op".*?\})'`)
	for i, line := range strings.Split(string(page), "\n") {
		var sent []string
		switch {
		case !strings.Contains(line, `{"op"`):
			continue
		case strings.HasPrefix(line, "← "):
			frames[checkFrame(t, i+1, strings.TrimPrefix(line, "← "))] = true
			continue
		case strings.HasPrefix(line, "→ "):
			sent = []string{strings.TrimPrefix(line, "→ ")}
		default:
			for _, m := range quoted.FindAllStringSubmatch(line, -1) {
				sent = append(sent, m[1])
			}
		}
		if len(sent) == 0 {
			t.Errorf("line %d shows a frame, and does not say whose", i+1)
		}
		for _, s := range sent {
			op, err := wire.ParseOp([]byte(s))
			if err != nil {
				t.Errorf("line %d: %v", i+1, err)
			}
			ops[op.Kind] = true
		}
	}
	for kind, shown := range ops {
		if !shown {
			t.Errorf("the operation %q is not shown", kind)
		}
	}
	for kind, shown := range frames {
		if !shown {
			t.Errorf("the frame %q is not shown", kind)
		}
	}
}

// checkFrame reads a frame, writes it again, and wants the same bytes. It returns the frame's op.
func checkFrame(t *testing.T, n int, line string) string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(line))
	dec.DisallowUnknownFields()
	f := new(wire.Frame)
	if err := dec.Decode(f); err != nil {
		t.Errorf("line %d: %v", n, err)
		return ""
	}
	if got := bytes.TrimSuffix(rewrite(t, n, f), []byte("\n")); string(got) != line {
		t.Errorf("line %d is not what a server writes:\n has %s\nwant %s", n, line, got)
	}
	return f.Op
}

func rewrite(t *testing.T, n int, f *wire.Frame) []byte {
	t.Helper()
	var enc wire.Encoding = wire.JSONLines{}
	switch f.Op {
	case "welcome":
		id, err := strconv.ParseUint(f.Session, 16, 64)
		if err != nil {
			t.Errorf("line %d: %v", n, err)
		}
		return enc.Welcome(nil, f.Ref, wire.Welcome{User: f.User, Session: parley.SessionID(id), Limits: limitsOf(f)})
	case "joined":
		if f.Count > 0 {
			return enc.JoinedMembers(nil, f.Ref, f.Room, f.Seq, wire.Users(f.Members), f.Count)
		}
		if f.Cursor != "" {
			return enc.JoinedMany(nil, f.Ref, f.Room, position(t, n, f))
		}
		return enc.Joined(nil, f.Ref, f.Room, f.Seq)
	case "cursor":
		return enc.Cursor(nil, f.Room, position(t, n, f))
	case "groups":
		return enc.Groups(nil, f.Ref, f.Room, f.Groups)
	case "readers":
		return enc.Readers(nil, f.Ref, f.Room, f.Readers, f.More)
	case "removed":
		return enc.Removed(nil, f.Ref, f.Room, f.Group, f.Reader)
	case "hooks":
		return enc.Hooks(nil, f.Ref, f.Hooks)
	case "left":
		return enc.Left(nil, f.Ref, f.Room)
	case "ack":
		return enc.Ack(nil, f.Ref, f.Room, parley.Receipt{Seq: f.Seq, Duplicate: f.Duplicate})
	case "page":
		page := parley.Page{More: f.More}
		for i := range f.Messages {
			page.Messages = append(page.Messages, mustDecode(t, n, &f.Messages[i]))
		}
		return enc.Page(nil, f.Ref, f.Room, page)
	case "members":
		return enc.Members(nil, f.Ref, f.Room, wire.Users(f.Members), f.Count)
	case "presence":
		p := wire.Presence{Joined: wire.Users(f.Joined), Left: wire.Users(f.Left), Count: f.Count}
		if f.Members != nil {
			p.Members = wire.Users(f.Members)
		}
		return enc.Presence(nil, f.Room, p)
	case "signal":
		return enc.Signal(nil, f.Room, f.From, f.Body)
	case "status":
		return enc.Status(nil, wire.Status{Available: f.Available, Message: f.Message})
	case "rooms":
		return enc.Rooms(nil, f.Ref, f.Rooms, f.More)
	case "serving":
		return enc.Serving(nil, f.Ref, f.Room)
	case "question":
		m := mustDecode(t, n, &f.Entry)
		return enc.Question(nil, &parley.Question{
			Room: f.Room, ID: f.Question, From: f.From, Type: m.Type, Body: m.Body,
			Timeout: time.Duration(f.TimeoutMS) * time.Millisecond,
		})
	case "answer":
		m := mustDecode(t, n, &f.Entry)
		return enc.OneAnswer(nil, f.Ref, f.Room, &parley.Answer{From: f.From, Type: m.Type, Body: m.Body})
	case "answered":
		return enc.Answered(nil, f.Ref, f.Room, f.Count)
	case "taking":
		return enc.Taking(nil, f.Ref, f.Room, f.Group)
	case "stopped":
		return enc.Stopped(nil, f.Ref, f.Room, f.Group)
	case "busy":
		return enc.Busy(nil, f.Ref, f.Room, f.Job, time.Duration(f.DeadlineMS)*time.Millisecond)
	case "job":
		return enc.Job(nil, mustDecodeJob(t, n, f))
	case "pong":
		return enc.Pong(nil, f.Ref)
	case "revoked":
		return enc.Revoked(nil, f.Ref)
	case "draining":
		return enc.Draining(nil, f.Ref)
	case "message":
		return enc.Message(nil, mustDecode(t, n, &f.Entry))
	case "gap":
		return enc.Gap(nil, f.Room, f.After, f.Next)
	case "error":
		return enc.Error(nil, f.Ref, f.Err())
	}
	t.Errorf("line %d: a server sends no %q", n, f.Op)
	return nil
}

func mustDecodeJob(t *testing.T, n int, f *wire.Frame) *parley.Job {
	t.Helper()
	j, err := f.DecodeJob()
	if err != nil {
		t.Fatalf("line %d: %v", n, err)
	}
	return j
}

func mustDecode(t *testing.T, n int, e *wire.Entry) *parley.Message {
	t.Helper()
	m, err := e.Decode()
	if err != nil {
		t.Fatalf("line %d: %v", n, err)
	}
	return m
}

func limitsOf(f *wire.Frame) parley.Limits {
	l := f.Limits
	return parley.Limits{
		Message: l.Message, Frame: l.Frame, Inflight: l.Inflight, Rooms: l.Rooms,
		Dedupe: time.Duration(l.DedupeMS) * time.Millisecond,
	}
}

func position(t *testing.T, n int, f *wire.Frame) parley.Position {
	t.Helper()
	at, err := parley.ParsePosition(f.Cursor)
	if err != nil {
		t.Fatalf("line %d: %v", n, err)
	}
	return at
}
