package e2e_test

import (
	"strings"
	"testing"
	"time"
)

// Lines reach the others byte for byte.
func TestPlainLines(t *testing.T) {
	t.Parallel()
	s := serve(t)
	from, to := dial(t, s), dial(t, s)
	tests := map[string]struct{ sent, read string }{
		"a line":                  {"hello\n", "hello"},
		"CR LF counts as LF":      {"hello\r\n", "hello"},
		"a CR within stays":       {"a\rb\n", "a\rb"},
		"one CR of two goes":      {"a\r\r\n", "a\r"},
		"empty lines are nothing": {"\n\r\n\nafter\n", "after"},
		"spaces are something":    {"  \n", "  "},
		"two slashes":             {"//etc/passwd\n", "/etc/passwd"},
		"three slashes":           {"///\n", "//"},
		"a NUL":                   {"a\x00b\n", "a\x00b"},
		"invalid UTF-8":           {"\xff\xfe caf\xe9\n", "\xff\xfe caf\xe9"},
		"an overlong form":        {"\xc0\xaf\n", "\xc0\xaf"},
		"control characters":      {"\x1b[2J\x07\t\x7f\n", "\x1b[2J\x07\t\x7f"},
		"bidi characters":         {"\u202eolleh\n", "\u202eolleh"},
		"other scripts":           {"Grüße, 世界 🙂\n", "Grüße, 世界 🙂"},
		"what looks like JSON":    {`{"t":21}` + "\n", `{"t":21}`},
		"what looks like HTTP":    {"GET / HTTP/1.1\n", "GET / HTTP/1.1"},
		"a hello that is late":    {`{"op":"hello"}` + "\n", `{"op":"hello"}`},
		"as long as may be":       {strings.Repeat("x", 64<<10) + "\n", strings.Repeat("x", 64<<10)},
		"as long, with CR":        {strings.Repeat("x", 64<<10) + "\r\n", strings.Repeat("x", 64<<10)},
	}
	from.send("first") // the first line of all is a matter of its own
	to.expect("first")
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			from, to := *from, *to
			from.t, to.t = t, t
			from.write(tt.sent)
			to.expect(tt.read)
		})
	}
}

func TestManyLinesAtOnceKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s := serve(t)
	from, to := dial(t, s), dial(t, s)
	from.write("a\nb\r\n\nc\nd and no end")
	to.expect("a", "b", "c", "d and no end")
}

func TestPlainCommands(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada := dial(t, s)

	ada.send("/help")
	var help []string
	for range 5 {
		help = append(help, ada.expectPrefix("* "))
	}
	for _, command := range []string{"/help", "/join", "/nick", "/who", "/history", "/since", "/quit", "//"} {
		if text := strings.Join(help, "\n"); command != "/help" && !strings.Contains(text, command) {
			t.Errorf("/help says nothing of %s:\n%s", command, text)
		}
	}
	ada.send("/dance now")
	ada.expectPrefix("* bad_request: ")
	ada.send("/")
	ada.expectPrefix("* bad_request: ")
	ada.send("/nick")
	ada.expectPrefix("* bad_request: ")
	ada.send("/nick a\u202eb")
	ada.expectPrefix("* bad_request: ")
	ada.send("/join a..b")
	ada.expectPrefix("* bad_request: ")
	ada.send("/history 0")
	ada.expectPrefix("* bad_request: ")
	ada.send("/history 1001")
	ada.expectPrefix("* bad_request: ")
	ada.send("/since yesterday")
	ada.expectPrefix("* bad_request: ")

	ada.send("/nick ada")
	ada.expect("* you are ada")
	ada.send("/who")
	ada.expect("* 1 in lobby: ada")
	ada.send("/history")
	ada.expect("* 0 messages of lobby")
	ada.send("/quit")
	ada.expect("* goodbye")
	ada.closed()
}

func TestPlainRooms(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := named(t, s, "ada"), named(t, s, "bob")
	ada.send("/join ops")
	ada.expect("* joined ops")
	ada.send("/join ops")
	ada.expectPrefix("* conflict: ")
	bob.send("nobody hears this")
	ada.send("/who")
	ada.expect("* 1 in ops: ada")
	bob.send("/join ops")
	bob.expect("* joined ops")
	bob.send("shall we?")
	ada.expect("bob: shall we?")
	ada.send("yes")
	bob.expect("ada: yes")
	ada.send("/join lobby")
	ada.expect("* joined lobby")
	bob.send("still there?")
	ada.send("/history 5")
	ada.expectPrefix("* 1 bob: nobody hears this")
	ada.expect("* 1 message of lobby")
}

