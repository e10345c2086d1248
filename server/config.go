package server

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"time"

	"go.yaml.in/yaml/v3"

	"parley"
	"parley/transport/http"
)

// Config is all that a server can be told; Default gives it whole.
type Config struct {
	Data string `yaml:"data"` // the directory that holds the log
	TCP  string `yaml:"tcp"`  // address of plain lines and JSON lines; port 0 = any
	HTTP string `yaml:"http"` // address of HTTP; port 0 = any, "" = none
	Open bool   `yaml:"open"` // listen on an address that others can reach, though anyone may do anything

	Hostnames []string `yaml:"hostnames"` // names that HTTP answers to, beside its addresses
	Origins   []string `yaml:"origins"`   // of other sites' pages that may use HTTP: scheme://host or scheme://host:port

	Retain     Retain        `yaml:"retain"`
	Dedupe     time.Duration `yaml:"dedupe"`     // how long a repeated id is known
	Partitions int           `yaml:"partitions"` // streams of the log; fixed when the data directory is made
	MinFree    int64         `yaml:"min_free"`   // bytes of free disk below which nothing is stored
	Pause      time.Duration `yaml:"pause"`      // silence that ends a plain line begun; 0 = never
	Drain      time.Duration `yaml:"drain"`      // how long stopping may take
	Log        string        `yaml:"log"`        // text or json

	Limits parley.Limits `yaml:"-"`
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
		Retain:     Retain{Messages: 100_000, Age: 30 * 24 * time.Hour},
		Dedupe:     10 * time.Minute,
		Partitions: 4,
		MinFree:    64 << 20,
		Pause:      200 * time.Millisecond,
		Drain:      10 * time.Second,
		Log:        "text",
		Limits:     parley.DefaultLimits(),
	}
}

// ConfigError is a mistake in the configuration: the user's to mend.
type ConfigError struct{ Err error }

func (e *ConfigError) Error() string { return e.Err.Error() }

// Unwrap gives the mistake.
func (e *ConfigError) Unwrap() error { return e.Err }

func badConfig(format string, args ...any) error {
	return &ConfigError{fmt.Errorf(format, args...)}
}

// Load reads a configuration file over c. Keys it does not know are errors, with their line.
func (c *Config) Load(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return badConfig("read the configuration: %w", err)
	}
	d := yaml.NewDecoder(bytes.NewReader(data))
	d.KnownFields(true)
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) {
		return badConfig("%s: %w", path, err)
	}
	return nil
}

// Check finds what cannot be.
func (c *Config) Check() error {
	switch {
	case c.Data == "":
		return badConfig("data: a directory is needed")
	case c.Retain.Messages < 1:
		return badConfig("retain-messages: at least 1, not %d", c.Retain.Messages)
	case c.Retain.Age < time.Second:
		return badConfig("retain-age: at least 1s, not %v", c.Retain.Age)
	case c.Dedupe < 100*time.Millisecond:
		return badConfig("dedupe: at least 100ms, not %v", c.Dedupe)
	case c.Partitions < 1 || c.Partitions > 256:
		return badConfig("partitions: 1 to 256, not %d", c.Partitions)
	case c.MinFree < 0:
		return badConfig("min-free: 0 bytes or more, not %d", c.MinFree)
	case c.Pause < 0:
		return badConfig("pause: 0 (never) or more, not %v", c.Pause)
	case c.Log != "text" && c.Log != "json":
		return badConfig("log: text or json, not %q", c.Log)
	}
	for _, name := range c.Hostnames {
		if !hostname.MatchString(name) {
			return badConfig("hostname: %q is no host's name: without scheme, port and path", name)
		}
	}
	if _, err := httpapi.ParseOrigins(c.Origins); err != nil {
		return badConfig("origins: %w", err)
	}
	if err := c.checkAddress("tcp", c.TCP); err != nil {
		return err
	}
	if c.HTTP == "" {
		return nil
	}
	return c.checkAddress("http", c.HTTP)
}

// hostname is a name or an address without brackets.
var hostname = regexp.MustCompile(`^[0-9A-Za-z_][0-9A-Za-z_.:-]*$`)

// checkAddress refuses an address that others can reach unless that was asked for: where nobody
// has to say who they are, anyone who reaches the server may read and write everything.
func (c *Config) checkAddress(key, address string) error {
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return badConfig("%s: %w", key, err)
	}
	if !addr.IP.IsLoopback() && !c.Open {
		return badConfig("%s: %s can be reached by others, and anyone may read and write every room: say --open if that is meant, or listen on 127.0.0.1", key, address)
	}
	return nil
}
