package wire

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	"parley"
)

// Kind is what an operation asks for: the value of its "op".
type Kind string

// The operations.
const (
	Hello   Kind = "hello"
	Join    Kind = "join"
	Leave   Kind = "leave"
	Send    Kind = "send"
	History Kind = "history"
	Members Kind = "members"
	Signal  Kind = "signal"
	Ping    Kind = "ping"
	Revoke  Kind = "revoke"
	Drain   Kind = "drain"

	ListRooms   Kind = "rooms"
	ListGroups  Kind = "groups"
	ListReaders Kind = "readers"
	ListHooks   Kind = "hooks"

	Take    Kind = "take"
	Stop    Kind = "stop"
	Done    Kind = "done"
	Retry   Kind = "retry"
	Release Kind = "release"
	Fail    Kind = "fail"
	Busy    Kind = "busy"

	Remove Kind = "remove"

	Ask    Kind = "ask"
	Serve  Kind = "serve"
	Answer Kind = "answer"
)

// MaxRef is the longest ref, in bytes as written, that is echoed.
const MaxRef = 1024

// Op is one operation, checked: names are in NFC, numbers in range, the body decoded.
type Op struct {
	Kind Kind
	Ref  []byte // the client's tag as it was written; nil = none. Part of the line it was parsed from
	Room string // of a join or leave it may be a pattern

	Token string // hello
	Name  string // hello

	Start Start // join, take
	Echo  *bool // join; nil = the encoding's default

	ID   string      // send; "" = the server makes one
	Type parley.Type // send, ask, answer

	Presence bool // join; whether to tell who is there, comes and goes

	Body []byte // send; signal, where it is compact JSON

	After, Before *uint64 // history; exclusive, at most one of them
	Limit         int     // history, rooms, readers; always set

	AfterRoom   string // rooms; those behind this name, "" = from the first
	AfterReader string // readers; likewise

	Reader string  // join, done, remove; the durable reader whose position it is, "" = none
	Seq    *uint64 // done of a reader

	Group    string         // take; stop, where "" is to serve no more; remove, where "" is to remove Reader
	Prefetch int            // take; always set
	Parallel int            // take; 0 = as many as prefetch
	Tries    int            // take; always set
	Deadline time.Duration  // take, where it is always set; busy, where 0 = as long as before
	Job      string         // done, retry, release, fail, busy
	Letter   uint64         // retry; the dead letter to put back, 0 = it is of a job
	Delay    *time.Duration // retry; nil = the usual back-off
	Reason   string         // retry, fail

	JobKey   string        // send; jobs with the same key are done in order, "" = none
	Priority int           // send
	Due      time.Time     // send; not before, zero = at once
	Wait     time.Duration // send; as a client writes it, in place of Due: so long after the server has it
	TTL      time.Duration // send; how long it is of use to workers, 0 = for ever

	Question string        // answer
	Most     int           // ask; always set
	Timeout  time.Duration // ask; always set

	User string // revoke; a user, or
	Key  string // the name of a key
	Lift bool   // revoke; take it back
}

// Start is where a member's cursor begins; the zero Start is live, behind the newest message.
type Start struct {
	After *uint64   // behind this seq; 0 = from the start
	Last  int       // the newest Last messages first; 0 = not asked
	Since time.Time // the messages that are not older first; zero = not asked

	// Of a pattern alone. Of these, Cursor and Places can be given together.
	Cursor parley.Position   // behind this position; nil = not asked
	Places map[string]uint64 // in these rooms behind these seqs, in others live; with Cursor: what came behind it
	Rest   bool              // with Places: in other rooms from the start
}

// Replays says whether the start asks for messages that are there already.
func (s Start) Replays() bool {
	return s.After != nil || s.Last != 0 || !s.Since.IsZero() || s.Cursor != nil || s.Places != nil
}

// Bounds of what an operation may ask for.
const (
	MaxLast      = 1_000_000 // messages a join replays by "last"
	DefaultRooms = 100       // rooms in a list, where no limit is given; at most parley.MaxPage

	DefaultReaders = 100 // likewise readers

	// MaxDepth is how far a JSON body may be nested. Many readers stop at 512 or 1,000, pages
	// are three deep themselves, and one message must not keep anybody from reading a room.
	MaxDepth = 500

	MaxSignal = 4 << 10 // bytes of a signal's body, compact
)

// ParseOp reads one operation from one JSON object. On an error, which is a *parley.Error, the Op
// still bears the Ref if it could be read. The Op may share memory with line.
func ParseOp(line []byte) (Op, error) {
	var op Op
	obj := objects.Get().(*object)
	defer obj.release()
	err := obj.parse(line)
	if err != nil {
		op.Ref = refOf(obj)
		return op, err
	}
	if op.Ref, err = obj.ref(); err != nil {
		return op, err
	}
	kind, err := obj.text("op")
	if err != nil {
		return op, err
	}
	for _, p := range parsers {
		if string(p.kind) == string(kind) {
			op.Kind = p.kind
			return op, p.parse(&op, obj)
		}
	}
	if len(kind) == 0 {
		return op, parley.Errorf(parley.BadRequest, `a frame needs an "op"`)
	}
	return op, parley.Errorf(parley.BadRequest, "no operation %q", clip(string(kind)))
}

