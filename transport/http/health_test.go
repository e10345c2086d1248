package httpapi_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley/auth"
	"parley/transport/http"
)

// Where grants are in force the counters are for who administers; without, for everybody.
func TestMetricsAreForAdministrators(t *testing.T) {
	config := httpapi.Config{Metrics: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		_, _ = io.WriteString(w, "counted 1\n")
	})}
	if a := serve(t, config).ask("GET", "/metrics", ""); a.status != http.StatusOK {
		t.Errorf("without grants: %d %s", a.status, a.body)
	}
	d := guard(t, func(s *auth.Settings) { s.Anonymous = auth.Grants{grantOf(t, "join,history=lobby")} })
	f := serveFor(t, config, d.Authority)
	bearer := func(grant string) string {
		return "Authorization: Bearer " + d.tokenOf(auth.Token{User: "ada", Grants: auth.Grants{grantOf(t, grant)}}, time.Hour)
	}
	for name, tt := range map[string]struct {
		headers []string
		status  int
	}{
		"nobody":             {nil, http.StatusForbidden},
		"no token":           {[]string{"Authorization: Bearer x.y.z"}, http.StatusUnauthorized},
		"a user":             {[]string{bearer("join,history=**")}, http.StatusForbidden},
		"admin of some":      {[]string{bearer("admin=ops.**")}, http.StatusForbidden},
		"an administrator":   {[]string{bearer("admin=**")}, http.StatusOK},
		"an API key without": {[]string{"Authorization: Bearer " + d.key}, http.StatusForbidden},
	} {
		t.Run(name, func(t *testing.T) {
			a := f.ask("GET", "/metrics", "", tt.headers...)
			if a.status != tt.status || strings.Contains(string(a.body), "counted") != (tt.status == http.StatusOK) {
				t.Errorf("%d %s", a.status, a.body)
			}
		})
	}
}
