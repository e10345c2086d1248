package quota

import (
	"fmt"
	"sync/atomic"
	"time"

	"parley"
	"parley/auth"
)

// Quota is what all accounts of a server share. Its methods may be called by any goroutine. Of a nil
// Quota all accounts are nil, and nothing is limited.
type Quota struct {
	settings atomic.Pointer[settings]
	most     int64 // connections that the process can have open; 0 = not known
	open     atomic.Int64

	parties *parties
	rooms   *rooms
	clocks  *clocks
	met     [limits]atomic.Int64
}

// settings is the limits in force. It never changes: other limits are other settings.
type settings struct {
	all         parley.Limits
	connections int64
	signals     pace
	slow        []slow
	far, near   terms // of clients from elsewhere, and of this machine's
}

// terms are the limits that differ between clients.
type terms struct {
	perAddress, perUser int // connections
	connects, logins    pace
	sends, userSends    pace
	joins, history      pace
}

// slow is the slow mode of the rooms that fit a pattern.
type slow struct {
	rooms auth.Pattern
	every time.Duration
}

// New makes a quota. An error is that of Apply.
func New(l parley.Limits) (*Quota, error) {
	q := &Quota{most: mostConnections(), parties: newParties(), rooms: newRooms(), clocks: newClocks()}
	return q, q.Apply(l)
}

// Apply puts other limits into force, for those who are connected too; after an error nothing has
// changed. What clients have is not taken away: who has more connections or rooms than is allowed now
// keeps them.
func (q *Quota) Apply(l parley.Limits) error {
	s := &settings{
		all: l, connections: int64(l.Connections), signals: paceOf(l.SignalsPerSecond, 0),
		far: terms{
			perAddress: l.ConnectionsPerAddress, perUser: l.ConnectionsPerUser,
			connects: paceOf(l.ConnectsPerSecond, 0), logins: paceOf(l.RefusedLoginsPerSecond, 0),
			sends: paceOf(l.SendsPerSecond, l.SendsBurst), userSends: paceOf(l.UserSendsPerSecond, l.UserSendsBurst),
			joins: paceOf(l.JoinsPerSecond, 0), history: paceOf(l.HistoryPerSecond, 0),
		},
	}
	if l.Loopback {
		s.near = s.far
	}
	if q.most > 0 && (s.connections == 0 || s.connections > q.most) {
		s.connections = q.most
	}
	for i, r := range l.Slow {
		p, err := auth.ParsePattern(r.Rooms)
		if err != nil {
			return fmt.Errorf("slow[%d]: %w", i, err)
		}
		s.slow = append(s.slow, slow{rooms: p, every: r.Every})
	}
	q.settings.Store(s)
	if l.RoomsInAll > 0 || l.RoomsPerUser > 0 {
		q.rooms.want()
	}
	return nil
}

// Limits are those in force.
func (q *Quota) Limits() parley.Limits { return q.settings.Load().all }
