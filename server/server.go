// Package server puts the parts together: it starts them in order, from the log up to the sockets,
// and stops them in reverse.
package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"syscall"
	"time"

	"parley"
	"parley/ask"
	"parley/audit"
	"parley/auth"
	"parley/engine"
	"parley/hooks"
	"parley/quota"
	"parley/room"
	"parley/session"
)

// Addresses are where a server that is ready can be reached.
type Addresses struct {
	TCP  string
	HTTP string // "" = nowhere

	SecureTCP, SecureHTTP bool // TLS is spoken there
}

// Options are what Run is given beside the configuration.
type Options struct {
	Logger *slog.Logger
	Audit  *audit.Log      // nil = none; who gives it closes it
	Ready  func(Addresses) // called once clients can come
	// Reload brings configurations to put into force while the server runs, without a session lost;
	// nil = none ever. What they change that cannot change is said in the log, and so is why one is
	// not taken.
	Reload <-chan Config
}

// Run serves until ctx ends, then drains: clients are told, what is in flight is answered, the log
// is closed. An error of kind *ConfigError is the user's to mend; among them are a port that is taken
// and a data directory that another server uses.
func Run(ctx context.Context, c Config, o Options) (err error) {
	logger := o.Logger
	if err := c.Check(); err != nil {
		return err
	}
	lines, err := listen("tcp", c.TCP)
	if err != nil {
		return err
	}
	defer closing(lines.Close, &err)
	var web *net.TCPListener
	if c.HTTP != "" {
		if web, err = listenWeb(c.HTTP); err != nil {
			return err
		}
		defer closing(web.Close, &err)
	}

	authority, err := auth.New(ctx, c.trust(), logger)
	if err != nil {
		return &ConfigError{err}
	}
	defer closing(authority.Close, &err)

	routes, err := openRoutes(&c, logger)
	if err != nil {
		return err
	}
	stopRoutes := running(routes.run)
	defer stopRoutes()
	log, err := openLog(ctx, &c, routes, logger)
	if err != nil {
		return early(ctx, err, logger)
	}
	defer closing(log.Close, &err)
	logins := keepingLogins(authority, c)
	keep, err := logins(ctx, &c)
	if err != nil {
		return err
	}
	keep()
	return serve(ctx, &c, o, ground{lines, web, authority, log, logins})
}

// ground is what a server stands on: it is there before anything runs, and is given up behind all that does.
type ground struct {
	lines     *net.TCPListener
	web       *net.TCPListener // nil = no HTTP
	authority *auth.Authority
	log       *engine.Engine
	logins    part
}

// serve starts what runs on the ground, from the hub up to the doors, and stops it in reverse.
func serve(ctx context.Context, c *Config, o Options, g ground) error {
	logger, log, authority := o.Logger, g.log, g.authority
	hub := room.NewHub(log, room.Config{
		RetainMessages: c.Retain.Messages, RetainAge: c.Retain.Age, Lag: c.Limits.Lag, Logger: logger,
		Bus: log.Bus(),
	})
	stopHub := running(func(ctx context.Context) { _ = hub.Run(ctx) })
	defer stopHub()
	books := newBooks(log, hub, c, logger)
	sender := hooks.New(hooks.Config{
		Log: books.Gate(), Journals: log, Work: books.Manager, Tail: log, Rooms: hub, Logger: logger, Keeps: books.keeps(),
	})
	if books.relay != nil {
		books.relay.Moved(sender.Moved)
	}
	defer books.run(logger)()
	stopSender := running(func(ctx context.Context) { _ = sender.Run(ctx) })
	defer stopSender()
	receiver := new(hooks.Receiver)

	c.Limits.Dedupe = min(c.Dedupe, c.Retain.Age)
	limits, err := quota.New(c.Limits)
	if err != nil {
		return badConfig("limits: %w", err)
	}
	stopCounting := running(func(ctx context.Context) { _ = limits.Run(ctx, hub.Names) })
	defer stopCounting()
	sessions := &session.Server{
		Log: books.Gate(), Hub: hub, Work: books.ways(), Desk: desk(log, logger), Quota: limits, Logger: logger,
		Auth: authority, Audit: o.Audit, Hooks: hookList(sender),
	}
	stopAsking := running(func(ctx context.Context) {
		if err := sessions.Desk.Run(ctx); err != nil {
			logger.Error("questions stay at this node", "error", err)
		}
	})
	defer stopAsking()
	stopFollowing, err := follow(ctx, sessions, c.Retain.Age, c.shared())
	if err != nil {
		return early(ctx, err, logger)
	}
	defer stopFollowing()
	for _, p := range []part{posting(sender), receiving(receiver)} {
		if err := put(ctx, p, c); err != nil {
			return err
		}
	}
	d := &doors{config: c, sessions: sessions, engine: log, hub: hub, sender: sender, receiver: receiver, logger: logger}
	d.changes = reloader{config: c, logger: logger, parts: []part{reopening(o.Audit, logger), g.logins}}
	if err := d.open(g.lines, g.web); err != nil {
		return err
	}
	d.changes.parts = append(d.changes.parts, limiting(limits), receiving(receiver), posting(sender), trusting(authority, sessions))
	if at := d.addresses().HTTP; at != c.HTTP && c.HTTP == Default().HTTP {
		logger.Warn("the usual HTTP port is taken, so another one is used; --http says which", "taken", c.HTTP, "http", at)
	}
	o.Ready(d.addresses())
	return d.stay(ctx, o.Reload)
}

