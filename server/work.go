package server

import (
	"context"
	"log/slog"

	"parley/engine"
	"parley/relay"
	"parley/room"
	"parley/work"
)

// books are the books of readers and workers, and the way to those of other nodes.
type books struct {
	*work.Manager
	relay *relay.Relay // nil where this node is alone
}

func newBooks(log *engine.Engine, hub *room.Hub, c *Config, logger *slog.Logger) books {
	config := work.Config{Log: log, Journals: log, Rooms: hub, RetainMessages: c.Retain.Messages, Logger: logger}
	bus := log.Bus()
	if bus == nil {
		return books{Manager: work.New(config)}
	}
	config.Part = log.Part
	b := books{Manager: work.New(config)}
	leads := log.Leads
	if c.Engine.URL != "" { // another's servers lead
		leads = nil
	}
	b.relay = relay.New(relay.Config{Bus: bus, Work: b.Manager, Part: log.Part, Parts: log.Parts(), Leads: leads, Logger: logger})
	return b
}

// ways is what sessions use.
func (b books) ways() work.Books {
	if b.relay == nil {
		return b.Books()
	}
	return b.relay
}

// keeps says which rooms' hooks are this node's to post; nil: all.
func (b books) keeps() func(room string) bool {
	if b.relay == nil {
		return nil
	}
	return b.relay.Keeps
}

// run serves until stop.
func (b books) run(logger *slog.Logger) (stop func()) {
	stopBooks := running(func(ctx context.Context) { _ = b.Run(ctx) })
	if b.relay == nil {
		return stopBooks
	}
	stopRelay := running(func(ctx context.Context) {
		if err := b.relay.Run(ctx); err != nil {
			logger.Error("the jobs of other nodes cannot be reached", "err", err)
		}
	})
	return func() {
		stopRelay()
		stopBooks()
	}
}
