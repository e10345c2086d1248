package auth

import (
	"container/list"
	"crypto/sha256"
	"sync"
	"time"
)

// digest is the SHA-256 of a credential: what is kept of it.
type digest = [sha256.Size]byte

// maxCached is how many credentials a cache knows; those asked for least recently go.
const maxCached = 4096

// cache remembers whose a credential is, so that it is worked out once.
type cache struct {
	mu      sync.Mutex
	entries map[digest]*list.Element
	recent  *list.List // of *cached, the one last asked for in front
}

type cached struct {
	sum   digest
	whose *Principal // nil: nobody's
	until time.Time  // zero: for ever
}

func newCache() *cache {
	return &cache{entries: make(map[digest]*list.Element), recent: list.New()}
}

// get gives whose a credential is; known is false where that has to be worked out.
func (c *cache) get(sum digest, now time.Time) (p *Principal, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.entries[sum]
	if e == nil {
		return nil, false
	}
	entry := e.Value.(*cached)
	if !entry.until.IsZero() && !now.Before(entry.until) {
		c.remove(e)
		return nil, false
	}
	c.recent.MoveToFront(e)
	return entry.whose, true
}

func (c *cache) put(sum digest, p *Principal, until time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.entries[sum]; e != nil {
		c.remove(e)
	}
	c.entries[sum] = c.recent.PushFront(&cached{sum, p, until})
	if c.recent.Len() > maxCached {
		c.remove(c.recent.Back())
	}
}

// remove forgets an entry; c.mu is held.
func (c *cache) remove(e *list.Element) {
	delete(c.entries, e.Value.(*cached).sum)
	c.recent.Remove(e)
}
