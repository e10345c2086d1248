package parley

import "time"

// Question is what somebody asks those who serve a room. It is not stored.
type Question struct {
	Room    string
	ID      string // names it to those who answer
	From    string
	Type    Type
	Body    []byte
	Timeout time.Duration // from when it was asked
}

// Answer is what one of them says.
type Answer struct {
	From string
	Type Type
	Body []byte
}
