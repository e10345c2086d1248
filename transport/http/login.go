package httpapi

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"parley"
	"parley/auth"
	"parley/session"
	"parley/transport/sock"
)

// Signing in, for the page: a token becomes a cookie, which scripts cannot read; or a provider says who
// somebody is, and the server makes a token of its own. Pages of other origins can use nothing of it,
// listed ones neither.

// attemptCookie binds a sign-in at a provider to the browser that began it.
const attemptCookie = "parley_login"

// who is the answer to GET /session.
type who struct {
	User      string      `json:"user"` // "" = nobody has said who they are
	Name      string      `json:"name"`
	Grants    auth.Grants `json:"grants"`
	Expires   *time.Time  `json:"expires"` // null = never
	Anonymous bool        `json:"anonymous"`
	Auth      bool        `json:"auth"`  // there is a way to say who one is
	Login     string      `json:"login"` // the provider at which people can sign in; "" = at none
}

// whoAmI answers who the caller is and what it may do: GET /session. A cookie that is no good any more is
// taken back, and its caller is who has none.
func (s *Server) whoAmI(w http.ResponseWriter, r *http.Request) error {
	if err := ownSite(r); err != nil {
		return err
	}
	caller, err := s.caller(r)
	if isUnauthorized(err) && len(r.Header["Authorization"]) == 0 {
		http.SetCookie(w, auth.NoCookie(r))
		caller, err = s.callerBy(r, "")
	}
	if err != nil {
		return err
	}
	write(w, http.StatusOK, s.describe(caller.Principal()))
	return nil
}

func isUnauthorized(err error) bool {
	return err != nil && parley.AsError(err).Code == parley.Unauthorized
}

func (s *Server) describe(p *auth.Principal) who {
	a := who{User: p.User, Name: p.Name, Grants: p.Grants, Anonymous: p.Anonymous}
	if a.Grants == nil {
		a.Grants = auth.Grants{}
	}
	if !p.Expires.IsZero() {
		expires := p.Expires.UTC()
		a.Expires = &expires
	}
	if s.sessions.Auth != nil {
		a.Auth = s.sessions.Auth.TakesCredentials()
		if l := s.sessions.Auth.Login(); l != nil {
			a.Login = l.Provider()
		}
	}
	return a
}

// callerBy finds who makes a request, by a credential that the request does not show itself.
func (s *Server) callerBy(r *http.Request, credential string) (session.Caller, error) {
	return s.sessions.Caller(r.Context(), sock.ClientAddr(r), credential, guest)
}

var (
	errNothingToSign = parley.Errorf(parley.Conflict, "nobody has to say who they are here, so there is nothing to sign in to")
	errNotShown      = parley.Errorf(parley.Unauthorized, "a token is sent as Authorization: Bearer TOKEN")
	errKeyInCookie   = parley.Errorf(parley.BadRequest, "an API key is a service's: it is not put into a browser's cookie")
	errLongCookie    = parley.Errorf(parley.TooLarge, "a browser keeps a token of at most %d bytes", auth.MaxCookie)
)

