package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/transport/http"
)

func TestWhatIsPostedIsStored(t *testing.T) {
	deep := strings.Repeat("[", 501) + strings.Repeat("]", 501)
	tests := map[string]struct {
		body    string
		headers []string
		status  int
		want    string // the body in the page, as JSON
	}{
		"no type":              {"hi", nil, 201, `"hi"`},
		"a form's type":        {"a=b&c", []string{"Content-Type: application/x-www-form-urlencoded"}, 201, `"a=b&c"`},
		"text":                 {"é", []string{"Content-Type: text/plain; charset=utf-8"}, 201, `"é"`},
		"markdown":             {"# x", []string{"Content-Type: text/markdown"}, 201, `"# x"`},
		"json":                 {" {\"b\": 1.50, \"a\": null} ", []string{"Content-Type: application/json"}, 201, `{"b":1.50,"a":null}`},
		"json, null":           {"null", []string{"Content-Type: Application/JSON; x=y"}, 201, `null`},
		"binary":               {"\x00\xff", []string{"Content-Type: application/octet-stream"}, 201, `"AP8="`},
		"an image":             {"png", []string{"Content-Type: image/png"}, 201, `"cG5n"`},
		"no json":              {"{", []string{"Content-Type: application/json"}, 400, ""},
		"two values":           {`1,"id":"x"`, []string{"Content-Type: application/json"}, 400, ""},
		"json too deep":        {deep, []string{"Content-Type: application/json"}, 400, ""},
		"empty":                {"", nil, 400, ""},
		"empty json":           {"", []string{"Content-Type: application/json"}, 400, ""},
		"no UTF-8":             {"\xff", nil, 400, ""},
		"a bad id":             {"x", []string{"Idempotency-Key: é"}, 400, ""},
		"two ids":              {"x", []string{"Idempotency-Key: a", "Idempotency-Key: b"}, 400, ""},
		"a bad name":           {"x", []string{"Parley-Name: \u202eada"}, 400, ""},
		"packed":               {"x", []string{"Content-Encoding: gzip"}, 400, ""},
		"a body too large":     {strings.Repeat("x", 64<<10+1), nil, 413, ""},
		"the largest body":     {strings.Repeat("x", 64<<10), nil, 201, `"` + strings.Repeat("x", 64<<10) + `"`},
		"json that shrinks":    {`"x"` + strings.Repeat(" ", 128<<10), []string{"Content-Type: application/json"}, 201, `"x"`},
		"json too large":       {`"` + strings.Repeat("x", 64<<10) + `"`, []string{"Content-Type: application/json"}, 413, ""},
		"json larger than all": {`"` + strings.Repeat("x", 256<<10) + `"`, []string{"Content-Type: application/json"}, 413, ""},
	}
	f := serve(t, httpapi.Config{})
	i := 0
	for name, tt := range tests {
		i++
		path := "/rooms/r" + strconv.Itoa(i)
		t.Run(name, func(t *testing.T) {
			got := f.ask("POST", path, tt.body, tt.headers...)
			if got.status != tt.status {
				t.Fatalf("%d %s, want %d", got.status, got.body, tt.status)
			}
			want := []string{}
			if tt.status < 300 {
				want = []string{tt.want}
			}
			if diff := cmp.Diff(want, f.ask("GET", path, "").texts(t)); diff != "" {
				t.Errorf("the room (-want +got):\n%s", diff)
			}
		})
	}
}

func TestARepeatedKeyIsStoredOnce(t *testing.T) {
	f := serve(t, httpapi.Config{})
	first := f.ask("POST", "/rooms/lobby", "hi", "Idempotency-Key: k-1", "Parley-Name: ada")
	again := f.ask("POST", "/rooms/lobby", "hi", "Idempotency-Key: k-1", "Parley-Name: ada")
	other := f.ask("POST", "/rooms/lobby", "hi", "Idempotency-Key: k-1")
	if first.status != 201 || again.status != 200 || other.status != 201 {
		t.Errorf("%d, %d, %d", first.status, again.status, other.status)
	}
	if got := string(first.body); got != `{"room":"lobby","seq":1,"id":"k-1"}`+"\n" {
		t.Errorf("first %s", got)
	}
	if got := string(again.body); got != `{"room":"lobby","seq":1,"id":"k-1","duplicate":true}`+"\n" {
		t.Errorf("again %s", got)
	}
	var page struct{ Messages []struct{ From string } }
	if err := json.Unmarshal(f.ask("GET", "/rooms/lobby", "").body, &page); err != nil || len(page.Messages) != 2 || page.Messages[0].From != "ada" || page.Messages[1].From != "guest" {
		t.Errorf("%+v, %v", page, err)
	}
}

