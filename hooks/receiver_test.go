package hooks_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"parley"
	"parley/hooks"
)

// receive has a hook read a request; headers are "Name: value".
func receive(t *testing.T, in hooks.In, now time.Time, body string, headers ...string) (hooks.Delivery, error) {
	t.Helper()
	t.Setenv("PARLEY_TEST_SECRET", secret)
	in.Name, in.SecretEnv = "x", "PARLEY_TEST_SECRET"
	if in.Room == "" {
		in.Room = "r"
	}
	if wrong := hooks.Check(nil, []hooks.In{in}); len(wrong) > 0 {
		t.Fatal(wrong)
	}
	var r hooks.Receiver
	apply, err := r.Prepare([]hooks.In{in})
	if err != nil {
		t.Fatal(err)
	}
	apply()
	h := make(http.Header)
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return r.Find("x").Read(h, []byte(body), now)
}

// mac is the HMAC-SHA256 of a text.
func mac(secret, text string) []byte {
	m := hmac.New(sha256.New, []byte(secret))
	m.Write([]byte(text))
	return m.Sum(nil)
}

func TestSignaturesOfOthers(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	const body = `{"action":"opened","repository":{"name":"parley"}}`
	const json = "Content-Type: application/json"
	good := fmt.Sprintf("%x", mac(secret, body))
	at := func(secret string, now time.Time) string {
		return fmt.Sprintf("v1=%x", mac(secret, fmt.Sprintf("%d.%s", now.Unix(), body)))
	}
	t0 := fmt.Sprintf("t=%d,", now.Unix())
	github := hooks.In{Kind: "github"}
	plain := hooks.In{Kind: "generic", SignatureHeader: "X-Sum", Encoding: "base64", IDHeader: "X-Id"}
	stamped := hooks.In{Kind: "generic", SignatureHeader: "X-Sum", Format: "timestamped", Tolerance: time.Minute}
	parleys := hooks.In{Kind: "parley"}
	for name, tt := range map[string]struct {
		in      hooks.In
		headers []string
		good    bool
	}{
		"github":                       {github, []string{json, "X-Hub-Signature-256: sha256=" + good}, true},
		"github, of no type":           {github, []string{"X-Hub-Signature-256: sha256=" + good, json}, true},
		"github, not signed":           {github, []string{json}, false},
		"github, empty":                {github, []string{json, "X-Hub-Signature-256: sha256="}, false},
		"github, without its prefix":   {github, []string{json, "X-Hub-Signature-256: " + good}, false},
		"github, by another":           {github, []string{json, fmt.Sprintf("X-Hub-Signature-256: sha256=%x", mac("another secret of another", body))}, false},
		"github, of another body":      {github, []string{json, fmt.Sprintf("X-Hub-Signature-256: sha256=%x", mac(secret, body+" "))}, false},
		"github, cut":                  {github, []string{json, "X-Hub-Signature-256: sha256=" + good[:62]}, false},
		"github, longer":               {github, []string{json, "X-Hub-Signature-256: sha256=" + good + "00"}, false},
		"github, signed twice":         {github, []string{json, "X-Hub-Signature-256: sha256=" + good, "X-Hub-Signature-256: sha256=" + good}, false},
		"github, the old header":       {github, []string{json, "X-Hub-Signature: sha256=" + good}, false},
		"plain":                        {plain, []string{json, "X-Sum: " + base64.StdEncoding.EncodeToString(mac(secret, body))}, true},
		"plain, in hex":                {plain, []string{json, "X-Sum: " + good}, false},
		"timestamped":                  {stamped, []string{json, "X-Sum: " + t0 + at(secret, now)}, true},
		"timestamped, with others":     {stamped, []string{json, "X-Sum: v0=ff, " + t0 + " v1=00," + at(secret, now)}, true},
		"timestamped, at its end":      {stamped, []string{json, fmt.Sprintf("X-Sum: t=%d,%s", now.Unix()-60, at(secret, now.Add(-time.Minute)))}, true},
		"timestamped, too old":         {stamped, []string{json, fmt.Sprintf("X-Sum: t=%d,%s", now.Unix()-61, at(secret, now.Add(-61*time.Second)))}, false},
		"timestamped, too early":       {stamped, []string{json, fmt.Sprintf("X-Sum: t=%d,%s", now.Unix()+61, at(secret, now.Add(61*time.Second)))}, false},
		"timestamped, of another time": {stamped, []string{json, fmt.Sprintf("X-Sum: t=%d,%s", now.Unix()+1, at(secret, now))}, false},
		"timestamped, by another":      {stamped, []string{json, "X-Sum: " + t0 + at("another secret of another", now)}, false},
		"timestamped, no time":         {stamped, []string{json, "X-Sum: " + at(secret, now)}, false},
		"timestamped, of the body":     {stamped, []string{json, "X-Sum: " + t0 + "v1=" + good}, false},
		"parley":                       {parleys, []string{json, "Parley-Signature: " + t0 + at(secret, now)}, true},
		"parley, not signed":           {parleys, []string{json}, false},
		"parley, by its own":           {parleys, []string{json, "Parley-Signature: " + hooks.Sign([]byte(secret), now, []byte(body))}, true},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := receive(t, tt.in, now, body, tt.headers...)
			switch {
			case tt.good && (err != nil || d.Room != "r" || string(d.Body) != body || d.Type != parley.JSON):
				t.Errorf("%+v, %v", d, err)
			case !tt.good && (err == nil || parley.AsError(err).Code != parley.Unauthorized || d.Body != nil):
				t.Errorf("%+v, %v", d, err)
			}
		})
	}
}

