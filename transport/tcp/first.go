package tcp

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"regexp"

	"parley"
	"parley/transport/sock"
	"parley/wire"
)

// The first line decides what a connection speaks. Until it is there, or the client has been
// silent for a while, nothing of the lobby is shown: nobody there can forge a welcome.

// decide acts on the first line.
func (c *conn) decide(ctx context.Context, line []byte) error {
	switch {
	case isHTTP(line):
		c.session.Raw(c.httpAnswer())
		return errRefused
	case sock.Begins(line):
		return c.refuse(errProxy)
	case bytes.HasPrefix(line, []byte("SSH-")):
		return c.refuse(parley.Errorf(parley.BadRequest, "this port speaks plain lines and JSON lines, not SSH"))
	case len(line) > 0 && line[0] == '{' && bytes.Contains(line, []byte(`"hello"`)):
		return c.startJSON(ctx, line)
	}
	c.speech = plainLines
	if !bytes.HasPrefix(line, []byte("/auth ")) { // who it is decides whether it is shown the lobby
		if err := c.showLobby(ctx); err != nil {
			return err
		}
	}
	return c.plainLine(ctx, line)
}

// startJSON begins JSON lines with a hello. One that is no valid operation ends the connection: it
// may hold a token, and must not become a message.
func (c *conn) startJSON(ctx context.Context, line []byte) error {
	op, err := wire.ParseOp(line)
	if err == nil && op.Kind != wire.Hello {
		err = parley.Errorf(parley.BadRequest, "the first operation is hello")
	}
	if c.room != "" { // it was shown the lobby, being silent for so long
		if err := c.session.Do(ctx, &wire.Op{Kind: wire.Leave, Room: c.room}); err != nil {
			return err
		}
		c.room = ""
	}
	c.unwatch()
	c.speech = jsonLines
	c.session.Use(wire.JSONLines{})
	if err != nil {
		c.session.Refuse(op.Ref, err)
		return errRefused
	}
	return c.session.Do(ctx, &op)
}

// showLobby makes the client a member of the lobby, as of when it connected.
func (c *conn) showLobby(ctx context.Context) error {
	if c.watch == nil {
		return nil
	}
	err := c.session.Attach(ctx, c.server.config.Lobby, c.watch.Seq)
	c.unwatch()
	switch code := parley.AsError(err).Code; {
	case err == nil:
		c.room = c.server.config.Lobby
	case code == parley.Denied || code == parley.Unauthorized: // it may say who it is, or go elsewhere
		c.session.Refuse(nil, err)
	default:
		return c.refuse(err)
	}
	return nil
}

func (c *conn) unwatch() {
	if c.watch != nil {
		c.watch.Close()
		c.watch = nil
	}
}

var errTLS = parley.Errorf(parley.BadRequest, "this port speaks plain lines and JSON lines, not TLS")

// isTLS recognises the record of a ClientHello (RFC 8446, section 5.1): type 22, version 3.x.
func isTLS(data []byte) bool {
	return len(data) >= 2 && data[0] == 0x16 && data[1] == 0x03 || len(data) == 1 && data[0] == 0x16
}

var errProxy = parley.Errorf(parley.BadRequest, "no proxy is listed at this address, so nobody here may say who its client is")

// claims looks at the first bytes that came and says whether they are a proxy's binary header, which
// begins with what are empty lines to us.
func (c *conn) claims(data []byte) bool {
	if c.heads == len(c.head) {
		return false
	}
	c.heads += copy(c.head[c.heads:], data)
	return sock.Begins(c.head[:c.heads])
}

// NotTLS is what a client is told that does not speak TLS at an address where it is spoken; web is the
// URL at which HTTP is served.
func NotTLS(web string) func(first []byte) []byte {
	e := parley.Errorf(parley.BadRequest, "TLS is spoken here: try parley chat --server tls://HOST:PORT, or openssl s_client -quiet -connect HOST:PORT")
	return func(first []byte) []byte {
		switch {
		case requestBegun.Match(first):
			return []byte(httpAnswer(web))
		case len(first) > 0 && first[0] == '{':
			return wire.JSONLines{}.Error(nil, nil, e)
		}
		return wire.TextBare{}.Error(nil, nil, e)
	}
}

var (
	requestLine  = regexp.MustCompile(`^[!#$%&'*+.^_|~0-9A-Za-z-]+ \S+ HTTP/\d(\.\d)?$`)
	requestBegun = regexp.MustCompile(`^(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS|CONNECT|TRACE|PRI) [/*h]`)
)

// isHTTP recognises a request line (RFC 9112, section 3; the preface of HTTP/2 too).
func isHTTP(line []byte) bool { return requestLine.Match(line) }

// heldBack says that the beginning of a first line is not published on a pause: it may be half of
// a hello with its token, or of a request that a web page sent.
func heldBack(partial []byte) bool {
	return partial[0] == '{' || requestBegun.Match(partial[:min(len(partial), 16)])
}

// heldAuth says that a line may be an /auth that has not ended: half a token must not be taken for a
// whole one, nor the other half for a message.
func heldAuth(partial []byte) bool {
	const auth = "/auth "
	n := min(len(partial), len(auth))
	return string(partial[:n]) == auth[:n]
}

// wholeObject says that a line which began like a frame has ended like one.
func wholeObject(line []byte) bool { return line[0] == '{' && json.Valid(line) }

// httpAnswer sends a browser or curl to the right port.
func (c *conn) httpAnswer() string { return httpAnswer(c.server.config.Web) }

func httpAnswer(web string) string {
	text := "This port speaks plain lines and JSON lines: try nc or parley chat.\n"
	if web != "" {
		text += "HTTP is served at " + web + "\n"
	}
	return fmt.Sprintf("HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n"+
		"Content-Length: %d\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%s", len(text), text)
}
