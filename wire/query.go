package wire

import (
	"net/url"
	"regexp"

	"parley"
)

// inQuery are the fields of each operation that a URL can bear. Others are ignored, as in a frame.
var inQuery = map[Kind][]string{
	Send:      {"key", "priority", "ttl", "due", "delay"},
	Join:      {"after", "last", "since", "presence", "cursor", "reader"},
	History:   {"after", "before", "limit"},
	Members:   nil,
	ListRooms: {"after_room", "limit"},
	Take:      {"group", "prefetch", "parallel", "deadline", "tries", "after", "last", "since"},
	Done:      {"job", "seq", "reader"},
	Retry:     {"job", "letter", "delay", "reason"},
	Release:   {"job"},
	Fail:      {"job", "reason"},
	Busy:      {"job", "deadline"},
	Ask:       {"most", "timeout"},

	ListGroups:  nil,
	ListReaders: {"after_reader", "limit"},
	Remove:      {"group", "reader"},
	ListHooks:   nil,
}

// What stands in a frame as it is; anything else is a string there.
var (
	wholeNumber = regexp.MustCompile(`^(0|[1-9][0-9]{0,18})$`)
	boolean     = regexp.MustCompile(`^(true|false)$`)
)

// literal says whether a field's value stands in the frame as it is.
func literal(key, value string) bool {
	switch key {
	case "since", "after_room", "cursor", "group", "job", "reason", "delay", "deadline", "timeout",
		"key", "ttl", "due", "reader", "after_reader":
		return false
	case "presence":
		return boolean.MatchString(value)
	}
	return wholeNumber.MatchString(value)
}

// ParseQuery reads an operation from a URL: what a path says of the room, and a query of the rest.
// It makes the operation's frame and reads that, so that nothing is checked in two ways.
func ParseQuery(kind Kind, room string, query url.Values) (Op, error) {
	frame := open(nil, string(kind), nil)
	if kind != ListRooms && kind != ListHooks {
		frame = append(frame, `,"room":`...)
		frame = appendString(frame, room)
	}
	if kind == Ask || kind == Send {
		frame = append(frame, `,"body":"?"`...) // the request's own takes its place
	}
	for _, key := range inQuery[kind] {
		values := query[key]
		switch {
		case len(values) == 0:
			continue
		case len(values) > 1:
			return Op{}, parley.Errorf(parley.BadRequest, "%q stands twice", key)
		}
		frame = append(frame, `,"`+key+`":`...)
		if literal(key, values[0]) {
			frame = append(frame, values[0]...)
		} else {
			frame = appendString(frame, values[0])
		}
	}
	return ParseOp(append(frame, '}'))
}
