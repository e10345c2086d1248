package auth

import (
	"crypto/rand"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/argon2"
)

// argonHash is an argon2id hash with what it was made by. Its text is the PHC form:
// $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH, with unpadded base64.
type argonHash struct {
	memory  uint32 // KiB
	time    uint32 // passes
	threads uint8
	salt    []byte
	sum     []byte
}

// What a hash may cost: whoever connects can have one computed.
const (
	maxArgonMemory  = 128 << 10 // KiB
	maxArgonTime    = 16
	maxArgonThreads = 8
	maxArgonWork    = 512 << 10 // memory times passes
)

var errHash = errors.New("no argon2id hash in PHC form, $argon2id$v=19$m=19456,t=2,p=1$SALT$HASH; parley apikey makes one")

// newHash hashes a secret, by the parameters OWASP gives.
func newHash(secret string) *argonHash {
	h := &argonHash{memory: 19 << 10, time: 2, threads: 1, salt: make([]byte, 16)}
	_, _ = rand.Read(h.salt) // it never fails
	h.sum = h.of(secret, 32)
	return h
}

func (h *argonHash) of(secret string, size int) []byte {
	return argon2.IDKey([]byte(secret), h.salt, h.time, h.memory, h.threads, uint32(size))
}

// matches says whether the hash is the secret's, in a time that does not depend on how alike they are.
func (h *argonHash) matches(secret string) bool {
	return subtle.ConstantTimeCompare(h.of(secret, len(h.sum)), h.sum) == 1
}

// String gives the PHC form.
func (h *argonHash) String() string {
	b := base64.RawStdEncoding
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, h.memory, h.time, h.threads,
		b.EncodeToString(h.salt), b.EncodeToString(h.sum))
}

// parseHash reads the PHC form. A hash that would take too much is an error.
func parseHash(s string) (*argonHash, error) {
	parts := strings.Split(s, "$")
	if len(s) > 512 || len(parts) != 6 || parts[0] != "" || parts[1] != "argon2id" {
		return nil, errHash
	}
	if parts[2] != fmt.Sprintf("v=%d", argon2.Version) {
		return nil, errHash
	}
	h := new(argonHash)
	if _, err := fmt.Sscanf(parts[3], "m=%d,t=%d,p=%d", &h.memory, &h.time, &h.threads); err != nil {
		return nil, errHash
	}
	var err error
	b := base64.RawStdEncoding.Strict()
	if h.salt, err = b.DecodeString(parts[4]); err != nil {
		return nil, errHash
	}
	if h.sum, err = b.DecodeString(parts[5]); err != nil {
		return nil, errHash
	}
	if h.String() != s {
		return nil, errHash // something stands there that was not read
	}
	return h, h.check()
}

func (h *argonHash) check() error {
	switch {
	case h.threads < 1 || h.threads > maxArgonThreads:
		return fmt.Errorf("p=%d; it may be 1 to %d", h.threads, maxArgonThreads)
	case h.memory < 8*uint32(h.threads) || h.memory > maxArgonMemory:
		return fmt.Errorf("m=%d; it may be 8 for each thread to %d (KiB)", h.memory, maxArgonMemory)
	case h.time < 1 || h.time > maxArgonTime:
		return fmt.Errorf("t=%d; it may be 1 to %d", h.time, maxArgonTime)
	case h.memory*h.time > maxArgonWork:
		return fmt.Errorf("m=%d, t=%d: that takes too long", h.memory, h.time)
	case len(h.salt) < 8 || len(h.salt) > 64:
		return fmt.Errorf("a salt of %d bytes; it may have 8 to 64", len(h.salt))
	case len(h.sum) < 16 || len(h.sum) > 64:
		return fmt.Errorf("a hash of %d bytes; it may have 16 to 64", len(h.sum))
	}
	return nil
}
