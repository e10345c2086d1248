package httpapi

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"parley"
)

// Pages of other sites may use this server where its configuration lists their origin, and only
// there: the browser is told so origin by origin (the Fetch standard, section 3.3), never by a
// wildcard. A cookie of theirs is not let along: what they are allowed they show with a token.

// What a listed page may do beyond what needs no leave, and for how long a browser may remember it.
const (
	corsMethods = "GET, POST, DELETE"
	corsHeaders = "Content-Type, Idempotency-Key, Parley-Name, Last-Event-ID, Authorization"
	corsExposed = "Retry-After"
	corsMaxAge  = "7200" // seconds; no browser that counts keeps it longer
)

// ParseOrigins checks origins and gives them as browsers write them: in small letters, without the
// port that the scheme implies. An origin is scheme://host or scheme://host:port, and names one site.
func ParseOrigins(list []string) ([]string, error) {
	origins := make([]string, 0, len(list))
	for _, given := range list {
		origin, err := parseOrigin(given)
		if err != nil {
			return nil, err
		}
		if !slices.Contains(origins, origin) {
			origins = append(origins, origin)
		}
	}
	return origins, nil
}

func parseOrigin(given string) (string, error) {
	if strings.Contains(given, "*") {
		return "", parley.Errorf(parley.BadRequest, "%q would let the pages of sites you do not know read and write every room: list each origin, as https://chat.example", given)
	}
	u, err := url.Parse(given)
	if err != nil || u.Scheme == "" || u.Hostname() == "" || u.User != nil || strings.HasSuffix(u.Host, ":") || !isASCII(given) ||
		given[len(u.Scheme):] != "://"+u.Host {
		return "", parley.Errorf(parley.BadRequest, "%q is no origin: scheme://host or scheme://host:port, without a path, as https://chat.example", given)
	}
	scheme, host := u.Scheme, strings.ToLower(u.Host)
	if port := u.Port(); scheme == "https" && port == "443" || scheme == "http" && port == "80" {
		host = strings.TrimSuffix(host, ":"+port)
	}
	return scheme + "://" + host, nil
}

// isASCII says whether an origin can be one that browsers send: they write other hosts as xn--.
func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// listed gives the request's origin if it is one of those that are listed.
func (s *Server) listed(r *http.Request) (string, bool) {
	given := r.Header["Origin"]
	origins := s.names.Load().origins
	if len(given) != 1 || len(origins) == 0 {
		return "", false
	}
	origin := strings.ToLower(given[0])
	return origin, origins[origin]
}

var varyOrigin = []string{"Origin"}

// share says who may read the answer. Every answer depends on where the request comes from, the
// refusals too: a cache must not show one site what was meant for another.
func (s *Server) share(h http.Header, r *http.Request) {
	h["Vary"] = varyOrigin
	if origin, ok := s.listed(r); ok {
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Expose-Headers", corsExposed)
		h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	}
}

// preflight answers a browser that asks what a listed page may do here.
func (s *Server) preflight(h http.Header, r *http.Request) {
	if _, ok := s.listed(r); !ok || r.Header.Get("Access-Control-Request-Method") == "" {
		return
	}
	h.Set("Access-Control-Allow-Methods", corsMethods)
	h.Set("Access-Control-Allow-Headers", corsHeaders)
	h.Set("Access-Control-Max-Age", corsMaxAge)
}
