package bench

import (
	"bytes"
	"fmt"
	"net"
)

// natsStream holds every subject under natsPrefix on a peer that stores.
const (
	natsStream = "BENCH"
	natsPrefix = "bench."
	natsInbox  = "inbox"
)

// natsDialect speaks to a nats-server: core publish, or publish into a stream, which answers to an
// inbox that ends in the ref.
func natsDialect(stored bool, idPrefix string) dialect {
	d := dialect{lines: 2, acked: stored, stamp: digitsFirst, ack: natsAck}
	d.receive = func(c net.Conn, room string) error {
		return natsConnect(c, fmt.Sprintf("SUB %s%s 1\r\n", natsPrefix, room))
	}
	if !stored {
		d.sender = func(c net.Conn, _ int) error { return natsConnect(c, "") }
		d.frame = func(_ int, room string, body []byte) template {
			return makeTemplate(fmt.Sprintf("PUB %s%s %d\r\n%s\r\n", natsPrefix, room, len(body), body), room, "", "")
		}
		return d
	}
	d.sender = func(c net.Conn, session int) error {
		return natsConnect(c, fmt.Sprintf("SUB %s.%d.* 1\r\n", natsInbox, session))
	}
	d.frame = func(session int, room string, body []byte) template {
		reply := fmt.Sprintf("%s.%d.%d", natsInbox, session, firstRef)
		if idPrefix == "" {
			frame := fmt.Sprintf("PUB %s%s %s %d\r\n%s\r\n", natsPrefix, room, reply, len(body), body)
			return makeTemplate(frame, room, reply, "")
		}
		id := fmt.Sprintf("%s-%d-%0*d", idPrefix, session, idDigits, 0)
		header := "NATS/1.0\r\nNats-Msg-Id: " + id + "\r\n\r\n"
		frame := fmt.Sprintf("HPUB %s%s %s %d %d\r\n%s%s\r\n", natsPrefix, room, reply, len(header), len(header)+len(body), header, body)
		return makeTemplate(frame, room, reply, id)
	}
	return d
}

// natsConnect begins a connection; more is sent along.
func natsConnect(c net.Conn, more string) error {
	const connect = `CONNECT {"verbose":false,"pedantic":false,"headers":true,"no_responders":true,"name":"bench"}`
	if _, err := fmt.Fprintf(c, "%s\r\n%sPING\r\n", connect, more); err != nil {
		return err
	}
	_, err := await(c, "PONG\r\n")
	return err
}

var (
	natsMessage = []byte("MSG ")
	natsStored  = []byte(`{"stream":`)
)

func natsAck(line []byte) (int64, bool, error) {
	if bytes.HasPrefix(line, natsStored) {
		return 0, false, nil
	}
	words := bytes.Fields(line)
	if len(words) < 2 || !bytes.HasPrefix(line, natsMessage) {
		return 0, false, unexpected(line)
	}
	ref, ok := digits(words[1][bytes.LastIndexByte(words[1], '.')+1:])
	if !ok {
		return 0, false, unexpected(line)
	}
	return ref, true, nil
}
