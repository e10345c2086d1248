package server

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"parley/auth"
)

// loginKeyFile holds, in the data directory of a server that is alone, the key of the tokens that it gives to
// who signs in at a provider: so they are good after a restart too. The nodes of a cluster make the same key
// of their secret, so a token of one is good at all.
const loginKeyFile = "login.key"

// keepingLogins has sign-ins outlast the server, where people can sign in at a provider. started is what the
// server was started with.
func keepingLogins(authority *auth.Authority, started Config) part {
	kept := false
	return func(_ context.Context, c *Config) (func(), error) {
		if kept || c.Auth == nil || c.Auth.OIDC == nil {
			return func() {}, nil
		}
		key, err := started.loginKey()
		if err != nil {
			return nil, badConfig("%w", err)
		}
		return func() {
			authority.SetLoginKey(key)
			kept = true
		}, nil
	}
}

// loginKey is the key that the server's own tokens are signed with.
func (c *Config) loginKey() ([]byte, error) {
	if c.Cluster.SecretFile == "" {
		return loginKey(filepath.Join(c.Data, loginKeyFile))
	}
	secret, err := readSecret(c.Cluster.SecretFile)
	if err != nil {
		return nil, fmt.Errorf("cluster.secret_file: %w", err)
	}
	return hkdf.Key(sha256.New, secret, nil, "parley sign-ins", auth.LoginKeySize)
}

// loginKey reads the key, or makes it.
func loginKey(file string) ([]byte, error) {
	key, err := readLoginKey(file)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	key = make([]byte, auth.LoginKeySize)
	_, _ = rand.Read(key) // it never fails
	return key, writeWhole(file, key)
}

func readLoginKey(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("others can read %s: remove it for a new one to be made, and everybody has to sign in again", file)
	}
	key, err := io.ReadAll(io.LimitReader(f, auth.LoginKeySize+1))
	if err == nil && len(key) != auth.LoginKeySize {
		err = fmt.Errorf("%s is no key: remove it for a new one to be made", file)
	}
	return key, err
}

// writeWhole makes a file that only its owner can read, whole or not at all.
func writeWhole(file string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(file), filepath.Base(file)+".*") // 0600
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), file)
	}
	if err != nil {
		_ = os.Remove(f.Name())
	}
	return err
}
