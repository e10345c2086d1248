package e2e_test

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// outcomeOf runs the program to its end and gives its exit code and what it wrote to stderr.
func outcomeOf(t testing.TB, dir string, env []string, args ...string) (code int, stderr string) {
	t.Helper()
	p, err := launch(t, must(t, binary), dir, env, args...)
	if err != nil {
		t.Fatal(err)
	}
	code = p.exit(patience)
	return code, p.stderr.String()
}

// What the user has to mend ends the server with code 2 and one line that says what it is.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	busy := serve(t)
	tests := map[string]struct {
		args []string
		env  []string
		file string // parley.yml
		want string // stderr, a regular expression
	}{
		"a taken port":                  {args: []string{"--tcp", taken.Addr().String()}, want: regexp.QuoteMeta(taken.Addr().String()) + ` is taken`},
		"a data directory in use":       {args: []string{"--data", busy.data}, want: regexp.QuoteMeta(busy.data) + ` is in use`},
		"an address others can reach":   {args: []string{"--tcp", "0.0.0.0:0"}, want: `--open`},
		"all addresses":                 {args: []string{"--tcp", ":0"}, want: `--open`},
		"all addresses, version 6":      {args: []string{"--tcp", "[::]:0"}, want: `--open`},
		"the same from the environment": {env: []string{"PARLEY_TCP=0.0.0.0:0"}, want: `--open`},
		"no address":                    {args: []string{"--tcp", "nowhere"}, want: `tcp`},
		"an unknown flag":               {args: []string{"--colour", "red"}, want: `colour`},
		"an argument too many":          {args: []string{"now"}, want: `now`},
		"a number that is none":         {args: []string{"--retain-messages", "many"}, want: `retain-messages`},
		"a number out of range":         {args: []string{"--retain-messages", "0"}, want: `retain-messages`},
		"no number in the environment":  {env: []string{"PARLEY_RETAIN_MESSAGES=many"}, want: `PARLEY_RETAIN_MESSAGES`},
		"a log in another form":         {args: []string{"--log", "xml"}, want: `log`},
		"an unknown key":                {file: "tcp: 127.0.0.1:0\ncolour: red\n", want: `parley\.yml:2: colour: `},
		"an unknown key within":         {file: "retain:\n  messages: 5\n  colour: red\n", want: `parley\.yml:3: retain\.colour: `},
		"a value of the wrong kind":     {file: "open: perhaps\n", want: `parley\.yml:1: open: `},
		"a file that is no YAML":        {file: "tcp: [\n", want: `parley\.yml`},
		"a file that is not there":      {args: []string{"--config", "other.yml"}, want: `other\.yml`},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if tt.file != "" {
				if err := os.WriteFile(filepath.Join(dir, "parley.yml"), []byte(tt.file), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, stderr := outcomeOf(t, dir, tt.env, append([]string{"serve"}, tt.args...)...)
			if code != 2 {
				t.Errorf("exit code %d, want 2", code)
			}
			lines := strings.Split(strings.TrimSpace(stderr), "\n")
			if len(lines) != 1 || !regexp.MustCompile(tt.want).MatchString(lines[0]) {
				t.Errorf("it wrote %q, want one line with %q", stderr, tt.want)
			}
		})
	}
	hello(t, busy, "ada").publish("r", "the one that was there is well")
}

// Flags come before the environment, that before the file, that before the defaults; and parley
// alone is parley serve.
func TestSettings(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		args []string
		env  []string
		file string
	}{
		"from a file":             {file: "tcp: 127.0.0.1:0\nretain: {messages: 3}\ndata: d\n"},
		"from the environment":    {env: []string{"PARLEY_TCP=127.0.0.1:0", "PARLEY_RETAIN_MESSAGES=3", "PARLEY_DATA=d"}, file: "tcp: 127.0.0.1:1\nretain: {messages: 9}\n"},
		"from flags":              {args: []string{"--tcp", "127.0.0.1:0", "--retain-messages", "3", "--data", "d"}, env: []string{"PARLEY_TCP=nowhere", "PARLEY_RETAIN_MESSAGES=9"}},
		"from a file named":       {args: []string{"--config", "other.yml"}},
		"from a file named there": {env: []string{"PARLEY_CONFIG=other.yml"}},
		"with the command named":  {args: []string{"serve", "--tcp", "127.0.0.1:0", "--retain-messages", "3", "--data", "d"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			s := newServer(t, nil)
			for file, text := range map[string]string{"parley.yml": tt.file, "other.yml": "tcp: 127.0.0.1:0\nretain: {messages: 3}\ndata: d\n"} {
				if text == "" {
					continue
				}
				if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			p, err := launch(t, s.path, s.dir, tt.env, tt.args...)
			if err != nil {
				t.Fatal(err)
			}
			found, err := p.stderr.wait(tcpLine, p.done, patience)
			if err != nil {
				t.Fatalf("%v: %s", err, &p.stderr)
			}
			s.reached(found[1])
			c := hello(t, s, "ada")
			for _, body := range []string{"1", "2", "3", "4"} {
				c.publish("r", body)
			}
			if page := c.ask(`{"op":"history","room":"r"}`); len(page.Messages) != 3 {
				t.Errorf("the room keeps %d messages, want 3", len(page.Messages))
			}
			if _, err := os.Stat(filepath.Join(s.dir, "d", "parley.lock")); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestOpenServerListensForOthers(t *testing.T) {
	t.Parallel()
	s := newServer(t, []string{"--tcp", "0.0.0.0:0", "--open"})
	s.start()
	_, port, _ := net.SplitHostPort(s.address())
	addr := "127.0.0.1:" + port
	s.reached(addr)
	hello(t, s, "ada").publish("r", "hi")
}

// With --log json every line is an object, and the one that says it is ready has the address.
func TestJSONLog(t *testing.T) {
	t.Parallel()
	s := newServer(t, []string{"--log", "json"})
	p, err := s.launch()
	if err != nil {
		t.Fatal(err)
	}
	found, err := p.stderr.wait(regexp.MustCompile(`(?m)^.*"tcp":"(127\.0\.0\.1:\d+)".*$`), p.done, patience)
	if err != nil {
		t.Fatalf("%v: %s", err, &p.stderr)
	}
	s.reached(found[1])
	s.process = p
	c := dial(t, s)
	c.send("a line\x1b[2J {\"a\":1}")
	c.send("/nick \x1b")
	c.expectPrefix("* bad_request")
	if code := s.terminate(); code != 0 {
		t.Errorf("exit code %d", code)
	}
	for _, line := range strings.Split(strings.TrimSpace(p.stderr.String()), "\n") {
		var fields map[string]any
		if err := json.Unmarshal([]byte(line), &fields); err != nil {
			t.Errorf("%q is no JSON: %v", line, err)
		}
		for _, key := range []string{"time", "level", "msg"} {
			if fields[key] == nil {
				t.Errorf("%q has no %s", line, key)
			}
		}
	}
}
