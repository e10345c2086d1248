package server

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"

	"parley/internal/settings"
)

// Sources are where a configuration comes from, the strongest last.
type Sources struct {
	File        string                      // "" = none
	Environment func(string) (string, bool) // as os.LookupEnv; nil = none
	Flags       map[string]string           // by key: "retain.age" and what was given
}

// Settled is a configuration that knows where each of its values came from.
type Settled struct {
	Config
	set *settings.Set
}

// Key is a setting that can be a flag or a variable of the environment.
type Key = settings.Key

// Keys are all settings that can be flags, with their defaults.
func Keys() []Key {
	c := Default()
	return settings.New(&c).Keys()
}

// Read works a configuration out and checks it. The error is a *ConfigError with all mistakes there
// are, each with its place; the configuration is given with it too, for who only shows it.
func (s Sources) Read() (*Settled, error) {
	c := &Settled{Config: Default()}
	c.set = settings.New(&c.Config)
	var found settings.Mistakes
	if s.File != "" {
		found.Add(c.set.Load(s.File))
	}
	if s.Environment != nil {
		found.Add(c.set.Environment(s.Environment))
	}
	for _, k := range c.set.Keys() {
		if text, ok := s.Flags[k.Path]; ok {
			found.Add(c.set.Put(k.Path, text, "--"+k.Flag()))
		}
	}
	unread := found
	for _, m := range slices.Concat(c.findings(), c.distrust(), c.unhooked()) {
		if !hides(unread, m.Path) {
			found = append(found, c.set.Mistake(m.Path, m.Text))
		}
	}
	if len(found) > 0 {
		return c, &ConfigError{found}
	}
	return c, nil
}

// hides says whether a finding may only follow from values that could not be read: then it is not worth
// telling.
func hides(unread settings.Mistakes, path string) bool {
	if len(unread) == 0 {
		return false
	}
	switch top, _, _ := strings.Cut(path, "."); strings.TrimRight(top, "[]0123456789") {
	case "tcp", "http", "auth", "anonymous", "revoked": // what is refused there depends on the others
		return true
	}
	return slices.ContainsFunc(unread, func(m settings.Mistake) bool { return m.Path == path })
}

// Warnings are what is allowed, and most likely not meant.
func (c *Settled) Warnings() []string {
	var lines []string
	for _, m := range c.warnings() {
		lines = append(lines, c.set.Mistake(m.Path, m.Text).String())
	}
	return lines
}

// YAML is the configuration as a file, secrets hidden. Unless plain, comments say where each value came
// from.
func (c *Settled) YAML(plain bool) ([]byte, error) { return c.set.YAML(plain) }

// Values gives every value by its key, secrets hidden, with where it came from.
func (c *Settled) Values() map[string]settings.Shown { return c.set.Shown() }

// Example is a file with every key there is, its default and what it is for.
//
//go:embed parley.example.yml
var Example string

func badConfig(format string, args ...any) error {
	return &ConfigError{fmt.Errorf(format, args...)}
}
