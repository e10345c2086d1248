package hooks

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"strconv"
	"strings"
	"time"
)

// Headers of what a hook posts.
const (
	headerHook      = "Parley-Hook"      // the hook's name
	headerID        = "Parley-Id"        // the same each time that the same is posted
	headerSignature = "Parley-Signature" // t=…,v1=…
)

// sum is the HMAC-SHA256 of the parts, one behind the other.
func sum(secret []byte, parts ...[]byte) []byte {
	mac := hmac.New(sha256.New, secret)
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}

// Sign gives the Parley-Signature of a body that is posted at a time: t is that in seconds since 1970,
// v1 the HMAC-SHA256, in hexadecimal digits, of t, a dot and the body.
func Sign(secret []byte, at time.Time, body []byte) string {
	t := strconv.FormatInt(at.Unix(), 10)
	return "t=" + t + ",v1=" + hex.EncodeToString(sum(secret, []byte(t+"."), body))
}

// stamped is a signature with a time, as it came.
type stamped struct {
	stamp string // as it was signed
	at    time.Time
	sums  []string // any of them may be right: a sender that changes its secret signs with both
}

// Bounds of a signature with a time.
const (
	maxStamped = 1024 // bytes
	maxSums    = 4
)

var errStamped = errors.New("the signature is not of the form t=…,v1=…")

// parseStamped reads t=…,v1=…; parts of other names are left aside.
func parseStamped(s string) (stamped, error) {
	var out stamped
	if len(s) > maxStamped {
		return out, errStamped
	}
	for part := range strings.SplitSeq(s, ",") {
		name, value, ok := strings.Cut(strings.Trim(part, " \t"), "=")
		switch {
		case !ok || value == "":
			return stamped{}, errStamped
		case name == "t":
			seconds, err := strconv.ParseUint(value, 10, 40)
			if err != nil || out.stamp != "" {
				return stamped{}, errStamped
			}
			out.stamp, out.at = value, time.Unix(int64(seconds), 0)
		case name == "v1":
			if out.sums = append(out.sums, value); len(out.sums) > maxSums {
				return stamped{}, errStamped
			}
		}
	}
	if out.stamp == "" || len(out.sums) == 0 {
		return stamped{}, errStamped
	}
	return out, nil
}
