package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"parley"
	"parley/auth"
	"parley/client"
	"parley/server"
)

// The client and the server that goes with it: a session that outlives its tokens, one after another,
// and one that ends with its only one.
func TestClientOutlivesItsTokens(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	key := filepath.Join(dir, "hs.key")
	if err := os.WriteFile(key, []byte("0123456789abcdef0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr, stop, err := startServer(filepath.Join(dir, "data"), func(c *server.Config) {
		c.Auth = &auth.Config{Issuer: "i", Audience: "a", Keys: []auth.KeyConfig{{Alg: "HS256", SecretFile: key}}}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer stop()
	signer, err := auth.LoadSigner(key, "", "")
	if err != nil {
		t.Fatal(err)
	}
	const life = 8 * time.Second
	token := func() (string, error) {
		may, err := auth.ParseGrant("join,history,send=**")
		if err != nil {
			return "", err
		}
		now := time.Now()
		return signer.Sign(auth.Token{Issuer: "i", Audience: "a", User: "ada", Grants: auth.Grants{may}, Expires: now.Add(life)}, now)
	}
	var given, lost atomic.Int32
	renewed, err := client.Connect(t.Context(), addr, client.WithTokenFunc(func(context.Context) (string, error) {
		given.Add(1)
		return token()
	}), client.WithStatus(func(s client.Status) {
		if s.State == client.Reconnecting {
			lost.Add(1)
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer renewed.Close()
	one, err := token()
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan client.Status, 1)
	fixed, err := client.Connect(t.Context(), addr, client.WithToken(one), client.WithStatus(func(s client.Status) {
		if s.State == client.Closed {
			over <- s
		}
	}))
	if err != nil {
		t.Fatal(err)
	}
	defer fixed.Close()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var ended client.Status
	n := uint64(0)
	for ended.State != client.Closed {
		n++
		if _, err := renewed.Room("lobby").Publish(ctx, fmt.Append(nil, n)); err != nil {
			t.Fatal(err)
		}
		select {
		case ended = <-over:
		case <-ctx.Done():
			t.Fatal("the fixed token does not end")
		case <-time.After(100 * time.Millisecond):
		}
	}
	if parley.AsError(ended.Err).Code != parley.Unauthorized || exitCode(ended.Err) != exitDenied {
		t.Errorf("it ended with %v, exit code %d", ended.Err, exitCode(ended.Err))
	}
	if given.Load() < 2 || lost.Load() > 0 {
		t.Errorf("%d tokens, and the connection was lost %d times", given.Load(), lost.Load())
	}
	read := uint64(0)
	for m, err := range renewed.Room("lobby").Messages(ctx, client.After(0)) {
		if err != nil {
			t.Fatal(err)
		}
		if read++; string(m.Body) != fmt.Sprint(read) {
			t.Fatalf("message %d says %s", read, m.Body)
		}
		if read == n {
			break
		}
	}
}
