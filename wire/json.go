package wire

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"parley"
)

// JSONLines is the json encoding: one JSON object per line, as on TCP.
type JSONLines struct{}

// Message appends a message frame.
func (JSONLines) Message(dst []byte, m *parley.Message) []byte {
	dst = append(dst, `{"op":"message",`...)
	dst = appendMessage(dst, m)
	return append(dst, '}', '\n')
}

// appendMessage appends a message's fields, as they stand in message frames and in pages.
func appendMessage(dst []byte, m *parley.Message) []byte {
	dst = append(dst, `"room":`...)
	dst = appendString(dst, m.Room)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, m.Seq, 10)
	dst = append(dst, `,"prev":`...)
	dst = strconv.AppendUint(dst, m.Prev, 10)
	dst = append(dst, `,"id":`...)
	dst = appendString(dst, m.ID)
	dst = append(dst, `,"from":`...)
	dst = appendString(dst, m.From)
	dst = append(dst, `,"at":"`...)
	dst = appendTime(dst, m.At)
	dst = append(dst, `","type":"`...)
	dst = append(dst, m.Type.String()...)
	dst = append(dst, `","body":`...)
	return appendBody(dst, m.Type, m.Body)
}

func appendBody(dst []byte, t parley.Type, body []byte) []byte {
	switch t {
	case parley.JSON:
		return append(dst, body...)
	case parley.Binary:
		dst = append(dst, '"')
		dst = base64.StdEncoding.AppendEncode(dst, body)
		return append(dst, '"')
	default:
		return appendText(dst, body)
	}
}

// Gap appends a gap frame: messages between after and next were, or may have been, removed.
func (JSONLines) Gap(dst []byte, room string, after, next uint64) []byte {
	dst = append(dst, `{"op":"gap","room":`...)
	dst = appendString(dst, room)
	dst = append(dst, `,"after":`...)
	dst = strconv.AppendUint(dst, after, 10)
	dst = append(dst, `,"next":`...)
	dst = strconv.AppendUint(dst, next, 10)
	return append(dst, '}', '\n')
}

// Welcome appends the answer to a hello.
func (JSONLines) Welcome(dst, ref []byte, w Welcome) []byte {
	dst = open(dst, "welcome", ref)
	dst = append(dst, `,"user":`...)
	dst = appendString(dst, w.User)
	dst = append(dst, `,"session":"`...)
	dst = append(dst, w.Session.String()...)
	dst = append(dst, `","limits":{"message":`...)
	dst = strconv.AppendInt(dst, int64(w.Limits.Message), 10)
	dst = append(dst, `,"frame":`...)
	dst = strconv.AppendInt(dst, int64(w.Limits.Frame), 10)
	dst = append(dst, `,"inflight":`...)
	dst = strconv.AppendInt(dst, int64(w.Limits.Inflight), 10)
	dst = append(dst, `,"rooms":`...)
	dst = strconv.AppendInt(dst, int64(w.Limits.Rooms), 10)
	dst = append(dst, `,"dedupe_ms":`...)
	dst = strconv.AppendInt(dst, w.Limits.Dedupe.Milliseconds(), 10)
	dst = appendServers(append(dst, '}'), w.Servers)
	return append(dst, '}', '\n')
}

// appendServers appends the field of where else a client may come, if there is anywhere.
func appendServers(dst []byte, servers []string) []byte {
	for i, server := range servers {
		if i == 0 {
			dst = append(dst, `,"servers":[`...)
		} else {
			dst = append(dst, ',')
		}
		dst = appendString(dst, server)
	}
	if len(servers) > 0 {
		dst = append(dst, ']')
	}
	return dst
}

// Joined appends the answer to a join.
func (JSONLines) Joined(dst, ref []byte, room string, seq uint64) []byte {
	return appendRoomSeq(open(dst, "joined", ref), room, seq)
}

// JoinedMembers appends the answer to a join that asks for presence: some users may be left out,
// and where none is named the list is.
func (JSONLines) JoinedMembers(dst, ref []byte, room string, seq uint64, users []string, count int) []byte {
	dst = appendRoomSeq(open(dst, "joined", ref), room, seq)
	dst = dst[:len(dst)-2] // goes on
	if len(users) > 0 {
		dst = appendUsers(append(dst, `,"members":`...), users)
	}
	return appendCount(dst, count)
}

