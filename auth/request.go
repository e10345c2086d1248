package auth

import (
	"net/http"
	"strings"

	"parley"
)

// FromRequest finds the credential that a request shows, "" where it shows none: in Authorization, as
// a bearer (RFC 6750, section 2.1), else in the cookie, which counts in requests of our own page alone:
// nobody may act by a cookie that is not theirs. inURL is for requests to which a browser can add no
// header, those of EventSource and WebSocket: there a "token" in the query counts as well, but only a
// browser's, since a URL is what logs and histories keep.
func FromRequest(r *http.Request, inURL bool) (string, error) {
	var inQuery []string
	if strings.Contains(r.URL.RawQuery, "token") {
		inQuery = r.URL.Query()["token"]
	}
	switch {
	case len(inQuery) > 1:
		return "", parley.Errorf(parley.BadRequest, `"token" stands twice`)
	case len(inQuery) == 1 && (!inURL || !fromBrowser(r)):
		return "", parley.Errorf(parley.BadRequest, "a token does not belong in a URL: send it as Authorization: Bearer TOKEN")
	}
	shown := r.Header["Authorization"]
	switch {
	case len(shown) > 1:
		return "", parley.Errorf(parley.BadRequest, "Authorization stands twice")
	case len(shown) == 1:
		scheme, credential, _ := strings.Cut(shown[0], " ")
		credential = strings.TrimLeft(credential, " ")
		if !strings.EqualFold(scheme, "Bearer") || credential == "" {
			return "", parley.Errorf(parley.Unauthorized, "a token is sent as Authorization: Bearer TOKEN")
		}
		return credential, nil
	case len(inQuery) == 1:
		return inQuery[0], nil
	}
	if SameOrigin(r) {
		return fromCookie(r), nil
	}
	return "", nil
}

// fromBrowser recognises a browser's request by headers that pages cannot set.
func fromBrowser(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Mode") != "" || r.Header.Get("Origin") != ""
}
