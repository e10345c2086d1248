package work

import (
	"sort"

	"parley"
)

// maxInbox bounds what of its room's messages a group has in memory to be copied, in bytes of bodies and
// messages. What is more is read from the log.
const maxInbox = 2 << 20

// inbox is what the room's tail has brought and the group has not copied: so that a group keeps up with a
// room that is faster than the log can be read. Guarded by the group's mu.
type inbox struct {
	open  bool
	front uint64 // every message with a greater seq is in the list, or has yet to come
	list  []*parley.Message
	bytes int
}

// begin says where the tail began: what comes is behind last. Some may have come already.
func (in *inbox) begin(last uint64) {
	in.open, in.front = true, max(in.front, last)
	in.behind(last)
}

// add takes what the tail brings. Where there is too much the list begins anew.
func (in *inbox) add(batch []*parley.Message) {
	for _, m := range batch {
		last := in.last()
		if m.Seq <= last {
			continue
		}
		if m.Prev > last || in.bytes+len(m.Body)+messageCost > maxInbox {
			*in = inbox{open: in.open, front: max(m.Prev, last)}
		}
		in.list = append(in.list, m)
		in.bytes += len(m.Body) + messageCost
	}
}

// last is the seq of the newest message that has come.
func (in *inbox) last() uint64 {
	if n := len(in.list); n > 0 {
		return in.list[n-1].Seq
	}
	return in.front
}

// behind gives the messages behind seq, if they are all here, and forgets those in front of them.
func (in *inbox) behind(seq uint64) ([]*parley.Message, bool) {
	if !in.open || in.front > seq {
		return nil, false
	}
	n := sort.Search(len(in.list), func(i int) bool { return in.list[i].Seq > seq })
	for i, m := range in.list[:n] {
		in.bytes -= len(m.Body) + messageCost
		in.list[i] = nil
	}
	in.list, in.front = in.list[n:], seq
	if len(in.list) == 0 {
		in.list = nil
	}
	return in.list, true
}
