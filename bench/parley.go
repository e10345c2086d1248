package bench

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
)

// parleyDialect speaks Parley's JSON lines; receivers of the text encoding are plain lines. With
// an idPrefix the sender chooses each message's id.
func parleyDialect(encoding, idPrefix string) (dialect, error) {
	d := dialect{lines: 1, acked: true, ack: parleyAck, sender: func(c net.Conn, _ int) error { return hello(c) }}
	d.frame = func(session int, room string, body []byte) template {
		var id, withID string
		if idPrefix != "" {
			id = fmt.Sprintf("%s-%d-%0*d", idPrefix, session, idDigits, 0)
			withID = `"id":"` + id + `",`
		}
		ref := fmt.Sprintf(`"ref":%d`, firstRef)
		frame := fmt.Sprintf(`{"op":"send","room":"%s",%s%s,"body":"%s"}`+"\n", room, withID, ref, body)
		return makeTemplate(frame, room, ref, id)
	}
	switch encoding {
	case "", "text":
		d.receive, d.stamp = joinText, digitsFirst
	case "json":
		d.receive, d.stamp = joinJSON, parleyStamp
	default:
		return d, fmt.Errorf("no encoding %q: text or json", encoding)
	}
	return d, nil
}

func hello(c net.Conn) error {
	ref := fmt.Sprintf(`"ref":"%016x"`, rand.Uint64())
	if _, err := fmt.Fprintf(c, `{"op":"hello","name":"bench",%s}`+"\n", ref); err != nil {
		return err
	}
	_, err := await(c, ref)
	return err
}

func joinJSON(c net.Conn, room string) error {
	if err := hello(c); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c, `{"op":"join","room":"%s","ref":1}`+"\n", room); err != nil {
		return err
	}
	_, err := await(c, `"op":"joined"`)
	return err
}

func joinText(c net.Conn, room string) error {
	if _, err := fmt.Fprintf(c, "/join %s\n", room); err != nil {
		return err
	}
	_, err := await(c, "* joined "+room)
	return err
}

var (
	bodyKey  = []byte(`"body":"`)
	refKey   = []byte(`"ref":`)
	seqKey   = []byte(`"seq":`)
	prevKey  = []byte(`"prev":`)
	ackStart = []byte(`{"op":"ack"`)
)

func parleyStamp(line []byte) (int64, bool) {
	i := bytes.LastIndex(line, bodyKey)
	if i < 0 {
		return 0, false
	}
	return digitsFirst(line[i+len(bodyKey):])
}

func parleyAck(line []byte) (int64, bool, error) {
	ref, ok := numberAfter(line, refKey)
	if !ok || !bytes.HasPrefix(line, ackStart) {
		return 0, false, unexpected(line)
	}
	return ref, true, nil
}
