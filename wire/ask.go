package wire

import (
	"strconv"
	"time"

	"parley"
)

// Bounds of an ask.
const (
	MaxAnswers     = 1000
	MinTimeout     = 10 * time.Millisecond
	MaxTimeout     = 50 * time.Second
	DefaultTimeout = 5 * time.Second
)

func parseAsk(op *Op, obj *object) error {
	err := parseRoom(op, obj)
	if err == nil {
		err = parseTyped(op, obj)
	}
	if err != nil {
		return err
	}
	op.Most, op.Timeout = 1, DefaultTimeout
	if obj.get("most") != nil {
		if op.Most, err = obj.count("most", MaxAnswers); err != nil {
			return err
		}
	}
	if obj.get("timeout") != nil {
		op.Timeout, err = obj.duration("timeout", MinTimeout, MaxTimeout)
	}
	return err
}

func parseAnswer(op *Op, obj *object) error {
	err := parseRoom(op, obj)
	if err == nil {
		op.Question, err = obj.str("question")
	}
	switch {
	case err != nil:
		return err
	case op.Question == "" || len(op.Question) > parley.MaxID:
		return parley.Errorf(parley.BadRequest, `"question" is what a question frame says`)
	}
	return parseTyped(op, obj)
}

// parseTyped reads a body and what it is.
func parseTyped(op *Op, obj *object) error {
	name, err := obj.str("type")
	if err != nil {
		return err
	}
	if op.Type, err = parley.ParseType(name); err != nil {
		return err
	}
	op.Body, err = parseBody(op.Type, obj)
	return err
}

// appendAsk appends what an ask or an answer has beside its room.
func appendAsk(dst []byte, op *Op) []byte {
	if op.Kind == Ask {
		dst = append(dst, `,"timeout":"`...)
		dst = append(dst, op.Timeout.String()...)
		dst = append(dst, `","most":`...)
		dst = strconv.AppendInt(dst, int64(op.Most), 10)
	} else {
		dst = append(dst, `,"question":`...)
		dst = appendString(dst, op.Question)
	}
	return appendTyped(dst, op.Type, op.Body)
}

// appendTyped appends a body behind its type.
func appendTyped(dst []byte, t parley.Type, body []byte) []byte {
	dst = append(dst, `,"type":"`...)
	dst = append(dst, t.String()...)
	dst = append(dst, `","body":`...)
	return appendBody(dst, t, body)
}

// Serving appends the answer to a serve.
func (JSONLines) Serving(dst, ref []byte, room string) []byte {
	dst = append(open(dst, "serving", ref), `,"room":`...)
	return append(appendString(dst, room), '}', '\n')
}

// Question appends what somebody asks.
func (JSONLines) Question(dst []byte, q *parley.Question) []byte {
	dst = append(dst, `{"op":"question","room":`...)
	dst = appendString(dst, q.Room)
	dst = append(dst, `,"question":`...)
	dst = appendString(dst, q.ID)
	dst = append(dst, `,"from":`...)
	dst = appendString(dst, q.From)
	dst = append(dst, `,"timeout_ms":`...)
	dst = strconv.AppendInt(dst, q.Timeout.Milliseconds(), 10)
	dst = appendTyped(dst, q.Type, q.Body)
	return append(dst, '}', '\n')
}

// OneAnswer appends one answer to an ask.
func (JSONLines) OneAnswer(dst, ref []byte, room string, a *parley.Answer) []byte {
	dst = append(open(dst, "answer", ref), `,"room":`...)
	dst = append(appendString(dst, room), ',')
	dst = appendAnswer(dst, a)
	return append(dst, '}', '\n')
}

func appendAnswer(dst []byte, a *parley.Answer) []byte {
	dst = append(dst, `"from":`...)
	dst = appendString(dst, a.From)
	return appendTyped(dst, a.Type, a.Body)
}

// Answered appends the end of an ask: how many answers it had.
func (JSONLines) Answered(dst, ref []byte, room string, count int) []byte {
	dst = append(open(dst, "answered", ref), `,"room":`...)
	return appendCount(appendString(dst, room), count)
}

// Answers appends a list of answers, the answer to an ask over HTTP.
func (JSONLines) Answers(dst []byte, answers []*parley.Answer) []byte {
	dst = append(dst, `{"answers":[`...)
	for i, a := range answers {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(appendAnswer(append(dst, '{'), a), '}')
	}
	return append(dst, ']', '}', '\n')
}