// parsers read what each operation has beside op and ref. The most frequent comes first.
var parsers = [...]struct {
	kind  Kind
	parse func(*Op, *object) error
}{
	{Send, parseSend},
	{Join, parseJoin},
	{Leave, parseRooms},
	{History, parseHistory},
	{Hello, parseHello},
	{Members, parseRoom},
	{Signal, parseSignal},
	{Done, parseDone},
	{Retry, parseRetry},
	{Release, parseJob},
	{Busy, parseBusy},
	{Fail, parseFail},
	{Take, parseTake},
	{Stop, parseStop},
	{Ask, parseAsk},
	{Answer, parseAnswer},
	{Serve, parseRoom},
	{ListRooms, parseListRooms},
	{ListGroups, parseRoom},
	{ListReaders, parseListReaders},
	{Remove, parseRemove},
	{ListHooks, func(*Op, *object) error { return nil }},
	{Ping, func(*Op, *object) error { return nil }},
	{Revoke, parseRevoke},
	{Drain, func(*Op, *object) error { return nil }},
}

func parseRevoke(op *Op, obj *object) (err error) {
	if op.User, err = obj.str("user"); err != nil {
		return err
	}
	if op.Key, err = obj.str("key"); err != nil {
		return err
	}
	if (op.User == "") == (op.Key == "") {
		return parley.Errorf(parley.BadRequest, `a revoke bears a "user" or a "key"`)
	}
	if op.Key != "" {
		err = parley.CheckID(op.Key)
	} else {
		op.User, err = parley.ParseName(op.User)
	}
	if err != nil {
		return err
	}
	lift, err := obj.boolean("lift")
	op.Lift = lift != nil && *lift
	return err
}

func parseHello(op *Op, obj *object) (err error) {
	if op.Token, err = obj.str("token"); err != nil {
		return err
	}
	if obj.get("name") == nil {
		return nil
	}
	if op.Name, err = obj.str("name"); err != nil {
		return err
	}
	op.Name, err = parley.ParseName(op.Name)
	return err
}

func parseRoom(op *Op, obj *object) error {
	name, err := obj.str("room")
	if err != nil {
		return err
	}
	op.Room, err = parley.ParseRoom(name)
	return err
}

func parseJoin(op *Op, obj *object) error {
	if err := parseRooms(op, obj); err != nil {
		return err
	}
	if err := parseStart(op, obj); err != nil {
		return err
	}
	err := parseManyStart(op, obj)
	if err != nil {
		return err
	}
	if op.Reader, err = obj.name("reader"); err != nil {
		return err
	}
	if op.Echo, err = obj.boolean("echo"); err != nil {
		return err
	}
	presence, err := obj.boolean("presence")
	op.Presence = presence != nil && *presence
	if err == nil && parley.IsPattern(op.Room) && (op.Presence || op.Reader != "") {
		return parley.Errorf(parley.BadRequest, `"presence" and "reader" are for a room, not for a pattern`)
	}
	return err
}

// parseStart reads where to begin in a room.
func parseStart(op *Op, obj *object) error {
	starts := 0
	if raw := obj.get("after"); raw != nil {
		if err := parseAfter(op, obj, raw); err != nil {
			return err
		}
		starts++
	}
	if raw := obj.get("last"); raw != nil {
		n, err := obj.count("last", MaxLast)
		if err != nil {
			return err
		}
		op.Start.Last = n
		starts++
	}
	if raw := obj.get("since"); raw != nil {
		s, err := obj.str("since")
		if err != nil {
			return err
		}
		if op.Start.Since, err = ParseSince(s, time.Now()); err != nil {
			return err
		}
		starts++
	}
	if starts > 1 {
		return parley.Errorf(parley.BadRequest, `at most one of "after", "last" and "since"`)
	}
	return nil
}

// ParseSince reads a point in time: a duration before now (10m, 24h) or an RFC 3339 time.
func ParseSince(s string, now time.Time) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		if d < 0 {
			return time.Time{}, parley.Errorf(parley.BadRequest, `"since" is a duration back from now; %q is in the future`, clip(s))
		}
		return now.Add(-d), nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Year() < 1678 || t.Year() > 2261 {
		return time.Time{}, parley.Errorf(parley.BadRequest, `"since" is a duration (10m, 24h) or an RFC 3339 time, not %q`, clip(s))
	}
	return t, nil
}

func parseSend(op *Op, obj *object) error {
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	if obj.get("id") != nil {
		id, err := obj.str("id")
		if err != nil {
			return err
		}
		if err := parley.CheckID(id); err != nil {
			return err
		}
		op.ID = id
	}
	if err := parseForWork(op, obj); err != nil {
		return err
	}
	return parseTyped(op, obj)
}

