package audit_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/google/go-cmp/cmp"

	"parley"
	"parley/audit"
)

var ada = audit.Client{User: "ada", Session: 0xc0ffee, Transport: "tcp", Address: netip.MustParseAddrPort("192.0.2.1:4711")}

type text string

func (s text) String() string { return string(s) }

// tell writes one line of each kind.
func tell(l *audit.Log, c audit.Client) {
	l.Connected(c)
	l.Granted(c, "key billing", text("join,send=lobby"))
	l.Refused(c, "send", "ops", parley.Errorf(parley.Denied, "you may not send in ops").Because(errors.New("a secret cause")))
	l.Acted(c, "revoke", "", slog.String("of", "mallory"))
	l.Ended(c, "")
}

func open(t *testing.T, to, form string, stderr *bytes.Buffer) *audit.Log {
	t.Helper()
	l, err := audit.Open(to, form, stderr, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// lines reads JSON lines, without their time.
func lines(t *testing.T, data []byte) []map[string]any {
	t.Helper()
	var all []map[string]any
	for line := range bytes.Lines(data) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		if fields["time"] == nil {
			t.Errorf("%q has no time", line)
		}
		delete(fields, "time")
		all = append(all, fields)
	}
	return all
}

func TestOneLineEach(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	tell(open(t, audit.Stderr, "json", &out), ada)
	line := func(event string, more ...string) map[string]any {
		m := map[string]any{
			"level": "INFO", "msg": event, "log": "audit", "user": "ada", "session": parley.SessionID(0xc0ffee).String(),
			"transport": "tcp", "address": "192.0.2.1:4711",
		}
		for i := 0; i < len(more); i += 2 {
			m[more[i]] = more[i+1]
		}
		return m
	}
	want := []map[string]any{
		line("connected"),
		line("granted", "grants", "join,send=lobby", "by", "key billing"),
		line("refused", "op", "send", "room", "ops", "code", "denied", "why", "you may not send in ops"),
		line("acted", "op", "revoke", "of", "mallory"),
		line("ended", "why", "left"),
	}
	if diff := cmp.Diff(want, lines(t, out.Bytes())); diff != "" {
		t.Error(diff)
	}
	if strings.Contains(out.String(), "secret cause") {
		t.Error("a cause is told")
	}
}

// Whatever a name holds, a line stays one, shows all and moves no cursor.
func TestNamesAreEscaped(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		"a\nlevel=ERROR msg=forged", "\x1b[2J\x07", "\u009b31m", "\u202egnp.exe", "\u2028", "a\x00b", "\xff\xfe", "\U000e0001", `"},{"`, "\u200b", "zoë 家 🎈",
	} {
		for _, form := range []string{"json", "text"} {
			t.Run(fmt.Sprintf("%s %q", form, name), func(t *testing.T) {
				var out bytes.Buffer
				l := open(t, audit.Stderr, form, &out)
				l.Refused(audit.Client{User: name, Transport: name}, name, name, parley.Errorf(parley.Denied, "%s", name))
				got := out.String()
				if strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") {
					t.Fatalf("%q is not one line", got)
				}
				if i := strings.IndexFunc(got, func(r rune) bool { return r != '\n' && !unicode.IsPrint(r) }); i >= 0 {
					t.Errorf("%q is not printable at %d", got, i)
				}
				if form == "json" {
					if read := lines(t, out.Bytes())[0]["user"]; read != strings.ToValidUTF8(name, "\ufffd") && !strings.Contains(name, "\xff") {
						t.Errorf("read back: %q", read)
					}
				}
			})
		}
	}
}

func TestNoLog(t *testing.T) {
	l, err := audit.Open(audit.Off, "text", nil, nil)
	if l != nil || err != nil {
		t.Fatal(l, err)
	}
	tell(l, ada)
	if err := errors.Join(l.Reopen(), l.Close()); err != nil {
		t.Error(err)
	}
	err = parley.Errorf(parley.Denied, "no")
	if n := testing.AllocsPerRun(100, func() { l.Connected(ada); l.Refused(ada, "send", "r", err); l.Ended(ada, "x") }); n != 0 {
		t.Errorf("%v allocations where nothing is logged", n)
	}
}

// A file is appended to, is nobody else's to read, and can be moved away while it is in use.
func TestFile(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(name, []byte("{\"time\":1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	l := open(t, name, "text", nil)
	l.Connected(ada)
	if err := os.Rename(name, name+".1"); err != nil {
		t.Fatal(err)
	}
	l.Connected(ada) // still the old one
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() { tell(l, ada) })
	}
	wg.Wait()
	if err := errors.Join(l.Close(), l.Close()); err != nil {
		t.Error(err)
	}
	l.Connected(ada)
	if err := l.Reopen(); err != nil {
		t.Error(err)
	}
	for file, want := range map[string]int{name + ".1": 3, name: 40} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := len(lines(t, data)); n != want {
			t.Errorf("%s has %d lines, want %d", file, n, want)
		}
	}
	if info, err := os.Stat(name); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if _, err := audit.Open(filepath.Join(name, "below"), "text", nil, nil); err == nil {
		t.Error("a file that cannot be was opened")
	}
}

// failing is a place where nothing can be written.
type failing struct{ err error }

func (f *failing) Write(p []byte) (int, error) { return len(p), f.err }

// A full disk is said once, and again only after it was not full for a while.
func TestWhatCannotBeWrittenIsSaidOnce(t *testing.T) {
	var said bytes.Buffer
	w := &failing{errors.New("disk full")}
	l, err := audit.Open(audit.Stderr, "text", w, slog.New(slog.NewTextHandler(&said, nil)))
	if err != nil {
		t.Fatal(err)
	}
	tell(l, ada)
	w.err = nil
	tell(l, ada)
	w.err = errors.New("disk full")
	tell(l, ada)
	if n := strings.Count(said.String(), "disk full"); n != 2 {
		t.Errorf("said %d times, want 2:\n%s", n, &said)
	}
}

func BenchmarkConnected(b *testing.B) {
	for name, l := range map[string]*audit.Log{"off": nil, "on": audit.New(slog.NewJSONHandler(&failing{}, nil))} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				l.Connected(ada)
			}
		})
	}
}