// stay serves until ctx ends or a door fails, and drains.
func (d *doors) stay(ctx context.Context, reload <-chan Config) error {
	err := d.run(ctx, reload)
	if err == nil {
		d.logger.Info("draining", "at_most", d.config.Drain)
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.config.Drain)
	defer cancel()
	d.drain(drain)
	return err
}

// run reloads what it is given until the server has to stop: ctx has ended, or the error says why.
func (d *doors) run(ctx context.Context, reload <-chan Config) error {
	for {
		select {
		case err := <-d.failed:
			return err
		case c := <-reload:
			d.changes.reload(ctx, c)
		case <-d.told:
			d.logger.Info("a client has asked for the end")
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// running starts f and returns what stops it: its context is cancelled, and it is waited for.
func running(f func(context.Context)) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f(ctx)
	}()
	return func() {
		cancel()
		<-done
	}
}

// closing calls a deferred Close and keeps its error where there is no other.
func closing(f func() error, err *error) {
	if e := f(); e != nil && *err == nil && !errors.Is(e, net.ErrClosed) {
		*err = e
	}
}

// early takes it for no failure that a server which was told to stop has not got ready, as when it waits
// for the other nodes of its cluster. What is the user's to mend stays an error.
func early(ctx context.Context, err error, logger *slog.Logger) error {
	var mistake *ConfigError
	if ctx.Err() == nil || errors.As(err, &mistake) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		logger.Info("told to stop before it was ready")
	} else { // what it waited for has its own words
		logger.Info("told to stop before it was ready", "error", err)
	}
	return nil
}

// follow has sessions know what operations revoke, until stop. starting bounds how long it takes to know
// those of before. A log that is shared with other nodes may not be readable yet: it is tried again.
func follow(starting context.Context, sessions *session.Server, retain time.Duration, shared bool) (stop func(), err error) {
	ctx, cancel := context.WithCancel(context.Background())
	started := context.AfterFunc(starting, cancel)
	wait, err := sessions.FollowRevocations(ctx, retain)
	for shared && parley.AsError(err).Code == parley.Unavailable && ctx.Err() == nil {
		sessions.Logger.Warn("the log cannot be read yet; trying again", "error", err)
		select {
		case <-time.After(followAgain):
		case <-ctx.Done():
		}
		wait, err = sessions.FollowRevocations(ctx, retain)
	}
	if !started() && err == nil { // it was cancelled, and what follows with it
		wait()
		err = starting.Err()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	return func() {
		cancel()
		wait()
	}, nil
}

const followAgain = 250 * time.Millisecond

// listen takes an address; flag is what sets it.
func listen(flag, addr string) (*net.TCPListener, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, badConfig("%s: %w", flag, err)
	}
	l, err := net.ListenTCP("tcp", a)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, badConfig("the address %s is taken: another server runs there; --%s says where to listen", addr, flag)
	case errors.Is(err, syscall.EACCES), errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, badConfig("listen on %s: %w", addr, err)
	case err != nil:
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return l, nil
}

// listenWeb listens for HTTP. The default address gives way where it is taken, since many programs
// like that port and nobody asked for it: the lines' port is what a server is known by.
func listenWeb(addr string) (*net.TCPListener, error) {
	l, err := listen("http", addr)
	if err == nil || addr != Default().HTTP {
		return l, err
	}
	if l, e := listen("http", "127.0.0.1:0"); e == nil {
		return l, nil
	}
	return nil, err
}

// Storage is what the log is told of a configuration.
func (c *Config) Storage(logger *slog.Logger) (engine.Config, error) {
	config := engine.Config{
		Dir:            c.Data,
		Partitions:     c.Partitions,
		RetainMessages: c.Retain.Messages,
		RetainAge:      c.Retain.Age,
		Dedupe:         min(c.Dedupe, c.Retain.Age),
		MinFree:        orNone(c.MinFree),
		Logger:         logger,
	}
	return config, c.joinTo(&config)
}

func openLog(ctx context.Context, c *Config, routes *routes, logger *slog.Logger) (*engine.Engine, error) {
	config, err := c.Storage(logger)
	if err != nil {
		return nil, err
	}
	if config.Cluster != nil {
		config.Cluster.TLS = routes.config()
	}
	log, err := engine.Open(ctx, config)
	switch {
	case errors.Is(err, engine.ErrInUse):
		return nil, badConfig("the data directory %s is in use by another server; --data says which to use", c.Data)
	case errors.Is(err, engine.ErrAlone):
		return nil, badConfig("%w: --adopt", err)
	}
	return log, err
}

// desk makes the one that questions are asked at.
func desk(log *engine.Engine, logger *slog.Logger) *ask.Desk {
	if bus := log.Bus(); bus != nil {
		return ask.NewAmong(bus, logger)
	}
	return ask.New()
}

// orNone gives the log's form of a bound: it says none by a negative one.
func orNone(n int64) int64 {
	if n == 0 {
		return -1
	}
	return n
}

// pause gives the transport's form of a pause: it says never by a negative one.
func pause(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}
