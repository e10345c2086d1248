package settings_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"parley/internal/settings"
)

type limits struct {
	Frame int `yaml:"frame" as:"size"`
	Page  int `yaml:"page"`
}

type key struct {
	Alg        string `yaml:"alg"`
	SecretFile string `yaml:"secret_file"`
	Hash       string `yaml:"hash,omitempty"`
}

type identity struct {
	Issuer string `yaml:"issuer"`
	Keys   []key  `yaml:"keys"`
}

type sample struct {
	Data      string        `yaml:"data" as:"path"`
	Audit     string        `yaml:"audit" as:"path" words:"stderr off"`
	Open      bool          `yaml:"open"`
	Hostnames []string      `yaml:"hostnames" flag:"hostname"`
	Age       time.Duration `yaml:"age"`
	Limits    limits        `yaml:"limits"`
	Auth      *identity     `yaml:"auth"`
	Password  string        `yaml:"password"`
	Not       func()        `yaml:"-"`
}

func defaults() *sample {
	return &sample{Data: "d", Audit: "stderr", Age: time.Hour, Limits: limits{Frame: 4096, Page: 10}}
}

// write makes a file of its own, in a directory called etc.
func write(t *testing.T, text string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "etc")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "p.yml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestFileIsReadOverTheDefaults(t *testing.T) {
	c := defaults()
	s := settings.New(c)
	file := write(t, `
# a comment
data: here
audit: off
hostnames: one.example
age: 30d12h
limits: {frame: 64KiB}
auth:
  issuer: https://id.example
  keys:
    - {alg: HS256, secret_file: hs.key}
    - {alg: HS256, secret_file: /abs/hs.key}
password:
  "12"
`)
	if err := s.Load(file); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Dir(file)
	want := &sample{
		Data: filepath.Join(dir, "here"), Audit: "off", Hostnames: []string{"one.example"},
		Age: 30*24*time.Hour + 12*time.Hour, Limits: limits{Frame: 64 << 10, Page: 10},
		Auth: &identity{Issuer: "https://id.example", Keys: []key{
			{Alg: "HS256", SecretFile: filepath.Join(dir, "hs.key")}, {Alg: "HS256", SecretFile: "/abs/hs.key"},
		}},
		Password: "12",
	}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	for path, origin := range map[string]string{
		"data": file + ":3", "limits.frame": file + ":7", "limits.page": settings.Default, "open": settings.Default,
		"auth.keys[1].alg": file + ":12", "auth.keys[1].kid": file + ":12",
	} {
		if got := s.Origin(path); path != "limits.page" && got != origin {
			t.Errorf("%s is from %s, want %s", path, got, origin)
		}
	}
}

