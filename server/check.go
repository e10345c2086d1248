package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"regexp"
	"slices"
	"strings"
	"time"

	"parley"
	"parley/audit"
	"parley/auth"
	"parley/hooks"
	"parley/internal/settings"
	"parley/transport/http"
)

// Check finds what cannot be.
func (c *Config) Check() error {
	if found := c.findings(); len(found) > 0 {
		return &ConfigError{found}
	}
	return nil
}

// findings are all that is wrong, by key.
func (c *Config) findings() settings.Mistakes {
	var f findings
	f.need(c.Data != "", "data", "a directory is needed")
	f.need(c.Retain.Messages >= 1, "retain.messages", "at least 1, not %d", c.Retain.Messages)
	f.need(c.Retain.Age >= time.Second, "retain.age", "at least 1s, not %v", c.Retain.Age)
	f.need(c.Dedupe >= 100*time.Millisecond, "dedupe", "at least 100ms, not %v", c.Dedupe)
	f.need(c.Partitions >= 1 && c.Partitions <= 256, "partitions", "1 to 256, not %d", c.Partitions)
	f.need(c.MinFree >= 0, "min_free", "0 bytes or more, not %d", c.MinFree)
	f.need(c.Pause >= 0, "pause", "0 (never) or more, not %v", c.Pause)
	f.need(c.Drain >= 0, "drain", "0 or more, not %v", c.Drain)
	f.need(c.Log == "text" || c.Log == "json", "log", "text or json, not %q", c.Log)
	f.need(c.Audit != "", "audit", "auto, stderr, off or a file")
	for i, name := range c.Hostnames {
		f.need(hostname.MatchString(name), fmt.Sprintf("hostnames[%d]", i), "%q is no host's name: without scheme, port and path", name)
	}
	for i := range c.Origins {
		_, err := httpapi.ParseOrigins(c.Origins[i : i+1])
		f.need(err == nil, fmt.Sprintf("origins[%d]", i), "%s", saidOf(err))
	}
	f = append(f, c.tlsFindings()...)
	f = append(f, c.proxyFindings()...)
	f = append(f, c.clusterFindings()...)
	f.limits(&c.Limits)
	for _, m := range hooks.Check(c.Hooks, c.Inbound) {
		f.need(false, m.Path, "%s", m.Text)
	}
	f.address("tcp", c.TCP, c.guarded() || c.Open)
	if c.HTTP != "" {
		f.address("http", c.HTTP, c.guarded() || c.Open)
	}
	return settings.Mistakes(f)
}

// hostname is a name or an address without brackets.
var hostname = regexp.MustCompile(`^[0-9A-Za-z_][0-9A-Za-z_.:-]*$`)

// guarded says whether clients can say who they are, so that not anyone may do anything.
func (c *Config) guarded() bool { return c.Auth != nil }

// findings collects what is wrong.
type findings settings.Mistakes

// need says what is wrong with a key unless ok.
func (f *findings) need(ok bool, path, format string, args ...any) {
	if !ok {
		*f = append(*f, settings.Mistake{Path: path, Text: fmt.Sprintf(format, args...)})
	}
}

// address refuses an address that others can reach unless they are let in on purpose: where nobody
// has to say who they are, anyone who reaches the server may read and write everything.
func (f *findings) address(path, address string, letIn bool) {
	addr, err := net.ResolveTCPAddr("tcp", address)
	f.need(err == nil, path, "%v", err)
	f.need(err != nil || letIn || addr.IP.IsLoopback(), path, "%s can be reached by others, and anyone may read and write every room: "+
		"say who may do what under auth, or --open if that is meant, or listen on 127.0.0.1", address)
}

// isPublic says whether others can reach an address.
func isPublic(address string) bool {
	addr, err := net.ResolveTCPAddr("tcp", address)
	return err == nil && !addr.IP.IsLoopback()
}