func TestPlainHistoryAndSince(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada, bob := named(t, s, "ada"), dial(t, s)
	var seqs []string
	for _, body := range []string{"one", "two", "three"} {
		ada.send(body)
		bob.expect(body)
	}
	bob.send("/history")
	for _, body := range []string{"one", "two", "three"} {
		line := bob.expectPrefix("* ")
		seq, said, _ := strings.Cut(strings.TrimPrefix(line, "* "), " ")
		if said != "ada: "+body {
			t.Fatalf("got %q, want what ada said: %s", line, body)
		}
		seqs = append(seqs, seq)
	}
	bob.expect("* 3 messages of lobby")

	bob.send("/history 2")
	bob.expect("* "+seqs[1]+" ada: two", "* "+seqs[2]+" ada: three", "* 2 messages of lobby, and there are more")
	bob.send("/since " + seqs[1])
	bob.expect("* "+seqs[2]+" ada: three", "* 1 message of lobby")
	bob.send("/since 0")
	bob.expect("* "+seqs[0]+" ada: one", "* "+seqs[1]+" ada: two", "* "+seqs[2]+" ada: three", "* 3 messages of lobby")
	bob.send("/since " + seqs[2])
	bob.expect("* 0 messages of lobby")
}

// After /nick a person is reading: nothing reaches the terminal that it would act on.
func TestNamedLinesAreSafeToRead(t *testing.T) {
	t.Parallel()
	s := serve(t)
	ada := named(t, s, "ada")
	plain, bare, js := dial(t, s), dial(t, s), hello(t, s, "eve")
	plain.send("I am here")
	ada.expectPrefix("guest-")
	bare.expect("I am here")
	tests := []struct{ sent, named string }{
		{"\x1b[2Jgone", `\x1b[2Jgone`},
		{"\u202eolleh", `\u202eolleh`},
		{"a\u2066b\u2069", `a\u2066b\u2069`},
		{"a\tb\x00c\x7f", `a\tb\x00c\x7f`},
		{"caf\xe9", `caf\xe9`},
		{"\u009b31m", `\u009b31m`},
		{`back\slash`, `back\slash`},
		{"* you are root", "* you are root"},
	}
	for _, tt := range tests {
		plain.send(tt.sent)
		line := ada.expectPrefix("guest-")
		if _, body, _ := strings.Cut(line, ": "); body != tt.named {
			t.Errorf("%q is shown as %q, want %q", tt.sent, body, tt.named)
		}
		bare.expect(tt.sent)
	}
	js.want(`{"op":"send","room":"lobby","body":"two\nlines\u001b"}`, `{"op":"ack"}`)
	ada.expect(`eve: two\nlines\x1b`)
	bare.expect(`two\nlines` + "\x1b")
	js.want(`{"op":"send","room":"lobby","type":"json","body":{ "b": 1.50, "a": [ 1 ] }}`, `{"op":"ack"}`)
	ada.expect(`eve: {"b":1.50,"a":[1]}`)
	bare.expect(`{"b":1.50,"a":[1]}`)
	js.want(`{"op":"send","room":"lobby","type":"binary","body":"AP9h"}`, `{"op":"ack"}`)
	ada.expect(`eve: \x00\xffa`)
	bare.expect("\x00\xffa")
	// A name that could pass for the server's own word.
	star := hello(t, s, "* ops")
	star.publish("lobby", "hi")
	ada.expect(`\* ops: hi`)
}

// What is begun without a newline counts when the client pauses, or closes its side.
func TestFragments(t *testing.T) {
	t.Parallel()
	s := serve(t)
	from, to := dial(t, s), dial(t, s)
	began := time.Now()
	from.write("a fragment")
	to.expect("a fragment")
	if took := time.Since(began); took < 190*time.Millisecond {
		t.Errorf("a fragment was sent on after %v, and its client had not paused for 200 ms", took)
	}
	from.write("one")
	from.write(" line\nand")
	to.expect("one line", "and")
	from.write(" another\n")
	to.expect(" another")

	half := dial(t, s)
	half.write("last words")
	half.finish()
	to.expect("last words")
	from.expect("last words")
	half.closed()

	first := dial(t, s)
	first.write("the first line, with no end")
	to.expect("the first line, with no end")
}

func TestFragmentsWaitWhereThereIsNoPause(t *testing.T) {
	t.Parallel()
	s := serve(t, "--pause", "0")
	from, to := dial(t, s), dial(t, s)
	from.write("half")
	to.quiet(500 * time.Millisecond)
	from.write(" and half\n")
	to.expect("half and half")
	from.write("the end")
	from.finish()
	to.expect("the end")
}

func TestPlainLineTooLong(t *testing.T) {
	t.Parallel()
	s := serve(t)
	for name, text := range map[string]string{
		"with a newline":             strings.Repeat("x", 64<<10+1) + "\n",
		"without":                    strings.Repeat("x", 64<<10+2),
		"a first line, like JSON":    "{" + strings.Repeat("x", 256<<10) + "\n",
		"a first line, much too big": strings.Repeat("x", 128<<10) + "\n",
	} {
		t.Run(name, func(t *testing.T) {
			to, from := dial(t, s), dial(t, s)
			from.write(text)
			from.expectPrefix("* too_large: ")
			from.closed()
			to.send("/history")
			to.expect("* 0 messages of lobby")
		})
	}
}