// Each picture is a file and all that is said about it.
func TestMistakesSayWhereAndWhatWouldBeRight(t *testing.T) {
	tests := map[string]struct{ file, want string }{
		"nothing":                                {"", ""},
		"only comments in a section of defaults": {"limits:\n  # page: 3\n", ""},
		"only comments in what is there or not": {
			"open: true\nauth:\n  # issuer: x\nhostnames:\n",
			"p.yml:2: auth: nothing is in it: say what, or leave the key out (an empty list is written [])\n" +
				"p.yml:4: hostnames: nothing is in it: say what, or leave the key out (an empty list is written [])",
		},
		"an unknown key":           {"open: true\ncolour: red\n", "p.yml:2: colour: no such key; there are data, audit"},
		"a near miss":              {"datas: x\n", "p.yml:1: datas: no such key; did you mean data?"},
		"a near miss within":       {"limits:\n  page: 1\n  frme: 2\n", "p.yml:3: limits.frme: no such key; did you mean frame?"},
		"a flag's name":            {"limits_frame: 2\n", "p.yml:1: limits_frame: no such key; did you mean limits.frame?"},
		"a key of a section":       {"issuer: x\n", "p.yml:1: issuer: no such key; did you mean auth.issuer?"},
		"few keys to choose from":  {"limits:\n  zzzzzz: 1\n", "p.yml:2: limits.zzzzzz: no such key; there are frame, page"},
		"an unknown key in a list": {"auth:\n  keys:\n    - alg: x\n      kyd: y\n", "p.yml:4: auth.keys[0].kyd: no such key; there are alg, secret_file, hash"},
		"a key twice":              {"open: true\nage: 1s\nopen: false\n", "p.yml:3: open: it stands here twice, on line 1 already"},
		"no truth":                 {"open: perhaps\n", `p.yml:1: open: true or false, not "perhaps"`},
		"no number":                {"limits: {page: many}\n", `p.yml:1: limits.page: a whole number, not "many"`},
		"half a number":            {"limits: {page: 1.5}\n", `p.yml:1: limits.page: a whole number, not "1.5"`},
		"no size":                  {"limits:\n  frame: 64 stones\n", `p.yml:2: limits.frame: a size such as 4096, 64KiB or 1MiB, not "64 stones"`},
		"no duration":              {"age: 10\n", `p.yml:1: age: a duration such as 200ms, 10m or 30d, not "10"`},
		"no value":                 {"age:\n", "p.yml:1: age: no value is given"},
		"a truth for a text":       {"data: true\n", "p.yml:1: data: a text, not true; with quotes it is one"},
		"a list for a value":       {"age: [1s]\n", "p.yml:1: age: one value, not a list"},
		"a value for a section":    {"limits: 5\n", `p.yml:1: limits: keys and their values, not one value`},
		"a section for a list":     {"hostnames: {a: b}\n", "p.yml:1: hostnames: a list, not keys and their values"},
		"a list at the top":        {"- a\n", "p.yml:1: keys and their values, not a list"},
		"no YAML":                  {"open: true\nlimits: [\n", "p.yml:2: no YAML: did not find expected node content"},
		"two documents":            {"open: true\n---\nopen: false\n", "p.yml:1: a configuration is one document: nothing follows behind ---"},
		"a merge":                  {"limits:\n  <<: {page: 1}\n", "p.yml:2: limits.<<: no such key; there are frame, page"},
		"several": {
			"open: 3\nlimits:\n  page: x\n  page: 4\ntcp: 1\n",
			"p.yml:1: open: true or false, not \"3\"\np.yml:3: limits.page: a whole number, not \"x\"\n" +
				"p.yml:4: limits.page: it stands here twice, on line 3 already\np.yml:5: tcp: no such key",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			file := write(t, tt.file)
			said := ""
			if err := settings.New(defaults()).Load(file); err != nil {
				said = strings.ReplaceAll(err.Error(), filepath.Dir(file)+"/", "")
			}
			if !strings.HasPrefix(said, tt.want) || strings.Count(said, "\n") != strings.Count(tt.want, "\n") || tt.want == "" && said != "" {
				t.Errorf("said\n%s\nwant\n%s", said, tt.want)
			}
		})
	}
}

func TestEnvironment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte("from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := defaults()
	s := settings.New(c)
	variables := map[string]string{
		"PARLEY_AGE": "2d", "PARLEY_HOSTNAME": "a.example, b.example", "PARLEY_LIMITS_FRAME": "1MiB",
		"PARLEY_PASSWORD_FILE": file, "PARLEY_AUTH_ISSUER": "https://id.example", "PARLEY_OPEN": "", "PARLEY_DATA": "rel",
	}
	lookup := func(name string) (string, bool) { v, ok := variables[name]; return v, ok }
	if err := s.Environment(lookup); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Age, want.Hostnames, want.Limits.Frame = 48*time.Hour, []string{"a.example", "b.example"}, 1<<20
	want.Password, want.Auth, want.Data = "from a file", &identity{Issuer: "https://id.example"}, "rel"
	if diff := cmp.Diff(want, c); diff != "" {
		t.Error(diff)
	}
	if from := s.Origin("password"); from != "PARLEY_PASSWORD_FILE" {
		t.Errorf("the password is from %s", from)
	}

	variables = map[string]string{
		"PARLEY_AGE": "long", "PARLEY_OPEN": "yes", "PARLEY_PASSWORD": "x", "PARLEY_PASSWORD_FILE": file, "PARLEY_DATA_FILE": "nowhere",
	}
	err := settings.New(defaults()).Environment(lookup)
	for _, part := range []string{"PARLEY_AGE: a duration", `PARLEY_OPEN: true or false, not "yes"`, "PARLEY_PASSWORD: is set, and so is PARLEY_PASSWORD_FILE", "PARLEY_DATA_FILE: open nowhere"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v has no %q", err, part)
		}
	}
}

func TestLaterSettingsTakeThePlaceOfEarlierOnes(t *testing.T) {
	c := defaults()
	s := settings.New(c)
	if err := errors.Join(s.Load(write(t, "hostnames: [a, b]\nopen: true\n")), s.Put("hostnames", "c", "--hostname"), s.Put("open", "0", "PARLEY_OPEN"), s.Put("open", "false", "--open")); err != nil {
		t.Fatal(err)
	}
	if len(c.Hostnames) != 1 || c.Open || s.Origin("hostnames[0]") != "--hostname" {
		t.Errorf("%+v, from %s", c, s.Origin("hostnames[0]"))
	}
	if m := s.Mistake("open", "never"); m.String() != "--open: never" {
		t.Error(m)
	}
	if err := s.Put("nothing", "1", "--nothing"); err == nil {
		t.Error("what is not there was set")
	}
}