// Left appends the answer to a leave.
func (JSONLines) Left(dst, ref []byte, room string) []byte {
	dst = open(dst, "left", ref)
	dst = append(dst, `,"room":`...)
	dst = appendString(dst, room)
	return append(dst, '}', '\n')
}

// Ack appends the answer to a send that is durable.
func (JSONLines) Ack(dst, ref []byte, room string, r parley.Receipt) []byte {
	dst = appendRoomSeq(open(dst, "ack", ref), room, r.Seq)
	if r.Duplicate {
		dst = append(dst[:len(dst)-2], `,"duplicate":true}`...)
		dst = append(dst, '\n')
	}
	return dst
}

// Page appends the answer to a history.
func (JSONLines) Page(dst, ref []byte, room string, p parley.Page) []byte {
	dst = open(dst, "page", ref)
	dst = append(dst, `,"room":`...)
	dst = appendString(dst, room)
	dst = append(dst, `,"messages":[`...)
	for i, m := range p.Messages {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, '{')
		dst = appendMessage(dst, m)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"more":`...)
	dst = strconv.AppendBool(dst, p.More)
	return append(dst, '}', '\n')
}

// Members appends who is in a room: some of them by name, and how many they are.
func (JSONLines) Members(dst, ref []byte, room string, users []string, count int) []byte {
	dst = open(dst, "members", ref)
	dst = append(dst, `,"room":`...)
	dst = appendString(dst, room)
	dst = appendUsers(append(dst, `,"members":`...), users)
	return appendCount(dst, count)
}

// Presence appends who came to a room and who went, or all who are there, or how many.
func (JSONLines) Presence(dst []byte, room string, p Presence) []byte {
	dst = append(dst, `{"op":"presence","room":`...)
	dst = appendString(dst, room)
	switch {
	case p.Members != nil:
		dst = appendUsers(append(dst, `,"members":`...), p.Members)
	case len(p.Joined)+len(p.Left) > 0:
		dst = appendUsers(append(dst, `,"joined":`...), p.Joined)
		dst = appendUsers(append(dst, `,"left":`...), p.Left)
	}
	return appendCount(dst, p.Count)
}

// Signal appends a signal; body is compact JSON.
func (JSONLines) Signal(dst []byte, room, from string, body []byte) []byte {
	dst = append(dst, `{"op":"signal","room":`...)
	dst = appendString(dst, room)
	dst = append(dst, `,"from":`...)
	dst = appendString(dst, from)
	dst = append(dst, `,"body":`...)
	dst = append(dst, body...)
	return append(dst, '}', '\n')
}

// Status appends whether the server can store messages now.
func (JSONLines) Status(dst []byte, s Status) []byte {
	dst = append(dst, `{"op":"status","available":`...)
	dst = strconv.AppendBool(dst, s.Available)
	dst = append(dst, `,"message":`...)
	dst = appendString(dst, s.Message)
	return append(dst, '}', '\n')
}

// appendUsers appends a list of users.
func appendUsers(dst []byte, users []string) []byte {
	dst = append(dst, '[')
	for i, u := range users {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"user":`...)
		dst = appendString(dst, u)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendCount ends a frame with how many users there are.
func appendCount(dst []byte, count int) []byte {
	dst = append(dst, `,"count":`...)
	dst = strconv.AppendInt(dst, int64(count), 10)
	return append(dst, '}', '\n')
}

// Rooms appends a list of rooms, by name.
func (JSONLines) Rooms(dst, ref []byte, rooms []RoomEntry, more bool) []byte {
	dst = open(dst, "rooms", ref)
	dst = append(dst, `,"rooms":[`...)
	for i, r := range rooms {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"room":`...)
		dst = appendString(dst, r.Room)
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, r.Seq, 10)
		dst = append(dst, `,"messages":`...)
		dst = strconv.AppendUint(dst, r.Messages, 10)
		dst = append(dst, `,"members":`...)
		dst = strconv.AppendInt(dst, int64(r.Members), 10)
		dst = append(dst, '}')
	}
	dst = append(dst, `],"more":`...)
	dst = strconv.AppendBool(dst, more)
	return append(dst, '}', '\n')
}

// Pong appends the answer to a ping.
func (JSONLines) Pong(dst, ref []byte) []byte {
	return append(open(dst, "pong", ref), '}', '\n')
}

// Revoked appends the answer to a revoke.
func (JSONLines) Revoked(dst, ref []byte) []byte {
	return append(open(dst, "revoked", ref), '}', '\n')
}

// Draining appends the answer to a drain.
func (JSONLines) Draining(dst, ref []byte) []byte {
	return append(open(dst, "draining", ref), '}', '\n')
}

// Error appends an error frame.
func (JSONLines) Error(dst, ref []byte, e *parley.Error) []byte {
	dst = open(dst, "error", ref)
	dst = append(dst, `,"code":"`...)
	dst = append(dst, e.Code...)
	dst = append(dst, `","message":`...)
	dst = appendString(dst, e.Message)
	if e.Retry > 0 {
		dst = append(dst, `,"retry_ms":`...)
		dst = strconv.AppendInt(dst, max(1, e.Retry.Milliseconds()), 10)
	}
	dst = appendServers(dst, e.Servers)
	return append(dst, '}', '\n')
}

// open begins a frame: its op and, where there is one, its ref.
func open(dst []byte, op string, ref []byte) []byte {
	dst = append(dst, `{"op":"`...)
	dst = append(dst, op...)
	dst = append(dst, '"')
	if ref != nil {
		dst = append(dst, `,"ref":`...)
		dst = append(dst, ref...)
	}
	return dst
}

// appendRoomSeq ends a frame with a room and a seq.
func appendRoomSeq(dst []byte, room string, seq uint64) []byte {
	dst = append(dst, `,"room":`...)
	dst = appendString(dst, room)
	dst = append(dst, `,"seq":`...)
	dst = strconv.AppendUint(dst, seq, 10)
	return append(dst, '}', '\n')
}

// appendTime appends a time as UTC RFC 3339 with milliseconds. It is on the path of every message,
// and by hand takes a third of what a layout takes.
func appendTime(dst []byte, t time.Time) []byte {
	t = t.UTC()
	year, month, day := t.Date()
	if year < 0 || year > 9999 {
		return t.AppendFormat(dst, "2006-01-02T15:04:05.000Z")
	}
	hour, minute, second := t.Clock()
	ms := t.Nanosecond() / int(time.Millisecond)
	dst = appendPair(dst, year/100)
	dst = appendPair(dst, year%100)
	dst = appendPair(append(dst, '-'), int(month))
	dst = appendPair(append(dst, '-'), day)
	dst = appendPair(append(dst, 'T'), hour)
	dst = appendPair(append(dst, ':'), minute)
	dst = appendPair(append(dst, ':'), second)
	dst = append(dst, '.', byte('0'+ms/100))
	return append(appendPair(dst, ms%100), 'Z')
}

// appendPair appends a number below 100 as two digits.
func appendPair(dst []byte, n int) []byte {
	return append(dst, byte('0'+n/10), byte('0'+n%10))
}

// appendString appends a JSON string (RFC 8259, section 7). Only what must be escaped is;
// invalid UTF-8, which no checked string has, becomes U+FFFD.
func appendString(dst []byte, s string) []byte {
	if !utf8.ValidString(s) {
		s = strings.ToValidUTF8(s, "\ufffd")
	}
	return appendQuoted(dst, s)
}

// appendText is appendString for bytes.
func appendText(dst, s []byte) []byte {
	if !utf8.Valid(s) {
		s = bytes.ToValidUTF8(s, []byte("\ufffd"))
	}
	return appendQuoted(dst, s)
}

const hexDigits = "0123456789abcdef"

func appendQuoted[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	start := 0
	for i := range len(s) {
		c := s[i]
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[start:i]...)
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
		start = i + 1
	}
	dst = append(dst, s[start:]...)
	return append(dst, '"')
}
