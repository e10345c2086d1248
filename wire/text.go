package wire

import (
	"bytes"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"parley"
)

// The text encodings: plain lines, for people with nc or telnet and for programs that know no
// protocol. Answers begin with "* "; a message is its body alone, or "name: body".
type (
	// TextBare shows bodies as they were sent: what a plain client sees until it gives a name.
	TextBare struct{ textAnswers }
	// TextNamed shows who said it, and nothing that could disturb a terminal: a person is reading.
	TextNamed struct{ textAnswers }
)

// Message appends the body, byte for byte but for line ends inside it.
func (TextBare) Message(dst []byte, m *parley.Message) []byte {
	body := m.Body
	for {
		i := bytes.IndexByte(body, '\n')
		if i < 0 {
			dst = append(dst, body...)
			return append(dst, '\n')
		}
		dst = append(dst, body[:i]...)
		dst = append(dst, `\n`...)
		body = body[i+1:]
	}
}

// Message appends "name: body" with hidden characters escaped. A name that begins with an
// asterisk gets a backslash before it, so that only the server's own lines begin with "* ".
func (TextNamed) Message(dst []byte, m *parley.Message) []byte {
	if strings.HasPrefix(m.From, "*") {
		dst = append(dst, '\\')
	}
	dst = appendVisible(dst, m.From)
	dst = append(dst, ": "...)
	dst = appendVisible(dst, m.Body)
	return append(dst, '\n')
}

// textAnswers are the answers of both text encodings.
type textAnswers struct{}

func (textAnswers) Gap(dst []byte, room string, after, next uint64) []byte {
	dst = append(dst, "* gap: messages of "...)
	dst = append(dst, room...)
	dst = append(dst, " after "...)
	dst = strconv.AppendUint(dst, after, 10)
	dst = append(dst, " are gone; going on at "...)
	dst = strconv.AppendUint(dst, next, 10)
	return append(dst, '\n')
}

func (textAnswers) Welcome(dst, _ []byte, w Welcome) []byte {
	return answer(dst, "you are ", w.User)
}

func (textAnswers) Joined(dst, _ []byte, room string, _ uint64) []byte {
	return answer(dst, "joined ", room)
}

func (a textAnswers) JoinedMembers(dst, ref []byte, room string, seq uint64, _ []string, _ int) []byte {
	return a.Joined(dst, ref, room, seq)
}

// Who comes and goes, and signals, are for programs: plain lines show messages alone.
func (textAnswers) Presence(dst []byte, _ string, _ Presence) []byte { return dst }

func (textAnswers) Signal(dst []byte, _, _ string, _ []byte) []byte { return dst }

func (textAnswers) Status(dst []byte, s Status) []byte {
	if s.Available {
		return answer(dst, "available: ", s.Message)
	}
	return answer(dst, string(parley.Unavailable)+": ", s.Message)
}

func (textAnswers) Left(dst, _ []byte, _ string) []byte { return dst }

func (textAnswers) Ack(dst, _ []byte, _ string, _ parley.Receipt) []byte { return dst }

// Page appends each message with its seq, by which /since can go on.
func (textAnswers) Page(dst, _ []byte, room string, p parley.Page) []byte {
	for _, m := range p.Messages {
		dst = append(dst, "* "...)
		dst = strconv.AppendUint(dst, m.Seq, 10)
		dst = append(dst, ' ')
		dst = TextNamed{}.Message(dst, m)
	}
	dst = append(dst, "* "...)
	dst = appendMessages(dst, uint64(len(p.Messages)))
	dst = append(dst, " of "...)
	dst = append(dst, room...)
	if p.More {
		dst = append(dst, ", and there are more"...)
	}
	return append(dst, '\n')
}

