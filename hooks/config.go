package hooks

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"parley"
	"parley/auth"
)

// Out is a hook of the configuration: what happens in rooms is posted to a URL. What is zero has its
// default.
type Out struct {
	Name        string         `yaml:"name"` // its places in rooms are kept under it
	Rooms       []auth.Pattern `yaml:"rooms"`
	URL         string         `yaml:"url"`
	SecretFile  string         `yaml:"secret_file,omitempty"` // signs; at least MinSecret bytes
	SecretEnv   string         `yaml:"secret_env,omitempty"`  // or a variable of the environment
	Events      []string       `yaml:"events,omitempty"`      // default: messages alone
	Headers     []Header       `yaml:"headers,omitempty"`
	CAFile      string         `yaml:"ca_file,omitempty"`     // PEM; whom to trust in place of the system's authorities
	Timeout     time.Duration  `yaml:"timeout,omitempty"`     // of one try; default 10 s
	Tries       int            `yaml:"tries,omitempty"`       // of one message; default 20
	Backoff     time.Duration  `yaml:"backoff,omitempty"`     // before the second try, then twice as long each time; default 1 s
	Dead        string         `yaml:"dead,omitempty"`        // the room of dead letters; default NAME.dead
	Concurrency int            `yaml:"concurrency,omitempty"` // requests at once, each of another room; default 8
}

// Header is a field of the requests' heads. Its value comes from one place.
type Header struct {
	Name      string `yaml:"name"`
	Value     string `yaml:"value,omitempty" as:"secret"`
	ValueFile string `yaml:"value_file,omitempty"`
	ValueEnv  string `yaml:"value_env,omitempty"`
}

// The events a hook can be told of.
const (
	EventMessage  = "message"
	EventPresence = "presence" // soft state: best effort
	EventRoom     = "room"     // a room's first message
)

// Defaults of an Out.
const (
	defaultTimeout     = 10 * time.Second
	defaultTries       = 20
	defaultBackoff     = time.Second
	defaultConcurrency = 8
)

// Bounds of what may be configured.
const (
	maxHooks       = 64
	maxRooms       = 64 // patterns of one hook
	maxHeaders     = 32
	maxName        = 56 // with what stands before it, a user's name has room for it
	minTimeout     = 100 * time.Millisecond
	maxTimeout     = 5 * time.Minute
	maxTries       = 1000
	minBackoff     = time.Millisecond
	maxConcurrency = 256
	deadSuffix     = ".dead"
)

// In is a hook of the configuration by which others send: a signed webhook becomes a message.
type In struct {
	Name       string `yaml:"name"` // the last part of its path, and of the name its messages are from
	Kind       string `yaml:"kind"` // github, parley or generic
	SecretFile string `yaml:"secret_file,omitempty"`
	SecretEnv  string `yaml:"secret_env,omitempty"`
	Room       string `yaml:"room"`                  // where its messages go
	RoomHeader string `yaml:"room_header,omitempty"` // a header whose value is one more part of the room's name
	RoomField  string `yaml:"room_field,omitempty"`  // likewise a field of the JSON body: repository.name

	// Of kind generic.
	SignatureHeader string `yaml:"signature_header,omitempty"`
	Format          string `yaml:"format,omitempty"`    // plain (the default): of the body; timestamped: t=…,v1=…
	Encoding        string `yaml:"encoding,omitempty"`  // of the signature: hex (the default) or base64
	Prefix          string `yaml:"prefix,omitempty"`    // what stands before a plain signature
	IDHeader        string `yaml:"id_header,omitempty"` // what is sent again has the same value there

	Tolerance time.Duration `yaml:"tolerance,omitempty"` // how old or early a timestamped one may be; default 5m
}

// Kinds of In, and the words of kind generic.
const (
	KindGitHub  = "github"
	KindParley  = "parley"
	KindGeneric = "generic"

	formatPlain       = "plain"
	formatTimestamped = "timestamped"
	encodingHex       = "hex"
	encodingBase64    = "base64"
)

const (
	defaultTolerance = 5 * time.Minute
	maxTolerance     = time.Hour
)

// Mistake is something wrong with one setting: the user's to mend.
type Mistake struct {
	Path string // hooks[0].url
	Text string
}

func (m *Mistake) Error() string { return m.Path + ": " + m.Text }

