package server

import (
	"context"
	"log/slog"
	"net"
	"slices"
	"sync"

	"parley/clients/js"
	"parley/engine"
	"parley/hooks"
	"parley/room"
	"parley/session"
	"parley/transport/http"
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

	lines, pages *net.TCPListener
	tcp          *tcp.Server
	sse          *sse.Server
	ws           *ws.Server
	http         *httpapi.Server // nil = no HTTP
	drains       []func(context.Context)

	failed  chan error // the first error of a Serve
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
	d.failed = make(chan error, 1)
	d.lines, d.pages = lines, pages
	if pages != nil {
		if err := d.openHTTP(); err != nil {
			return err
		}
	}
	d.tcp, err = tcp.NewServer(d.sessions, tcp.Config{
		Pause: pause(d.config.Pause), Web: d.url(), Logger: d.logger,
	})
	if err != nil {
		return err
	}
	d.drains = append(d.drains, d.tcp.Drain, d.sender.Drain)
	d.serve(func() error { return d.tcp.Serve(lines) })
	if pages != nil {
		d.serve(func() error { return d.http.Serve(pages) })
	}
	return nil
}

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
	allowed := slices.Concat(d.config.Hostnames, origins)
	if d.ws, err = ws.NewServer(d.sessions, ws.Config{AllowedOrigins: allowed, Logger: d.logger}); err != nil {
		return err
	}
	d.drains = append(d.drains, d.ws.Drain)
	d.http = httpapi.NewServer(d.sessions, httpapi.Config{
		Hostnames: d.config.Hostnames,
		Origins:   origins,
		Events:    d.sse,
		Hooks:     d.receiver,
		Metrics:   d.metrics(),
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
		d.http.SetNames(c.Hostnames, origins)
		d.ws.SetOrigins(slices.Concat(c.Hostnames, origins))
	}, err
}

// addresses are where clients can come.
func (d *doors) addresses() Addresses {
	a := Addresses{TCP: d.lines.Addr().String()}
	if d.pages != nil {
		a.HTTP = d.pages.Addr().String()
	}
	return a
}

// url is where a browser finds the page, "" = nowhere.
func (d *doors) url() string {
	if d.pages == nil {
		return ""
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

// drain closes the doors, lets all who are inside finish at the same time, and waits for them.
func (d *doors) drain(ctx context.Context) {
	if d.http != nil {
		d.http.Retire()
	}
	_ = d.lines.Close() // with it ends Serve
	var wg sync.WaitGroup
	for _, drain := range d.drains {
		wg.Go(func() { drain(ctx) })
	}
	wg.Wait()
	d.serving.Wait()
}