// limits checks the section limits.
func (f *findings) limits(l *parley.Limits) {
	const most = 1 << 30 // what a number of bytes or of anything else can sensibly be
	for _, n := range []struct {
		key         string
		value       int
		least, most int
	}{
		{"message", l.Message, 1, 3 << 20}, // the log takes records of 4 MiB
		{"frame", l.Frame, 1024, 64 << 20},
		{"inflight", l.Inflight, 1, 1 << 16},
		{"rooms_per_session", l.Rooms, 1, 1 << 16},
		{"page", l.Page, 1, parley.MaxPage},
		{"lag", l.Lag, 1, most},
		{"connections", l.Connections, 0, most},
		{"connections_per_address", l.ConnectionsPerAddress, 0, most},
		{"connections_per_user", l.ConnectionsPerUser, 0, most},
		{"connects_per_second", l.ConnectsPerSecond, 0, most},
		{"refused_logins_per_second", l.RefusedLoginsPerSecond, 0, most},
		{"sends_per_second", l.SendsPerSecond, 0, most},
		{"sends_burst", l.SendsBurst, 0, most},
		{"user_sends_per_second", l.UserSendsPerSecond, 0, most},
		{"user_sends_burst", l.UserSendsBurst, 0, most},
		{"joins_per_second", l.JoinsPerSecond, 0, most},
		{"history_per_second", l.HistoryPerSecond, 0, most},
		{"signals_per_second", l.SignalsPerSecond, 0, most},
		{"operations_per_second", l.OperationsPerSecond, 0, most},
		{"rooms_per_user", l.RoomsPerUser, 0, most},
		{"rooms", l.RoomsInAll, 0, most},
	} {
		f.need(n.value >= n.least && n.value <= n.most, "limits."+n.key, "%d to %d, not %d", n.least, n.most, n.value)
	}
	f.need(l.Frame >= l.Message, "limits.frame", "at least limits.message, which is %d: a frame holds a body", l.Message)
	f.need(l.Handshake == 0 || l.Handshake >= 100*time.Millisecond, "limits.handshake", "0 (no limit) or at least 100ms, not %v", l.Handshake)
	for i, s := range l.Slow {
		at := fmt.Sprintf("limits.slow[%d]", i)
		_, err := auth.ParsePattern(s.Rooms)
		f.need(err == nil, at+".rooms", "%s", saidOf(err))
		f.need(s.Every > 0, at+".every", "more than 0, not %v", s.Every)
	}
}

// distrust finds what is wrong with keys and grants. It reads key files, and fetches nothing.
func (c *Config) distrust() settings.Mistakes {
	cut, cancel := context.WithCancel(context.Background())
	cancel() // published keys may not be there yet
	authority, err := auth.New(cut, c.trust(), slog.New(slog.DiscardHandler))
	var wrong *auth.SettingError
	switch {
	case errors.As(err, &wrong):
		return settings.Mistakes{{Path: wrong.Path, Text: wrong.Err.Error()}}
	case err != nil:
		return settings.Mistakes{{Path: "auth", Text: err.Error()}}
	}
	_ = authority.Close()
	return nil
}

// unhooked finds what is wrong with the files of hooks, if there is nothing else: it reads them.
func (c *Config) unhooked() settings.Mistakes {
	if len(hooks.Check(c.Hooks, c.Inbound)) > 0 {
		return nil
	}
	var wrong *hooks.Mistake
	if err := hooks.CheckFiles(c.Hooks, c.Inbound); errors.As(err, &wrong) {
		return settings.Mistakes{{Path: wrong.Path, Text: wrong.Text}}
	}
	return nil
}

// saidOf is what an error says to people.
func saidOf(err error) string {
	if err == nil {
		return ""
	}
	return parley.AsError(err).Message
}

// warnings are what is allowed, and most likely not meant.
func (c *Config) warnings() settings.Mistakes {
	var f findings
	f.secrets(c)
	if c.Auth != nil {
		f.need(!c.Open, "open", "it has no effect, since auth says who may do what")
		f.need(c.secure() || !isPublic(c.TCP) && (c.HTTP == "" || !isPublic(c.HTTP)), "tcp", "others can reach it without TLS: tokens and messages travel so that anyone between can read them")
	}
	f.need(len(c.Inbound) == 0 || c.HTTP != "", "inbound", "nothing can come in, since http is off")
	for i, g := range c.Anonymous {
		f.need(g.May&(auth.Moderate|auth.Admin) == 0, fmt.Sprintf("anonymous[%d].may", i), "anybody at all may moderate or administer")
	}
	return settings.Mistakes(f)
}

// secretFile is the last part of the keys that name files with a secret in them.
var secretFile = regexp.MustCompile(`[._](secret|key|value)_file$|^tls\.key$`)

// secrets warns of secrets that others on this machine can read.
func (f *findings) secrets(c *Config) {
	values := settings.New(c).Shown()
	for _, path := range slices.Sorted(maps.Keys(values)) {
		file := values[path].Value
		if !secretFile.MatchString(path) || strings.HasSuffix(path, "public_key_file") || file == "" {
			continue
		}
		info, err := os.Stat(file)
		f.need(err != nil || info.Mode().Perm()&0o004 == 0, path, "everyone on this machine can read %s; chmod 600 makes it yours alone", file)
	}
}

// AuditTo is where the audit log goes, as audit.Open takes it.
func (c *Config) AuditTo() string {
	switch {
	case c.Audit != "auto":
		return c.Audit
	case c.guarded():
		return audit.Stderr
	}
	return audit.Off
}

// Access says in a sentence or two who may do what.
func (c *Config) Access() string {
	public := isPublic(c.TCP) || c.HTTP != "" && isPublic(c.HTTP)
	reach := "Only this machine can reach it"
	if public {
		reach = "Others can reach it"
	}
	others := "nothing"
	if len(c.Anonymous) > 0 {
		others = c.Anonymous.String()
	}
	switch {
	case c.guarded():
		return reach + ". A token or an API key gives what it grants; without one: " + others + "."
	case c.Anonymous != nil:
		return reach + ". Nobody can say who they are, and everybody may do: " + others + "."
	}
	return reach + ", and whoever can may read and write every room."
}
