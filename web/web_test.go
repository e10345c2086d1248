package web_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"parley/web"
)

func get(t *testing.T, method, path string, header http.Header) *httptest.ResponseRecorder {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	for key, values := range header {
		r.Header[key] = values
	}
	w := httptest.NewRecorder()
	web.Handler([]byte("export {}\n")).ServeHTTP(w, r)
	return w
}

func TestHandlerServesThePageAndNothingElse(t *testing.T) {
	for _, c := range []struct {
		method, path string
		status       int
		kind         string
	}{
		{"GET", "/", 200, "text/html; charset=utf-8"},
		{"HEAD", "/", 200, "text/html; charset=utf-8"},
		{"GET", "/parley.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/page/app.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "/page/log.css", 200, "text/css; charset=utf-8"},
		{"GET", "/page/favicon.svg", 200, "image/svg+xml"},
		{"GET", "/favicon.ico", 200, "image/svg+xml"},
		{"GET", "/page/", 404, ""},
		{"GET", "/page/index.html", 404, ""},
		{"GET", "/page/../web.go", 404, ""},
		{"GET", "/page/%2e%2e/web.go", 404, ""},
		{"GET", "/nothing", 404, ""},
		{"POST", "/", 405, ""},
		{"DELETE", "/parley.js", 405, ""},
	} {
		t.Run(c.method+" "+c.path, func(t *testing.T) {
			r := get(t, c.method, c.path, nil)
			if r.Code != c.status {
				t.Errorf("status %d, want %d", r.Code, c.status)
			}
			if got := r.Header().Get("Content-Type"); c.kind != "" && got != c.kind {
				t.Errorf("type %q, want %q", got, c.kind)
			}
			if c.status >= 400 {
				checkProblem(t, r)
			}
			for key, want := range map[string]string{
				"Content-Security-Policy": "frame-ancestors 'none'",
				"X-Content-Type-Options":  "nosniff",
				"Referrer-Policy":         "no-referrer",
			} {
				if got := r.Header().Get(key); !strings.Contains(got, want) {
					t.Errorf("%s: %q, want %q in it", key, got, want)
				}
			}
			if csp := r.Header().Get("Content-Security-Policy"); strings.Contains(csp, "unsafe") {
				t.Errorf("the policy has a hole: %s", csp)
			}
		})
	}
}

// checkProblem sees that an error is one as the rest of the server has them.
func checkProblem(t *testing.T, r *httptest.ResponseRecorder) {
	t.Helper()
	var p struct {
		Type, Title, Detail, Code string
		Status                    int
	}
	err := json.Unmarshal(r.Body.Bytes(), &p)
	if err != nil || p.Type != "about:blank" || p.Title == "" || p.Detail == "" || p.Status != r.Code {
		t.Errorf("no problem: %s, %v", r.Body, err)
	}
	if want := map[int]string{404: "not_found", 405: "bad_request"}[r.Code]; p.Code != want {
		t.Errorf("code %q, want %q", p.Code, want)
	}
	if got := r.Header().Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("type %q", got)
	}
	if allow := r.Header().Get("Allow"); (allow == "GET, HEAD") != (r.Code == 405) {
		t.Errorf("%d with Allow %q", r.Code, allow)
	}
}

func TestUnchangedFilesAreNotSentAgain(t *testing.T) {
	for _, path := range []string{"/", "/parley.js", "/page/app.js"} {
		tag := get(t, "GET", path, nil).Header().Get("ETag")
		if tag == "" {
			t.Fatalf("%s has no ETag", path)
		}
		for known, want := range map[string]int{
			tag: 304, "W/" + tag: 304, `"x", ` + tag: 304, "*": 304, `"x"`: 200, "": 200, strings.Trim(tag, `"`): 200,
		} {
			r := get(t, "GET", path, http.Header{"If-None-Match": {known}})
			if r.Code != want || (r.Body.Len() > 0) != (want == 200) {
				t.Errorf("%s: %d with %d bytes for %s, want %d", path, r.Code, r.Body.Len(), known, want)
			}
		}
		if r := get(t, "GET", path, http.Header{"Range": {"bytes=9999999-"}}); r.Code != http.StatusOK {
			t.Errorf("%s: %d for a part of it: ranges are not given", path, r.Code)
		}
	}
}

// What parses a string as markup or runs it, or would need a hole in the policy.
var forbidden = regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|\beval\(|new Function|setAttribute\('style'|cssText|javascript:| style=`)

func TestPageBuildsNodesNotMarkup(t *testing.T) {
	names, err := filepath.Glob("page/*")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for i, line := range strings.Split(string(data), "\n") {
			if m := forbidden.FindString(line); m != "" {
				t.Errorf("%s:%d has %s", name, i+1, m)
			}
		}
	}
}
