package parley

import (
	"errors"
	"fmt"
	"time"
)

// Code is an error's name for machines, as it stands on the wire.
type Code string

// The codes a client can meet.
const (
	BadRequest   Code = "bad_request"
	Unauthorized Code = "unauthorized"
	Denied       Code = "denied"
	NotFound     Code = "not_found"
	TooLarge     Code = "too_large"
	RateLimited  Code = "rate_limited"
	Conflict     Code = "conflict"
	Unavailable  Code = "unavailable"
	NoResponders Code = "no_responders"
	Timeout      Code = "timeout"
	Internal     Code = "internal"
)

// Error is the only error that crosses the wire: Code for machines, Message for people. The cause
// is for our log alone.
type Error struct {
	Code    Code
	Message string
	Retry   time.Duration // when to try again; 0 = no hint
	Servers []string      // where to go instead of the server that says it; nil = it knows of none
	cause   error
}

// Error gives the code, the sentence and, for our log, the cause.
func (e *Error) Error() string {
	if e.cause != nil {
		return fmt.Sprintf("%s: %s: %v", e.Code, e.Message, e.cause)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

// Unwrap gives the hidden cause.
func (e *Error) Unwrap() error { return e.cause }

// Because returns a copy of e with the cause behind it.
func (e *Error) Because(cause error) *Error {
	c := *e
	c.cause = cause
	return &c
}

// Errorf makes an Error with a sentence for people.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// AsError finds the Error in err's chain. One that has none is internal: its text may hold what
// is nobody's business, so it becomes the cause and people read a plain sentence.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return Errorf(Internal, "something went wrong on the server").Because(err)
}
