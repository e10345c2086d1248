package engine

import (
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"parley"
)

// Headers that the store adds to live copies and to answers. It appends its own behind those a
// publisher may have sent, so only the last value of each is the store's word.
const (
	hdrSeq     = "Nats-Sequence"
	hdrPrev    = "Nats-Last-Sequence" // of a live copy: seq of the message before it in the room
	hdrTime    = "Nats-Time-Stamp"
	hdrSubject = "Nats-Subject"
	hdrPending = "Nats-Num-Pending"
	hdrStatus  = "Status"
	hdrID      = "Nats-Msg-Id"
)

func lastHeader(h nats.Header, key string) string {
	if v := h[key]; len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

// headerNumber gives 0 for a header that is missing or no number; no seq is 0.
func headerNumber(h nats.Header, key string) uint64 {
	n, err := strconv.ParseUint(lastHeader(h, key), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// decode makes the message of what the store sent, a live copy or an answer. Prev is left to the
// caller: only a live copy's header states it.
func decode(m *nats.Msg, room string) (*parley.Message, error) {
	msg := &parley.Message{Room: room, Seq: headerNumber(m.Header, hdrSeq)}
	if msg.Seq == 0 {
		return nil, fmt.Errorf("message of room %q without a seq", room)
	}
	at, err := time.Parse(time.RFC3339Nano, lastHeader(m.Header, hdrTime))
	if err != nil {
		return nil, fmt.Errorf("message %d of room %q: %w", msg.Seq, room, err)
	}
	msg.At = at.UTC().Truncate(time.Millisecond)
	if err := decodeRecord(m.Data, msg); err != nil {
		return nil, fmt.Errorf("message %d of room %q: %w", msg.Seq, room, err)
	}
	return msg, nil
}
