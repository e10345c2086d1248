package client

import (
	"crypto/rand"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"parley"
)

// identity makes a client's ids and knows its messages again. It may be used by many goroutines
// at once.
type identity struct {
	prefix string // of all ids it makes; nobody else's
	count  atomic.Uint64

	mu     sync.Mutex
	users  map[string]bool // whom the server called us: one, or a few
	ids    map[string]bool // given by the caller, the newest maxOwnIDs
	oldest []string
}

// maxOwnIDs bounds how many ids of the caller's making are known again.
const maxOwnIDs = 4096

func newIdentity() *identity {
	return &identity{
		prefix: rand.Text()[:16] + "-",
		users:  make(map[string]bool),
		ids:    make(map[string]bool),
	}
}

func (i *identity) nextID() string {
	return i.prefix + strconv.FormatUint(i.count.Add(1), 36)
}

func (i *identity) addUser(user string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users[user] = true
}

func (i *identity) addID(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.ids[id] {
		return
	}
	if len(i.oldest) == maxOwnIDs {
		delete(i.ids, i.oldest[0])
		i.oldest = i.oldest[1:]
	}
	i.ids[id] = true
	i.oldest = append(i.oldest, id)
}

// wrote says whether the message is the client's own. An id can be copied by anyone who reads it,
// so the sender counts too, which is the server's word.
func (i *identity) wrote(m *parley.Message) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.users[m.From] && (strings.HasPrefix(m.ID, i.prefix) || i.ids[m.ID])
}
