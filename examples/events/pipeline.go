package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	"parley"
	"parley/client"
)

// order is what the rooms carry: orders → orders.paid → orders.packed → orders.shipped.
type order struct {
	ID    string `json:"id"`
	Item  string `json:"item"`
	Cents int    `json:"cents"`
}

// The rooms. A service takes from one and sends to the next.
const (
	ordered = "orders"
	paid    = "orders.paid"
	packed  = "orders.packed"
	shipped = "orders.shipped"
	refused = "orders.dead" // dead letters of the room orders
)

// service does one step for each order, and has it go on to the next room.
type service struct {
	name     string // its group: as many processes as one likes share the work
	from, to string
	step     func(*order) error
}

// errRefused is the end of an order: to try again is of no use.
var errRefused = errors.New("refused")

// limit is the most that anybody is trusted with.
const limit = 100_000

func services() []service {
	return []service{
		{"payment", ordered, paid, func(o *order) error {
			if o.Cents > limit {
				return fmt.Errorf("%w: %d is more than %d", errRefused, o.Cents, limit)
			}
			return nil
		}},
		{"warehouse", paid, packed, func(*order) error { return nil }},
		{"shipping", packed, shipped, func(*order) error { return nil }},
	}
}

// run does the service's work until ctx ends. An order whose service dies in the middle is given out
// again; what it had sent on already is not stored twice, since the id is the order's.
func (s service) run(ctx context.Context, c *client.Client) error {
	next := c.Room(s.to)
	err := c.Work(ctx, s.from, s.name, func(ctx context.Context, job *parley.Job) error {
		var o order
		if err := json.Unmarshal(job.Body, &o); err != nil {
			return client.Fail(err) // it will not get better
		}
		if err := s.step(&o); errors.Is(err, errRefused) {
			return client.Fail(err)
		} else if err != nil {
			return err // tried again, a little later
		}
		body, err := json.Marshal(o)
		if err != nil {
			return err
		}
		_, err = next.Publish(ctx, body, client.AsJSON(), client.WithID(o.ID), client.WithKey(o.Item))
		return err
	}, client.Parallel(4))
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// start has each service run with a connection of its own; wait ends when all have.
func start(ctx context.Context, addr string) (wait func() error, err error) {
	var all sync.WaitGroup
	steps := services()
	failed := make([]error, len(steps))
	for i, s := range steps {
		c, err := client.Connect(ctx, addr, client.WithName(s.name))
		if err != nil {
			return nil, err
		}
		all.Go(func() {
			defer c.Close()
			failed[i] = s.run(ctx, c)
		})
	}
	return func() error {
		all.Wait()
		return errors.Join(failed...)
	}, nil
}

// place sends an order.
func place(ctx context.Context, c *client.Client, o order) error {
	body, err := json.Marshal(o)
	if err != nil {
		return err
	}
	_, err = c.Room(ordered).Publish(ctx, body, client.AsJSON(), client.WithID(o.ID), client.WithKey(o.Item))
	return err
}
