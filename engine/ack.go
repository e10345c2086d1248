package engine

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// storeAck is the store's answer to a publish.
type storeAck struct {
	seq       uint64
	duplicate bool
}

// parseAck reads the store's answer. The two forms it has for success are read by hand; everything
// else, errors among it, is left to encoding/json.
func parseAck(b []byte) (storeAck, error) {
	if ack, ok := parsePlainAck(b); ok {
		return ack, nil
	}
	var full struct {
		Seq       uint64 `json:"seq"`
		Duplicate bool   `json:"duplicate"`
		Error     *struct {
			Code        int    `json:"err_code"`
			Description string `json:"description"`
		} `json:"error"`
	}
	if err := json.Unmarshal(b, &full); err != nil {
		return storeAck{}, fmt.Errorf("answer of the store: %w", err)
	}
	if full.Error != nil {
		return storeAck{}, fmt.Errorf("the store refused: %s (%d)", full.Error.Description, full.Error.Code)
	}
	if full.Seq == 0 {
		return storeAck{}, errors.New("answer of the store without a seq")
	}
	return storeAck{full.Seq, full.Duplicate}, nil
}

var (
	ackStream    = []byte(`{"stream":"`)
	ackSeq       = []byte(`"seq":`)
	ackDuplicate = []byte(`,"duplicate": true}`)
)

func parsePlainAck(b []byte) (ack storeAck, ok bool) {
	if !bytes.HasPrefix(b, ackStream) {
		return ack, false
	}
	i := bytes.Index(b, ackSeq)
	if i < 0 {
		return ack, false
	}
	i += len(ackSeq)
	start := i
	for ; i < len(b) && '0' <= b[i] && b[i] <= '9'; i++ {
		ack.seq = ack.seq*10 + uint64(b[i]-'0')
	}
	if i == start || i-start > 19 || ack.seq == 0 {
		return ack, false
	}
	rest := b[i:]
	ack.duplicate = bytes.Equal(rest, ackDuplicate)
	return ack, ack.duplicate || (len(rest) == 1 && rest[0] == '}')
}
