package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// entry is a message as it stands in frames and pages.
type entry struct {
	Room string          `json:"room"`
	Seq  uint64          `json:"seq"`
	Prev uint64          `json:"prev"`
	Body json.RawMessage `json:"body"`
}

// text gives the body of a text message.
func (e *entry) text() string {
	var s string
	if err := json.Unmarshal(e.Body, &s); err != nil {
		return string(e.Body)
	}
	return s
}

// frame is what a server sends: the fields of all frames that matter here.
type frame struct {
	Op  string          `json:"op"`
	Ref json.RawMessage `json:"ref"`
	entry
	After     uint64  `json:"after"`
	Duplicate bool    `json:"duplicate"`
	Messages  []entry `json:"messages"`
	More      bool    `json:"more"`
	Members   []struct {
		User string `json:"user"`
	} `json:"members"`
	Code    string `json:"code"`
	Message string `json:"message"`
	RetryMS int64  `json:"retry_ms"`

	Available bool `json:"available"`

	raw string
}

func parse(raw string) (*frame, error) {
	f := &frame{raw: raw}
	if err := json.Unmarshal([]byte(raw), f); err != nil {
		return nil, fmt.Errorf("%.200q is no frame: %w", raw, err)
	}
	return f, nil
}

// link is a client's connection. One goroutine uses it; hangUp may be called from any.
type link interface {
	say(op string) error
	next(until time.Time) (*frame, error)
	hangUp()
}

const (
	reachWithin  = 2 * time.Second // to connect, and to be greeted
	answerWithin = 8 * time.Second // longer than a server may keep an outcome to itself
)

// dial makes a connection to a host over one of the ways in.
func dial(transport string, host int, name string) (link, error) {
	switch transport {
	case "tcp":
		return dialTCP(address(host)+":8000", name)
	case "ws":
		return dialWS("ws://"+address(host)+":8080/ws", name)
	}
	return nil, fmt.Errorf("no way in is called %q", transport)
}

// lines is a connection of lines.
type lines struct {
	net.Conn
	in *bufio.Reader
}

func reach(addr string) (*lines, error) {
	c, err := net.DialTimeout("tcp", addr, reachWithin)
	if err != nil {
		return nil, err
	}
	return &lines{c, bufio.NewReader(c)}, nil
}

func (l *lines) line(until time.Time) (string, error) {
	if err := l.SetReadDeadline(until); err != nil {
		return "", err
	}
	line, err := l.in.ReadString('\n')
	return strings.TrimSuffix(line, "\n"), err
}

func (l *lines) say(text string) error {
	if err := l.SetWriteDeadline(time.Now().Add(reachWithin)); err != nil {
		return err
	}
	_, err := io.WriteString(l.Conn, text+"\n")
	return err
}

func (l *lines) hangUp() { _ = l.Close() }

// jsonLines speaks JSON over lines.
type jsonLines struct{ *lines }

func (l jsonLines) next(until time.Time) (*frame, error) {
	line, err := l.line(until)
	if err != nil {
		return nil, err
	}
	return parse(line)
}

func dialTCP(addr, name string) (link, error) {
	l, err := reach(addr)
	if err != nil {
		return nil, err
	}
	ref := strconv.Quote(rand.Text())
	if err := l.say(fmt.Sprintf(`{"op":"hello","name":%q,"ref":%s}`, name, ref)); err != nil {
		l.hangUp()
		return nil, err
	}
	for until := time.Now().Add(reachWithin); ; {
		line, err := l.line(until)
		if err != nil {
			l.hangUp()
			return nil, err
		}
		if f, err := parse(line); err == nil && f.Op == "welcome" && string(f.Ref) == ref {
			return jsonLines{l}, nil
		}
	}
}

// webSocket speaks JSON over WebSocket.
type webSocket struct{ c *websocket.Conn }

func dialWS(url, name string) (link, error) {
	ctx, cancel := context.WithTimeout(context.Background(), reachWithin)
	defer cancel()
	c, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{Subprotocols: []string{"parley.v1"}})
	if err != nil {
		return nil, err
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	c.SetReadLimit(4 << 20)
	w := webSocket{c}
	err = w.say(fmt.Sprintf(`{"op":"hello","name":%q}`, name))
	if err == nil {
		_, err = w.next(time.Now().Add(reachWithin))
	}
	if err != nil {
		w.hangUp()
		return nil, err
	}
	return w, nil
}

func (w webSocket) say(op string) error {
	ctx, cancel := context.WithTimeout(context.Background(), reachWithin)
	defer cancel()
	return w.c.Write(ctx, websocket.MessageText, []byte(op))
}

func (w webSocket) next(until time.Time) (*frame, error) {
	ctx, cancel := context.WithDeadline(context.Background(), until)
	defer cancel()
	_, data, err := w.c.Read(ctx)
	if err != nil {
		return nil, err
	}
	return parse(string(data))
}

func (w webSocket) hangUp() { _ = w.c.CloseNow() }

// events is an event stream of one room. It is joined when it is open.
type events struct{ *lines }

var errNotOpen = errors.New("the stream was not opened")

// openEvents opens a room's stream behind a position.
func openEvents(host int, name, room string, after uint64) (inbox, error) {
	l, err := reach(address(host) + ":8080")
	if err != nil {
		return nil, err
	}
	from, resume := "?after=0", ""
	if after > 0 { // as browsers come back
		from, resume = "", fmt.Sprintf("Last-Event-ID: %d\r\n", after)
	}
	err = l.say(fmt.Sprintf("GET /rooms/%s/events%s HTTP/1.1\r\nHost: %s:8080\r\nParley-Name: %s\r\n%sAccept: text/event-stream\r\n\r",
		room, from, address(host), name, resume))
	if err == nil {
		err = l.SetReadDeadline(time.Now().Add(reachWithin))
	}
	if err == nil {
		var resp *http.Response
		if resp, err = http.ReadResponse(l.in, nil); err == nil {
			if resp.StatusCode == http.StatusOK { // the stream has no length: what follows is it
				l.in = bufio.NewReader(resp.Body)
				return &events{l}, nil
			}
			_ = resp.Body.Close()
			err = fmt.Errorf("%w: %s", errNotOpen, resp.Status)
		}
	}
	l.hangUp()
	return nil, err
}

// next gives the next event's frame.
func (e *events) next(until time.Time) (*frame, error) {
	for {
		line, err := e.line(until)
		if err != nil {
			return nil, err
		}
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			return parse(data)
		}
	}
}