func TestPages(t *testing.T) {
	f := serve(t, httpapi.Config{})
	for _, body := range []string{"1", "2", "3", "4", "5"} {
		f.ask("POST", "/rooms/lobby", body, "Content-Type: application/json")
	}
	tests := map[string]struct {
		path   string
		status int
		want   []string
		more   bool
	}{
		"newest":        {"/rooms/lobby", 200, []string{"1", "2", "3", "4", "5"}, false},
		"last":          {"/rooms/lobby?last=2", 200, []string{"4", "5"}, true},
		"limit":         {"/rooms/lobby?limit=2", 200, []string{"4", "5"}, true},
		"after":         {"/rooms/lobby?after=2&limit=2", 200, []string{"3", "4"}, true},
		"after all":     {"/rooms/lobby?after=5", 200, []string{}, false},
		"before":        {"/rooms/lobby?before=3", 200, []string{"1", "2"}, false},
		"before first":  {"/rooms/lobby?before=0", 200, []string{}, false},
		"unknown room":  {"/rooms/nobody.here", 200, []string{}, false},
		"other fields":  {"/rooms/lobby?last=1&x=y", 200, []string{"5"}, true},
		"both":          {"/rooms/lobby?after=1&before=3", 400, nil, false},
		"last and more": {"/rooms/lobby?last=1&after=3", 400, nil, false},
		"last of none":  {"/rooms/lobby?last=0", 400, nil, false},
		"no number":     {"/rooms/lobby?after=x", 400, nil, false},
		"negative":      {"/rooms/lobby?after=-1", 400, nil, false},
		"twice":         {"/rooms/lobby?after=1&after=2", 400, nil, false},
		"too many":      {"/rooms/lobby?limit=1001", 400, nil, false},
		"injected":      {"/rooms/lobby?limit=1,%22after%22:1", 400, nil, false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := f.ask("GET", tt.path, "")
			if got.status != tt.status {
				t.Fatalf("%d %s", got.status, got.body)
			}
			if tt.status != 200 {
				return
			}
			var page struct{ More bool }
			if err := json.Unmarshal(got.body, &page); err != nil || page.More != tt.more {
				t.Errorf("more is %v, %v", page.More, err)
			}
			if diff := cmp.Diff(tt.want, got.texts(t)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestListsOfRoomsAndMembers(t *testing.T) {
	f := serve(t, httpapi.Config{})
	f.ask("POST", "/rooms/a", "x")
	f.ask("POST", "/rooms/b", "x")
	for path, want := range map[string]string{
		"/rooms?limit=1":         `{"rooms":[{"room":"a","seq":1,"messages":1,"members":0}],"more":true}`,
		"/rooms?after_room=a":    `{"rooms":[{"room":"b","seq":2,"messages":1,"members":0}],"more":false}`,
		"/rooms?after_room=z":    `{"rooms":[],"more":false}`,
		"/rooms/a/members":       `{"room":"a","members":[],"count":0}`,
		"/rooms/e%CC%81/members": "{\"room\":\"\u00e9\",\"members\":[],\"count\":0}",
	} {
		if got := f.ask("GET", path, ""); got.status != 200 || string(got.body) != want+"\n" {
			t.Errorf("%s: %d %s", path, got.status, got.body)
		}
	}
	if got := f.ask("GET", "/rooms?limit=0", ""); got.status != 400 {
		t.Errorf("limit 0: %d", got.status)
	}
}

func TestAPostIsAnsweredWhenItIsDurable(t *testing.T) {
	f := serve(t, httpapi.Config{})
	release := f.log.Hold()
	answered := make(chan answer, 1)
	go func() { answered <- f.ask("POST", "/rooms/lobby", "hi") }()
	for f.web.Stats().Open == 0 { // it is on its way
		select {
		case a := <-answered:
			t.Fatalf("answered before: %d", a.status)
		default:
		}
	}
	if got := f.ask("GET", "/rooms/lobby", "").texts(t); len(got) != 0 {
		t.Errorf("shown before: %v", got)
	}
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		f.web.Drain(context.Background())
	}()
	release()
	if a := <-answered; a.status != 201 {
		t.Errorf("in flight at the drain: %d %s", a.status, a.body)
	}
	<-drained
}

func TestHealth(t *testing.T) {
	f := serve(t, httpapi.Config{})
	if a := f.ask("GET", "/readyz", ""); a.status != 200 {
		t.Errorf("ready: %d", a.status)
	}
	f.log.Fail(errors.New("no disk"))
	for _, a := range []answer{f.ask("GET", "/readyz", ""), f.ask("POST", "/rooms/lobby", "x")} {
		if a.status != 503 || a.code() != parley.Unavailable || a.header.Get("Retry-After") == "" {
			t.Errorf("without a disk: %d %s", a.status, a.body)
		}
	}
	f.web.Retire()
	if a := f.ask("GET", "/readyz", ""); a.status != 503 {
		t.Errorf("going away: %d", a.status)
	}
	if a := f.ask("GET", "/livez", ""); a.status != 200 {
		t.Errorf("live: %d", a.status)
	}
	if a := f.ask("HEAD", "/livez", ""); a.status != 200 || len(a.body) != 0 {
		t.Errorf("HEAD: %d %s", a.status, a.body)
	}
}

func TestMethods(t *testing.T) {
	f := serve(t, httpapi.Config{})
	for _, tt := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"OPTIONS", "/rooms/lobby", 204, "GET, HEAD, OPTIONS, POST"},
		{"OPTIONS", "/rooms", 204, "GET, HEAD, OPTIONS"},
		{"DELETE", "/rooms/lobby", 405, "GET, HEAD, OPTIONS, POST"},
		{"POST", "/rooms", 405, "GET, HEAD, OPTIONS"},
		{"HEAD", "/rooms/lobby/events", 200, ""},
		{"GET", "/metrics", 404, ""},
		{"GET", "/nothing", 404, ""},
		{http.MethodGet, "/rooms/", 404, ""},
	} {
		if a := f.ask(tt.method, tt.path, ""); a.status != tt.status || a.header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: %d, Allow %q", tt.method, tt.path, a.status, a.header.Get("Allow"))
		}
	}
}
