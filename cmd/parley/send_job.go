package main

import (
	"time"

	"github.com/spf13/pflag"

	"parley/client"
	"parley/wire"
)

// jobFlags say of a message when it is due, and what workers make of it.
type jobFlags struct {
	flags    *pflag.FlagSet
	key      string
	priority int
	ttl      time.Duration
	due      string
	delay    time.Duration

	options []client.PublishOption // what check has found
}

func (f *jobFlags) register(p *pflag.FlagSet) {
	f.flags = p
	p.StringVar(&f.key, "key", "", "workers do the jobs of one key one at a time, in order")
	p.IntVar(&f.priority, "priority", 0, "workers are given jobs with a higher one first: 0 to 9")
	p.DurationVar(&f.ttl, "ttl", 0, "a worker is given the job within this time, or never")
	p.StringVar(&f.due, "due", "", "send it to the room at this `TIME`, as 2026-12-24T18:00:00Z")
	p.DurationVar(&f.delay, "delay", 0, "send it to the room so long from now")
}

// check finds what is wrong with the flags, and makes options of them.
func (f *jobFlags) check() error {
	const days = int(wire.MaxDelay / (24 * time.Hour))
	set := f.flags.Changed
	switch {
	case set("key") && (f.key == "" || len(f.key) > wire.MaxKey):
		return usagef("--key has 1 to %d bytes", wire.MaxKey)
	case f.priority < 0 || f.priority > wire.MaxPriority:
		return usagef("--priority is from 0 to %d", wire.MaxPriority)
	case set("ttl") && (f.ttl < time.Millisecond || f.ttl > wire.MaxDelay):
		return usagef("--ttl is from 1ms to %d days", days)
	case set("due") && set("delay"):
		return usagef("give --due or --delay, not both")
	case f.delay < 0 || f.delay > wire.MaxDelay:
		return usagef("--delay is from 0s to %d days", days)
	}
	f.options = []client.PublishOption{
		client.WithKey(f.key), client.WithPriority(f.priority), client.WithTTL(f.ttl), client.WithDelay(f.delay),
	}
	if !set("due") {
		return nil
	}
	at, err := time.Parse(time.RFC3339Nano, f.due)
	if err != nil {
		return usagef("--due is a time as 2026-12-24T18:00:00Z, not %q", f.due)
	}
	if time.Until(at) > wire.MaxDelay {
		return usagef("--due is at most %d days away", days)
	}
	f.options = append(f.options, client.WithDue(at))
	return nil
}
