package quota

import "context"

// contextKey is where a context has its account.
type contextKey struct{}

// NewContext gives a context that carries the account of the connection it is of: for transports that
// are given requests, of which some take the connection over.
func NewContext(ctx context.Context, a *Account) context.Context {
	return context.WithValue(ctx, contextKey{}, a)
}

// FromContext gives the account that a context carries, or nil.
func FromContext(ctx context.Context) *Account {
	a, _ := ctx.Value(contextKey{}).(*Account)
	return a
}
