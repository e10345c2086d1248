package httpapi_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/auth"
	"parley/transport/http"
)

// written is a Backup of a few bytes.
func written(_ context.Context, w io.Writer) error {
	_, err := io.WriteString(w, "all of it")
	return err
}

// Where nobody has to say who they are, only who is surely on the same machine gets everything.
func TestWhoMayBackUpAnOpenServer(t *testing.T) {
	f := serve(t, httpapi.Config{Backup: written})
	for name, tt := range map[string]struct {
		headers []string
		status  int
	}{
		"this machine":          {nil, http.StatusOK},
		"a page":                {[]string{"Sec-Fetch-Site: same-origin"}, http.StatusForbidden},
		"a page, by its origin": {[]string{"Origin: http://" + f.addr}, http.StatusForbidden},
		"through a proxy":       {[]string{"X-Forwarded-For: 192.0.2.7"}, http.StatusForbidden},
		"through another":       {[]string{"Forwarded: for=192.0.2.7"}, http.StatusForbidden},
		"another site's name":   {[]string{"Host: evil.example"}, http.StatusForbidden},
	} {
		a := f.ask("GET", "/backup", "", tt.headers...)
		if a.status != tt.status || (string(a.body) == "all of it") != (tt.status == http.StatusOK) {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
	if a := f.ask("HEAD", "/backup", ""); a.status != http.StatusMethodNotAllowed {
		t.Errorf("HEAD: %d", a.status)
	}
	if a := serve(t, httpapi.Config{}).ask("GET", "/backup", ""); a.status != http.StatusNotFound {
		t.Errorf("where there is none: %d", a.status)
	}
}

func TestBackupTakesTheAdminGrant(t *testing.T) {
	d := guard(t, func(s *auth.Settings) { s.Anonymous = auth.Grants{grantOf(t, "join,history=**")} })
	f := serveFor(t, httpapi.Config{Backup: written}, d.Authority)
	for grant, status := range map[string]int{
		"":                http.StatusForbidden,
		"join,history=**": http.StatusForbidden,
		"admin=ops.**":    http.StatusForbidden,
		"admin=**":        http.StatusOK,
	} {
		var headers []string
		if grant != "" {
			headers = append(headers, "X-Forwarded-For: 192.0.2.7",
				"Authorization: Bearer "+d.tokenOf(auth.Token{User: "ada", Grants: auth.Grants{grantOf(t, grant)}}, time.Hour))
		}
		if a := f.ask("GET", "/backup", "", headers...); a.status != status {
			t.Errorf("%q: %d %s", grant, a.status, a.body)
		}
	}
}

func TestABackupThatFailsIsNotTakenForWhole(t *testing.T) {
	f := serve(t, httpapi.Config{Backup: func(_ context.Context, w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("some of it", 1000))
		return errors.Join(err, errors.New("the disk has gone"))
	}})
	resp, err := http.Get("http://" + f.addr + "/backup") //nolint:noctx // it is cut
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		_ = resp.Body.Close()
	}
	if err == nil {
		t.Error("an answer that broke off looks whole")
	}
	f = serve(t, httpapi.Config{Backup: func(context.Context, io.Writer) error {
		return parley.Errorf(parley.Unavailable, "too few nodes can be reached")
	}})
	if a := f.ask("GET", "/backup", ""); a.status != http.StatusServiceUnavailable || !strings.Contains(string(a.body), "too few nodes") {
		t.Errorf("one that does not begin: %d %s", a.status, a.body)
	}
}

func TestOneBackupAtATime(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	f := serve(t, httpapi.Config{Backup: func(_ context.Context, w io.Writer) error {
		close(begun)
		<-end
		_, err := io.WriteString(w, "all of it")
		return err
	}})
	first := make(chan int)
	go func() { first <- f.ask("GET", "/backup", "").status }()
	<-begun
	if a := f.ask("GET", "/backup", ""); a.status != http.StatusConflict {
		t.Errorf("a second one: %d %s", a.status, a.body)
	}
	close(end)
	if status := <-first; status != http.StatusOK {
		t.Errorf("the first: %d", status)
	}
}
