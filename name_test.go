package parley_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"parley"
)

func TestRoomNamesThatAreTaken(t *testing.T) {
	for given, want := range map[string]string{
		"lobby":                  "lobby",
		"a":                      "a",
		"A":                      "A",
		"0":                      "0",
		"_":                      "_",
		"-":                      "-",
		"ops.deploys":            "ops.deploys",
		"a.b.c":                  "a.b.c",
		"_INBOX.x":               "_INBOX.x",
		"größe":                  "größe",
		"gro\u0308ße":            "größe",
		"комната":                "комната",
		"部屋":                     "部屋",
		"कमरा":                   "कमरा",
		"غرفة":                   "غرفة",
		"x\u0323\u0301":          "x\u0323\u0301",
		"a.e\u0301":              "a.é",
		"٣":                      "٣",
		strings.Repeat("a", 128): strings.Repeat("a", 128),
		strings.Repeat("𐐀", 128): strings.Repeat("𐐀", 128),
		strings.Repeat("\u1112\u1161\u11ab", 128): strings.Repeat("한", 128),
	} {
		got, err := parley.ParseRoom(given)
		if err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", given, got, err, want)
		}
	}
}

func TestRoomNamesThatAreRefused(t *testing.T) {
	for name, room := range map[string]string{
		"empty":                            "",
		"a dot alone":                      ".",
		"a dot in front":                   ".a",
		"a dot behind":                     "a.",
		"two dots":                         "a..b",
		"a wildcard":                       "*",
		"a wildcard as a part":             "a.*",
		"the rest wildcard":                ">",
		"a subject of the engine":          "$JS",
		"a path":                           "../a",
		"a slash":                          "a/b",
		"a space":                          "a b",
		"a tab":                            "a\tb",
		"a line end":                       "a\n",
		"NUL":                              "a\x00",
		"a colon":                          "a:b",
		"an emoji":                         "😀",
		"a joiner":                         "a\u200db",
		"a non-joiner":                     "a\u200cb",
		"bidi override":                    "a\u202eb",
		"a soft hyphen":                    "a\u00adb",
		"a zero-width space":               "a\u200bb",
		"the grapheme joiner":              "a\u034f",
		"a variation selector":             "a\ufe0f",
		"a letter that is not seen":        "a\u3164",
		"half a letter that is not seen":   "\u115f",
		"a mark in front":                  "\u0301a",
		"a mark behind a digit":            "1\u0301",
		"a mark behind a dot":              "a.\u0301",
		"more marks than anyone stacks":    "a" + strings.Repeat("\u0301", 40),
		"a number that is no digit":        "½",
		"invalid UTF-8":                    "a\xff",
		"129 characters":                   strings.Repeat("a", 129),
		"129 characters of another script": strings.Repeat("ж", 129),
		"1 KB":                             strings.Repeat("a", 1024),
		"10 MB":                            strings.Repeat("é", 5<<20),
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parley.ParseRoom(room)
			wantBadRequest(t, got, err)
		})
	}
}

// wantBadRequest also holds the sentence to what may be shown: short, valid, on one line.
func wantBadRequest(t *testing.T, got string, err error) {
	t.Helper()
	var e *parley.Error
	if !errors.As(err, &e) || e.Code != parley.BadRequest || got != "" {
		t.Fatalf("got %q, %v; want bad_request", got, err)
	}
	if len(e.Message) > 1000 || !utf8.ValidString(e.Message) || strings.ContainsAny(e.Message, "\n\x00\u202e") {
		t.Errorf("this is no sentence for people: %q", e.Message)
	}
}

func TestRoomsDifferByCase(t *testing.T) {
	a, errA := parley.ParseRoom("a")
	b, errB := parley.ParseRoom("A")
	if errA != nil || errB != nil || a == b {
		t.Errorf("%q, %v and %q, %v", a, errA, b, errB)
	}
}

func TestNames(t *testing.T) {
	for given, want := range map[string]string{
		"ada":                   "ada",
		"Ada L.":                "Ada L.",
		"Zoe\u0308":             "Zoë",
		"😀":                     "😀",
		"❤\ufe0f":               "❤\ufe0f",
		"👩\u200d🚀":              "👩\u200d🚀",
		"نام\u200cها":           "نام\u200cها",
		"<img onerror>":         "<img onerror>",
		strings.Repeat("a", 64): strings.Repeat("a", 64),
		strings.Repeat("漢", 64): strings.Repeat("漢", 64),
		"guest-7f3k":            "guest-7f3k",
	} {
		got, err := parley.ParseName(given)
		if err != nil || got != want {
			t.Errorf("%q is %q, %v; want %q", given, got, err, want)
		}
	}
	for name, given := range map[string]string{
		"empty":                     "",
		"spaces":                    "  ",
		"a space of another width":  "\u00a0\u3000",
		"joiners":                   "\u200d\u200c",
		"65 characters":             strings.Repeat("a", 65),
		"10 MB":                     strings.Repeat("a", 10<<20),
		"a line end":                "a\nb",
		"NUL":                       "a\x00",
		"an escape sequence":        "\x1b[2J",
		"DEL":                       "a\x7f",
		"C1 control":                "a\u009b",
		"bidi override":             "a\u202eb",
		"bidi isolate":              "a\u2066b",
		"bidi mark":                 "a\u200f",
		"a zero-width space":        "a\u200b",
		"a letter that is not seen": "a\u3164",
		"a line separator":          "a\u2028b",
		"private use":               "\ue000",
		"the replacement character": "a\ufffd",
		"invalid UTF-8":             "a\xff",
	} {
		t.Run(name, func(t *testing.T) {
			got, err := parley.ParseName(given)
			wantBadRequest(t, got, err)
		})
	}
}

func TestIDs(t *testing.T) {
	for _, id := range []string{"a", " ", "~", strings.Repeat("i", 128)} {
		if err := parley.CheckID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{"", "a\n", "\x7f", "é", strings.Repeat("i", 129)} {
		wantBadRequest(t, "", parley.CheckID(id))
	}
}

// A name that was taken is its own normal form, within the bounds, for ever.
func FuzzParseRoom(f *testing.F) {
	for _, s := range []string{"lobby", "ops.deploys", "_INBOX.x", "gro\u0308ße", "a..b", "*", ">", "a\u3164", "\u1112\u1161\u11ab", "\xff", "कमरा"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		room, err := parley.ParseRoom(s)
		if err != nil {
			wantBadRequest(t, room, err)
			return
		}
		again, err := parley.ParseRoom(room)
		if err != nil || again != room {
			t.Fatalf("%q is %q, and that is %q, %v", s, room, again, err)
		}
		if n := utf8.RuneCountInString(room); n < 1 || n > parley.MaxRoomName || !norm.NFC.IsNormalString(room) {
			t.Fatalf("%q has %d characters, or is not in NFC", room, n)
		}
		if strings.ContainsAny(room, " *>/:$\x00\r\n\t") || strings.Contains(room, "..") || strings.HasPrefix(room, ".") || strings.HasSuffix(room, ".") {
			t.Fatalf("%q is no room name", room)
		}
	})
}