// signIn puts the token that is shown into a cookie: POST /session.
func (s *Server) signIn(w http.ResponseWriter, r *http.Request) error {
	if err := ownSite(r); err != nil {
		return err
	}
	if s.sessions.Auth == nil || !s.sessions.Auth.On() {
		return errNothingToSign
	}
	if len(r.Header["Authorization"]) == 0 {
		return errNotShown
	}
	token, err := auth.FromRequest(r, false)
	if err != nil {
		return err
	}
	caller, err := s.callerBy(r, token)
	if err != nil {
		return err
	}
	switch p := caller.Principal(); {
	case p.Key != "":
		return errKeyInCookie
	case len(token) > auth.MaxCookie:
		return errLongCookie
	default:
		http.SetCookie(w, auth.NewCookie(r, token, p.Expires, time.Now()))
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// signOut takes the cookie back: DELETE /session.
func (s *Server) signOut(w http.ResponseWriter, r *http.Request) error {
	if err := ownSite(r); err != nil {
		return err
	}
	http.SetCookie(w, auth.NoCookie(r))
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// ownSite refuses what a page of another origin asks for.
func ownSite(r *http.Request) error {
	if !auth.SameOrigin(r) {
		return errCrossSite
	}
	return nil
}

// login sends the browser to the provider: GET /login. A link on another site leads to the page, which
// asks: nobody else has somebody sign in.
func (s *Server) login(w http.ResponseWriter, r *http.Request) error {
	l, err := s.provider()
	if err != nil {
		return err
	}
	if !auth.SameOrigin(r) {
		redirect(w, "/")
		return nil
	}
	to, attempt, err := l.Begin(r.Context())
	if err != nil {
		s.turnBack(w, err)
		return nil
	}
	// Lax: the provider is another site, and the browser comes back from there.
	c := attempted(r, l)
	c.Value, c.MaxAge = attempt, int(auth.AttemptLife/time.Second)
	http.SetCookie(w, c)
	redirect(w, to)
	return nil
}

// loginCallback is where the provider sends the browser back to: GET /login/callback. Whatever comes of
// it, the browser goes on to the page, which says so.
func (s *Server) loginCallback(w http.ResponseWriter, r *http.Request) error {
	l, err := s.provider()
	if err != nil {
		return err
	}
	attempt := ""
	if c, err := r.Cookie(attemptCookie); err == nil {
		attempt = c.Value
	}
	c := attempted(r, l)
	c.MaxAge = -1
	http.SetCookie(w, c)
	token, expires, err := s.finish(r.Context(), l, r, attempt)
	if err != nil {
		s.turnBack(w, err)
		return nil
	}
	session := auth.NewCookie(r, token, expires, time.Now())
	session.Secure = session.Secure || l.Secure()
	http.SetCookie(w, session)
	redirect(w, "/")
	return nil
}

// finish gives the token of who has signed in and is let in: somebody revoked is not.
func (s *Server) finish(ctx context.Context, l *auth.Login, r *http.Request, attempt string) (string, time.Time, error) {
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return "", time.Time{}, parley.Errorf(parley.Unauthorized, "the provider's answer cannot be read")
	}
	account := s.sessions.Quota.Visit(sock.ClientAddr(r).Addr())
	if err := account.MayLogin(); err != nil {
		return "", time.Time{}, err
	}
	token, expires, err := l.Finish(ctx, attempt, query)
	account.LoginTried(err != nil && isUnauthorized(err))
	if err == nil {
		_, err = s.callerBy(r, token)
	}
	return token, expires, err
}

func (s *Server) provider() (*auth.Login, error) {
	if s.sessions.Auth != nil {
		if l := s.sessions.Auth.Login(); l != nil {
			return l, nil
		}
	}
	return nil, parley.Errorf(parley.NotFound, "nobody signs in at a provider here")
}

// attempted is the cookie of a sign-in that is under way.
func attempted(r *http.Request, l *auth.Login) *http.Cookie {
	return &http.Cookie{
		Name: attemptCookie, Path: "/login", HttpOnly: true, SameSite: http.SameSiteLaxMode,
		Secure: auth.IsSecure(r) || l.Secure(),
	}
}

// turnBack sends the browser to the page, which says why nobody is signed in: by a word for the error, so
// that nothing of a URL's making is shown.
func (s *Server) turnBack(w http.ResponseWriter, err error) {
	e := parley.AsError(err)
	s.logger.Warn("a sign-in came to nothing", "code", e.Code, "message", e.Message, "err", e.Unwrap())
	redirect(w, "/?signin="+string(e.Code))
}

// redirect sends the browser elsewhere, with a GET: to a path of ours, or to the provider's configured
// endpoint. Nothing that a request says has a part in it.
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}
