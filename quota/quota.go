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
	operations          pace
}

// slow is the slow mode of the rooms that fit a pattern.
type slow struct {
	rooms auth.Pattern
	every time.Duration
}

// New makes a quota. The error is that of Prepare.
func New(l parley.Limits) (*Quota, error) {
	q := &Quota{most: mostConnections(), parties: newParties(), rooms: newRooms(), clocks: newClocks()}
	apply, err := q.Prepare(l)
	if err != nil {
		return nil, err
	}
	apply()
	return q, nil
}

// Prepare gives what puts other limits into force, for those who are connected too; the error is that of
// a pattern of Slow. What clients have is not taken away: who has more connections or rooms than is
// allowed then keeps them.
func (q *Quota) Prepare(l parley.Limits) (apply func(), err error) {
	s := &settings{
		all: l, connections: int64(l.Connections), signals: paceOf(l.SignalsPerSecond, 0),
		far: terms{
			perAddress: l.ConnectionsPerAddress, perUser: l.ConnectionsPerUser,
			connects: paceOf(l.ConnectsPerSecond, 0), logins: paceOf(l.RefusedLoginsPerSecond, 0),
			sends: paceOf(l.SendsPerSecond, l.SendsBurst), userSends: paceOf(l.UserSendsPerSecond, l.UserSendsBurst),
			joins: paceOf(l.JoinsPerSecond, 0), history: paceOf(l.HistoryPerSecond, 0),
			operations: paceOf(l.OperationsPerSecond, 0),
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
			return nil, fmt.Errorf("slow[%d]: %w", i, err)
		}
		s.slow = append(s.slow, slow{rooms: p, every: r.Every})
	}
	return func() {
		q.settings.Store(s)
		if l.RoomsInAll > 0 || l.RoomsPerUser > 0 {
			q.rooms.want()
		}
	}, nil
}

// Limits are those in force. They never change: others are others.
func (q *Quota) Limits() *parley.Limits { return &q.settings.Load().all }

// Slow says whether there are rooms in slow mode.
func (q *Quota) Slow() bool { return q != nil && len(q.settings.Load().slow) > 0 }
