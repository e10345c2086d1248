package hooks

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"parley"
)

// maxLetterBody is how large a body may be for a dead letter to hold it. A larger one is in its room
// alone.
const maxLetterBody = 512 << 10

// letter is the body of a message that tells of one that was not taken.
type letter struct {
	Hook   string          `json:"hook"`
	Room   string          `json:"room"`
	Seq    uint64          `json:"seq"`
	ID     string          `json:"id"`
	From   string          `json:"from"`
	At     time.Time       `json:"at"`
	Tries  int             `json:"tries"`
	Reason string          `json:"reason"`
	Type   string          `json:"type"`
	Body   json.RawMessage `json:"body,omitempty"`
}

// bury stores a dead letter. Its id depends on the message alone, so that one stored again after a crash
// is there once.
func (h *hook) bury(ctx context.Context, t *target, l *lane, m *parley.Message) error {
	body, err := bodyOf(m)
	if err != nil {
		return err
	}
	data, err := json.Marshal(letter{
		Hook: h.name, Room: m.Room, Seq: m.Seq, ID: m.ID, From: m.From, At: m.At,
		Tries: l.tries, Reason: strings.ToValidUTF8(l.doomed, "\ufffd"), Type: m.Type.String(), Body: body,
	})
	if err != nil {
		return err
	}
	id := sha256.Sum256([]byte(h.name + "\x00" + m.Room + "\x00" + strconv.FormatUint(m.Seq, 10)))
	done := make(chan error, 1)
	err = h.sender.Log.Append(ctx, parley.Draft{
		Room: t.Dead, ID: hex.EncodeToString(id[:16]), From: parley.Server, Type: parley.JSON, Body: data, Retry: true,
	}, func(_ parley.Receipt, err error) { done <- err })
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bodyOf writes a body as frames have it.
func bodyOf(m *parley.Message) (json.RawMessage, error) {
	switch {
	case len(m.Body) > maxLetterBody:
		return nil, nil
	case m.Type == parley.JSON:
		return m.Body, nil
	case m.Type == parley.Binary:
		return json.Marshal(m.Body)
	}
	return json.Marshal(string(m.Body))
}
