package wire

import (
	"strconv"
	"time"

	"parley"
)

// Bounds of what a worker may ask for.
const (
	MaxPrefetch     = 256 // jobs that one session holds of a group
	MaxTries        = 1000
	DefaultTries    = 5
	MinDeadline     = 100 * time.Millisecond
	MaxDeadline     = 24 * time.Hour
	DefaultDeadline = 30 * time.Second
	MaxDelay        = 366 * 24 * time.Hour
	MaxReason       = 1024 // bytes
	MaxKey          = 128  // bytes
	MaxPriority     = 9
	maxJob          = 1024 // bytes of a job's name
)

// parseForWork reads what a send says to workers.
func parseForWork(op *Op, obj *object) (err error) {
	if obj.get("key") != nil {
		if op.JobKey, err = obj.str("key"); err != nil {
			return err
		}
		if op.JobKey == "" || len(op.JobKey) > MaxKey {
			return parley.Errorf(parley.BadRequest, `"key" has 1 to %d bytes`, MaxKey)
		}
	}
	if obj.get("priority") != nil {
		if op.Priority, err = strconv.Atoi(string(obj.get("priority"))); err != nil || op.Priority < 0 || op.Priority > MaxPriority {
			return parley.Errorf(parley.BadRequest, `"priority" is a whole number from 0 to %d`, MaxPriority)
		}
	}
	if obj.get("ttl") != nil {
		if op.TTL, err = obj.duration("ttl", time.Millisecond, MaxDelay); err != nil {
			return err
		}
	}
	return parseDue(op, obj, time.Now())
}

