package httpapi

import (
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"

	"parley"
)

// Where nobody has to say who they are, a browser on this machine is the way in for every page it
// shows: these checks let in only our own.

// names are those the server answers to, and the other sites whose pages it lets in. They do not
// change: others are other names.
type names struct{ hosts, origins map[string]bool }

// SetNames changes Config's Hostnames and Origins while the server runs. Origins are as ParseOrigins
// gives them.
func (s *Server) SetNames(hostnames, origins []string) {
	n := &names{hosts: make(map[string]bool), origins: make(map[string]bool)}
	for _, name := range hostnames {
		n.hosts[hostOf(name)] = true
	}
	for _, origin := range origins {
		n.origins[origin] = true
	}
	s.names.Store(n)
}

// checkHost refuses a request for a name that is not ours: a page of another site whose name was made
// to point here (DNS rebinding) is, to the browser, of one origin with us.
func (s *Server) checkHost(r *http.Request) error {
	host := hostOf(r.Host)
	local := localAddr(r)
	addr, err := netip.ParseAddr(strings.Trim(host, "[]"))
	switch {
	case s.names.Load().hosts[host]:
		return nil
	case err == nil:
		// An address cannot be made to point elsewhere. Which ones lead here, a server that listens on
		// all does not know.
		if addr = addr.Unmap(); addr == local || s.anyAddress.Load() || addr.IsLoopback() && local.IsLoopback() {
			return nil
		}
	case local.IsLoopback() && (host == "localhost" || strings.HasSuffix(host, ".localhost")):
		return nil
	}
	return parley.Errorf(parley.Denied, "this server does not answer to %q; --hostname says which names it has", host)
}

// hostOf is the host of a host:port, in small letters and without a dot behind it.
func hostOf(hostport string) string {
	host := hostport
	if h, _, err := net.SplitHostPort(hostport); err == nil {
		host = h
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// localAddr is our side of the connection.
func localAddr(r *http.Request) netip.Addr {
	a, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	return a.AddrPort().Addr().Unmap()
}

var errCrossSite = parley.Errorf(parley.Denied, "a page of another site may not do this")

// checkSite refuses what a browser asks for on behalf of another site, whatever its type: a form
// needs no leave to post. Following a link to here is fine, and so is what comes from a listed origin.
func (s *Server) checkSite(r *http.Request) error {
	if _, ok := s.listed(r); ok {
		return nil
	}
	if err := s.crossOrigin.Check(r); err != nil {
		return errCrossSite.Because(err)
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		if r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			return errCrossSite
		}
	}
	origins := r.Header["Origin"]
	if len(origins) > 1 || len(origins) == 1 && !sameHost(origins[0], r) {
		return errCrossSite
	}
	return nil
}

// sameHost says whether an origin is that of our own page: of this host, by whatever scheme a proxy
// speaks.
func sameHost(origin string, r *http.Request) bool {
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}

// checkPath refuses paths that mean another than they say: what net/http would send elsewhere. A part that
// is encoded is decoded once, by its route, and so a room's name at most.
func checkPath(r *http.Request) error {
	path := r.URL.EscapedPath()
	if !strings.HasPrefix(path, "/") { // OPTIONS *, and CONNECT
		return parley.Errorf(parley.BadRequest, "%q is no path here", clip(r.RequestURI))
	}
	for i, part := range strings.Split(path, "/") {
		if part == "." || part == ".." || part == "" && i > 0 && i < strings.Count(path, "/") {
			return parley.Errorf(parley.BadRequest, "%q is no path here", clip(path))
		}
	}
	return nil
}

// clip shortens what a client sent before it is shown back to it.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
