package history

import (
	"fmt"
	"slices"
	"strings"
)

// Judge finds what is wrong in a history, whatever faults are in it:
//
//   - no acknowledged message is lost, none is stored twice, none is stored that was refused or
//     that nobody has sent, each is stored at the seq it was acknowledged with;
//   - what one session sends is stored in the order it was sent;
//   - every session of a reader shows the room's messages behind its position, all of them, in the
//     one order, each with the right prev, and nothing that the room does not hold in the end;
//   - all nodes hold the same, and show the members that there are;
//   - nothing was written down that is trouble by itself, as a node that ended unasked.
func Judge(events []Event) (wrong []string) {
	j := &judgement{
		rooms: map[string]*roomTruth{}, tries: map[string]Event{}, sent: map[string]Event{}, acks: map[string]Event{},
		unknown: map[string]bool{}, open: map[string]bool{}, sessions: map[string]*readerSession{},
	}
	for _, e := range events { // what the rooms hold comes last, and is needed first
		if e.Op == "final" && e.Type == "ok" {
			j.final(e)
		}
	}
	for _, e := range events {
		switch {
		case e.Op == "publish":
			j.publish(e)
		case e.Op == "sub" && e.Type == "ok":
			j.sessions[e.Sess] = j.begin(e)
		case e.Op == "recv":
			j.recv(e)
		case e.Op == "gap":
			j.blame("%s was told of a gap in %s behind %d", e.Sess, e.Room, e.Seq)
		case e.Op == "close" && e.CaughtUp != nil && *e.CaughtUp:
			j.caughtUp(e)
		case e.Op == "members":
			j.members(e)
		case e.Op == "trouble":
			j.blame("%s: %s", e.Node, e.Reason)
		}
	}
	j.stored()
	j.sendersOrder(events)
	return j.wrong
}

type judgement struct {
	wrong    []string
	rooms    map[string]*roomTruth
	tries    map[string]Event // publishes invoked, by id
	sent     map[string]Event // the same, by msg
	acks     map[string]Event // by msg
	unknown  map[string]bool  // msgs of which a try may have been stored
	open     map[string]bool  // tries without an outcome, by id
	sessions map[string]*readerSession
}

// roomTruth is what a room holds in the end.
type roomTruth struct {
	node  string // who said so first
	items []Item
	at    map[string]int // index by msg
}

// readerSession is one reader in one room on one connection.
type readerSession struct {
	room *roomTruth
	next int // index of the item that must come next; -1 = the first that comes says it
	lost bool
}

const mostBlame = 20

func (j *judgement) blame(format string, args ...any) {
	if len(j.wrong) < mostBlame {
		j.wrong = append(j.wrong, fmt.Sprintf(format, args...))
	}
}

func (j *judgement) final(e Event) {
	if first := j.rooms[e.Room]; first != nil {
		j.same(first, e)
		return
	}
	r := &roomTruth{node: e.Node, items: e.Items, at: map[string]int{}}
	for i, it := range e.Items {
		if i > 0 && it.Seq <= e.Items[i-1].Seq {
			j.blame("%s: seq %d comes behind %d", e.Room, it.Seq, e.Items[i-1].Seq)
		}
		if first, twice := r.at[it.Msg]; twice {
			j.blame("%s: %s is stored twice, at %d and %d", e.Room, it.Msg, e.Items[first].Seq, it.Seq)
		}
		r.at[it.Msg] = i
	}
	j.rooms[e.Room] = r
}

// same compares what another node holds.
func (j *judgement) same(first *roomTruth, e Event) {
	for i := range min(len(first.items), len(e.Items)) {
		if a, b := first.items[i], e.Items[i]; a != b {
			j.blame("%s: message %d is %s (seq %d) at %s and %s (seq %d) at %s", e.Room, i, a.Msg, a.Seq, first.node, b.Msg, b.Seq, e.Node)
			return
		}
	}
	if a, b := len(first.items), len(e.Items); a != b {
		j.blame("%s holds %d messages at %s and %d at %s", e.Room, a, first.node, b, e.Node)
	}
}

func (j *judgement) publish(e Event) {
	try := j.tries[e.ID]
	switch e.Type {
	case "invoke":
		j.tries[e.ID], j.sent[e.Msg] = e, e
		j.open[e.ID] = true
	case "ok":
		if before, again := j.acks[try.Msg]; again && before.Seq != e.Seq {
			j.blame("%s was acknowledged with seq %d and then with %d", try.Msg, before.Seq, e.Seq)
		}
		e.Msg, e.Room = try.Msg, try.Room
		j.acks[try.Msg] = e
		delete(j.open, e.ID)
	case "fail":
		delete(j.open, e.ID)
	case "info":
		j.unknown[try.Msg] = true
	}
}