func (textAnswers) Members(dst, _ []byte, room string, users []string, count int) []byte {
	dst = append(dst, "* "...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	dst = append(dst, " in "...)
	dst = append(dst, room...)
	for i, u := range users {
		dst = append(dst, [...]string{": ", ", "}[min(i, 1)]...)
		dst = appendVisible(dst, u)
	}
	if more := count - len(users); more > 0 {
		dst = append(dst, " and "...)
		dst = strconv.AppendInt(dst, int64(more), 10)
		dst = append(dst, " more"...)
	}
	return append(dst, '\n')
}

func (textAnswers) Rooms(dst, _ []byte, rooms []RoomEntry, more bool) []byte {
	for _, r := range rooms {
		dst = append(dst, "* "...)
		dst = append(dst, r.Room...)
		dst = append(dst, ": "...)
		dst = strconv.AppendInt(dst, int64(r.Members), 10)
		dst = append(dst, " here, "...)
		dst = appendMessages(dst, r.Messages)
		dst = append(dst, '\n')
	}
	if more {
		return answer(dst, "and there are more rooms", "")
	}
	return answer(dst, "that is all", "")
}

func (textAnswers) Pong(dst, _ []byte) []byte { return answer(dst, "pong", "") }

func (textAnswers) Revoked(dst, _ []byte) []byte { return answer(dst, "revoked", "") }

func (textAnswers) Draining(dst, _ []byte) []byte { return answer(dst, "draining", "") }

func (textAnswers) Error(dst, _ []byte, e *parley.Error) []byte {
	return answer(dst, string(e.Code)+": ", e.Message)
}

// Answer appends a line of the server's own on the text encodings.
func (textAnswers) Answer(dst []byte, text string) []byte { return answer(dst, "", text) }

func answer(dst []byte, what, text string) []byte {
	dst = append(dst, "* "...)
	dst = append(dst, what...)
	dst = appendVisible(dst, text)
	return append(dst, '\n')
}

// Plain lines have no operations of workers, nor questions, and so no answers to them.

func (textAnswers) Job(dst []byte, _ *parley.Job) []byte                    { return dst }
func (textAnswers) Taking(dst, _ []byte, _, _ string) []byte                { return dst }
func (textAnswers) Stopped(dst, _ []byte, _, _ string) []byte               { return dst }
func (textAnswers) Busy(dst, _ []byte, _, _ string, _ time.Duration) []byte { return dst }

func (textAnswers) Serving(dst, _ []byte, _ string) []byte                     { return dst }
func (textAnswers) Question(dst []byte, _ *parley.Question) []byte             { return dst }
func (textAnswers) OneAnswer(dst, _ []byte, _ string, _ *parley.Answer) []byte { return dst }
func (textAnswers) Answered(dst, _ []byte, _ string, _ int) []byte             { return dst }

func appendMessages(dst []byte, n uint64) []byte {
	dst = strconv.AppendUint(dst, n, 10)
	if n == 1 {
		return append(dst, " message"...)
	}
	return append(dst, " messages"...)
}

// appendVisible appends s with what a terminal would act on, or a reader would not see, escaped
// as in a Go string: \n, \x1b, \u202e. A backslash stays as it is, since a person is reading.
func appendVisible[S string | []byte](dst []byte, s S) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		if c >= 0x20 && c < 0x7f {
			dst = append(dst, c)
			i++
			continue
		}
		if c < utf8.RuneSelf {
			dst = appendEscaped(dst, rune(c))
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
		case unicode.In(r, unicode.Cc, unicode.Bidi_Control, unicode.Zl, unicode.Zp):
			dst = appendEscaped(dst, r)
		default:
			dst = append(dst, s[i:i+size]...)
		}
		i += size
	}
	return dst
}

func appendEscaped(dst []byte, r rune) []byte {
	quoted := strconv.QuoteRuneToASCII(r)
	return append(dst, quoted[1:len(quoted)-1]...)
}

// ParseLine reads a plain client's line that begins with one slash: a command. Help and Quit
// are operations of plain lines alone; Members and History bear no room: the client's own is meant.
func ParseLine(line string) (Op, error) {
	name, rest := strings.TrimSpace(line), ""
	if i := strings.IndexAny(name, " \t"); i >= 0 {
		name, rest = name[:i], strings.TrimSpace(name[i:])
	}
	parse, ok := commands[name]
	if !ok {
		return Op{}, parley.Errorf(parley.BadRequest, "no command %s; /help lists them, and a line that begins with // is sent with one slash", clip(name))
	}
	return parse(rest)
}

// Operations of plain lines.
const (
	Help Kind = "help"
	Quit Kind = "quit"
)

var commands = map[string]func(rest string) (Op, error){
	"/help": func(string) (Op, error) { return Op{Kind: Help}, nil },
	"/quit": func(string) (Op, error) { return Op{Kind: Quit}, nil },
	"/who":  func(string) (Op, error) { return Op{Kind: Members}, nil },
	"/join": func(rest string) (Op, error) {
		if parley.IsPattern(rest) {
			p, err := parley.ParsePattern(rest)
			return Op{Kind: Join, Room: p.String()}, err
		}
		room, err := parley.ParseRoom(rest)
		return Op{Kind: Join, Room: room}, err
	},
	"/auth": func(rest string) (Op, error) {
		if rest == "" {
			return Op{}, parley.Errorf(parley.BadRequest, "/auth TOKEN: there is no token")
		}
		return Op{Kind: Hello, Token: rest}, nil
	},
	"/nick": func(rest string) (Op, error) {
		name, err := parley.ParseName(rest)
		return Op{Kind: Hello, Name: name}, err
	},
	"/history": func(rest string) (Op, error) {
		op := Op{Kind: History, Limit: 20}
		if rest == "" {
			return op, nil
		}
		n, err := strconv.Atoi(rest)
		if err != nil || n < 1 || n > parley.MaxPage {
			return op, parley.Errorf(parley.BadRequest, "/history N: N is from 1 to %d", parley.MaxPage)
		}
		op.Limit = n
		return op, nil
	},
	"/since": func(rest string) (Op, error) {
		op := Op{Kind: History, Limit: parley.MaxPage}
		after, err := strconv.ParseUint(rest, 10, 63)
		if err != nil {
			return op, parley.Errorf(parley.BadRequest, "/since SEQ: SEQ is a whole number, 0 or more")
		}
		op.After = &after
		return op, nil
	},
}

// HelpText lists the commands of plain lines.
var HelpText = []string{
	"a line you type goes to everyone in your room; a line that begins with / is a command:",
	"/join ROOM    go to another room        /who          who is here",
	"/nick NAME    give yourself a name      /history [N]  the newest N messages (20)",
	"/auth TOKEN   prove who you are         /since SEQ    the messages after SEQ",
	"/quit         goodbye                   //text        a line that begins with one slash",
}
