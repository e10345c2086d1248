package parley

import "time"

// Limits bound what clients may ask. The first four and Dedupe are announced in welcome. Where it says
// so, 0 is no limit; the others are at least 1.
type Limits struct {
	// Of a session.
	Message  int `yaml:"message" as:"size"` // bytes of a body, decoded
	Frame    int `yaml:"frame" as:"size"`   // bytes of an incoming JSON line or WebSocket message
	Inflight int `yaml:"inflight"`          // sends that are not acknowledged yet; beyond it the server stops reading
	Rooms    int `yaml:"rooms_per_session"` // rooms a session may be in

	// Dedupe is how long a repeated id is known: within it, a send may be sent again.
	Dedupe time.Duration `yaml:"-"`

	// Connections. Handshake is how long a connection may take to become a session: TLS, the upgrade,
	// a first line begun, and hello where nobody may do anything without. 0 = no limit.
	Connections           int           `yaml:"connections"`
	ConnectionsPerAddress int           `yaml:"connections_per_address"` // an IPv4 address or an IPv6 /64
	ConnectionsPerUser    int           `yaml:"connections_per_user"`
	Handshake             time.Duration `yaml:"handshake"`

	// Of an address: new connections, and logins that are refused. Beyond the latter none is tried.
	ConnectsPerSecond      int `yaml:"connects_per_second"`
	RefusedLoginsPerSecond int `yaml:"refused_logins_per_second"`

	// Rates, in events a second in the long run, and bursts, in events at once after a rest. A rate
	// without a burst of its own allows [BurstSeconds] of it at once. 0 = no limit.
	SendsPerSecond     int `yaml:"sends_per_second"` // of a session
	SendsBurst         int `yaml:"sends_burst"`
	UserSendsPerSecond int `yaml:"user_sends_per_second"` // of all sessions of a user
	UserSendsBurst     int `yaml:"user_sends_burst"`
	JoinsPerSecond     int `yaml:"joins_per_second"`   // of a session; all of a user have four times as many
	HistoryPerSecond   int `yaml:"history_per_second"` // likewise, pages of DefaultPage messages: larger ones count for several
	SignalsPerSecond   int `yaml:"signals_per_second"` // of a session

	// Operations of any kind, good or bad, of a session, and requests of an address; all sessions of a
	// user have four times as many. What is beyond is not refused: it is read slower.
	OperationsPerSecond int `yaml:"operations_per_second"`

	RoomsPerUser int `yaml:"rooms_per_user"` // rooms a user may create, on this machine too; 0 = no limit
	RoomsInAll   int `yaml:"rooms"`          // rooms there may be; 0 = no limit
	Page         int `yaml:"page"`           // messages of the largest page of history, at most MaxPage

	// Lag is how many bytes a session may be behind in a room and still be served from memory. One
	// that is further behind is parked: it reads the log, at the pace of its socket.
	Lag int `yaml:"lag" as:"size"`

	Slow []Slow `yaml:"slow"` // slow mode; the first pattern that fits a room counts

	// Loopback has the limits per address and user and all rates hold for this machine's own clients
	// too, which are let alone otherwise.
	Loopback bool `yaml:"loopback"`
}

// Slow is slow mode: in rooms that fit a pattern (as in a grant), a user may send once in so long.
type Slow struct {
	Rooms string        `yaml:"rooms"`
	Every time.Duration `yaml:"every"`
}

// BurstSeconds is how many seconds' worth of a rate may come at once, after a rest.
const BurstSeconds = 5

// DefaultLimits are those of a server nobody has configured. They let a person, an office behind one
// address and a busy service be, and bound what one hostile client can take.
func DefaultLimits() Limits {
	return Limits{
		Message: 64 << 10, Frame: 256 << 10, Inflight: 256, Rooms: 64, Dedupe: 10 * time.Minute,

		Connections: 100_000, ConnectionsPerAddress: 256, ConnectionsPerUser: 64, Handshake: 10 * time.Second,
		ConnectsPerSecond: 100, RefusedLoginsPerSecond: 5,

		SendsPerSecond: 100, SendsBurst: 1000, UserSendsPerSecond: 200, UserSendsBurst: 2000,
		JoinsPerSecond: 20, HistoryPerSecond: 40, SignalsPerSecond: 50, OperationsPerSecond: 500,

		RoomsPerUser: 20_000, RoomsInAll: 200_000, Page: MaxPage, Lag: 4 << 20,
	}
}

// Bounds of a page of history.
const (
	MaxPage      = 1000    // messages
	DefaultPage  = 50      // messages, where none is asked for
	MaxPageBytes = 1 << 20 // bytes of bodies; a page that reaches them ends early, and says there is more
)