func (j *judgement) begin(e Event) *readerSession {
	r := j.rooms[e.Room]
	if r == nil {
		r = &roomTruth{}
	}
	if e.From == nil {
		return &readerSession{room: r, next: -1}
	}
	next := 0
	for next < len(r.items) && r.items[next].Seq <= *e.From {
		next++
	}
	return &readerSession{room: r, next: next}
}

// recv takes a message that a reader was shown. Plain lines bear no seq.
func (j *judgement) recv(e Event) {
	s := j.sessions[e.Sess]
	if s == nil || s.lost {
		return
	}
	if first, ok := s.room.at[e.Msg]; s.next < 0 && ok {
		s.next = first
	}
	if s.next < 0 || s.next >= len(s.room.items) {
		j.blame("%s was shown %s (seq %d), which %s does not hold in the end", e.Sess, e.Msg, e.Seq, e.Room)
		s.lost = true
		return
	}
	want, prev := s.room.items[s.next], uint64(0)
	if s.next > 0 {
		prev = s.room.items[s.next-1].Seq
	}
	if (e.Seq != want.Seq && e.Seq != 0) || e.Msg != want.Msg || e.Hash != want.Hash {
		j.blame("%s in %s: got %s (seq %d, %s), want %s (seq %d, %s)", e.Sess, e.Room, e.Msg, e.Seq, e.Hash, want.Msg, want.Seq, want.Hash)
		s.lost = true
	}
	if e.Prev != nil && *e.Prev != prev {
		j.blame("%s in %s: the prev of %s (seq %d) is %d, want %d", e.Sess, e.Room, e.Msg, e.Seq, *e.Prev, prev)
	}
	s.next++
}

func (j *judgement) caughtUp(e Event) {
	if s := j.sessions[e.Sess]; s != nil && !s.lost && s.next >= 0 && s.next < len(s.room.items) {
		j.blame("%s has not read %d messages of %s, from %s", e.Sess, len(s.room.items)-s.next, e.Room, s.room.items[s.next].Msg)
	}
}

func (j *judgement) members(e Event) {
	users, want := slices.Sorted(slices.Values(e.Users)), slices.Sorted(slices.Values(e.Want))
	if !slices.Equal(users, want) {
		j.blame("%s shows in %s: %s; there are: %s", e.Node, e.Room, strings.Join(users, " "), strings.Join(want, " "))
	}
}

// stored compares what was sent with what the rooms hold.
func (j *judgement) stored() {
	for id := range j.open { // the history ends on it: it may have been stored
		j.unknown[j.tries[id].Msg] = true
	}
	for msg, ack := range j.acks {
		r := j.rooms[ack.Room]
		if r == nil {
			continue // its room could not be read
		}
		if i, ok := r.at[msg]; !ok {
			j.blame("%s was acknowledged (seq %d in %s) and is lost", msg, ack.Seq, ack.Room)
		} else if r.items[i].Seq != ack.Seq {
			j.blame("%s was acknowledged with seq %d and is stored at %d", msg, ack.Seq, r.items[i].Seq)
		}
	}
	for name, r := range j.rooms {
		for _, it := range r.items {
			sent, ok := j.sent[it.Msg]
			_, acked := j.acks[it.Msg]
			switch {
			case !ok || sent.Room != name:
				j.blame("%s holds %s, which nobody has sent there", name, it.Msg)
			case sent.Hash != it.Hash:
				j.blame("%s: the body of %s is another", name, it.Msg)
			case !acked && !j.unknown[it.Msg]:
				j.blame("%s holds %s, which was refused", name, it.Msg)
			}
		}
	}
}

// sendersOrder compares the seqs of what was sent over one connection with the order it was sent
// in. What the room held already, from before, has its own place.
func (j *judgement) sendersOrder(events []Event) {
	acked := make(map[string]Event) // by id
	for _, e := range events {
		if e.Op == "publish" && e.Type == "ok" && !e.Dup {
			acked[e.ID] = e
		}
	}
	type stretch struct{ sess, room string }
	last := make(map[stretch]Event)
	for _, e := range events {
		ack, ok := acked[e.ID]
		if e.Op != "publish" || e.Type != "invoke" || e.Sess == "" || !ok {
			continue
		}
		at := stretch{e.Sess, e.Room}
		if before := last[at]; before.Seq > ack.Seq {
			j.blame("%s sent %s (seq %d) before %s (seq %d)", e.Sess, before.Msg, before.Seq, e.Msg, ack.Seq)
		}
		ack.Msg = e.Msg
		last[at] = ack
	}
}
