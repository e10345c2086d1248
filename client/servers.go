package client

import (
	"errors"
	"slices"
	"strings"

	"parley"
)

// maxLearned bounds the addresses that a server can have a client know.
const maxLearned = 64

// scheme is how one speaks to an address.
func scheme(addr string) string {
	if s, _, found := strings.Cut(addr, "://"); found {
		return s
	}
	return "tcp"
}

// learn takes from a welcome where else the client may come: the other nodes of a cluster. Only
// those count that are spoken to as the one that says so is: what was said under TLS, a token too,
// is not to be said without it. The addresses given at first stay.
func (c *Client) learn(from string, servers []string) {
	var learned []string
	for _, s := range servers[:min(len(servers), maxLearned)] {
		parsed, err := parseAddrs(s)
		if err != nil || len(parsed) != 1 || scheme(parsed[0]) != scheme(from) || slices.Contains(c.addrs, parsed[0]) {
			continue
		}
		learned = append(learned, parsed[0])
	}
	if len(servers) > 0 {
		c.learned = learned
	}
}

// redirected takes from the goodbye of a server that goes away where else the client may come: it may be
// long ago that a welcome said so.
func (c *Client) redirected(from string, err error) {
	var e *parley.Error
	if errors.As(err, &e) {
		c.learn(from, e.Servers)
	}
}

// targets are the addresses to try, beginning behind the one tried last.
func (c *Client) targets() []string {
	all := slices.Concat(c.addrs, c.learned)
	from := (slices.Index(all, c.tried) + 1) % len(all)
	return slices.Concat(all[from:], all[:from])
}
