package quota

import (
	"time"

	"parley"
)

// Limit is one of the limits, as counters know it.
type Limit uint8

// The limits. Those that are met elsewhere are counted by [Quota.Count].
const (
	Connections Limit = iota
	ConnectionsPerAddress
	ConnectionsPerUser
	Connects
	RefusedLogins
	Handshake
	Frame
	Message
	Inflight
	RoomsPerSession
	Sends
	UserSends
	Joins
	History
	Signals
	Operations
	RoomsPerUser
	Rooms
	Page
	SlowMode
	limits // how many there are
)

// names are the keys of the configuration, more or less.
var names = [limits]string{
	Connections: "connections", ConnectionsPerAddress: "connections_per_address", ConnectionsPerUser: "connections_per_user",
	Connects: "connects", RefusedLogins: "refused_logins", Handshake: "handshake",
	Frame: "frame", Message: "message", Inflight: "inflight", RoomsPerSession: "rooms_per_session",
	Sends: "sends", UserSends: "user_sends", Joins: "joins", History: "history", Signals: "signals", Operations: "operations",
	RoomsPerUser: "rooms_per_user", Rooms: "rooms", Page: "page", SlowMode: "slow",
}

// String gives the limit's name in metrics.
func (l Limit) String() string { return names[l] }

// Count counts that a limit was met.
func (q *Quota) Count(l Limit) {
	if q != nil {
		q.met[l].Add(1)
	}
}

// Met is how often each limit was met since the start.
func (q *Quota) Met() map[Limit]int64 {
	m := make(map[Limit]int64, limits)
	for l := range limits {
		m[l] = q.met[l].Load()
	}
	return m
}

// refuse counts that a limit was met and makes the error that says so. After retry the client may
// try again; 0 = that would be of no use.
func (q *Quota) refuse(l Limit, retry time.Duration, code parley.Code, format string, args ...any) error {
	q.Count(l)
	e := parley.Errorf(code, format, args...)
	e.Retry = retry
	return e
}
