package main

import (
	"os"
	"strings"

	"github.com/spf13/pflag"

	"parley/server"
)

// helps say what the settings are for that serve --help shows. The others are flags too, and
// parley config init explains them all.
var helps = map[string]string{
	"data":            "directory that holds the messages",
	"tcp":             "address for plain lines and JSON lines; port 0 takes a free one",
	"http":            "address for HTTP; port 0 takes a free one, empty is off",
	"origins":         "origin of other sites' pages that may use HTTP, as https://chat.example (repeatable)",
	"hostnames":       "name that HTTP answers to, beside its address (repeatable)",
	"open":            "listen on an address others can reach, with no authentication",
	"retain.messages": "messages kept of each room",
	"retain.age":      "age up to which messages are kept",
	"dedupe":          "how long a repeated id is recognised",
	"partitions":      "streams of the log, fixed when the data directory is made",
	"min_free":        "free disk below which nothing is stored",
	"pause":           "silence that ends a plain line without newline; 0 = never",
	"drain":           "how long stopping may take",
	"log":             "form of the log on stderr: text or json",
	"engine.url":      "external NATS cluster that keeps the log, as nats://user:password@host:4222",
	"audit":           "where the audit log goes: auto, stderr, off or a file",
}

// givenSettings are the settings that were given on the command line.
type givenSettings struct {
	file   string
	values map[string]string
}

// addSettings makes each setting a flag. What is given is only noted: the file and the environment,
// which are weaker, are not read yet.
func addSettings(f *pflag.FlagSet) *givenSettings {
	g := &givenSettings{values: make(map[string]string)}
	for _, k := range server.Keys() {
		help, shown := helps[k.Path]
		flag := f.VarPF(&settingFlag{key: k, given: g}, k.Flag(), "", help)
		flag.Hidden = !shown
		if k.Type() == "bool" {
			flag.NoOptDefVal = "true"
		}
	}
	f.StringVar(&g.file, "config", "", "configuration file (default parley.yml, if there is one)")
	return g
}

// defaultConfig is read when no other file is named, if it is there.
const defaultConfig = "parley.yml"

// sources are where the configuration comes from.
func (g *givenSettings) sources() server.Sources {
	return server.Sources{File: configFile(g.file), Environment: os.LookupEnv, Flags: g.values}
}

// configFile is the file to read, "" if there is none: the one that is named, or the usual one.
func configFile(named string) string {
	if named == "" {
		named = os.Getenv("PARLEY_CONFIG")
	}
	if _, err := os.Stat(defaultConfig); named == "" && err == nil {
		named = defaultConfig
	}
	return named
}

// settingFlag notes what a flag is given. It implements pflag.Value.
type settingFlag struct {
	key   server.Key
	given *givenSettings
}

// Set implements pflag.Value. What is right is known to the configuration, which says so with all else.
func (s *settingFlag) Set(text string) error {
	if before, again := s.given.values[s.key.Path]; again && s.key.Type() == "list" {
		text = strings.Join([]string{before, text}, ",")
	}
	s.given.values[s.key.Path] = text
	return nil
}

// String implements pflag.Value.
func (s *settingFlag) String() string {
	if s.given == nil { // pflag asks a zero value, to know whether a default is worth showing
		return ""
	}
	if text, ok := s.given.values[s.key.Path]; ok {
		return text
	}
	return s.key.Text()
}

// Type implements pflag.Value.
func (s *settingFlag) Type() string { return s.key.Type() }

// markHidden keeps a flag out of the help.
func markHidden(f *pflag.Flag) { f.Hidden = f.Name != "config" }
