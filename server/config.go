package server

import (
	"errors"
	"time"

	"parley"
	"parley/auth"
	"parley/hooks"
	"parley/internal/settings"
)

// Config is all that a server can be told; Default gives it whole. Its fields are the keys of
// parley.yml, and parley.example.yml shows and explains each.
type Config struct {
	Data string `yaml:"data" as:"path"` // the directory that holds the log
	TCP  string `yaml:"tcp"`            // address of plain lines and JSON lines; port 0 = any
	HTTP string `yaml:"http"`           // address of HTTP; port 0 = any, "" = none

	// Open has it listen on an address that others can reach, though anyone may do anything.
	Open bool `yaml:"open"`

	Auth      *auth.Config `yaml:"auth"`                // nil = nobody can say who they are
	Anonymous auth.Grants  `yaml:"anonymous,omitempty"` // nil = everything without Auth, nothing with it
	Revoked   auth.Revoked `yaml:"revoked"`

	Node    string  `yaml:"node"` // its name in a cluster; "" = it is alone
	Cluster Cluster `yaml:"cluster"`
	Engine  Engine  `yaml:"engine"`
	Adopt   bool    `yaml:"adopt"` // a cluster takes over what one node alone has stored

	Hostnames []string `yaml:"hostnames" flag:"hostname"` // names that HTTP answers to, beside its addresses
	Origins   []string `yaml:"origins" flag:"origin"`     // of other sites' pages that may use HTTP: scheme://host or scheme://host:port

	TLS     TLS      `yaml:"tls"`
	ACME    ACME     `yaml:"acme"`
	Proxies []string `yaml:"proxies"` // networks and addresses of who may say who its client is

	Limits parley.Limits `yaml:"limits"`

	Hooks   []hooks.Out `yaml:"hooks"`   // what happens in rooms is posted to URLs
	Inbound []hooks.In  `yaml:"inbound"` // signed webhooks become messages

	Retain     Retain        `yaml:"retain"`
	Dedupe     time.Duration `yaml:"dedupe"`             // how long a repeated id is known
	Partitions int           `yaml:"partitions"`         // streams of the log; fixed when the data directory is made
	MinFree    int64         `yaml:"min_free" as:"size"` // bytes of free disk below which nothing is stored
	Pause      time.Duration `yaml:"pause"`              // silence that ends a plain line begun; 0 = never
	Drain      time.Duration `yaml:"drain"`              // how long stopping may take
	Log        string        `yaml:"log"`                // text or json

	// Audit is where the audit log goes: stderr, off, a file, or auto: stderr where Auth is on.
	Audit string `yaml:"audit" as:"path" words:"auto stderr off"`
}

// Retain is how much the log keeps of each room: what is beyond either is removed, oldest first.
type Retain struct {
	Messages int           `yaml:"messages"`
	Age      time.Duration `yaml:"age"`
}

// Default is the configuration of a server that is told nothing.
func Default() Config {
	return Config{
		Data:       "parley-data",
		TCP:        "127.0.0.1:8000",
		HTTP:       "127.0.0.1:8080",
		ACME:       ACME{Directory: "https://acme-v02.api.letsencrypt.org/directory"},
		Limits:     parley.DefaultLimits(),
		Retain:     Retain{Messages: 100_000, Age: 30 * 24 * time.Hour},
		Dedupe:     10 * time.Minute,
		Partitions: 4,
		MinFree:    64 << 20,
		Pause:      200 * time.Millisecond,
		Drain:      10 * time.Second,
		Log:        "text",
		Audit:      "auto",
	}
}

// ConfigError is a mistake in the configuration, or several: the user's to mend.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap gives the mistake.
func (e *ConfigError) Unwrap() error { return e.Err }

// Lines are the mistakes, one each.
func (e *ConfigError) Lines() []string {
	var all settings.Mistakes
	if !errors.As(e.Err, &all) {
		return []string{e.Error()}
	}
	lines := make([]string, len(all))
	for i, m := range all {
		lines[i] = m.String()
	}
	return lines
}