// parseDue reads when a message is to be sent.
func parseDue(op *Op, obj *object, now time.Time) error {
	at, delay := obj.get("due"), obj.get("delay")
	switch {
	case at != nil && delay != nil:
		return parley.Errorf(parley.BadRequest, `either "due" or "delay"`)
	case delay != nil:
		d, err := obj.duration("delay", 0, MaxDelay)
		if d > 0 {
			op.Due = now.Add(d)
		}
		return err
	case at == nil:
		return nil
	}
	s, err := obj.str("due")
	if err != nil {
		return err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil || t.Sub(now) > MaxDelay {
		return parley.Errorf(parley.BadRequest, `"due" is an RFC 3339 time at most %d days away, not %q`, int(MaxDelay.Hours())/24, clip(s))
	}
	if t.After(now) {
		op.Due = t.UTC()
	}
	return nil
}

func parseTake(op *Op, obj *object) error {
	err := parseStop(op, obj)
	if err == nil && op.Group == "" {
		err = parley.Errorf(parley.BadRequest, `a "group" is missing`)
	}
	if err == nil {
		err = parseStart(op, obj)
	}
	if err != nil {
		return err
	}
	op.Prefetch, op.Tries, op.Deadline = 1, DefaultTries, DefaultDeadline
	if obj.get("prefetch") != nil {
		if op.Prefetch, err = obj.count("prefetch", MaxPrefetch); err != nil {
			return err
		}
	}
	if obj.get("parallel") != nil {
		if op.Parallel, err = obj.count("parallel", MaxPrefetch); err != nil {
			return err
		}
	}
	if obj.get("tries") != nil {
		if op.Tries, err = obj.count("tries", MaxTries); err != nil {
			return err
		}
	}
	if obj.get("deadline") != nil {
		op.Deadline, err = obj.duration("deadline", MinDeadline, MaxDeadline)
	}
	return err
}

func parseStop(op *Op, obj *object) (err error) {
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	op.Group, err = obj.name("group")
	return err
}

func parseJob(op *Op, obj *object) (err error) {
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	op.Job, err = obj.str("job")
	if err == nil && (op.Job == "" || len(op.Job) > maxJob) {
		err = parley.Errorf(parley.BadRequest, `"job" is what a job frame says`)
	}
	return err
}

// parseDone reads what is finished: a job, or what a reader has read.
func parseDone(op *Op, obj *object) (err error) {
	if obj.get("job") != nil {
		return parseJob(op, obj)
	}
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	if op.Seq, err = obj.seq("seq"); err != nil {
		return err
	}
	if op.Seq == nil {
		return parley.Errorf(parley.BadRequest, `a done needs a "job", or the "seq" that a reader has read`)
	}
	op.Reader, err = obj.name("reader")
	return err
}

// parseRetry reads what is to be tried again: a job, or a dead letter.
func parseRetry(op *Op, obj *object) error {
	if obj.get("letter") != nil {
		if obj.get("job") != nil {
			return parley.Errorf(parley.BadRequest, `either "job" or "letter"`)
		}
		return parseLetter(op, obj)
	}
	if err := parseFail(op, obj); err != nil {
		return err
	}
	if obj.get("delay") == nil {
		return nil
	}
	delay, err := obj.duration("delay", 0, MaxDelay)
	op.Delay = &delay
	return err
}

func parseLetter(op *Op, obj *object) error {
	if err := parseRoom(op, obj); err != nil {
		return err
	}
	seq, err := obj.seq("letter")
	if err == nil && *seq == 0 {
		err = parley.Errorf(parley.BadRequest, `"letter" is the seq of a dead letter`)
	}
	if err == nil {
		op.Letter = *seq
	}
	return err
}

func parseFail(op *Op, obj *object) (err error) {
	if err := parseJob(op, obj); err != nil {
		return err
	}
	op.Reason, err = obj.str("reason")
	if err == nil && len(op.Reason) > MaxReason {
		err = parley.Errorf(parley.BadRequest, `"reason" has at most %d bytes`, MaxReason)
	}
	return err
}

func parseBusy(op *Op, obj *object) error {
	err := parseJob(op, obj)
	if err == nil && obj.get("deadline") != nil {
		op.Deadline, err = obj.duration("deadline", MinDeadline, MaxDeadline)
	}
	return err
}

// name reads a name that is one like a room's; "" where it is absent.
func (o *object) name(key string) (string, error) {
	if o.get(key) == nil {
		return "", nil
	}
	s, err := o.str(key)
	if err != nil {
		return "", err
	}
	name, err := parley.ParseRoom(s)
	if err != nil {
		return "", parley.Errorf(parley.BadRequest, "%q is a name like a room's, and %q is none", key, clip(s))
	}
	return name, nil
}

// duration reads one like "30s".
func (o *object) duration(key string, least, most time.Duration) (time.Duration, error) {
	s, err := o.str(key)
	if err != nil {
		return 0, err
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < least || d > most {
		return 0, parley.Errorf(parley.BadRequest, "%q is a duration from %v to %v, as \"30s\", not %q", key, least, most, clip(s))
	}
	return d, nil
}

// appendWork appends what an operation of readers and workers has beside its room and start.
func appendWork(dst []byte, op *Op) []byte {
	field := func(key, value string) {
		if value != "" {
			dst = append(dst, `,"`+key+`":`...)
			dst = appendString(dst, value)
		}
	}
	number := func(key string, n int) {
		if n != 0 {
			dst = append(dst, `,"`+key+`":`...)
			dst = strconv.AppendInt(dst, int64(n), 10)
		}
	}
	field("reader", op.Reader)
	if op.Seq != nil {
		dst = append(dst, `,"seq":`...)
		dst = strconv.AppendUint(dst, *op.Seq, 10)
	}
	field("group", op.Group)
	number("prefetch", op.Prefetch)
	number("parallel", op.Parallel)
	number("tries", op.Tries)
	if op.Deadline != 0 {
		field("deadline", op.Deadline.String())
	}
	field("job", op.Job)
	if op.Letter != 0 {
		dst = append(dst, `,"letter":`...)
		dst = strconv.AppendUint(dst, op.Letter, 10)
	}
	if op.Delay != nil {
		field("delay", op.Delay.String())
	}
	field("reason", op.Reason)
	return dst
}

// Job appends a job: its message's fields, and what makes a job of it.
func (JSONLines) Job(dst []byte, j *parley.Job) []byte {
	dst = append(dst, `{"op":"job",`...)
	dst = appendJob(dst, j)
	return append(dst, '}', '\n')
}

// appendJob appends a job's fields, as they stand in job frames and in lists.
func appendJob(dst []byte, j *parley.Job) []byte {
	dst = append(dst, `"group":`...)
	dst = appendString(dst, j.Group)
	dst = append(dst, `,"job":`...)
	dst = appendString(dst, j.Job)
	dst = append(dst, `,"tries":`...)
	dst = strconv.AppendInt(dst, int64(j.Tries), 10)
	dst = append(dst, `,"deadline_ms":`...)
	dst = strconv.AppendInt(dst, j.Deadline.Milliseconds(), 10)
	dst = append(dst, ',')
	return appendMessage(dst, j.Message)
}

// Jobs appends a list of jobs, the answer to a take over HTTP.
func (JSONLines) Jobs(dst []byte, jobs []*parley.Job) []byte {
	dst = append(dst, `{"jobs":[`...)
	for i, j := range jobs {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendJob(append(dst, '{'), j), '}')
	}
	return append(dst, ']', '}', '\n')
}

// Taking appends the answer to a take.
func (JSONLines) Taking(dst, ref []byte, room, group string) []byte {
	return appendRoomGroup(open(dst, "taking", ref), room, group)
}

// Stopped appends the answer to a stop; without a group it is of who served the room.
func (JSONLines) Stopped(dst, ref []byte, room, group string) []byte {
	dst = open(dst, "stopped", ref)
	if group == "" {
		dst = append(dst, `,"room":`...)
		return append(appendString(dst, room), '}', '\n')
	}
	return appendRoomGroup(dst, room, group)
}

// Busy appends the answer to a busy: the time there is from now on.
func (JSONLines) Busy(dst, ref []byte, room, job string, deadline time.Duration) []byte {
	dst = open(dst, "busy", ref)
	dst = append(dst, `,"room":`...)
	dst = appendString(dst, room)
	dst = append(dst, `,"job":`...)
	dst = appendString(dst, job)
	dst = append(dst, `,"deadline_ms":`...)
	dst = strconv.AppendInt(dst, deadline.Milliseconds(), 10)
	return append(dst, '}', '\n')
}

// appendRoomGroup ends a frame with a room and a group.
func appendRoomGroup(dst []byte, room, group string) []byte {
	dst = append(dst, `,"room":`...)
	dst = appendString(dst, room)
	dst = append(dst, `,"group":`...)
	dst = appendString(dst, group)
	return append(dst, '}', '\n')
}
