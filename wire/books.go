package wire

import (
	"encoding/json"
	"strconv"
	"time"

	"parley"
)

// What the server's books say: the groups and the readers of a room, and its hooks.

// GroupEntry is a group in a list of groups.
type GroupEntry struct {
	Group    string `json:"group"`
	Pending  uint64 `json:"pending"`  // jobs that are not finished, those that are taken included
	Taken    int    `json:"taken"`    // of these, those that a worker holds
	Dead     uint64 `json:"dead"`     // dead letters that it has made since it began
	Sessions int    `json:"sessions"` // that take from it
}

// ReaderEntry is a durable reader in a list of readers.
type ReaderEntry struct {
	Reader string `json:"reader"`
	Seq    uint64 `json:"seq"` // up to which it has dealt with the room
}

// HookEntry is a hook that posts, and how it fares.
type HookEntry struct {
	Hook    string   `json:"hook"`
	To      string   `json:"to"` // scheme and host of its URL; the rest may hold a secret
	Rooms   []string `json:"rooms"`
	Pending int      `json:"pending"` // rooms with messages that are still to be posted
	LagMS   int64    `json:"lag_ms"`  // age of the oldest of these messages
	Sent    uint64   `json:"sent"`    // requests that were taken since the server started; likewise dead
	Dead    uint64   `json:"dead"`
	Gone    bool     `json:"gone"` // its receiver wants nothing any more

	LastSuccess  *time.Time `json:"last_success,omitempty"`  // nil = none since the server started
	FailingSince *time.Time `json:"failing_since,omitempty"` // the first failure since the last success
	Why          string     `json:"why,omitempty"`           // of the last failure since then
}

// parseRemove reads what is to be removed: a group or a reader.
func parseRemove(op *Op, obj *object) (err error) {
	if err := parseStop(op, obj); err != nil {
		return err
	}
	op.Reader, err = obj.name("reader")
	if err == nil && (op.Group == "") == (op.Reader == "") {
		err = parley.Errorf(parley.BadRequest, `a remove bears a "group" or a "reader"`)
	}
	return err
}

// parseListReaders reads which part of the readers is asked for.
func parseListReaders(op *Op, obj *object) (err error) {
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	if op.AfterReader, err = obj.name("after_reader"); err != nil {
		return err
	}
	op.Limit, err = obj.limit(DefaultReaders)
	return err
}

// Groups appends the answer to a groups.
func (JSONLines) Groups(dst, ref []byte, room string, groups []GroupEntry) []byte {
	dst = appendRoom(open(dst, "groups", ref), room)
	return append(appendList(dst, "groups", groups), '}', '\n')
}

// Readers appends the answer to a readers.
func (JSONLines) Readers(dst, ref []byte, room string, readers []ReaderEntry, more bool) []byte {
	dst = appendRoom(open(dst, "readers", ref), room)
	dst = append(appendList(dst, "readers", readers), `,"more":`...)
	return append(strconv.AppendBool(dst, more), '}', '\n')
}

// Removed appends the answer to a remove: of a group, or of a reader.
func (JSONLines) Removed(dst, ref []byte, room, group, reader string) []byte {
	dst = appendRoom(open(dst, "removed", ref), room)
	key, name := `,"group":`, group
	if group == "" {
		key, name = `,"reader":`, reader
	}
	return append(appendString(append(dst, key...), name), '}', '\n')
}

// Hooks appends the answer to a hooks.
func (JSONLines) Hooks(dst, ref []byte, hooks []HookEntry) []byte {
	return append(appendList(open(dst, "hooks", ref), "hooks", hooks), '}', '\n')
}

func appendRoom(dst []byte, room string) []byte {
	return appendString(append(dst, `,"room":`...), room)
}

// appendList appends a field that is a list, never null.
func appendList[E any](dst []byte, key string, list []E) []byte {
	if list == nil {
		list = []E{}
	}
	text, err := json.Marshal(list)
	if err != nil {
		panic(err) // there is nothing in it that JSON cannot say
	}
	return append(append(append(append(dst, `,"`...), key...), `":`...), text...)
}

// Groups appends the answer to a groups.
func (e WS) Groups(dst, ref []byte, room string, groups []GroupEntry) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Groups(dst, ref, room, groups) })
}

// Readers appends the answer to a readers.
func (e WS) Readers(dst, ref []byte, room string, readers []ReaderEntry, more bool) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Readers(dst, ref, room, readers, more) })
}

// Removed appends the answer to a remove.
func (e WS) Removed(dst, ref []byte, room, group, reader string) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Removed(dst, ref, room, group, reader) })
}

// Hooks appends the answer to a hooks.
func (e WS) Hooks(dst, ref []byte, hooks []HookEntry) []byte {
	return e.frame(dst, func(dst []byte) []byte { return JSONLines{}.Hooks(dst, ref, hooks) })
}

// Plain lines have no commands for these.

func (textAnswers) Groups(dst, _ []byte, _ string, _ []GroupEntry) []byte           { return dst }
func (textAnswers) Readers(dst, _ []byte, _ string, _ []ReaderEntry, _ bool) []byte { return dst }
func (textAnswers) Removed(dst, _ []byte, _, _, _ string) []byte                    { return dst }
func (textAnswers) Hooks(dst, _ []byte, _ []HookEntry) []byte                       { return dst }