// What a signed body says, and what cannot be made of it.
func TestDeliveries(t *testing.T) {
	signed := func(body string) string { return fmt.Sprintf("X-Hub-Signature-256: sha256=%x", mac(secret, body)) }
	sum := func(body string) string { return fmt.Sprintf("X-Sum: %x", mac(secret, body)) }
	generic := hooks.In{Kind: "generic", SignatureHeader: "X-Sum", IDHeader: "X-Id"}
	const form = "payload=%7B%22a%22%3A1%7D&x=y"
	for name, tt := range map[string]struct {
		in      hooks.In
		body    string
		headers []string
		want    hooks.Delivery
		err     string
	}{
		"github's form": {
			hooks.In{Kind: "github"},
			form,
			[]string{signed(form), "Content-Type: application/x-www-form-urlencoded", "X-GitHub-Delivery: d-1"},
			hooks.Delivery{Room: "r", ID: "d-1", Type: parley.JSON, Body: []byte(`{"a":1}`)},
			"",
		},
		"github's event": {
			hooks.In{Kind: "github", Room: "gh", RoomHeader: "X-GitHub-Event"},
			"{}",
			[]string{signed("{}"), "Content-Type: application/json", "X-GitHub-Event: pull_request"},
			hooks.Delivery{Room: "gh.pull_request", Type: parley.JSON, Body: []byte("{}")},
			"",
		},
		"an event that is no name": {
			hooks.In{Kind: "github", RoomHeader: "X-GitHub-Event"},
			"{}",
			[]string{signed("{}"), "Content-Type: application/json", "X-GitHub-Event: ../x"},
			hooks.Delivery{},
			`"../x" makes no room's name`,
		},
		"no event": {
			hooks.In{Kind: "github", RoomHeader: "X-GitHub-Event"},
			"{}",
			[]string{signed("{}"), "Content-Type: application/json"},
			hooks.Delivery{},
			"the header X-GitHub-Event is missing",
		},
		"github's xml": {
			hooks.In{Kind: "github"},
			"<x/>",
			[]string{signed("<x/>"), "Content-Type: text/xml"},
			hooks.Delivery{},
			`"text/xml" is none of the types that GitHub sends`,
		},
		"a field": {
			hooks.In{Kind: "github", RoomField: "repository.name"},
			`{"repository":{"name":"a.b"}}`,
			[]string{signed(`{"repository":{"name":"a.b"}}`), "Content-Type: application/json"},
			hooks.Delivery{Room: "r.a.b", Type: parley.JSON, Body: []byte(`{"repository":{"name":"a.b"}}`)},
			"",
		},
		"no such field": {
			hooks.In{Kind: "github", RoomField: "repository.name"},
			`{"repository":7}`,
			[]string{signed(`{"repository":7}`), "Content-Type: application/json"},
			hooks.Delivery{},
			"the body has no text in repository.name",
		},
		"a field of a number": {
			hooks.In{Kind: "github", RoomField: "n"},
			`{"n":7}`,
			[]string{signed(`{"n":7}`), "Content-Type: application/json"},
			hooks.Delivery{},
			"the body has no text in n",
		},
		"a text": {
			generic, "hi",
			[]string{sum("hi"), "Content-Type: text/plain; charset=utf-8", "X-Id: 7"},
			hooks.Delivery{Room: "r", ID: "7", Type: parley.Text, Body: []byte("hi")},
			"",
		},
		"bytes": {
			generic, "\x00",
			[]string{sum("\x00"), "Content-Type: image/png"},
			hooks.Delivery{Room: "r", Type: parley.Binary, Body: []byte{0}},
			"",
		},
		"an id that is none": {
			generic, "hi",
			[]string{sum("hi"), "X-Id: é"},
			hooks.Delivery{Room: "r", ID: fmt.Sprintf("%x", sha256.Sum256([]byte("é"))), Type: parley.Text, Body: []byte("hi")},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, err := receive(t, tt.in, time.Now(), tt.body, tt.headers...)
			if tt.err != "" {
				if err == nil || parley.AsError(err).Code != parley.BadRequest || parley.AsError(err).Message != tt.err {
					t.Errorf("%v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || d.Room != tt.want.Room || d.ID != tt.want.ID || d.Type != tt.want.Type || string(d.Body) != string(tt.want.Body) {
				t.Errorf("%+v, %v, want %+v", d, err, tt.want)
			}
		})
	}
}

func TestNoClientIsCalledLikeAHook(t *testing.T) {
	for _, name := range []string{"hook:x", "HOOK:x", " hook:x", "hook:"} {
		if _, err := parley.ParseName(name); err == nil {
			t.Errorf("%q is a name", name)
		}
	}
	for _, name := range []string{"hook", "hooks:x", "a hook:x", "hook-x"} {
		if _, err := parley.ParseName(name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func FuzzSignature(f *testing.F) {
	for _, s := range []string{
		"", "t=1,v1=ab", "t=1800000000,v1=00,v1=11", "v1=a,t=1", "t=,v1=", "t=-1,v1=a", "t=1,t=2,v1=a", "t=1", "t=1,v1=a,v0=b", " t=1 , v1=a ", "t=1,,v1=a",
		"t=99999999999999999999,v1=a", "t=1,v1=" + strings.Repeat("a", 2000), "t=0x1,v1=a", "t=1,v1=a=b",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		stamp, sums, err := hooks.ParseStamped(s)
		if err != nil {
			if stamp != "" || sums != nil {
				t.Errorf("%q: %q %q besides %v", s, stamp, sums, err)
			}
			return
		}
		if len(s) > 1024 || stamp == "" || len(sums) == 0 || len(sums) > 4 || strings.Trim(stamp, "0123456789") != "" {
			t.Fatalf("%q: %q %q", s, stamp, sums)
		}
		again, others, err := hooks.ParseStamped("t=" + stamp + ",v1=" + strings.Join(sums, ",v1="))
		if err != nil || again != stamp || strings.Join(others, ",") != strings.Join(sums, ",") {
			t.Errorf("%q: %q %q, then %q %q %v", s, stamp, sums, again, others, err)
		}
	})
}
