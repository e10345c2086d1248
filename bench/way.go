package bench

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"
)

// The ways to a server that a load can take.
const (
	TCP       = "tcp"
	WebSocket = "ws"
	SSE       = "sse"
)

// way is how clients reach a parley server; "" is TCP.
type way struct {
	Transport string
	Compress  bool // permessage-deflate, of ws
}

func (w way) check(known ...string) error {
	if w.Compress && w.Transport != WebSocket {
		return errors.New("only ws compresses")
	}
	for _, name := range append(known, "") {
		if w.Transport == name {
			return nil
		}
	}
	return fmt.Errorf("no transport %q for this load: %s", w.Transport, strings.Join(known, ", "))
}

// overHTTP says whether the server must listen for HTTP.
func (w way) overHTTP() bool { return w.Transport == WebSocket || w.Transport == SSE }

// String is what rows say.
func (w way) String() string {
	switch {
	case w.Compress:
		return "ws, deflate"
	case w.Transport == "":
		return TCP
	}
	return w.Transport
}

// addr is where clients connect.
func (w way) addr(t *target) string {
	if w.overHTTP() {
		return t.web
	}
	return t.addr
}

// encoding is what receivers get that ask for one: over HTTP it is always JSON.
func (w way) encoding(asked string) string {
	if w.overHTTP() {
		return "json"
	}
	return asked
}

// dialect is parley's, with receivers that come this way. Senders stay on TCP.
func (w way) dialect(t *target, encoding string) (dialect, error) {
	d, err := parleyDialect(w.encoding(encoding), "")
	switch w.Transport {
	case WebSocket:
		d.receive = func(c net.Conn, room string) error { return joinWS(c, t.web, room, w.Compress) }
	case SSE:
		d.receive = func(c net.Conn, room string) error { return follow(c, t.web, room) }
	}
	return d, err
}

// counter counts the messages in what comes this way.
func (w way) counter(pong func([]byte) error) counter {
	switch w.Transport {
	case WebSocket:
		return &frameCounter{frames: frames{pong: pong}}
	case SSE:
		return &eventCounter{mark: eventMark}
	}
	return lineCounter{}
}

// cutter cuts what comes this way into what a dialect finds stamps in.
func (w way) cutter() cutter {
	if w.Transport == WebSocket {
		return &frames{inflate: new(inflater)}
	}
	return new(lines)
}

// upgrade makes a connection one of WebSocket.
func upgrade(c net.Conn, host string, compress bool) error {
	ask := "GET /ws HTTP/1.1\r\nHost: " + host + "\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: parley.v1\r\n"
	if compress {
		ask += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	head, err := request(c, ask, "101", func(got []byte) bool { return bytes.HasSuffix(got, headEnd) })
	if err == nil && compress && !bytes.Contains(bytes.ToLower(head), []byte("permessage-deflate")) {
		return errors.New("the server does not compress")
	}
	return err
}

// follow makes a connection a stream of a room's events, and waits for the place where it begins.
func follow(c net.Conn, host, room string) error {
	ask := "GET /rooms/" + room + "/events HTTP/1.1\r\nHost: " + host + "\r\nParley-Name: bench\r\n"
	_, err := request(c, ask, "200", func(got []byte) bool {
		return bytes.Contains(got, []byte("\nid: ")) && bytes.HasSuffix(got, []byte("\n\n"))
	})
	return err
}

var headEnd = []byte("\r\n\r\n")

// request sends a request and reads until all that belongs to the answer is there.
func request(c net.Conn, ask, status string, whole func(got []byte) bool) ([]byte, error) {
	if _, err := c.Write([]byte(ask + "\r\n")); err != nil {
		return nil, err
	}
	var got []byte
	buf := make([]byte, 4<<10)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return nil, fmt.Errorf("wait for an answer of HTTP: %w", err)
		}
		got = append(got, buf[:n]...)
		if bytes.Contains(got, headEnd) && !bytes.HasPrefix(got, []byte("HTTP/1.1 "+status)) {
			return nil, unexpected(got)
		}
		if whole(got) {
			return got, nil
		}
	}
}

func joinWS(c net.Conn, host, room string, compress bool) error {
	if err := upgrade(c, host, compress); err != nil {
		return err
	}
	talk := &client{conn: c, ws: true, cut: &frames{inflate: new(inflater)}}
	return talk.join(room)
}

// client is a connection that is spoken to with calls that wait.
type client struct {
	conn net.Conn
	ws   bool
	cut  cutter
}

// newClient makes of a connection a session that is ready for operations.
func (w way) newClient(t *target, c net.Conn) (*client, error) {
	if w.Transport != WebSocket {
		return &client{conn: c, cut: new(lines)}, nil
	}
	if err := upgrade(c, t.web, w.Compress); err != nil {
		return nil, err
	}
	return &client{conn: c, ws: true, cut: w.cutter()}, nil
}

// say sends operations in one write.
func (c *client) say(ops ...string) error {
	var out []byte
	for _, op := range ops {
		if c.ws {
			out = appendFrame(out, frameText, []byte(op))
		} else {
			out = append(append(out, op...), '\n')
		}
	}
	_, err := c.conn.Write(out)
	return err
}

// hear reads frames until done says that one is the last. What comes behind it in the same read is
// given to done too.
func (c *client) hear(buf []byte, done func(frame []byte) (bool, error)) error {
	for ended := false; !ended; {
		n, err := c.conn.Read(buf)
		if err != nil {
			return err
		}
		err = c.cut.cut(buf[:n], func(frame []byte) error {
			if !bytes.HasPrefix(frame, []byte(`{"op":`)) {
				return nil // the greeting of plain lines
			}
			if err := refused(frame); err != nil {
				return err
			}
			last, err := done(frame)
			ended = ended || last
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

const helloOp = `{"op":"hello","name":"bench","ref":0}`

// join says hello, joins, and waits for the answer.
func (c *client) join(room string) error {
	if err := c.say(helloOp, fmt.Sprintf(`{"op":"join","room":"%s","ref":1}`, room)); err != nil {
		return err
	}
	return c.hear(make([]byte, 1<<10), func(frame []byte) (bool, error) {
		return bytes.HasPrefix(frame, joinedStart), nil
	})
}

// leave leaves a room, waits for the answer, and closes.
func (c *client) leave(room string) error {
	if err := c.say(fmt.Sprintf(`{"op":"leave","room":"%s","ref":2}`, room)); err != nil {
		return err
	}
	err := c.hear(make([]byte, 1<<10), func(frame []byte) (bool, error) {
		return bytes.HasPrefix(frame, leftStart), nil
	})
	if err != nil || !c.ws {
		return errors.Join(err, c.conn.Close())
	}
	_, err = c.conn.Write(appendFrame(nil, frameClose, []byte{0x03, 0xE8})) // 1000: normal
	if err == nil {
		_ = c.conn.SetReadDeadline(time.Now().Add(stuck))
		_, err = c.conn.Read(make([]byte, 1<<10)) // its close frame
	}
	return errors.Join(err, c.conn.Close())
}
