package session

import "parley/auth"

// Principal is whom a caller's credential says that it is.
func (c Caller) Principal() *auth.Principal { return c.who }
