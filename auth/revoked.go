package auth

import (
	"maps"
	"sync"
	"sync/atomic"

	"parley"
)

// revocations are the names of who is refused. They do not change.
type revocations struct{ users, keys map[string]bool }

func (v *revocations) has(p *Principal) bool {
	return v != nil && (v.users[p.User] || p.Key != "" && v.keys[p.Key] || p.kid != "" && v.keys[p.kid])
}

// read makes sets of the names.
func (r *Revoked) read() (revocations, error) {
	v := revocations{users: make(map[string]bool), keys: make(map[string]bool)}
	for _, user := range r.Users {
		name, err := parley.ParseName(user)
		if err != nil {
			return v, badSetting("revoked.users", err)
		}
		v.users[name] = true
	}
	for _, key := range r.Keys {
		if err := parley.CheckID(key); err != nil {
			return v, badSetting("revoked.keys", err)
		}
		v.keys[key] = true
	}
	return v, nil
}

// blocklist is who is revoked while the server runs. It is as long as its administrators make it.
type blocklist struct {
	names atomic.Pointer[revocations] // nil: nobody
	mu    sync.Mutex                  // held by who changes them
}

func (b *blocklist) set(users, keys []string, revoked bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	was := b.names.Load()
	if was == nil {
		was = new(revocations)
	}
	b.names.Store(&revocations{users: with(was.users, users, revoked), keys: with(was.keys, keys, revoked)})
}

// with is a copy of a set in which names are, or are not. What can be nobody's name is passed over.
func with(set map[string]bool, names []string, in bool) map[string]bool {
	if set = maps.Clone(set); set == nil {
		set = make(map[string]bool)
	}
	for _, name := range names {
		name, err := parley.ParseName(name)
		switch {
		case err != nil:
		case in:
			set[name] = true
		default:
			delete(set, name)
		}
	}
	return set
}
