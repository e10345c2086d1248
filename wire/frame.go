package wire

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"parley"
)

// Frame is what a server sends, as a client reads it: the union of all frames' fields.
type Frame struct {
	Op  string          `json:"op"`
	Ref json.RawMessage `json:"ref"`

	Entry        // message; the room and seq of others; the from and body of signal
	After uint64 `json:"after"` // gap
	Next  uint64 `json:"next"`  // gap

	Cursor string `json:"cursor"` // cursor; joined, of a pattern

	Duplicate bool    `json:"duplicate"` // ack
	Messages  []Entry `json:"messages"`  // page
	More      bool    `json:"more"`      // page, rooms, readers

	Rooms   []RoomEntry   `json:"rooms"`   // rooms
	Groups  []GroupEntry  `json:"groups"`  // groups
	Readers []ReaderEntry `json:"readers"` // readers
	Hooks   []HookEntry   `json:"hooks"`   // hooks

	Members []MemberEntry `json:"members"` // members, joined, presence; may be fewer than Count
	Joined  []MemberEntry `json:"joined"`  // presence
	Left    []MemberEntry `json:"left"`    // presence
	Count   int           `json:"count"`   // members, joined, presence, answered

	User    string `json:"user"`    // welcome
	Session string `json:"session"` // welcome
	Limits  struct {
		Message  int   `json:"message"`
		Frame    int   `json:"frame"`
		Inflight int   `json:"inflight"`
		Rooms    int   `json:"rooms"`
		DedupeMS int64 `json:"dedupe_ms"`
	} `json:"limits"` // welcome
	Servers []string `json:"servers"` // welcome and error, in a cluster

	Group      string `json:"group"`       // taking, stopped, job, removed
	Reader     string `json:"reader"`      // removed
	Job        string `json:"job"`         // job, busy
	Tries      int    `json:"tries"`       // job
	DeadlineMS int64  `json:"deadline_ms"` // job, busy

	Question  string `json:"question"`   // question
	TimeoutMS int64  `json:"timeout_ms"` // question
	Available bool   `json:"available"`  // status

	Code    parley.Code `json:"code"`     // error
	Message string      `json:"message"`  // error, status
	RetryMS int64       `json:"retry_ms"` // error
}

// Entry is a message as it stands in frames and pages.
type Entry struct {
	Room string          `json:"room"`
	Seq  uint64          `json:"seq"`
	Prev uint64          `json:"prev"`
	ID   string          `json:"id"`
	From string          `json:"from"`
	At   time.Time       `json:"at"`
	Type string          `json:"type"`
	Body json.RawMessage `json:"body"`
}

// MemberEntry is a member as others see it.
type MemberEntry struct {
	User string `json:"user"`
}

// Users are the users of a list of members.
func Users(list []MemberEntry) []string {
	users := make([]string, len(list))
	for i, m := range list {
		users[i] = m.User
	}
	return users
}

// ParseFrame reads one frame of a server. Ops and fields it does not know are no error: a newer
// server may send them.
func ParseFrame(line []byte) (*Frame, error) {
	f := new(Frame)
	if err := json.Unmarshal(line, f); err != nil {
		return nil, fmt.Errorf("read a frame: %w", err)
	}
	return f, nil
}

// Decode turns an entry into a message.
func (e *Entry) Decode() (*parley.Message, error) {
	m := &parley.Message{Room: e.Room, Seq: e.Seq, Prev: e.Prev, ID: e.ID, From: e.From, At: e.At}
	var err error
	if m.Type, err = parley.ParseType(e.Type); err != nil {
		return nil, err
	}
	if m.Type == parley.JSON && len(e.Body) > 0 {
		m.Body = e.Body
		return m, nil
	}
	var body *string
	if err := json.Unmarshal(e.Body, &body); err != nil || body == nil {
		return nil, fmt.Errorf("read message %d: a %s body cannot be %.20q", e.Seq, m.Type, e.Body)
	}
	m.Body = []byte(*body)
	if m.Type == parley.Binary {
		if m.Body, err = base64.StdEncoding.DecodeString(*body); err != nil {
			return nil, fmt.Errorf("read the body of message %d: %w", e.Seq, err)
		}
	}
	return m, nil
}

// DecodeJob turns a job frame into a job.
func (f *Frame) DecodeJob() (*parley.Job, error) {
	m, err := f.Entry.Decode()
	if err != nil {
		return nil, err
	}
	return &parley.Job{
		Message: m, Group: f.Group, Job: f.Job, Tries: f.Tries, Deadline: time.Duration(f.DeadlineMS) * time.Millisecond,
	}, nil
}

// Err gives an error frame as an error.
func (f *Frame) Err() *parley.Error {
	e := parley.Errorf(f.Code, "%s", f.Message)
	e.Retry, e.Servers = time.Duration(f.RetryMS)*time.Millisecond, f.Servers
	return e
}

// AppendOp appends an operation as a client sends it: one JSON object, without a line end.
// Start.Since is written as a time.
func AppendOp(dst []byte, op Op) []byte {
	dst = open(dst, string(op.Kind), op.Ref)
	field := func(key, value string) {
		if value != "" {
			dst = append(dst, `,"`+key+`":`...)
			dst = appendString(dst, value)
		}
	}
	seq := func(key string, n *uint64) {
		if n != nil {
			dst = append(dst, `,"`+key+`":`...)
			dst = strconv.AppendUint(dst, *n, 10)
		}
	}
	field("token", op.Token)
	field("name", op.Name)
	field("room", op.Room)
	seq("after", op.After)
	seq("before", op.Before)
	seq("after", op.Start.After)
	if op.Start.Last > 0 {
		dst = append(dst, `,"last":`...)
		dst = strconv.AppendInt(dst, int64(op.Start.Last), 10)
	}
	if !op.Start.Since.IsZero() {
		field("since", op.Start.Since.Format(time.RFC3339Nano))
	}
	dst = appendManyStart(dst, &op.Start)
	if op.Echo != nil {
		dst = append(dst, `,"echo":`...)
		dst = strconv.AppendBool(dst, *op.Echo)
	}
	if op.Presence {
		dst = append(dst, `,"presence":true`...)
	}
	if op.Limit > 0 {
		dst = append(dst, `,"limit":`...)
		dst = strconv.AppendInt(dst, int64(op.Limit), 10)
	}
	field("after_room", op.AfterRoom)
	field("after_reader", op.AfterReader)
	dst = appendWork(dst, &op)
	field("user", op.User)
	field("key", op.Key)
	if op.Lift {
		dst = append(dst, `,"lift":true`...)
	}
	if op.Kind == Send {
		field("id", op.ID)
		field("key", op.JobKey)
		if op.Priority > 0 {
			dst = append(dst, `,"priority":`...)
			dst = strconv.AppendInt(dst, int64(op.Priority), 10)
		}
		if op.TTL > 0 {
			field("ttl", op.TTL.String())
		}
		if !op.Due.IsZero() {
			field("due", op.Due.Format(time.RFC3339Nano))
		}
		if op.Wait > 0 {
			field("delay", op.Wait.String())
		}
		if op.Type != parley.Text {
			field("type", op.Type.String())
		}
		dst = append(dst, `,"body":`...)
		dst = appendBody(dst, op.Type, op.Body)
	}
	if op.Kind == Ask || op.Kind == Answer {
		dst = appendAsk(dst, &op)
	}
	if op.Kind == Signal {
		dst = append(dst, `,"body":`...)
		dst = append(dst, op.Body...)
	}
	return append(dst, '}')
}
