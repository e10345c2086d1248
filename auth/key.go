package auth

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
)

// The algorithms tokens may be signed by.
const (
	hs256 = "HS256"
	rs256 = "RS256"
	es256 = "ES256"
	eddsa = "EdDSA"
)

var algs = []string{hs256, rs256, es256, eddsa}

// Weaker keys are mistakes.
const (
	minSecret  = 32   // bytes of an HS256 secret, RFC 7518 section 3.2
	minRSA     = 2048 // bits
	maxRSA     = 8192 // bits: checking costs with their square
	maxKeyFile = 64 << 10
)

// key checks tokens of one algorithm.
type key struct {
	alg, kid string
	material any // []byte, *rsa.PublicKey, *ecdsa.PublicKey or ed25519.PublicKey
}

func readKeys(configs []KeyConfig) ([]key, error) {
	keys := make([]key, 0, len(configs))
	for i := range configs {
		c := &configs[i]
		material, where, err := c.read()
		if err != nil {
			return nil, &SettingError{fmt.Sprintf("auth.keys[%d]%s", i, where), err}
		}
		keys = append(keys, key{c.Alg, c.KID, material})
	}
	return keys, nil
}

// read reads the key; where is the setting at fault.
func (c *KeyConfig) read() (material any, where string, err error) {
	switch {
	case !slices.Contains(algs, c.Alg):
		return nil, ".alg", fmt.Errorf("HS256, RS256, ES256 or EdDSA, not %q", clip(c.Alg))
	case c.Alg == hs256 && c.PublicKeyFile != "":
		return nil, ".public_key_file", errors.New("HS256 has a secret and no public key")
	case c.Alg == hs256 && (c.SecretFile == "") == (c.SecretEnv == ""):
		return nil, "", errors.New("HS256 takes either secret_file or secret_env")
	case c.Alg == hs256:
		return c.readSecret()
	case c.SecretFile != "" || c.SecretEnv != "":
		return nil, "", fmt.Errorf("%s has a public key and no secret", c.Alg)
	case c.PublicKeyFile == "":
		return nil, ".public_key_file", fmt.Errorf("%s needs one", c.Alg)
	}
	data, err := readKeyFile(c.PublicKeyFile)
	if err != nil {
		return nil, ".public_key_file", err
	}
	public, err := parsePublic(data)
	if err == nil {
		err = fits(c.Alg, public)
	}
	if err != nil {
		return nil, ".public_key_file", fmt.Errorf("%s: %w", c.PublicKeyFile, err)
	}
	return public, "", nil
}

func (c *KeyConfig) readSecret() (material any, where string, err error) {
	if c.SecretEnv != "" {
		value, ok := os.LookupEnv(c.SecretEnv)
		if !ok {
			return nil, ".secret_env", fmt.Errorf("%s is not set in the environment", c.SecretEnv)
		}
		secret, err := parseSecret([]byte(value))
		if err != nil {
			err = fmt.Errorf("%s: %w", c.SecretEnv, err)
		}
		return secret, ".secret_env", err
	}
	secret, err := readSecretFile(c.SecretFile)
	return secret, ".secret_file", err
}

func readSecretFile(name string) ([]byte, error) {
	data, err := readKeyFile(name)
	if err != nil {
		return nil, err
	}
	secret, err := parseSecret(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	return secret, nil
}

// readKeyFile reads a small file.
func readKeyFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxKeyFile:
		return nil, fmt.Errorf("%s: larger than any key", name)
	}
	return data, nil
}

// parseSecret takes a secret as it is, but for the newline that editors put at the end.
func parseSecret(data []byte) ([]byte, error) {
	data = bytes.TrimSuffix(bytes.TrimSuffix(data, []byte("\n")), []byte("\r"))
	switch {
	case bytes.HasPrefix(data, []byte("-----BEGIN")):
		return nil, errors.New("this is a PEM file: a secret shared with nobody else is needed")
	case len(data) < minSecret:
		return nil, fmt.Errorf("a secret of %d bytes; HS256 needs %d", len(data), minSecret)
	}
	return data, nil
}

// parsePublic reads a public key, or a certificate's.
func parsePublic(data []byte) (crypto.PublicKey, error) {
	block, _ := pem.Decode(data)
	if block == nil {
		return nil, errors.New("no PEM file")
	}
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return cert.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, errors.New("this is a private key: keep it where tokens are made, and give its public key here")
	}
	return nil, fmt.Errorf("a PEM file of a %q, not of a public key", clip(block.Type))
}

// fits says whether a public key is one of the algorithm, and strong enough.
func fits(alg string, public crypto.PublicKey) error {
	switch k := public.(type) {
	case *rsa.PublicKey:
		if alg == rs256 {
			if n := k.N.BitLen(); n < minRSA || n > maxRSA {
				return fmt.Errorf("an RSA key of %d bits; it may have %d to %d", n, minRSA, maxRSA)
			}
			return nil
		}
	case *ecdsa.PublicKey:
		if alg == es256 {
			if k.Curve != elliptic.P256() {
				return fmt.Errorf("a key on the curve %s; ES256 needs P-256", k.Curve.Params().Name)
			}
			return nil
		}
	case ed25519.PublicKey:
		if alg == eddsa {
			return nil
		}
	}
	return fmt.Errorf("%s is no key for %s", kindOfKey(public), alg)
}

func kindOfKey(public crypto.PublicKey) string {
	switch public.(type) {
	case *rsa.PublicKey:
		return "an RSA key"
	case *ecdsa.PublicKey:
		return "an ECDSA key"
	case ed25519.PublicKey:
		return "an Ed25519 key"
	}
	return "this"
}
