package tcp

import (
	"bytes"
	"context"
	"unicode/utf8"

	"parley"
	"parley/wire"
)

// plainLine acts on one line of a plain client: a command, or a message to its room.
func (c *conn) plainLine(ctx context.Context, line []byte) error {
	switch {
	case len(line) == 0:
		return nil
	case line[0] == '/' && !bytes.HasPrefix(line, []byte("//")):
		return c.command(ctx, string(line))
	case line[0] == '/':
		line = line[1:]
	}
	if c.room == "" {
		c.session.Refuse(nil, errNowhere)
		return c.session.Paced(ctx)
	}
	op := wire.Op{Kind: wire.Send, Room: c.room, Type: parley.Binary, Body: line}
	if utf8.Valid(line) && bytes.IndexByte(line, 0) < 0 {
		op.Type = parley.Text
	}
	return c.session.Do(ctx, &op)
}

// command acts on a line that begins with a slash.
func (c *conn) command(ctx context.Context, line string) error {
	op, err := wire.ParseLine(line)
	if err != nil {
		c.session.Refuse(nil, err)
		return c.session.Paced(ctx)
	}
	switch op.Kind {
	case wire.Help:
		c.session.Tell(wire.HelpText...)
		return c.session.Paced(ctx)
	case wire.Quit:
		c.session.Tell("goodbye")
	case wire.Join:
		return c.move(ctx, &op)
	case wire.Hello:
		return c.hello(ctx, &op)
	case wire.History, wire.Members:
		if op.Room = c.room; c.room == "" {
			c.session.Refuse(nil, errNowhere)
			return c.session.Paced(ctx)
		}
	}
	return c.session.Do(ctx, &op)
}

// errNowhere is for who may not be in the lobby and is in no other room yet.
var errNowhere = parley.Errorf(parley.BadRequest, "you are in no room: /auth TOKEN says who you are, /join ROOM goes to a room")

// hello says who a plain client is: /nick by a name, which shows it others' names from then on, or
// /auth by a token. Who was in no room may be in the lobby now.
func (c *conn) hello(ctx context.Context, op *wire.Op) error {
	if op.Token == "" {
		c.session.Use(wire.TextNamed{})
	}
	lobby := c.server.config.Lobby
	if err := c.session.Do(ctx, op); err != nil || c.room != "" || !c.session.MayJoin(lobby) {
		return err
	}
	if c.watch != nil {
		return c.showLobby(ctx)
	}
	return c.move(ctx, &wire.Op{Kind: wire.Join, Room: lobby})
}

// move takes a plain client, which is in one room at a time, to another.
func (c *conn) move(ctx context.Context, op *wire.Op) error {
	if err := c.session.Do(ctx, op); err != nil || op.Room == c.room || !c.session.In(op.Room) {
		return err
	}
	from := c.room
	c.room = op.Room
	if from == "" || !c.session.In(from) {
		return nil
	}
	return c.session.Do(ctx, &wire.Op{Kind: wire.Leave, Room: from})
}
