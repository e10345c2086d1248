package history

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// Event is one line of a history: what a client or the test has done, and what came of it. A
// publish, sub or final is invoked and then ok, fail or info; the others only happen. A retry is
// another publish of the same msg.
type Event struct {
	T    int64  `json:"t"`    // ns since the history began
	Type string `json:"type"` // invoke, ok, fail, info
	Op   string `json:"op"`   // publish, sub, recv, gap, close, final, members, fault, trouble

	ID       string  `json:"id,omitempty"` // pairs an invoke with what came of it
	Client   string  `json:"client,omitempty"`
	Sess     string  `json:"sess,omitempty"`
	Room     string  `json:"room,omitempty"`
	Msg      string  `json:"msg,omitempty"`
	Seq      uint64  `json:"seq,omitempty"`
	Prev     *uint64 `json:"prev,omitempty"`
	Hash     string  `json:"hash,omitempty"` // of the body
	Dup      bool    `json:"dup,omitempty"`  // of an ack: the message was stored before
	From     *uint64 `json:"from,omitempty"` // sub: the position it begins behind; nil = wherever the room is
	CaughtUp *bool   `json:"caught_up,omitempty"`
	Items    []Item  `json:"items,omitempty"`
	Node     string  `json:"node,omitempty"`
	Name     string  `json:"name,omitempty"` // of a fault
	Reason   string  `json:"reason,omitempty"`

	Users []string `json:"users,omitempty"` // members: whom a node shows
	Want  []string `json:"want,omitempty"`  // members: who is there
}

// Item is a message as a room holds it in the end: [seq, msg, hash].
type Item struct {
	Seq       uint64
	Msg, Hash string
}

// MarshalJSON implements json.Marshaler.
func (i Item) MarshalJSON() ([]byte, error) { return json.Marshal([]any{i.Seq, i.Msg, i.Hash}) }

// UnmarshalJSON implements json.Unmarshaler.
func (i *Item) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&i.Seq, &i.Msg, &i.Hash})
}

// Hash names a body in a history.
func Hash(body string) string {
	sum := sha256.Sum256([]byte(body))
	return hex.EncodeToString(sum[:6])
}