// checks collects mistakes.
type checks struct {
	at    string
	found []Mistake
}

func (c *checks) need(ok bool, key, format string, args ...any) {
	if !ok {
		c.found = append(c.found, Mistake{Path: c.at + key, Text: fmt.Sprintf(format, args...)})
	}
}

// Check finds what cannot be, without a look at any file.
func Check(out []Out, in []In) []Mistake {
	var c checks
	c.need(len(out) <= maxHooks, "hooks", "%d hooks; there may be %d", len(out), maxHooks)
	c.need(len(in) <= maxHooks, "inbound", "%d hooks; there may be %d", len(in), maxHooks)
	names := make(map[string]bool)
	for i := range out {
		c.at = fmt.Sprintf("hooks[%d]", i)
		c.name(out[i].Name, names)
		c.out(&out[i])
	}
	clear(names)
	for i := range in {
		c.at = fmt.Sprintf("inbound[%d]", i)
		c.name(in[i].Name, names)
		c.in(&in[i])
	}
	return c.found
}

// CheckFiles finds what is wrong with the files that hooks name. The error is a *Mistake.
func CheckFiles(out []Out, in []In) error {
	for i := range out {
		if _, err := newTarget(i, out[i].filled()); err != nil {
			return err
		}
	}
	_, err := new(Receiver).Prepare(in)
	return err
}

func (c *checks) name(name string, names map[string]bool) {
	ok := len(name) > 0 && len(name) <= maxName
	for i := range len(name) {
		switch b := name[i]; {
		case 'a' <= b && b <= 'z', 'A' <= b && b <= 'Z', '0' <= b && b <= '9':
		case (b == '_' || b == '-') && i > 0:
		default:
			ok = false
		}
	}
	c.need(ok, ".name", "1 to %d letters and digits, with _ or - behind the first, not %q", maxName, clip(name))
	c.need(!names[name], ".name", "there are two hooks called %s", clip(name))
	names[name] = true
}

func (c *checks) secret(file, env string) {
	c.need((file == "") != (env == ""), ".secret_file", "a hook takes either secret_file or secret_env")
}

func (c *checks) out(o *Out) {
	c.secret(o.SecretFile, o.SecretEnv)
	c.need(len(o.Rooms) > 0 && len(o.Rooms) <= maxRooms, ".rooms", "1 to %d rooms or patterns, not %d", maxRooms, len(o.Rooms))
	u, err := url.Parse(o.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		c.need(false, ".url", "where to post to: http://… or https://…")
	case u.User != nil:
		c.need(false, ".url", "a password stands in headers, not in the URL")
	case u.Fragment != "":
		c.need(false, ".url", "what is behind # is sent to nobody")
	}
	for i, e := range o.Events {
		known := e == EventMessage || e == EventPresence || e == EventRoom
		c.need(known, fmt.Sprintf(".events[%d]", i), "message, presence or room, not %q", clip(e))
		c.need(slices.Index(o.Events, e) == i, fmt.Sprintf(".events[%d]", i), "%s stands twice", clip(e))
	}
	c.headers(o.Headers)
	c.need(o.Timeout == 0 || o.Timeout >= minTimeout && o.Timeout <= maxTimeout, ".timeout", "%v to %v, not %v", minTimeout, maxTimeout, o.Timeout)
	c.need(o.Tries >= 0 && o.Tries <= maxTries, ".tries", "1 to %d, not %d", maxTries, o.Tries)
	c.need(o.Backoff == 0 || o.Backoff >= minBackoff && o.Backoff <= maxBackoff, ".backoff", "%v to %v, not %v", minBackoff, maxBackoff, o.Backoff)
	c.need(o.Concurrency >= 0 && o.Concurrency <= maxConcurrency, ".concurrency", "1 to %d, not %d", maxConcurrency, o.Concurrency)
	dead, err := parley.ParseRoom(o.dead())
	c.need(err == nil, ".dead", "%q is no room's name", clip(o.dead()))
	for _, p := range o.Rooms {
		c.need(err != nil || p.String() != dead, ".rooms", "a hook's own dead letters would come back for ever")
	}
}

// ours are the fields that a hook sets itself, and those that say how a request ends.
var ours = []string{
	headerHook, headerID, headerSignature, "Content-Type", "Content-Length", "Transfer-Encoding", "Host", "Connection", "Expect", "Te", "Trailer", "Upgrade",
}

