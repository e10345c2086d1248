package server_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"parley/auth"
	"parley/internal/settings"
	"parley/server"
)

// write writes files into a directory of their own, and gives that of parley.yml.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "parley.yml")
}

// example is the beginning of a line that is an example: prose has one space behind its mark.
var example = regexp.MustCompile(`(?m)^( *)#([^ ]|  )`)

// uncommented is the example file with its examples in force.
func uncommented() string {
	return example.ReplaceAllString(strings.NewReplacer("  slow: []\n", "", "hooks: []\n", "", "inbound: []\n", "").Replace(server.Example), "$1$2")
}

func TestExampleIsTheDefault(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{"parley.yml": server.Example})
	c, err := server.Sources{File: file}.Read()
	if err != nil {
		t.Fatal(err)
	}
	want := server.Default()
	want.Data = filepath.Join(filepath.Dir(file), want.Data)
	if diff := cmp.Diff(want, c.Config, cmpopts.EquateEmpty()); diff != "" {
		t.Error(diff)
	}
	if c.Anonymous != nil || c.Auth != nil {
		t.Error("the example has grants that the default has not")
	}
	if w := c.Warnings(); len(w) > 0 {
		t.Error(w)
	}
}

// A key that the example does not have is one that nobody finds.
func TestExampleNamesEveryKey(t *testing.T) {
	t.Parallel()
	text := uncommented()
	var c server.Config
	set := settings.New(&c)
	if err := set.Load(write(t, map[string]string{"parley.yml": text})); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	named := make(map[string]bool)
	for path := range set.Shown() {
		named[regexp.MustCompile(`\[\d+\]`).ReplaceAllString(path, "[]")] = true
	}
	for _, path := range set.Paths() {
		if !named[path] {
			t.Errorf("parley.example.yml does not show %s", path)
		}
	}
	if c.Auth == nil || len(c.Auth.APIKeys) == 0 || len(c.Limits.Slow) == 0 || len(c.Anonymous) == 0 || len(c.Hooks) == 0 || len(c.Inbound) == 0 {
		t.Errorf("the examples are not in force:\n%s", text)
	}
}

const secret = "0123456789abcdef0123456789abcdef"

func TestSectionsOfTheFile(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{"hs.key": secret, "parley.yml": `
auth:
  issuer: https://id.example
  audience: parley
  keys:
    - {alg: HS256, secret_file: hs.key}
anonymous:
  - {rooms: lobby, may: [join, send, history, members]}
revoked: {users: [mallory], keys: []}
limits:
  message: 1KiB
  slow: [{rooms: "ops.*", every: 1m30s}]
tcp: 0.0.0.0:0
`})
	c, err := server.Sources{File: file}.Read()
	if err != nil {
		t.Fatal(err)
	}
	if got := c.Auth.Keys[0].SecretFile; got != filepath.Join(filepath.Dir(file), "hs.key") {
		t.Errorf("the key's file is %s", got)
	}
	if got, want := c.Anonymous.String(), "join,history,send,members=lobby"; got != want {
		t.Errorf("anonymous: %s, want %s", got, want)
	}
	if c.Limits.Message != 1024 || c.Limits.Slow[0].Every.Seconds() != 90 || !slices.Equal(c.Revoked.Users, []string{"mallory"}) {
		t.Errorf("%+v", c.Config)
	}
	if c.AuditTo() != "stderr" {
		t.Errorf("with auth the audit log goes to %s", c.AuditTo())
	}
	if w := strings.Join(c.Warnings(), "\n"); !strings.Contains(w, file+":13: tcp: others can reach it without TLS") {
		t.Errorf("warnings: %s", w)
	}
	if a := c.Access(); !strings.Contains(a, "join,history,send,members=lobby") {
		t.Error(a)
	}
	text, err := c.YAML(false)
	if err != nil || strings.Contains(string(text), secret) || !strings.Contains(string(text), "hs.key") {
		t.Errorf("%v\n%s", err, text)
	}
}

