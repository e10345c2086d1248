package server

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"
	"sync/atomic"

	"parley/clients/js"
	"parley/engine"
	"parley/hooks"
	"parley/room"
	"parley/session"
	"parley/transport/http"
	"parley/transport/sock"
	"parley/transport/sse"
	"parley/transport/tcp"
	"parley/transport/ws"
	"parley/web"
)

// doors are the ways into a server: the transports, opened together and drained together.
type doors struct {
	config   *Config
	sessions *session.Server
	engine   *engine.Engine
	hub      *room.Hub
	sender   *hooks.Sender
	receiver *hooks.Receiver
	logger   *slog.Logger
	changes  reloader // each part that can change while it runs adds itself to its parts

	lines, pages *sock.Listener
	identity     *identity // nil = no TLS
	tcp          *tcp.Server
	sse          *sse.Server
	ws           *ws.Server
	http         *httpapi.Server // nil = no HTTP
	drains       []func(context.Context)

	stopIdentity func() // nil = it does not run
	stopRoster   func() // likewise
	stopStatus   func() // likewise

	roster *roster     // nil = this node is alone
	made   atomic.Bool // the transports are there

	told    chan struct{} // holds one wish: a client has asked for the end
	failed  chan error    // the first error of a Serve
	serving sync.WaitGroup
}

// open makes the transports and lets clients in. pages is nil where HTTP is off. After an error nothing
// is left.
func (d *doors) open(lines, pages *net.TCPListener) (err error) {
	defer func() {
		if err != nil {
			d.drain(context.Background()) // nobody is inside yet
		}
	}()
	d.failed, d.told = make(chan error, 1), make(chan struct{}, 1)
	d.sessions.Drain = d.askedToDrain
	if err := d.listen(lines, pages); err != nil {
		return err
	}
	d.meet()
	if pages != nil {
		if err := d.openHTTP(); err != nil {
			return err
		}
	}
	believe, err := d.believe(context.Background(), d.config)
	if err != nil {
		return err
	}
	believe()
	d.changes.parts = append(d.changes.parts, d.believe)
	d.tcp, err = tcp.NewServer(d.sessions, tcp.Config{
		Pause: pause(d.config.Pause), Web: d.url(), Logger: d.logger,
	})
	if err != nil {
		return err
	}
	d.drains = append(d.drains, d.tcp.Drain, d.sender.Drain)
	d.made.Store(true)
	d.roster.meet(d.config.Cluster.others())
	d.serve(func() error { return d.tcp.Serve(d.lines) })
	if pages != nil {
		d.serve(func() error { return d.http.Serve(d.pages) })
	}
	return nil
}

// listen makes listeners of TCP's, with TLS where that is spoken.
func (d *doors) listen(lines, pages *net.TCPListener) (err error) {
	config := sock.ListenerConfig{Handshake: d.config.Limits.Handshake, Logger: d.logger}
	toLines, toPages, port := config, config, 0
	if pages != nil {
		port = portOf(pages.Addr())
	}
	if d.identity, err = openIdentity(d.config, port, d.logger); err != nil {
		d.lines = sock.Listen(lines, config) // to be closed
		return err
	}
	d.changes.parts = append(d.changes.parts, steady(*d.config))
	if d.identity != nil {
		if !d.config.TLS.PlainTCP {
			toLines.TLS = d.identity.config()
		}
		toPages.TLS, toPages.NotTLS = d.identity.config("http/1.1", acmeALPN), httpapi.NotTLS
		if d.identity.change != nil {
			d.changes.parts = append(d.changes.parts, d.identity.change)
		}
	}
	if pages != nil {
		d.pages = sock.Listen(pages, toPages)
	}
	toLines.NotTLS = tcp.NotTLS(d.url())
	d.lines = sock.Listen(lines, toLines)
	if d.identity != nil { // from now on an authority can ask
		ctx, cancel := context.WithCancel(context.Background())
		d.stopIdentity = cancel
		d.serving.Go(func() { d.identity.run(ctx) })
	}
	return nil
}

