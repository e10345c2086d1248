package auth

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/oklog/ulid/v2"

	"parley"
)

// Token is what a token says.
type Token struct {
	Issuer   string
	Audience string
	User     string // sub
	Name     string // to be shown; "" = none
	Grants   Grants
	Expires  time.Time // to the second
}

// Signer makes tokens.
type Signer struct {
	alg, kid string
	private  any // what jwt signs with: []byte, *rsa.PrivateKey, *ecdsa.PrivateKey or ed25519.PrivateKey
}

// LoadSigner reads a file with what tokens are signed with: a private key in PEM, or else a secret. alg
// "" is the one that the key is for; kid "" names no key.
func LoadSigner(file, alg, kid string) (*Signer, error) {
	data, err := readKeyFile(file)
	if err != nil {
		return nil, err
	}
	s := &Signer{alg: alg, kid: kid}
	if block, _ := pem.Decode(data); block != nil {
		err = s.readPrivate(block)
	} else {
		err = s.readSecret(data)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return s, nil
}

func (s *Signer) readSecret(data []byte) error {
	if s.alg == "" {
		s.alg = hs256
	}
	if s.alg != hs256 {
		return fmt.Errorf("this is no private key in PEM, which %s takes", clip(s.alg))
	}
	var err error
	s.private, err = parseSecret(data)
	return err
}

func (s *Signer) readPrivate(block *pem.Block) error {
	private, err := parsePrivate(block)
	if err != nil {
		return err
	}
	if s.alg == "" {
		for _, alg := range algs {
			if fits(alg, private.Public()) == nil {
				s.alg = alg
			}
		}
	}
	s.private = private
	return fits(s.alg, private.Public())
}

func parsePrivate(block *pem.Block) (crypto.Signer, error) {
	switch block.Type {
	case "PRIVATE KEY":
		private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, err
		}
		if signer, ok := private.(crypto.Signer); ok {
			return signer, nil
		}
		return nil, errors.New("a key that signs nothing")
	case "RSA PRIVATE KEY":
		return x509.ParsePKCS1PrivateKey(block.Bytes)
	case "EC PRIVATE KEY":
		return x509.ParseECPrivateKey(block.Bytes)
	}
	return nil, fmt.Errorf("a PEM file of a %q, not of a private key", clip(block.Type))
}

// Signer gives the first of the configured keys that tokens can be signed with, of the algorithm and
// kid if they are not "": only a shared secret can do that, public keys check.
func (c *Config) Signer(alg, kid string) (*Signer, error) {
	for i := range c.Keys {
		k := &c.Keys[i]
		if k.Alg != hs256 || alg != "" && alg != hs256 || kid != "" && k.KID != kid {
			continue
		}
		material, where, err := k.read()
		if err != nil {
			return nil, &SettingError{fmt.Sprintf("auth.keys[%d]%s", i, where), err}
		}
		return &Signer{hs256, k.KID, material}, nil
	}
	return nil, errors.New("auth.keys has no such secret to sign with, and public keys only check: give the private one with --key-file")
}

// Sign makes a token, valid from now on, with an id of its own.
func (s *Signer) Sign(t Token, now time.Time) (string, error) {
	if err := checkUser(t.User); err != nil {
		return "", err
	}
	if err := t.Grants.Check(); err != nil {
		return "", err
	}
	c := jwt.MapClaims{
		"iss": t.Issuer,
		"aud": t.Audience,
		"sub": t.User,
		"exp": t.Expires.Unix(),
		"iat": now.Unix(),
		"jti": ulid.Make().String(),
	}
	if t.Name != "" {
		c["name"] = t.Name
	}
	if t.Grants != nil {
		c["parley"] = t.Grants
	}
	token := jwt.NewWithClaims(jwt.GetSigningMethod(s.alg), c)
	if s.kid != "" {
		token.Header["kid"] = s.kid
	}
	text, err := token.SignedString(s.private)
	if err == nil && len(text) > MaxCredential {
		return "", parley.Errorf(parley.TooLarge, "the token would have %d bytes; a server takes %d", len(text), MaxCredential)
	}
	return text, err
}

// NewKey makes a key for an algorithm: what signs tokens, and what a server checks them with. Both are
// PEM, but for HS256, where they are the same secret.
func NewKey(alg string) (private, public []byte, err error) {
	var signer crypto.Signer
	switch alg {
	case hs256:
		secret := []byte(rand.Text() + rand.Text() + "\n") // 256 bits
		return secret, secret, nil
	case rs256:
		signer, err = rsa.GenerateKey(rand.Reader, minRSA)
	case es256:
		signer, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case eddsa:
		_, signer, err = ed25519.GenerateKey(rand.Reader)
	default:
		return nil, nil, fmt.Errorf("HS256, RS256, ES256 or EdDSA, not %q", clip(alg))
	}
	if err != nil {
		return nil, nil, err
	}
	if private, err = x509.MarshalPKCS8PrivateKey(signer); err != nil {
		return nil, nil, err
	}
	if public, err = x509.MarshalPKIXPublicKey(signer.Public()); err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}),
		pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), nil
}

// IsSecret says whether an algorithm's key is one secret, for who signs and who checks.
func IsSecret(alg string) bool { return alg == hs256 }