// Every mistake has its place, whatever it is one of, and all are found at once.
func TestMistakesHavePlaces(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		file  string
		env   map[string]string
		flags map[string]string
		want  []string
	}{
		"values of the file": {
			file: "retain:\n  messages: 0\nlog: xml\nlimits:\n  page: 5000\n  frame: 2KiB\nhostnames: [ok, \"no host\"]\n",
			want: []string{
				"parley.yml:2: retain.messages: at least 1, not 0", "parley.yml:3: log: text or json, not \"xml\"",
				"parley.yml:7: hostnames[1]: \"no host\" is no host's name", "parley.yml:5: limits.page: 1 to 1000, not 5000",
				"parley.yml:6: limits.frame: at least limits.message",
			},
		},
		"grants": {
			file: "anonymous:\n  - rooms: lobby\n    may: [join, fly]\n  - {rooms: \"a*\", may: [join]}\n  - {room: x, may: [join]}\n",
			want: []string{
				"parley.yml:3: anonymous[0].may: no right \"fly\": a right is join,", "parley.yml:4: anonymous[1].rooms: \"a*\" is no pattern",
				"parley.yml:5: anonymous[2].room: no such key; did you mean rooms?",
			},
		},
		"a grant of nothing":  {file: "anonymous:\n  - {rooms: lobby, may: []}\n", want: []string{"parley.yml:2: anonymous: grant 1, for lobby, has no rights"}},
		"a key without file":  {file: "auth:\n  issuer: i\n  audience: a\n  keys:\n    - {alg: HS256, secret_file: gone.key}\n", want: []string{"parley.yml:5: auth.keys[0].secret_file: open "}},
		"no algorithm":        {file: "auth:\n  issuer: i\n  audience: a\n  keys:\n    - {alg: none, secret_file: gone.key}\n", want: []string{"parley.yml:5: auth.keys[0].alg: HS256, RS256, ES256 or EdDSA, not \"none\""}},
		"auth without issuer": {file: "auth:\n  audience: a\n  keys:\n    - {alg: HS256, secret_file: gone.key}\n", want: []string{"parley.yml:2: auth.issuer: "}},
		"slow mode":           {file: "limits:\n  slow:\n    - {rooms: \"**.a\", every: 5s}\n    - {rooms: a}\n", want: []string{"parley.yml:3: limits.slow[0].rooms: ", "parley.yml:4: limits.slow[1].every: more than 0"}},
		"the environment":     {env: map[string]string{"PARLEY_RETAIN_AGE": "1ms", "PARLEY_PARTITIONS": "x"}, want: []string{"PARLEY_PARTITIONS: a whole number, not \"x\"", "PARLEY_RETAIN_AGE: at least 1s, not 1ms"}},
		"flags":               {flags: map[string]string{"tcp": "0.0.0.0:0", "pause": "-1s"}, want: []string{"--pause: 0 (never) or more, not -1s", "--tcp: 0.0.0.0:0 can be reached by others, and anyone"}},
		"a public address":    {file: "http: \":8080\"\n", want: []string{"parley.yml:1: http: :8080 can be reached by others"}},
		"the strongest counts": {
			file: "drain: 1s\nretain: {messages: 0}\n", flags: map[string]string{"retain.messages": "-2"}, env: map[string]string{"PARLEY_RETAIN_MESSAGES": "-1"},
			want: []string{"--retain-messages: at least 1, not -2"},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := write(t, map[string]string{"parley.yml": tt.file})
			lookup := func(name string) (string, bool) { v, ok := tt.env[name]; return v, ok }
			_, err := server.Sources{File: file, Environment: lookup, Flags: tt.flags}.Read()
			var bad *server.ConfigError
			if !errors.As(err, &bad) {
				t.Fatalf("%v", err)
			}
			lines := bad.Lines()
			for i, line := range lines {
				lines[i] = strings.TrimPrefix(line, filepath.Dir(file)+"/")
				if i >= len(tt.want) || !strings.HasPrefix(lines[i], tt.want[i]) {
					t.Errorf("line %d is\n%s\nwant\n%s", i, strings.Join(lines, "\n"), strings.Join(tt.want, "\n"))
				}
			}
			if len(lines) != len(tt.want) {
				t.Errorf("%d mistakes, want %d:\n%s", len(lines), len(tt.want), strings.Join(lines, "\n"))
			}
		})
	}
}

// A certificate's key is a secret as well as those of tokens.
func TestWarnsOfKeysThatOthersCanRead(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{"tls.key": secret, "parley.yml": "tls: {cert: tls.crt, key: tls.key}\n"})
	key := filepath.Join(filepath.Dir(file), "tls.key")
	for mode, warned := range map[os.FileMode]bool{0o600: false, 0o640: false, 0o644: true} {
		if err := os.Chmod(key, mode); err != nil {
			t.Fatal(err)
		}
		c, err := server.Sources{File: file}.Read()
		if c == nil {
			t.Fatal(err)
		}
		all := strings.Join(c.Warnings(), "\n")
		if strings.Contains(all, "tls.key: everyone on this machine can read "+key) != warned {
			t.Errorf("%v: %s", mode, all)
		}
	}
}

// Who may come in from where, by address, auth and --open.
func TestSafeByDefault(t *testing.T) {
	t.Parallel()
	known := &auth.Config{}
	for _, tt := range []struct {
		address string
		auth    *auth.Config
		anyone  auth.Grants
		open    bool
		good    bool
	}{
		{"127.0.0.1:0", nil, nil, false, true},
		{"[::1]:0", nil, nil, false, true},
		{"localhost:0", nil, nil, false, true},
		{"0.0.0.0:0", nil, nil, false, false},
		{":0", nil, nil, false, false},
		{"[::]:0", nil, nil, false, false},
		{"192.0.2.1:0", nil, nil, false, false},
		{"0.0.0.0:0", nil, auth.All(), false, false},
		{"0.0.0.0:0", nil, nil, true, true},
		{"0.0.0.0:0", known, nil, false, true},
	} {
		c := server.Default()
		c.TCP, c.HTTP, c.Auth, c.Anonymous, c.Open = tt.address, tt.address, tt.auth, tt.anyone, tt.open
		err := c.Check()
		if (err == nil) != tt.good {
			t.Errorf("%+v: %v", tt, err)
		}
		if err != nil && (!strings.Contains(err.Error(), "--open") || !strings.Contains(err.Error(), "auth") || strings.Count(err.Error(), "\n") != 1) {
			t.Errorf("%v does not say what to do", err)
		}
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	file := write(t, map[string]string{"hs.key": secret, "parley.yml": "open: true\nauth: {issuer: i, audience: a, keys: [{alg: HS256, secret_file: hs.key}]}\nanonymous: [{rooms: \"**\", may: [join, admin]}]\n"})
	if err := os.Chmod(filepath.Join(filepath.Dir(file), "hs.key"), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := server.Sources{File: file}.Read()
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(c.Warnings(), "\n")
	for _, part := range []string{
		file + ":2: auth.keys[0].secret_file: everyone on this machine can read ", file + ":1: open: it has no effect", file + ":3: anonymous[0].may: anybody at all may",
	} {
		if !strings.Contains(all, part) {
			t.Errorf("no %q in\n%s", part, all)
		}
	}
}
