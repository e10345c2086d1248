package auth

import "time"

// Principal is who is asking, and what they may do. Sessions share it: it never changes.
type Principal struct {
	User    string // the token's sub or the API key's name; "" where nobody has said who they are
	Name    string // to be shown; "" = User
	Grants  Grants
	Expires time.Time // when the token ends; zero = never
	Key     string    // the API key's name; "" with a token
	TokenID string    // the token's jti; "" where it has none

	// Anonymous: no credential was shown. User is empty, Grants are those of everybody.
	Anonymous bool

	kid      string   // of the key that signed the token; "" = it has none
	hash     string   // what an API key was held against: a new one ends the old one's sessions
	provider string   // at which somebody has signed in; "" = at none
	groups   []string // that the provider said they are in, and have grants
}
