package hooks_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"parley/hooks"
)

// The receivers that the documents show take what is signed and refuse the rest.
func TestReceiversOfTheDocuments(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/hooks.md")
	if err != nil {
		t.Fatal(err)
	}
	const body = `{"body":"hé \"1\""}`
	now := time.Unix(1_795_330_800, 0)
	good := hooks.Sign([]byte(secret), now, []byte(body))
	cases := []struct {
		header string
		now    time.Time
		want   bool
	}{
		{good, now, true},
		{good, now.Add(5 * time.Minute), true},
		{good, now.Add(-301 * time.Second), false},
		{good, now.Add(301 * time.Second), false},
		{hooks.Sign([]byte("another secret, of another"), now, []byte(body)), now, false},
		{hooks.Sign([]byte(secret), now, []byte("{}")), now, false},
		{good[:len(good)-1], now, false},
		{strings.Replace(good, "t=1", "t=2", 1), now, false},
		{"", now, false},
		{"t=1795330800,v1=", now, false},
	}
	for lang, run := range map[string]struct {
		tool, file, head, call string
		args                   []string
	}{
		"python": {tool: "python3", file: "verify.py", call: "print('true' if verify(%q, %q, %q.encode(), %d) else 'false')\n"},
		"js":     {tool: "node", file: "verify.js", call: "console.log(verify(%q, %q, Buffer.from(%q), %d))\n"},
		"go": {
			tool: "go", args: []string{"run"}, file: "verify.go", call: "func init() { fmt.Println(verify(%q, %q, []byte(%q), %d)) }\n",
			head: "package main\n\nimport (\n\t\"crypto/hmac\"\n\t\"crypto/sha256\"\n\t\"encoding/hex\"\n\t\"fmt\"\n\t\"strconv\"\n\t\"strings\"\n)\n\nfunc main() {}\n\n",
		},
	} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(run.tool); err != nil {
				t.Skip(err)
			}
			block := regexp.MustCompile("(?s)```" + lang + "\n(.*?)```").FindSubmatch(text)
			if block == nil {
				t.Fatal("there is none")
			}
			program, want := run.head+string(block[1]), ""
			for _, c := range cases {
				program += fmt.Sprintf(run.call, secret, c.header, body, c.now.Unix())
				want += fmt.Sprintln(c.want)
			}
			file := filepath.Join(t.TempDir(), run.file)
			if err := os.WriteFile(file, []byte(program), 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(run.tool, append(run.args, file)...).CombinedOutput()
			if err != nil || string(out) != want {
				t.Errorf("%v\n%s\nwant\n%s", err, out, want)
			}
		})
	}
}
