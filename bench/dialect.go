package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
)

// dialect is how a load speaks to one kind of server. The functions that take a connection set it
// up, and have read all that the server answers to that when they return.
type dialect struct {
	lines  int  // line ends in a message as a receiver gets it
	acked  bool // senders get an answer to each message
	finish bool // the server holds some messages back until its senders have finished

	receive func(c net.Conn, room string) error                  // makes a receiver of a room
	sender  func(c net.Conn, session int) error                  // makes a sender
	frame   func(session int, room string, body []byte) template // a send of that session

	// stamp reads the send time in a line that a receiver got; false for a line that is no body.
	stamp func(line []byte) (int64, bool)

	// ack reads in a line that a sender got the ref of the send it answers; false for a line
	// that goes with such a one.
	ack func(line []byte) (ref int64, ok bool, err error)
}

// template is a send with marks that are written anew in place for each message.
type template struct {
	frame []byte
	body  span // the stamp at its begin
	room  span // the room's number
	ref   span // none: the frame bears no ref
	id    span // none: the frame bears no id
}

// span is a place in a frame; the zero span is none.
type span struct{ from, to int }

func (s span) none() bool             { return s.to == 0 }
func (s span) of(frame []byte) []byte { return frame[s.from:s.to] }

// The lengths of marks.
const (
	roomDigits = 5
	refDigits  = 3
	idDigits   = 12

	firstRef = 100 // a JSON number has no leading zeros
	maxRefs  = 1000 - firstRef
)

var stampMark = strings.Repeat("0", stampDigits)

// makeTemplate finds in a frame the digits that room, ref and id end in, and the stamp. An empty
// one is none.
func makeTemplate(frame, room, ref, id string) template {
	find := func(text string, size int) span {
		i := strings.LastIndex(frame, text)
		if text == "" || i < 0 {
			return span{}
		}
		end := i + len(text)
		return span{end - size, end}
	}
	return template{
		frame: []byte(frame),
		body:  find(stampMark, stampDigits),
		room:  find(room, roomDigits),
		ref:   find(ref, refDigits),
		id:    find(id, idDigits),
	}
}

// filler makes a body of size bytes that begins with a stamp.
func filler(size int) ([]byte, error) {
	if size < stampDigits {
		return nil, fmt.Errorf("a body of %d bytes has no room for a time: at least %d", size, stampDigits)
	}
	const letters = "abcdefghijklmnopqrstuvwxyz "
	body := make([]byte, size)
	for i := range body {
		body[i] = letters[i%len(letters)]
	}
	copy(body, stampMark)
	return body, nil
}

// prose makes of a filler a body as applications send them, records in JSON, written as it stands
// in a JSON string. It is as long once it is read.
func prose(body []byte) []byte {
	fill := []byte(string(body[:stampDigits]) + " [")
	for len(fill) < len(body) {
		n := rand.Uint32()
		fill = fmt.Appendf(fill, `{"id":%d,"user":"u%x","kind":"%s","x":%d.%02d,"done":%t},`,
			n, n>>7, []string{"order", "refund", "visit", "message"}[n%4], n%1009, n>>9%100, n%3 == 0)
	}
	return bytes.ReplaceAll(fill[:len(body)], []byte(`"`), []byte(`\"`))
}

// runName names what belongs to one run of a load, so that runs do not meet in a server that
// lives on.
func runName() string { return fmt.Sprintf("bench-%08x", rand.Uint32()) }

// roomName names a run's n'th room, in letters that are good on every peer.
func roomName(run string, n int) string { return fmt.Sprintf("%s-%0*d", run, roomDigits, n) }

func digitsFirst(line []byte) (int64, bool) { return digits(line[:min(len(line), stampDigits)]) }
