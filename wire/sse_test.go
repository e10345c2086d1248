package wire_test

import (
	"net/url"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/wire"
)

func TestEventsBearTheFramesOfJSONLines(t *testing.T) {
	m := &parley.Message{Room: "lobby", Seq: 813, Prev: 812, ID: "c1-7", From: "ada", At: time.UnixMilli(0), Body: []byte("a\nb\r\u2028")}
	shy := parley.Errorf(parley.Unavailable, "come\nback")
	shy.Retry = time.Second
	sse, lines := wire.SSE{}, wire.JSONLines{}
	for name, tt := range map[string]struct{ got, want string }{
		"message":       {string(sse.Message(nil, m)), "id: 813\nevent: message\ndata: " + string(lines.Message(nil, m)) + "\n"},
		"gap":           {string(sse.Gap(nil, "lobby", 1, 9)), "event: gap\ndata: " + string(lines.Gap(nil, "lobby", 1, 9)) + "\n"},
		"presence":      {string(sse.Presence(nil, "lobby", wire.Presence{Members: []string{"ada"}, Count: 1})), "event: presence\ndata: " + string(lines.Presence(nil, "lobby", wire.Presence{Members: []string{"ada"}, Count: 1})) + "\n"},
		"status":        {string(sse.Status(nil, wire.Status{Message: "m"})), "event: status\ndata: " + string(lines.Status(nil, wire.Status{Message: "m"})) + "\n"},
		"signal":        {string(sse.Signal(nil, "lobby", "ada", []byte("1"))), "event: signal\ndata: " + string(lines.Signal(nil, "lobby", "ada", []byte("1"))) + "\n"},
		"left":          {string(sse.Left(nil, nil, "lobby")), "event: left\ndata: {\"op\":\"left\",\"room\":\"lobby\"}\n\n"},
		"error":         {string(sse.Error(nil, nil, parley.Errorf(parley.Internal, "x"))), "event: error\ndata: {\"op\":\"error\",\"code\":\"internal\",\"message\":\"x\"}\n\n"},
		"error, a hint": {string(sse.Error(nil, nil, shy)), ": unavailable: come\\nback\nretry: 1000\n\n"},
		"welcome":       {string(sse.Welcome(nil, nil, wire.Welcome{})), ""},
	} {
		if diff := cmp.Diff(tt.want, tt.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestOperationsInURLs(t *testing.T) {
	for name, tt := range map[string]struct {
		kind  wire.Kind
		room  string
		query string
		same  string // the frame that means the same; "" = bad_request
	}{
		"a page":                        {wire.History, "lobby", "after=5&limit=7&x=1", `{"op":"history","room":"lobby","after":5,"limit":7}`},
		"a join":                        {wire.Join, "e\u0301", "last=5", `{"op":"join","room":"é","last":5}`},
		"a join by age":                 {wire.Join, "lobby", "since=2026-11-22T07:00:00Z", `{"op":"join","room":"lobby","since":"2026-11-22T07:00:00Z"}`},
		"a join that asks who is there": {wire.Join, "lobby", "presence=true", `{"op":"join","room":"lobby","presence":true}`},
		"a join that does not":          {wire.Join, "lobby", "presence=false", `{"op":"join","room":"lobby"}`},
		"presence as a number":          {wire.Join, "lobby", "presence=1", ""},
		"presence twice":                {wire.Join, "lobby", "presence=true&presence=true", ""},
		"echo is not asked":             {wire.Join, "lobby", "echo=no", `{"op":"join","room":"lobby"}`},
		"rooms":                         {wire.ListRooms, "", "after_room=7", `{"op":"rooms","after_room":"7"}`},
		"members":                       {wire.Members, "lobby", "limit=x", `{"op":"members","room":"lobby"}`},
		"a number of letters":           {wire.History, "lobby", "after=x", ""},
		"a list of numbers":             {wire.History, "lobby", "after=1,2", ""},
		"a leading zero":                {wire.History, "lobby", "after=01", ""},
		"twice":                         {wire.History, "lobby", "after=1&after=1", ""},
		"a bad room":                    {wire.History, "a\"b", "", ""},
		"no room":                       {wire.History, "", "", ""},
		"NUL":                           {wire.History, "a\x00", "", ""},
		"no UTF-8":                      {wire.History, "a\xff", "", ""},
		"a room to go on at":            {wire.ListRooms, "", "after_room=..", ""},
		"a send for workers":            {wire.Send, "r", "key=17&priority=5&ttl=1h", `{"op":"send","room":"r","body":"?","key":"17","priority":5,"ttl":"1h"}`},
		"a send, due long ago":          {wire.Send, "r", "due=2020-11-22T07:00:00Z", `{"op":"send","room":"r","body":"?"}`},
		"a send, due in two ways":       {wire.Send, "r", "due=2020-11-22T07:00:00Z&delay=0s", ""},
		"a send without a key":          {wire.Send, "r", "key=", ""},
		"a send of no priority":         {wire.Send, "r", "priority=10", ""},
		"a send of high priority":       {wire.Send, "r", "priority=high", ""},
		"a send of no time":             {wire.Send, "r", "ttl=0s", ""},
		"a send, delayed by a number":   {wire.Send, "r", "delay=10", ""},
		"a join of a reader":            {wire.Join, "r", "reader=7", `{"op":"join","room":"r","reader":"7"}`},
		"a join of a pattern's reader":  {wire.Join, "r.*", "reader=7", ""},
		"readers":                       {wire.ListReaders, "r", "after_reader=7&limit=2", `{"op":"readers","room":"r","after_reader":"7","limit":2}`},
		"a remove":                      {wire.Remove, "r", "group=7", `{"op":"remove","room":"r","group":"7"}`},
		"hooks":                         {wire.ListHooks, "", "x=y", `{"op":"hooks"}`},
	} {
		t.Run(name, func(t *testing.T) {
			query, err := url.ParseQuery(tt.query)
			if err != nil {
				t.Fatal(err)
			}
			got, err := wire.ParseQuery(tt.kind, tt.room, query)
			if tt.same == "" {
				wantCode(t, err, parley.BadRequest)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want, err := wire.ParseOp([]byte(tt.same))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
