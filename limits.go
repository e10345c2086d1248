package parley

import "time"

// Limits bound what one session may ask. They are announced in welcome.
type Limits struct {
	Message  int // bytes of a body, decoded
	Frame    int // bytes of an incoming JSON line or WebSocket message
	Inflight int // sends that are not acknowledged yet; beyond it the server stops reading
	Rooms    int // rooms a session may be in

	// Dedupe is how long a repeated id is known: within it, a send may be sent again.
	Dedupe time.Duration
}

// DefaultLimits are those of a server nobody has configured.
func DefaultLimits() Limits {
	return Limits{Message: 64 << 10, Frame: 256 << 10, Inflight: 256, Rooms: 64, Dedupe: 10 * time.Minute}
}

// Bounds of a page of history.
const (
	MaxPage      = 1000    // messages
	DefaultPage  = 50      // messages, where none is asked for
	MaxPageBytes = 1 << 20 // bytes of bodies; a page that reaches them ends early, and says there is more
)
