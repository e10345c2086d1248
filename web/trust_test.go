package web_test

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/coder/websocket"
)

// trust is whom a fixture lets in. The zero value is everybody.
type trust struct {
	token  string // that lets one in, if not empty
	user   string // who has it
	grants []frame
	open   []frame // what those may do who have no token; nil = nothing
	login  string  // the provider's name
}

var everything = []frame{{"rooms": "**", "may": []string{"join", "history", "send", "members", "signal"}}}

// knows says whether a request bears the cookie.
func (t *trust) knows(r *http.Request) bool {
	c, err := r.Cookie("parley")
	return err == nil && t.token != "" && c.Value == t.token
}

// session plays /session as the server does.
func (f *fixture) session(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch r.Method {
	case http.MethodPost:
		if r.Header.Get("Authorization") != "Bearer "+f.trust.token {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(http.StatusUnauthorized)
			_ = json.NewEncoder(w).Encode(frame{"status": 401, "code": "unauthorized", "detail": "the token has expired"})
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "parley", Value: f.trust.token, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode})
		w.WriteHeader(http.StatusNoContent)
	case http.MethodDelete:
		http.SetCookie(w, &http.Cookie{Name: "parley", Path: "/", MaxAge: -1})
		w.WriteHeader(http.StatusNoContent)
	default:
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(f.trust.who(r))
	}
}

func (t *trust) who(r *http.Request) frame {
	who := frame{"user": "", "name": "", "grants": everything, "expires": nil, "anonymous": true, "auth": t.token != "", "login": t.login}
	switch {
	case t.knows(r):
		who["user"], who["name"], who["grants"], who["anonymous"] = t.user, "Ada Lovelace", t.grants, false
		who["expires"] = time.Now().Add(time.Hour).Format(time.RFC3339)
	case t.token != "":
		who["grants"] = append([]frame{}, t.open...)
	}
	return who
}

// end ends everybody's session, as a token's end does; token lets one in from now on.
func (f *fixture) end(token string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trust.token = token
	for s := range f.sessions {
		s.write(frame{"op": "error", "code": "unauthorized", "message": "your token has ended: connect again with a new one"})
		go func() { _ = s.conn.Close(websocket.StatusPolicyViolation, "unauthorized") }()
	}
}
