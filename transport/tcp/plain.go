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
		c.session.Use(wire.TextNamed{})
	default:
		op.Room = c.room
	}
	return c.session.Do(ctx, &op)
}

// move takes a plain client, which is in one room at a time, to another.
func (c *conn) move(ctx context.Context, op *wire.Op) error {
	if err := c.session.Do(ctx, op); err != nil || op.Room == c.room || !c.session.In(op.Room) {
		return err
	}
	from := c.room
	c.room = op.Room
	return c.session.Do(ctx, &wire.Op{Kind: wire.Leave, Room: from})
}
