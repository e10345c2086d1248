package httpapi_test

import (
	"context"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/transport/http"
)

// taken reads the jobs of an answer.
func (a answer) taken(t *testing.T) (jobs []struct{ Job, Body, Group string }) {
	t.Helper()
	var list struct {
		Jobs []struct{ Job, Body, Group string }
	}
	if err := json.Unmarshal(a.body, &list); err != nil || a.status != 200 {
		t.Fatalf("%d %s: %v", a.status, a.body, err)
	}
	return list.Jobs
}

func TestJobsOverHTTP(t *testing.T) {
	f := serve(t, httpapi.Config{})
	if jobs := f.ask("POST", "/rooms/r/take?group=g&wait=0s", "").taken(t); len(jobs) != 0 {
		t.Errorf("jobs of an empty room: %v", jobs)
	}
	for _, body := range []string{"one", "two", "three", "four"} {
		f.ask("POST", "/rooms/r", body)
	}
	for i, step := range []struct{ verb, answer string }{
		{"done", `{"room":"r","seq":1}`},
		{"fail?reason=no", `{"room":"r","seq":2}`},
		{"retry?delay=1h", `{"room":"r","seq":3}`},
		{"busy?deadline=1m", `"deadline_ms":60000}`},
	} {
		jobs := f.ask("POST", "/rooms/r/take?group=g", "").taken(t)
		if len(jobs) != 1 || jobs[0].Group != "g" {
			t.Fatalf("jobs %v", jobs)
		}
		verb, query, _ := strings.Cut(step.verb, "?")
		path := "/rooms/r/jobs/" + url.PathEscape(jobs[0].Job) + "/" + verb
		if a := f.ask("POST", path+"?"+query, ""); a.status != 200 || !strings.Contains(string(a.body), step.answer) {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
		if a := f.ask("POST", "/rooms/r/jobs/"+jobs[0].Job+"/done", ""); i < 2 && a.status != 404 {
			t.Errorf("done after %s: %d %s", verb, a.status, a.body)
		}
	}
	if a := f.ask("POST", "/rooms/r/letters/5/retry", ""); a.status != 200 || string(a.body) != `{"room":"r","seq":2}`+"\n" {
		t.Errorf("a dead letter put back: %d %s", a.status, a.body)
	}
	if a := f.ask("POST", "/rooms/r/letters/5/retry", ""); a.status != 200 || !strings.Contains(string(a.body), `"duplicate":true`) {
		t.Errorf("and again: %d %s", a.status, a.body)
	}
	back := f.ask("POST", "/rooms/r/take?group=g&parallel=1", "").taken(t)
	if a := f.ask("POST", "/rooms/r/jobs/"+back[0].Job+"/release", ""); back[0].Body != "two" || a.status != 200 {
		t.Errorf("%v: %d %s", back, a.status, a.body)
	}
	if a := f.ask("GET", "/rooms/r.dead", ""); !strings.Contains(string(a.body), `"reason":"no"`) {
		t.Errorf("dead letters: %s", a.body)
	}
	for path, status := range map[string]int{
		"/rooms/r/take":                              400,
		"/rooms/r/take?group=a%20b":                  400,
		"/rooms/r/take?group=g&wait=51s":             400,
		"/rooms/r/take?group=g&wait=1s&wait=1s":      400,
		"/rooms/r/take?group=g&prefetch=0":           400,
		"/rooms/r/jobs/g.1.1/done":                   404,
		"/rooms/r/jobs/nonsense/done":                404,
		"/rooms/r/jobs/g.1.1/busy?deadline=x":        400,
		"/rooms/r/jobs/g.1.1/retry?delay=-1s":        400,
		"/rooms/a%20b/jobs/g.1.1/fail":               400,
		"/rooms/r/letters/4/retry":                   404,
		"/rooms/r/letters/0/retry":                   400,
		"/rooms/r/letters/x/retry":                   400,
		"/rooms/r/jobs/g.1.1/retry?letter=5":         404,
		"/rooms/r/ask?most=0":                        400,
		"/rooms/r/ask?timeout=x":                     400,
		"/rooms/r/take?group=12&wait=0s&deadline=1s": 200,
	} {
		if a := f.ask("POST", path, "x"); a.status != status {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
}

func TestATakeWaitsForAJob(t *testing.T) {
	f := serve(t, httpapi.Config{})
	jobs := make(chan answer, 1)
	go func() { jobs <- f.ask("POST", "/rooms/r/take?group=g&wait=50s&prefetch=2", "") }()
	for f.web.Stats().Open == 0 {
		select {
		case a := <-jobs:
			t.Fatalf("%d %s", a.status, a.body)
		case <-time.After(time.Millisecond):
		}
	}
	f.ask("POST", "/rooms/r", "one")
	if got := (<-jobs).taken(t); len(got) != 1 || got[0].Body != "one" {
		t.Errorf("%v", got)
	}
	go func() { jobs <- f.ask("POST", "/rooms/r/take?group=h&after=9&wait=50s", "") }()
	for f.web.Stats().Open == 0 {
		<-time.After(time.Millisecond)
	}
	f.web.Drain(context.Background()) // nobody is kept waiting
	if a := <-jobs; a.status != 503 {
		t.Errorf("at the drain: %d %s", a.status, a.body)
	}
}

func TestAskOverHTTP(t *testing.T) {
	f := serve(t, httpapi.Config{})
	if a := f.ask("POST", "/rooms/r/ask", "?"); a.status != 503 || !strings.Contains(string(a.body), `"code":"no_responders"`) {
		t.Errorf("%d %s", a.status, a.body)
	}
	questions := make(chan *parley.Question, 1)
	r, err := f.desk.Serve("r", func() {}, func(q *parley.Question) { questions <- q })
	if err != nil {
		t.Fatal(err)
	}
	answered := make(chan answer, 1)
	go func() { answered <- f.ask("POST", "/rooms/r/ask?timeout=20s", "how?") }()
	q := <-questions
	if string(q.Body) != "how?" || q.From != "guest" {
		t.Errorf("question %+v", q)
	}
	if err := r.Answer(q.ID, &parley.Answer{From: "bob", Type: parley.JSON, Body: []byte(`{"a":1}`)}); err != nil {
		t.Fatal(err)
	}
	if a := <-answered; a.status != 200 || string(a.body) != `{"answers":[{"from":"bob","type":"json","body":{"a":1}}]}`+"\n" {
		t.Errorf("%d %s", a.status, a.body)
	}
	if a := f.ask("POST", "/rooms/r/ask?timeout=10ms", "?"); a.status != 504 {
		t.Errorf("%d %s", a.status, a.body)
	}
}
