package bench

import (
	"context"
	"strings"
)

// maxRooms is how many names the numbers of rooms have.
const maxRooms = 100_000

// followed is what the receivers join: the room, or a pattern of all the rooms.
func (r *fanoutRun) followed() string {
	if r.Rooms == 0 {
		return r.room
	}
	return r.room[:strings.LastIndexByte(r.room, '.')] + ".*"
}

// Pattern runs a fan-out to members of a pattern, over many rooms, beside the same to members of one room, and prints
// both and the ratio. Their cursor frames are not counted as messages, but cost.
func (s *Setup) Pattern(ctx context.Context, f Fanout) error {
	f.Encoding = "json"
	rows, err := s.rows(ctx, f)
	if err != nil {
		return err
	}
	rows[0].Peer = "pattern"
	f.Rooms = 0
	plain, err := s.rows(ctx, f)
	if err != nil {
		return err
	}
	plain[0].Peer = "room"
	rows = append(rows, plain...)
	return s.print(append(rows, ratios(rows)...))
}
