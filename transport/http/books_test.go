package httpapi_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"parley/transport/http"
	"parley/wire"
)

// want checks an answer's status and that text is in it.
func (a answer) want(t *testing.T, what string, status int, text string) {
	t.Helper()
	if a.status != status || !strings.Contains(string(a.body), text) {
		t.Errorf("%s: %d %s, want %d %s", what, a.status, a.body, status, text)
	}
}

// wantSoon asks until the answer has text in it: what is sent becomes a job a moment later.
func (f *fixture) wantSoon(path, text string) {
	f.t.Helper()
	var a answer
	for end := time.Now().Add(time.Minute); time.Now().Before(end); {
		if a = f.ask("GET", path, ""); strings.Contains(string(a.body), text) {
			return
		}
	}
	f.t.Errorf("%s: %d %s, want %s", path, a.status, a.body, text)
}

func TestASendSaysWhatAFrameCan(t *testing.T) {
	f := serve(t, httpapi.Config{})
	f.ask("POST", "/rooms/r?priority=1", "low").want(t, "low", 201, `"seq":1`)
	f.ask("POST", "/rooms/r?priority=9&key=17", "high").want(t, "high", 201, `"seq":2`)
	f.ask("POST", "/rooms/r?priority=9&key=17", "behind high").want(t, "behind", 201, `"seq":3`)
	f.ask("POST", "/rooms/r?ttl=1ms&priority=9", "brief").want(t, "brief", 201, `"seq":4`)
	<-time.After(5 * time.Millisecond) // it is of no use any more
	for _, want := range []string{"high", "low"} {
		jobs := f.ask("POST", "/rooms/r/take?group=g", "").taken(t)
		if len(jobs) != 1 || jobs[0].Body != want {
			t.Errorf("got %v, want %s", jobs, want)
		}
	}
	if jobs := f.ask("POST", "/rooms/r/take?group=g&wait=0s", "").taken(t); len(jobs) != 0 {
		t.Errorf("%v was given beside one of its key, or too late", jobs)
	}

	id := "Idempotency-Key: later"
	f.ask("POST", "/rooms/d?delay=1h", "later", id).want(t, "delay", 201, `{"room":"d","seq":0,"id":"later"}`)
	f.ask("POST", "/rooms/d?delay=1h", "later", id).want(t, "delay again", 200, `"duplicate":true`)
	f.ask("POST", "/rooms/d?due="+url.QueryEscape(time.Now().Add(time.Hour).Format(time.RFC3339)), "x").want(t, "due", 201, `"seq":0`)
	f.ask("POST", "/rooms/d?due=2020-01-02T03:04:05Z", "now").want(t, "due long ago", 201, `"room":"d","seq":5`)
	f.ask("POST", "/rooms/e?delay=10ms", "soon").want(t, "a short delay", 201, `"seq":0`)
	f.wantSoon("/rooms/e", `"body":"soon"`)

	for _, query := range []string{
		"key=", "key=" + strings.Repeat("k", 129), "key=a&key=b", "priority=10", "priority=-1", "priority=high", "priority=", "ttl=0s", "ttl=10",
		"ttl=9000h", "due=tomorrow", "due=9999-01-01T00:00:00Z", "delay=-1s", "delay=10", "delay=1s&due=2020-01-02T03:04:05Z",
	} {
		f.ask("POST", "/rooms/bad?"+query, "x").want(t, query, 400, `"code":"bad_request"`)
	}
	f.ask("GET", "/rooms/bad", "").want(t, "what was refused", 200, `"messages":[]`)
}

func TestGroupsAndReadersOverHTTP(t *testing.T) {
	f := serve(t, httpapi.Config{})
	f.ask("GET", "/rooms/r/groups", "").want(t, "no groups", 200, `{"room":"r","groups":[]}`)
	for range 3 {
		f.ask("POST", "/rooms/r", "x")
	}
	jobs := f.ask("POST", "/rooms/r/take?group=g", "").taken(t)
	f.wantSoon("/rooms/r/groups", `{"room":"r","groups":[{"group":"g","pending":3,"taken":1,"dead":0,"sessions":0}]}`)
	f.ask("DELETE", "/rooms/r/groups/g?group=h", "").want(t, "remove", 200, `{"room":"r","group":"g"}`)
	f.ask("DELETE", "/rooms/r/groups/g", "").want(t, "remove again", 404, `"code":"not_found"`)
	f.ask("DELETE", "/rooms/r/groups/a%20b", "").want(t, "no name", 400, `"code":"bad_request"`)
	f.ask("POST", "/rooms/r/jobs/"+jobs[0].Job+"/done", "").want(t, "its job", 404, "")

	f.ask("POST", "/rooms/r/readers/billing/done?seq=2", "").want(t, "done", 200, `{"room":"r","seq":2}`)
	f.ask("POST", "/rooms/r/readers/billing/done?seq=1", "").want(t, "it only rises", 200, `{"room":"r","seq":2}`)
	f.ask("POST", "/rooms/r/readers/audit/done?seq=1&job=x", "").want(t, "what is not named is ignored", 200, `{"room":"r","seq":1}`)
	for _, query := range []string{"", "?seq=", "?seq=x", "?seq=-1", "?seq=1&seq=2"} {
		f.ask("POST", "/rooms/r/readers/billing/done"+query, "").want(t, "done"+query, 400, `"code":"bad_request"`)
	}
	f.ask("GET", "/rooms/r/readers", "").want(t, "readers", 200, `{"room":"r","readers":[{"reader":"audit","seq":1},{"reader":"billing","seq":2}],"more":false}`)
	f.ask("GET", "/rooms/r/readers?limit=1", "").want(t, "one of them", 200, `[{"reader":"audit","seq":1}],"more":true}`)
	f.ask("GET", "/rooms/r/readers?after_reader=audit", "").want(t, "the next", 200, `[{"reader":"billing","seq":2}],"more":false}`)
	f.ask("GET", "/rooms/r/readers?limit=0", "").want(t, "none of them", 400, "")
	f.ask("DELETE", "/rooms/r/readers/billing", "").want(t, "remove", 200, `{"room":"r","reader":"billing"}`)
	f.ask("DELETE", "/rooms/r/readers/billing", "").want(t, "remove again", 404, "")
	f.ask("DELETE", "/rooms/r/readers/$hook.x", "").want(t, "the server's own", 400, "")
}

func TestHooksOverHTTP(t *testing.T) {
	f := serve(t, httpapi.Config{})
	f.ask("GET", "/hooks", "").want(t, "none", 200, `{"hooks":[]}`)
	f.ask("POST", "/hooks", "").want(t, "a post to no hook", http.StatusMethodNotAllowed, "")
	f.hooks.Store(&[]wire.HookEntry{{Hook: "billing", To: "https://billing.example", Rooms: []string{"orders.**"}, Pending: 1, Why: "answered 500"}})
	f.ask("GET", "/hooks", "").want(t, "one", 200, `{"hooks":[{"hook":"billing","to":"https://billing.example","rooms":["orders.**"],"pending":1,"lag_ms":0,"sent":0,"dead":0,"gone":false,"why":"answered 500"}]}`)
}
