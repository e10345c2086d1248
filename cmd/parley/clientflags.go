package main

import (
	"context"
	"crypto/x509"
	"errors"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
)

// clientFlags are what all commands of the client share: where the server is, and who is asking.
// Flags come before the environment, that before defaults.
type clientFlags struct {
	server string
	token  string
	name   string
	ca     string
}

const clientHelp = `

The server is found by --server, or else PARLEY_SERVER; several addresses are tried in turn. A
token comes from --token, PARLEY_TOKEN, or the file that PARLEY_TOKEN_FILE names: other users of
this machine can see flags. A name comes from --name or PARLEY_NAME. Servers that speak TLS are
tls://host:port or wss://host/ws; --ca, or PARLEY_CA, is for those that the system does not know.`

// defaultServer is where a server listens that nobody has configured.
const defaultServer = "127.0.0.1:8000"

func (f *clientFlags) register(cmd *cobra.Command) {
	cmd.Long += clientHelp
	p := cmd.Flags()
	p.StringVar(&f.server, "server", defaultServer, "the server: host:port, tls://host:port or wss://host/ws, or several with commas between")
	p.StringVar(&f.token, "token", "", "the token that proves who you are")
	p.StringVar(&f.name, "name", "", "the name to be known by, where names are free")
	p.StringVar(&f.ca, "ca", "", "PEM `FILE` with who vouches for servers that speak TLS")
}

// settle fills in from the environment what no flag has set.
func (f *clientFlags) settle(cmd *cobra.Command) (token client.Option, err error) {
	for name, value := range map[string]*string{"server": &f.server, "token": &f.token, "name": &f.name, "ca": &f.ca} {
		env, ok := os.LookupEnv("PARLEY_" + strings.ToUpper(name))
		if ok && !cmd.Flags().Changed(name) {
			*value = env
		}
	}
	if f.server == "" {
		f.server = defaultServer
	}
	if f.name != "" {
		if _, err := parley.ParseName(f.name); err != nil {
			return nil, usagef("--name: %s", sentence(err))
		}
	}
	file := os.Getenv("PARLEY_TOKEN_FILE")
	switch {
	case file == "" || cmd.Flags().Changed("token"):
		return client.WithToken(f.token), nil
	case f.token != "":
		return nil, usagef("PARLEY_TOKEN and PARLEY_TOKEN_FILE are both set; one of them is enough")
	}
	read := func(context.Context) (string, error) { // anew for each connection: tokens expire
		text, err := os.ReadFile(file)
		return strings.TrimSpace(string(text)), err
	}
	if _, err := read(context.Background()); err != nil {
		return nil, usagef("PARLEY_TOKEN_FILE: %w", err)
	}
	return client.WithTokenFunc(read), nil
}

// roots are who vouches for servers; nil: whom the system trusts.
func (f *clientFlags) roots() (*x509.CertPool, error) {
	if f.ca == "" {
		return nil, nil // as crypto/tls has it
	}
	text, err := os.ReadFile(f.ca)
	if err != nil {
		return nil, usagef("--ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, usagef("--ca: there is no certificate in %s", f.ca)
	}
	return pool, nil
}

// connect connects as the flags say. What happens to the connection later is told on stderr.
func (f *clientFlags) connect(ctx context.Context, cmd *cobra.Command) (*client.Client, error) {
	token, err := f.settle(cmd)
	if err != nil {
		return nil, err
	}
	news := &connectionNews{w: cmd.ErrOrStderr()}
	roots, err := f.roots()
	if err != nil {
		return nil, err
	}
	c, err := client.Connect(ctx, f.server, token, client.WithName(f.name), client.WithRoots(roots), client.WithStatus(news.report))
	if err != nil {
		return nil, because(ctx, err)
	}
	return c, nil
}

// connectionNews tells when a connection is lost and when there is one again, and what the server says of
// itself meanwhile.
type connectionNews struct {
	w io.Writer

	mu   sync.Mutex
	lost bool
	said string // why the server stores nothing; "" = it does
}

func (n *connectionNews) report(s client.Status) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case s.State == client.Reconnecting && !n.lost:
		n.lost = true
		tell(n.w, "parley: %s; trying again\n", oneLine(s.Err.Error()))
	case s.State == client.Connected && n.lost:
		n.lost = false
		tell(n.w, "parley: connected to %s\n", s.Addr)
	}
	switch {
	case s.Unavailable != "" && n.said == "":
		tell(n.w, "parley: %s\n", oneLine(s.Unavailable))
	case s.Unavailable == "" && n.said != "" && s.State == client.Connected:
		tell(n.w, "parley: the server stores messages again\n")
	}
	n.said = s.Unavailable
}

// run makes the RunE of a command of the client: do, with a connection, until a signal comes.
func (f *clientFlags) run(do func(ctx context.Context, c *client.Client, cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		ctx, stop := interruptible(cmd.Context())
		defer stop()
		c, err := f.connect(ctx, cmd)
		if err != nil {
			return err
		}
		defer c.Close()
		return because(ctx, do(ctx, c, cmd, args))
	}
}

// because names an interrupt as the reason of an error that it has brought about.
func because(ctx context.Context, err error) error {
	if err != nil && errors.Is(context.Cause(ctx), errInterrupted) {
		return errInterrupted
	}
	return err
}

// roomArg checks a room's name that was typed.
func roomArg(name string) error {
	if _, err := parley.ParseRoom(name); err != nil {
		return usagef("%s", sentence(err))
	}
	return nil
}

// sentence is an error's text for people, without the code that a program would read.
func sentence(err error) string {
	var e *parley.Error
	if errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}
