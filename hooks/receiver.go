package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"parley"
)

// Receiver knows the hooks by which others send. Its methods may be called from any goroutine.
type Receiver struct {
	byName atomic.Pointer[map[string]*Inbound]
}

// Inbound is one of them. It does not change.
type Inbound struct {
	In
	secret []byte
}

// Prepare reads what the hooks of a configuration need; apply puts them into force, in place of those
// before. The error is a *Mistake.
func (r *Receiver) Prepare(in []In) (apply func(), err error) {
	byName := make(map[string]*Inbound, len(in))
	for i, c := range in {
		hook := &Inbound{In: c.filled()}
		var key string
		if hook.secret, key, err = readSecret(c.SecretFile, c.SecretEnv); err != nil {
			return nil, &Mistake{Path: fmt.Sprintf("inbound[%d]%s", i, key), Text: err.Error()}
		}
		byName[c.Name] = hook
	}
	return func() { r.byName.Store(&byName) }, nil
}

// filled is the hook with its defaults.
func (in In) filled() In {
	switch in.Kind {
	case KindGitHub:
		in.SignatureHeader, in.Format, in.Encoding, in.Prefix = "X-Hub-Signature-256", formatPlain, encodingHex, "sha256="
		in.IDHeader = "X-GitHub-Delivery"
	case KindParley:
		in.SignatureHeader, in.Format, in.Encoding, in.IDHeader = headerSignature, formatTimestamped, encodingHex, headerID
	}
	if in.Format == "" {
		in.Format = formatPlain
	}
	if in.Encoding == "" {
		in.Encoding = encodingHex
	}
	if in.Tolerance == 0 {
		in.Tolerance = defaultTolerance
	}
	if room, err := parley.ParseRoom(in.Room); err == nil {
		in.Room = room
	}
	return in
}

// Find finds the hook with a name; nil where there is none.
func (r *Receiver) Find(name string) *Inbound {
	hooks := r.byName.Load()
	if hooks == nil {
		return nil
	}
	return (*hooks)[name]
}

// From is who the messages of a hook are from: no client can go by such a name.
func (in *Inbound) From() string { return parley.HookPrefix + in.Name }

// Delivery is what a signed request says.
type Delivery struct {
	Room string
	ID   string // "" = the sender has given none
	Type parley.Type
	Body []byte // as it came; JSON is not checked
}

// errSignature does not say what is wrong: who has the secret knows.
var errSignature = parley.Errorf(parley.Unauthorized, "the signature is not right")

// Read checks a request's signature, and only then looks at what it holds. An error with the code
// unauthorized is all that is said of one that is not signed.
func (in *Inbound) Read(header http.Header, body []byte, now time.Time) (Delivery, error) {
	if err := in.verify(header, body, now); err != nil {
		return Delivery{}, err
	}
	d := Delivery{Room: in.Room, Body: body}
	if err := d.unpack(in.Kind, header.Get("Content-Type")); err != nil {
		return Delivery{}, err
	}
	d.ID = identity(header, in.IDHeader)
	if in.RoomHeader == "" && in.RoomField == "" {
		return d, nil
	}
	part, err := in.part(header, &d)
	if err != nil {
		return Delivery{}, err
	}
	if d.Room, err = parley.ParseRoom(in.Room + "." + part); err != nil {
		return Delivery{}, parley.Errorf(parley.BadRequest, "%q makes no room's name", clip(part))
	}
	return d, nil
}

// verify checks the signature, in a time that does not depend on how much of it is right.
func (in *Inbound) verify(header http.Header, body []byte, now time.Time) error {
	given := header.Values(in.SignatureHeader)
	if len(given) != 1 {
		return errSignature
	}
	if in.Format != formatTimestamped {
		text, ok := strings.CutPrefix(given[0], in.Prefix)
		if !ok || !in.equal(text, sum(in.secret, body)) {
			return errSignature
		}
		return nil
	}
	s, err := parseStamped(given[0])
	if err != nil {
		return errSignature
	}
	want, right := sum(in.secret, []byte(s.stamp), []byte("."), body), false
	for _, text := range s.sums {
		right = in.equal(text, want) || right
	}
	switch {
	case !right:
		return errSignature
	case now.Sub(s.at).Abs() > in.Tolerance:
		return parley.Errorf(parley.Unauthorized, "the signature is older or younger than %v", in.Tolerance)
	}
	return nil
}

func (in *Inbound) equal(text string, want []byte) bool {
	got, err := hex.DecodeString(text)
	if in.Encoding == encodingBase64 {
		got, err = base64.StdEncoding.Strict().DecodeString(text)
	}
	return err == nil && hmac.Equal(got, want)
}

// formType is the form in which GitHub can send JSON.
const formType = "application/x-www-form-urlencoded"

// unpack finds the type of the body. GitHub sends JSON as it is, or as the field of a form.
func (d *Delivery) unpack(kind, contentType string) error {
	media, _, err := mime.ParseMediaType(contentType)
	switch {
	case kind == KindParley, kind == KindGitHub && media == "application/json":
		d.Type = parley.JSON
	case kind == KindGitHub && media == formType:
		form, err := url.ParseQuery(string(d.Body))
		if err != nil || len(form["payload"]) != 1 {
			return parley.Errorf(parley.BadRequest, "the form has no payload")
		}
		d.Type, d.Body = parley.JSON, []byte(form.Get("payload"))
	case kind == KindGitHub:
		return parley.Errorf(parley.BadRequest, "%q is none of the types that GitHub sends", clip(contentType))
	case media == "application/json", strings.HasSuffix(media, "+json"):
		d.Type = parley.JSON
	case contentType == "", media == formType, strings.HasPrefix(media, "text/"):
		d.Type = parley.Text
	case err != nil:
		return parley.Errorf(parley.BadRequest, "%q is no Content-Type", clip(contentType))
	default:
		d.Type = parley.Binary
	}
	return nil
}

// identity is the id of a delivery. One that cannot be a message's becomes one.
func identity(header http.Header, name string) string {
	id := ""
	if name != "" {
		id = header.Get(name)
	}
	if id == "" || parley.CheckID(id) == nil {
		return id
	}
	hash := sha256.Sum256([]byte(id))
	return hex.EncodeToString(hash[:])
}

// part finds what the room's name ends with.
func (in *Inbound) part(header http.Header, d *Delivery) (string, error) {
	if in.RoomHeader != "" {
		if v := header.Get(in.RoomHeader); v != "" {
			return v, nil
		}
		return "", parley.Errorf(parley.BadRequest, "the header %s is missing", in.RoomHeader)
	}
	missing := parley.Errorf(parley.BadRequest, "the body has no text in %s", in.RoomField)
	if d.Type != parley.JSON {
		return "", missing
	}
	value := json.RawMessage(d.Body)
	for name := range strings.SplitSeq(in.RoomField, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(value, &object) != nil {
			return "", missing
		}
		value = object[name]
	}
	var text string
	if json.Unmarshal(value, &text) != nil || text == "" {
		return "", missing
	}
	return text, nil
}
