package ws

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// Codes of close frames (RFC 6455, section 7.4.1, and the registry that grew from it).
const (
	normal          ws.StatusCode = 1000
	protocolError   ws.StatusCode = 1002
	unsupportedData ws.StatusCode = 1003
	noCode          ws.StatusCode = 1005 // never sent: stands for a close frame without a code
	invalidPayload  ws.StatusCode = 1007
	policyViolation ws.StatusCode = 1008
	tooBig          ws.StatusCode = 1009
	serviceRestart  ws.StatusCode = 1012
)

// failure is why the server ends a connection, as its close frame says it.
type failure struct {
	code   ws.StatusCode
	reason string // at most 123 bytes
}

func (f *failure) Error() string { return fmt.Sprintf("close %d: %s", f.code, f.reason) }

// What a client can do wrong, beside what ws.CheckHeader finds.
var (
	errReserved   = &failure{protocolError, "a reserved bit is set"}
	errLength     = &failure{protocolError, "a length beyond 63 bits"}
	errCloseFrame = &failure{protocolError, "no valid close frame"}
	errReason     = &failure{invalidPayload, "the reason is not UTF-8"}
	errUTF8       = &failure{invalidPayload, "a text message is UTF-8"}
	errDeflate    = &failure{invalidPayload, "the message cannot be decompressed"}
	errBinary     = &failure{unsupportedData, "messages are text: one JSON object each"}
	errTooBig     = &failure{tooBig, "the message is over the limit"}
	errStranger   = &failure{tooBig, "the message is over the limit of who has not said who it is"}
	errUnended    = &failure{policyViolation, "a message was begun and not ended"}
)

// farewell is a client's close frame.
type farewell struct{ code ws.StatusCode }

func (f *farewell) Error() string { return fmt.Sprintf("the client closed with %d", f.code) }

// parseClose reads the payload of a close frame. It always gives an error: a *farewell, or what is
// wrong with it.
func parseClose(p []byte) error {
	if len(p) == 0 {
		return &farewell{noCode}
	}
	if len(p) == 1 {
		return errCloseFrame
	}
	code := ws.StatusCode(binary.BigEndian.Uint16(p))
	switch {
	case !mayBeSent(code):
		return errCloseFrame
	case !utf8.Valid(p[2:]):
		return errReason
	}
	return &farewell{code}
}

// mayBeSent says whether a code may stand in a close frame: those of the registry, but for the ones
// that stand for the absence of a frame, and those of libraries and applications.
func mayBeSent(code ws.StatusCode) bool {
	switch {
	case code >= 1000 && code <= 1003, code >= 1007 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

// closeFrame is a whole close frame.
func closeFrame(code ws.StatusCode, reason string) []byte {
	var body []byte
	if code != noCode {
		body = ws.NewCloseFrameBody(code, reason)
	}
	return ws.MustCompileFrame(ws.NewCloseFrame(body))
}