func parseBody(t parley.Type, obj *object) ([]byte, error) {
	raw := obj.get("body")
	if raw == nil {
		return nil, parley.Errorf(parley.BadRequest, `a "body" is missing`)
	}
	if t == parley.JSON {
		return parseValue(raw)
	}
	if raw[0] != '"' {
		return nil, parley.Errorf(parley.BadRequest, `the body of a %s message is a string`, t)
	}
	body := unquote(raw)
	if t == parley.Binary {
		var err error
		if body, err = decodeBase64(body); err != nil {
			return nil, err
		}
	}
	if len(body) == 0 {
		return nil, parley.Errorf(parley.BadRequest, "an empty body")
	}
	return body, nil
}

// parseValue reads a body that may be any JSON value.
func parseValue(raw []byte) ([]byte, error) {
	if depth(raw) > MaxDepth {
		return nil, parley.Errorf(parley.BadRequest, "a JSON body is nested at most %d deep", MaxDepth)
	}
	return compact(raw), nil
}

func parseSignal(op *Op, obj *object) (err error) {
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	raw := obj.get("body")
	if raw == nil {
		return parley.Errorf(parley.BadRequest, `a signal needs a "body"`)
	}
	op.Body, err = parseValue(raw)
	return err
}

// decodeBase64 is strict: padded, and without the line breaks that encoding/base64 lets pass.
func decodeBase64(in []byte) ([]byte, error) {
	out := make([]byte, base64.StdEncoding.DecodedLen(len(in)))
	n, err := base64.StdEncoding.Strict().Decode(out, in)
	if err != nil || bytes.ContainsAny(in, "\r\n") {
		return nil, parley.Errorf(parley.BadRequest, "the body of a binary message is base64, in the standard alphabet and padded")
	}
	return out[:n], nil
}

func parseHistory(op *Op, obj *object) (err error) {
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	if op.After, err = obj.seq("after"); err != nil {
		return err
	}
	if op.Before, err = obj.seq("before"); err != nil {
		return err
	}
	if op.After != nil && op.Before != nil {
		return parley.Errorf(parley.BadRequest, `either "after" or "before"`)
	}
	op.Limit, err = obj.limit(parley.DefaultPage)
	return err
}

func parseListRooms(op *Op, obj *object) (err error) {
	if obj.get("after_room") != nil {
		name, err := obj.str("after_room")
		if err != nil {
			return err
		}
		if op.AfterRoom, err = parley.ParseRoom(name); err != nil {
			return err
		}
	}
	op.Limit, err = obj.limit(DefaultRooms)
	return err
}

// seq reads a position; nil where it is absent.
func (o *object) seq(key string) (*uint64, error) {
	raw := o.get(key)
	if raw == nil {
		return nil, nil
	}
	n, err := strconv.ParseUint(string(raw), 10, 64)
	if err != nil || n > math.MaxInt64 {
		return nil, parley.Errorf(parley.BadRequest, "%q is a seq: a whole number, 0 or more", key)
	}
	return &n, nil
}

func (o *object) count(key string, limit int) (int, error) {
	n, err := strconv.Atoi(string(o.get(key)))
	if err != nil || n < 1 || n > limit {
		return 0, parley.Errorf(parley.BadRequest, "%q is a whole number from 1 to %d", key, limit)
	}
	return n, nil
}

// limit reads how many entries a page may have.
func (o *object) limit(absent int) (int, error) {
	if o.get("limit") == nil {
		return absent, nil
	}
	return o.count("limit", parley.MaxPage)
}

func (o *object) boolean(key string) (*bool, error) {
	raw := o.get(key)
	if raw == nil {
		return nil, nil
	}
	var b bool
	if raw[0] == 'n' || json.Unmarshal(raw, &b) != nil {
		return nil, parley.Errorf(parley.BadRequest, "%q is true or false", key)
	}
	return &b, nil
}

// str reads a string; "" where it is absent.
func (o *object) str(key string) (string, error) {
	s, err := o.text(key)
	return string(s), err
}

// text is str without a copy where nothing is escaped: the bytes may be part of the line.
func (o *object) text(key string) ([]byte, error) {
	raw := o.get(key)
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '"' {
		return nil, parley.Errorf(parley.BadRequest, "%q is a string", key)
	}
	return unquote(raw), nil
}

func (o *object) ref() ([]byte, error) {
	raw := o.get("ref")
	switch {
	case raw == nil:
		return nil, nil
	case raw[0] != '"' && raw[0] != '-' && (raw[0] < '0' || raw[0] > '9'):
		return nil, parley.Errorf(parley.BadRequest, `"ref" is a string or a number`)
	case len(raw) > MaxRef:
		return nil, parley.Errorf(parley.BadRequest, `"ref" has at most %d bytes`, MaxRef)
	}
	return raw, nil
}

// refOf finds the ref in what could be read of a frame with a mistake in it.
func refOf(o *object) []byte {
	ref, err := o.ref()
	if err != nil || !utf8.Valid(ref) {
		return nil
	}
	return ref
}

// clip shortens what a client sent before it is shown back to it.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	n := most
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
