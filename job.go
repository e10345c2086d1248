package parley

import "time"

// Job is a message that one worker of a group must finish. It is shared like its message.
type Job struct {
	*Message
	Group    string
	Job      string        // names this try of the job: group.seq.try
	Tries    int           // how often it was given out, this time included: 1 is the first
	Deadline time.Duration // within which it must be finished, or it is given to another
}