func (c *checks) headers(headers []Header) {
	c.need(len(headers) <= maxHeaders, ".headers", "%d headers; there may be %d", len(headers), maxHeaders)
	for i, h := range headers {
		at := fmt.Sprintf(".headers[%d]", i)
		c.need(validField(h.Name), at+".name", "%q is no header's name", clip(h.Name))
		c.need(!slices.Contains(ours, http.CanonicalHeaderKey(h.Name)), at+".name", "%s is the hook's own to set", clip(h.Name))
		from := 0
		for _, s := range []string{h.Value, h.ValueFile, h.ValueEnv} {
			if s != "" {
				from++
			}
		}
		c.need(from == 1, at, "a header takes one of value, value_file and value_env")
		c.need(validValue(h.Value), at+".value", "it has characters that a header cannot have")
	}
}

// validField says whether a header may have a name: a token of RFC 9110.
func validField(name string) bool {
	for i := range len(name) {
		b := name[i]
		letter := 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z' || '0' <= b && b <= '9'
		if !letter && strings.IndexByte("!#$%&'*+-.^_`|~", b) < 0 {
			return false
		}
	}
	return name != ""
}

// validValue says whether a header may have a value.
func validValue(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' && r != '\t' || r > '~' }) < 0
}

func (c *checks) in(in *In) {
	c.secret(in.SecretFile, in.SecretEnv)
	_, err := parley.ParseRoom(in.Room)
	c.need(err == nil, ".room", "where messages go: %q is no room's name", clip(in.Room))
	c.need(in.RoomHeader == "" || in.RoomField == "", ".room_field", "a part of the room's name comes from room_header or room_field, not from both")
	c.header(".room_header", in.RoomHeader)
	c.need(in.RoomField == "" || !slices.Contains(strings.Split(in.RoomField, "."), ""), ".room_field", "names of fields with dots between them, as repository.name")
	c.need(in.Tolerance >= 0 && in.Tolerance <= maxTolerance, ".tolerance", "0 to %v, not %v", maxTolerance, in.Tolerance)
	switch in.Kind {
	case KindGitHub, KindParley:
		c.need(in.SignatureHeader+in.Format+in.Encoding+in.Prefix+in.IDHeader == "", ".kind",
			"signature_header, format, encoding, prefix and id_header are for the kind generic")
		c.need(in.Kind == KindParley || in.Tolerance == 0, ".tolerance", "the signatures of github have no time")
	case KindGeneric:
		c.generic(in)
	default:
		c.need(false, ".kind", "github, parley or generic, not %q", clip(in.Kind))
	}
}

func (c *checks) generic(in *In) {
	c.need(in.SignatureHeader != "", ".signature_header", "which header has the signature")
	c.header(".signature_header", in.SignatureHeader)
	c.header(".id_header", in.IDHeader)
	c.need(slices.Contains([]string{"", formatPlain, formatTimestamped}, in.Format), ".format", "plain or timestamped, not %q", clip(in.Format))
	c.need(slices.Contains([]string{"", encodingHex, encodingBase64}, in.Encoding), ".encoding", "hex or base64, not %q", clip(in.Encoding))
	c.need(in.Format == formatTimestamped || in.Tolerance == 0, ".tolerance", "only signatures of the format timestamped have a time")
	c.need(in.Format != formatTimestamped || in.Prefix == "", ".prefix", "a signature of the format timestamped has none")
}

func (c *checks) header(key, name string) {
	c.need(name == "" || validField(name), key, "%q is no header's name", clip(name))
}

// dead is the room of dead letters.
func (o *Out) dead() string {
	if o.Dead != "" {
		return o.Dead
	}
	return o.Name + deadSuffix
}

// filled is the hook with its defaults.
func (o Out) filled() Out {
	if len(o.Events) == 0 {
		o.Events = []string{EventMessage}
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Tries == 0 {
		o.Tries = defaultTries
	}
	if o.Backoff == 0 {
		o.Backoff = defaultBackoff
	}
	if o.Concurrency == 0 {
		o.Concurrency = defaultConcurrency
	}
	if dead, err := parley.ParseRoom(o.dead()); err == nil {
		o.Dead = dead
	}
	return o
}

// clip shortens what is shown back.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
