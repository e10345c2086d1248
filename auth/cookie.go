package auth

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Cookie is the name of the cookie that may bear a page's token; over TLS it has __Host- in front.
const Cookie = "parley"

// Bounds of what a cookie bears.
const (
	CookieLife = 12 * time.Hour // at most, however long the token is good
	MaxCookie  = 3800           // bytes of a token: browsers drop cookies of more than 4,096 bytes in silence
)

// NewCookie makes the cookie that bears a token which ends at expires. Scripts cannot read it, and
// browsers send it with no request that another site has brought about.
func NewCookie(r *http.Request, token string, expires, now time.Time) *http.Cookie {
	c := cookie(r)
	c.Value = token
	c.MaxAge = int(min(expires.Sub(now), CookieLife) / time.Second)
	if c.MaxAge < 1 {
		c.MaxAge = -1 // 0 would be a cookie for as long as the browser runs
	}
	return c
}

// NoCookie makes the cookie that ends the one there is.
func NoCookie(r *http.Request) *http.Cookie {
	c := cookie(r)
	c.MaxAge = -1
	return c
}

func cookie(r *http.Request) *http.Cookie {
	c := &http.Cookie{Name: Cookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode, Secure: IsSecure(r)}
	if c.Secure {
		c.Name = secureCookie
	}
	return c
}

// secureCookie is the cookie's name where there is TLS: browsers take one of this name from nobody but
// the host itself (RFC 6265bis, section 4.1.3.2), so a neighbouring name cannot plant another's token.
const secureCookie = "__Host-" + Cookie

// fromCookie finds the token that a request's cookie bears, "" where it bears none.
func fromCookie(r *http.Request) string {
	if c, err := r.Cookie(secureCookie); err == nil {
		return c.Value
	}
	if r.TLS != nil {
		return ""
	}
	if c, err := r.Cookie(Cookie); err == nil {
		return c.Value
	}
	return ""
}

// IsSecure says whether a browser made a request over TLS: to us, or to a proxy, of which its Origin tells.
func IsSecure(r *http.Request) bool {
	return r.TLS != nil || len(r.Header["Origin"]) == 1 && strings.HasPrefix(r.Header["Origin"][0], "https://") && SameOrigin(r)
}

// SameOrigin says whether a request may be one of this server's own page, or of no browser: neither a
// page of another origin has brought it about, listed or not, nor one of another port or a neighbouring
// name, to whose requests browsers add cookies all the same.
func SameOrigin(r *http.Request) bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		return false
	}
	origins := r.Header["Origin"]
	if len(origins) == 0 {
		return true
	}
	u, err := url.Parse(origins[0])
	return err == nil && len(origins) == 1 && strings.EqualFold(u.Host, r.Host) && (r.TLS == nil || u.Scheme == "https")
}
