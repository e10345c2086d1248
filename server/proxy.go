package server

import (
	"context"
	"fmt"

	"parley/transport/sock"
)

// proxyFindings are what is wrong with the list.
func (c *Config) proxyFindings() (f findings) {
	for i, p := range c.Proxies {
		_, err := sock.ParseProxies([]string{p})
		f.need(err == nil, fmt.Sprintf("proxies[%d]", i), "%q is neither a network, as 10.0.0.0/8, nor an address", p)
	}
	return f
}

// believe is the part that changes who is believed.
func (d *doors) believe(_ context.Context, c *Config) (apply func(), err error) {
	listed, err := sock.ParseProxies(c.Proxies)
	if err != nil {
		return nil, badConfig("proxies: %w", err)
	}
	return func() {
		d.lines.SetProxies(listed)
		if d.pages != nil {
			d.pages.SetProxies(listed)
			d.http.SetProxies(listed)
		}
	}, nil
}