// acmeALPN is agreed on by an authority that asks for a proof (RFC 8737).
const acmeALPN = "acme-tls/1"

// openHTTP makes what is behind the HTTP port.
func (d *doors) openHTTP() (err error) {
	if d.sse, err = sse.NewServer(d.sessions, sse.Config{Logger: d.logger}); err != nil {
		return err
	}
	d.drains = append(d.drains, d.sse.Drain)
	origins, err := httpapi.ParseOrigins(d.config.Origins)
	if err != nil {
		return err
	}
	hostnames := d.config.names()
	allowed := slices.Concat(hostnames, origins)
	if d.ws, err = ws.NewServer(d.sessions, ws.Config{AllowedOrigins: allowed, Logger: d.logger}); err != nil {
		return err
	}
	d.drains = append(d.drains, d.ws.Drain)
	d.http = httpapi.NewServer(d.sessions, httpapi.Config{
		Hostnames: hostnames,
		Origins:   origins,
		Events:    d.sse,
		Hooks:     d.receiver,
		Metrics:   d.metrics(),
		Cluster:   d.cluster(),
		Backup:    d.backup,
		WebSocket: d.ws,
		Page:      web.Handler(js.Source),
		SlowHead:  d.config.Limits.Handshake,
		Logger:    d.logger,
	})
	d.drains = append(d.drains, d.http.Drain)
	d.changes.parts = append(d.changes.parts, d.names)
	return nil
}

// names is the part that changes what HTTP answers to, and whose pages it lets in.
func (d *doors) names(_ context.Context, c *Config) (apply func(), err error) {
	origins, err := httpapi.ParseOrigins(c.Origins)
	return func() {
		d.http.SetNames(c.names(), origins)
		d.ws.SetOrigins(slices.Concat(c.names(), origins))
	}, err
}

// names are those that HTTP answers to, beside its addresses.
func (c *Config) names() []string { return slices.Concat(c.Hostnames, c.ACME.Domains) }

// addresses are where clients can come.
func (d *doors) addresses() Addresses {
	a := Addresses{TCP: d.lines.Addr().String(), SecureTCP: d.lines.Secure()}
	if d.pages != nil {
		a.HTTP, a.SecureHTTP = d.pages.Addr().String(), d.pages.Secure()
	}
	return a
}

// url is where a browser finds the page, "" = nowhere.
func (d *doors) url() string {
	if d.pages == nil {
		return ""
	}
	if d.pages.Secure() {
		return "https://" + d.pages.Addr().String()
	}
	return "http://" + d.pages.Addr().String()
}

func (d *doors) serve(f func() error) {
	d.serving.Go(func() {
		if err := f(); err != nil {
			select {
			case d.failed <- err:
			default: // one is enough to stop
			}
		}
	})
}

// askedToDrain has the server end, as TERM does.
func (d *doors) askedToDrain() {
	select {
	case d.told <- struct{}{}:
	default: // it is ending
	}
}

// drain closes the doors, has other nodes lead what this one leads, then lets all who are inside finish,
// and waits for them.
func (d *doors) drain(ctx context.Context) {
	if d.http != nil {
		d.http.Retire()
	}
	_ = d.lines.Close() // with it ends Serve
	if d.stopIdentity != nil {
		d.stopIdentity()
	}
	if d.roster != nil {
		d.roster.leave()
	}
	var wg sync.WaitGroup
	handOver(ctx, &wg, d.engine.HandOver)
	d.part(ctx)
	for _, drain := range d.drains {
		wg.Go(func() { drain(ctx) })
	}
	wg.Wait()
	if d.stopRoster != nil {
		d.stopRoster()
		d.stopStatus()
	}
	if d.pages != nil {
		_ = d.pages.Close() // where its server has not begun
	}
	d.serving.Wait()
}
