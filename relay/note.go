package relay

import (
	"time"

	"parley"
	"parley/work"
)

// note is what nodes tell each other. Fields that a node does not know it ignores.
type note struct {
	Kind string `json:"kind"`
	Life string `json:"life"` // of the sender's run

	Parts []int `json:"parts,omitempty"` // of beat: those that the node keeps

	ID uint64 `json:"id,omitempty"` // of a call, and of its answer

	// Of calls.
	Room     string         `json:"room,omitempty"`
	Group    string         `json:"group,omitempty"`
	Job      string         `json:"job,omitempty"`
	Reason   string         `json:"reason,omitempty"`
	Prefetch int            `json:"prefetch,omitempty"`
	Parallel int            `json:"parallel,omitempty"`
	Tries    int            `json:"tries,omitempty"`
	Time     time.Duration  `json:"time,omitempty"` // a deadline, or more time
	Delay    *time.Duration `json:"delay,omitempty"`
	After    *uint64        `json:"after,omitempty"` // behind which message a group begins
	Holds    []string       `json:"holds,omitempty"` // jobs that the worker holds, in the order given
	Stopped  bool           `json:"stopped,omitempty"`
	Letter   uint64         `json:"letter,omitempty"` // a dead one

	// A worker's place, and which one of those that it has had.
	Taker uint64 `json:"taker,omitempty"`
	Try   uint64 `json:"try,omitempty"`

	Seats []seatName `json:"seats,omitempty"` // of here and over

	Given *parley.Job `json:"given,omitempty"` // of job

	// Of answers.
	Seq     uint64           `json:"seq,omitempty"`
	Code    parley.Code      `json:"code,omitempty"`
	Message string           `json:"message,omitempty"`
	Again   bool             `json:"again,omitempty"`  // not done: ask again, here or elsewhere
	Unsure  bool             `json:"unsure,omitempty"` // it may have been done
	Begin   bool             `json:"begin,omitempty"`  // the group is not there: say where it begins
	Before  bool             `json:"before,omitempty"` // it was done already when it was asked for
	Groups  []work.GroupInfo `json:"groups,omitempty"`
}

// seatName names a worker's place.
type seatName struct {
	Taker uint64 `json:"taker"`
	Try   uint64 `json:"try"`
}

// Kinds of notes. To all:
const (
	noteBeat = "beat" // this node is there, and keeps these parts
	noteBye  = "bye"
)

// To one node:
const (
	noteAnswer = "answer"
	noteJob    = "job"   // for a worker
	noteOver   = "over"  // these workers have no place here
	noteLater  = "later" // there is more to be sent later

	noteHere  = "here"  // all workers of the sender that have a place with the other node
	noteLeave = "leave" // a worker is gone

	callTake    = "take"
	callChange  = "change"
	callStop    = "stop"
	callDone    = "done"
	callRetry   = "retry"
	callFail    = "fail"
	callBusy    = "busy"
	callRelease = "release"
	callPutBack = "put back"
	callGroups  = "groups"
	callRemove  = "remove"
)
