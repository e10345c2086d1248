package hooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"parley/auth"
)

// Bounds of an answer.
const (
	maxAnswer     = 64 << 10 // bytes that are read, for the connection to be used again
	maxAnswerHead = 64 << 10
	maxRetryAfter = time.Hour
	idleTime      = 30 * time.Second
	userAgent     = "Parley-Hook/1"
)

// target is the settings of a hook, ready to be used. It does not change.
type target struct {
	Out
	message, presence, room bool // events

	secret      []byte
	headers     http.Header
	authorities []byte
	letters     map[string]bool // rooms of dead letters, of all hooks
	client      *http.Client
}

// newTarget reads what the hook with an index needs. The error is a *Mistake.
func newTarget(i int, o Out) (*target, error) {
	wrong := func(key string, err error) error {
		return &Mistake{Path: fmt.Sprintf("hooks[%d]%s", i, key), Text: err.Error()}
	}
	t := &target{
		Out: o, headers: make(http.Header),
		message: slices.Contains(o.Events, EventMessage), presence: slices.Contains(o.Events, EventPresence), room: slices.Contains(o.Events, EventRoom),
	}
	var key string
	var err error
	if t.secret, key, err = readSecret(o.SecretFile, o.SecretEnv); err != nil {
		return nil, wrong(key, err)
	}
	t.headers.Set("User-Agent", userAgent)
	for n, h := range o.Headers {
		value := []byte(h.Value)
		if h.Value == "" {
			value, key, err = readText(h.ValueFile, h.ValueEnv, fmt.Sprintf(".headers[%d].value", n))
		}
		if err == nil && !validValue(string(value)) {
			err = errors.New("it has characters that a header cannot have")
		}
		if err != nil {
			return nil, wrong(key, err)
		}
		t.headers.Set(h.Name, string(value))
	}
	trust, err := readAuthorities(o.CAFile)
	if err != nil {
		return nil, wrong(".ca_file", err)
	}
	if o.CAFile != "" {
		t.authorities, _ = readFile(o.CAFile) // it was just read
	}
	t.client = &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			TLSClientConfig:        trust,
			ForceAttemptHTTP2:      true,
			DisableCompression:     true, // what it says is not looked at
			MaxIdleConnsPerHost:    o.Concurrency,
			MaxConnsPerHost:        o.Concurrency + 1, // one for presence
			IdleConnTimeout:        idleTime,
			MaxResponseHeaderBytes: maxAnswerHead,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return t, nil
}

func (t *target) close() { t.client.CloseIdleConnections() }

// ownRoom begins the names of the server's own rooms, which no client can name.
const ownRoom = "$"

// wants says whether the hook is for a room. Rooms of dead letters are only for one that names them: a
// pattern that stands for all rooms would make letters of letters.
func (t *target) wants(room string) bool {
	if strings.HasPrefix(room, ownRoom) {
		return false
	}
	return slices.ContainsFunc(t.Rooms, func(p auth.Pattern) bool {
		return p.Match(room) && (!t.letters[room] || p.String() == room)
	})
}

// fate is what becomes of a request.
type fate uint8

const (
	taken   fate = iota
	failed       // try again
	refused      // never again
	gone         // nothing any more
	cut          // by us
)

// verdict is what a try has come to.
type verdict struct {
	fate  fate
	why   string        // for people; nothing that is secret
	after time.Duration // the receiver asks for this pause; 0 = it does not say
}

// post tries once.
func (t *target) post(ctx context.Context, id string, body []byte) verdict {
	timed, cancel := context.WithTimeout(ctx, t.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(timed, http.MethodPost, t.URL, bytes.NewReader(body))
	if err != nil {
		return verdict{fate: refused, why: "the URL cannot be used"}
	}
	req.Header = t.headers.Clone()
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(headerHook, t.Name)
	req.Header.Set(headerID, id)
	req.Header.Set(headerSignature, Sign(t.secret, time.Now(), body))
	resp, err := t.client.Do(req)
	switch {
	case err != nil && ctx.Err() != nil:
		return verdict{fate: cut}
	case err != nil:
		return verdict{fate: failed, why: t.reason(err)}
	}
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer) // what it says is not looked at
	_ = resp.Body.Close()
	return judge(resp, time.Now())
}

// reason says why no answer came. The URL, which may hold a secret, is left out.
func (t *target) reason(err error) string {
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %v", t.Timeout)
	}
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	return err.Error()
}

// judge says what an answer means.
func judge(resp *http.Response, now time.Time) verdict {
	v := verdict{fate: failed, why: fmt.Sprintf("answered %d %s", resp.StatusCode, http.StatusText(resp.StatusCode))}
	switch code := resp.StatusCode; {
	case code >= 200 && code < 300:
		v.fate = taken
	case code == http.StatusGone:
		v.fate = gone
	case code == http.StatusTooManyRequests, code == http.StatusServiceUnavailable:
		v.after = retryAfter(resp.Header.Get("Retry-After"), now)
	case code == http.StatusRequestTimeout, code == http.StatusTooEarly:
	case code >= 400 && code < 500:
		v.fate = refused
	case code >= 300 && code < 400:
		v.why += ", a redirect, which is not followed"
	}
	return v
}

// retryAfter reads a Retry-After: seconds, or a date.
func retryAfter(text string, now time.Time) time.Duration {
	if text == "" {
		return 0
	}
	if n, err := strconv.ParseUint(text, 10, 32); err == nil {
		return min(time.Duration(n)*time.Second, maxRetryAfter)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), maxRetryAfter)
	}
	return 0
}