// What is shown is a file again, but for its secrets, and says where each value is from.
func TestShown(t *testing.T) {
	c := defaults()
	s := settings.New(c)
	file := write(t, "password: hush\nhostnames: [a, \"yes: b\"]\nauth: {issuer: i, keys: [{alg: A, secret_file: /k, hash: hush}]}\nlimits: {frame: 3KiB}\nage: 90m\n")
	if err := s.Load(file); err != nil {
		t.Fatal(err)
	}
	text, err := s.YAML(false)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hush") {
		t.Errorf("a secret is shown:\n%s", text)
	}
	for _, part := range []string{"data: d # default\n", "frame: 3KiB # " + file + ":4\n", "age: 1h30m # " + file + ":5\n", `["a", "yes: b"]`, "password: (secret)"} {
		if !strings.Contains(strings.ReplaceAll(string(text), "[a,", `["a",`), strings.ReplaceAll(part, `"yes: b"`, `'yes: b'`)) {
			t.Errorf("no %q in\n%s", part, text)
		}
	}
	again := defaults()
	if err := settings.New(again).Load(write(t, string(text))); err != nil {
		t.Fatal(err)
	}
	c.Password, c.Auth.Keys[0].Hash = settings.Hidden, settings.Hidden
	again.Data = c.Data
	if diff := cmp.Diff(c, again); diff != "" {
		t.Error(diff)
	}
	shown := s.Shown()
	for path, want := range map[string]settings.Shown{
		"open": {Value: "false", From: "default"}, "auth.keys[0].secret_file": {Value: "/k", From: file + ":3"}, "password": {Value: "(secret)", From: file + ":1"},
	} {
		if shown[path] != want {
			t.Errorf("%s: %+v, want %+v", path, shown[path], want)
		}
	}
}

func TestDurationsAndSizes(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "30d": 720 * time.Hour, "1d12h": 36 * time.Hour, "200ms": 200 * time.Millisecond, "-5s": -5 * time.Second, "0d": 0,
	} {
		if d, err := settings.ParseDuration(text); err != nil || d != want {
			t.Errorf("%s is %v, %v; want %v", text, d, err, want)
		}
	}
	for _, text := range []string{"", "10", "d", "1d-2h", "1d+2h", "1w", "-1d", "200000d", "106751d23h48m", "1d2d", "1.5d", "day"} {
		if d, err := settings.ParseDuration(text); err == nil {
			t.Errorf("%s is %v", text, d)
		}
	}
	for _, d := range []time.Duration{0, 1, time.Second, time.Minute, time.Hour, 90 * time.Minute, 25 * time.Hour, 36*time.Hour + time.Second, math.MaxInt64, -time.Minute} {
		if again, err := settings.ParseDuration(settings.FormatDuration(d)); err != nil || again != d {
			t.Errorf("%v is written %s and read %v, %v", d, settings.FormatDuration(d), again, err)
		}
	}
	for text, want := range map[string]int64{"0": 0, "4096": 4096, "64KiB": 64 << 10, "1 MiB": 1 << 20, "2GB": 2e9, "5B": 5} {
		if n, err := settings.ParseSize(text); err != nil || n != want {
			t.Errorf("%s is %d, %v; want %d", text, n, err, want)
		}
	}
	for _, text := range []string{"", "KiB", "1.5MiB", "9223372036854775807KiB", "-9223372036854775808TiB", "1kib", "x"} {
		if n, err := settings.ParseSize(text); err == nil {
			t.Errorf("%s is %d", text, n)
		}
	}
	for _, n := range []int64{0, 1, 1023, 1024, 1 << 20, 3 << 40, -1, math.MaxInt64} {
		if again, err := settings.ParseSize(settings.FormatSize(n)); err != nil || again != n {
			t.Errorf("%d is written %s and read %d, %v", n, settings.FormatSize(n), again, err)
		}
	}
}

// Whatever is in a file, reading it ends with settings or with mistakes that have a line.
func FuzzLoad(f *testing.F) {
	for _, text := range []string{"", "open: true", "limits: {frame: 1KiB}", "a: &a [*a]", "auth: {keys: [{alg: x}]}", "x: [", "? {a: b}\n: c", "!!binary x: y"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := filepath.Join(t.TempDir(), "p.yml")
		if err := os.WriteFile(file, data, 0o600); err != nil {
			t.Fatal(err)
		}
		var mistakes settings.Mistakes
		s := settings.New(defaults())
		err := s.Load(file)
		if err != nil && !errors.As(err, &mistakes) {
			t.Fatal(err)
		}
		for _, m := range mistakes {
			if !strings.HasPrefix(m.Where, file) || m.Text == "" {
				t.Errorf("%+v", m)
			}
		}
		if _, err := s.YAML(false); err != nil {
			t.Error(err)
		}
	})
}
