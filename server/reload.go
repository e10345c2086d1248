package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"parley/audit"
	"parley/auth"
	"parley/hooks"
	"parley/internal/settings"
	"parley/quota"
	"parley/session"
)

// changeable are the keys that a running server can change, with all that is in them.
var changeable = []string{"auth", "anonymous", "revoked", "limits", "hooks", "inbound", "hostnames", "origins", "proxies", "tls"}

// fixed are keys within those that cannot change for all that.
var fixed = []string{"limits.lag"}

// part is a piece of a running server that can change. Prepared, a change cannot fail any more, and
// nothing is in force before apply: so either all parts change or none does. The last part alone may
// change when it is prepared.
type part func(ctx context.Context, c *Config) (apply func(), err error)

// reloader changes a running server.
type reloader struct {
	config *Config // in force
	parts  []part
	logger *slog.Logger
}

// reload puts a configuration into force. A bad one leaves the old one as it is.
func (r *reloader) reload(ctx context.Context, c Config) {
	if err := r.apply(ctx, c); err != nil {
		r.logger.Error("the configuration is not reloaded; the old one stays", "err", err)
		return
	}
	r.logger.Info("the configuration is reloaded")
}

func (r *reloader) apply(ctx context.Context, c Config) error {
	if err := c.Check(); err != nil {
		return err
	}
	force := kept(r.config, c)
	if err := force.Check(); err != nil { // the addresses stay as they are, be it with other auth
		return fmt.Errorf("with what cannot change while the server runs: %w", err)
	}
	if keys := fixedChanges(r.config, &c); len(keys) > 0 {
		r.logger.Warn("some settings cannot change while the server runs: they wait for the next start", "keys", strings.Join(keys, " "))
	}
	var applies []func()
	for _, p := range r.parts {
		apply, err := p(ctx, &c)
		if err != nil {
			return err
		}
		applies = append(applies, apply)
	}
	for _, apply := range applies {
		apply()
	}
	*r.config = force
	return nil
}

// kept is a new configuration, with what cannot change as it was.
func kept(old *Config, c Config) Config {
	was, is := reflect.ValueOf(old).Elem(), reflect.ValueOf(&c).Elem()
	for i := range is.NumField() {
		key, _, _ := strings.Cut(is.Type().Field(i).Tag.Get("yaml"), ",")
		if !slices.Contains(changeable, key) {
			is.Field(i).Set(was.Field(i))
		}
	}
	c.Limits.Lag, c.Limits.Dedupe = old.Limits.Lag, old.Limits.Dedupe
	return c
}

// fixedChanges are the keys that differ and cannot change.
func fixedChanges(old, c *Config) []string {
	was, is := settings.New(old).Shown(), settings.New(c).Shown()
	var keys []string
	for key, v := range is {
		top, _, _ := strings.Cut(key, ".")
		top, _, _ = strings.Cut(top, "[")
		if (!slices.Contains(changeable, top) || slices.Contains(fixed, key)) && was[key] != v {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

// limiting puts other limits into force. Lag, the handshake's time over HTTP, and how long a repeated id
// is known wait for the next start.
func limiting(q *quota.Quota) part {
	return func(_ context.Context, c *Config) (func(), error) {
		l := c.Limits
		l.Dedupe = q.Limits().Dedupe
		apply, err := q.Prepare(l)
		if err != nil {
			return nil, badConfig("limits: %w", err)
		}
		return apply, nil
	}
}

// posting puts other hooks into force. Those that stay go on where they are.
func posting(s *hooks.Sender) part {
	return func(ctx context.Context, c *Config) (func(), error) {
		return orBad(s.Prepare(ctx, c.Hooks))
	}
}

// receiving puts other inbound hooks into force.
func receiving(r *hooks.Receiver) part {
	return func(_ context.Context, c *Config) (func(), error) {
		return orBad(r.Prepare(c.Inbound))
	}
}

// orBad says of a mistake in the settings of hooks that it is one of the configuration.
func orBad(apply func(), err error) (func(), error) {
	var wrong *hooks.Mistake
	if errors.As(err, &wrong) {
		err = &ConfigError{err}
	}
	return apply, err
}

// put brings a part into force at the start.
func put(ctx context.Context, p part, c *Config) error {
	apply, err := p(ctx, c)
	if err == nil {
		apply()
	}
	return err
}

// reopening has the audit log begin a new file where the old one was moved away.
func reopening(l *audit.Log, logger *slog.Logger) part {
	return func(context.Context, *Config) (func(), error) {
		return func() {
			if err := l.Reopen(); err != nil {
				logger.Error("the audit log goes on in its old file", "err", err)
			}
		}, nil
	}
}

// trusting puts other keys, grants and revocations into force; sessions that are let in no more end.
// It is the last part.
func trusting(authority *auth.Authority, sessions *session.Server) part {
	return func(ctx context.Context, c *Config) (func(), error) {
		if err := authority.Replace(ctx, c.trust()); err != nil {
			return nil, err
		}
		return sessions.Recheck, nil
	}
}

// trust is what the authority goes by.
func (c *Config) trust() auth.Settings {
	return auth.Settings{Auth: c.Auth, Anonymous: c.Anonymous, Revoked: c.Revoked}
}
