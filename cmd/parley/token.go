package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"parley"
	"parley/auth"
	"parley/server"
)

// tokenFlags say what a token is to say, and what it is signed with.
type tokenFlags struct {
	config    string
	user      string
	name      string
	allow     []string
	ttl       time.Duration
	issuer    string
	audience  string
	keyFile   string
	alg       string
	kid       string
	grantless bool
}

func newTokenCommand() *cobra.Command {
	var f tokenFlags
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token, or explain one",
		Long: `Make a token: who bears it is the user, and may do what is allowed, until it ends. It is all that
stands on stdout.

Issuer, audience and key are those of the configuration (parley.yml, if it is there), unless they are
given. Only an HS256 secret of the configuration can sign; for the other algorithms give the private
key whose public key the configuration has.`,
		Example: `  parley token --sub ada --allow 'join,send,history=lobby' --ttl 1h
  parley token --sub ops --allow 'admin=**' --allow 'join,history=ops.**' --ttl 15m
  parley token --sub ada --allow 'join=*' --key-file ed.key --kid main
  parley token --sub ada --allow 'join=*' | parley token inspect -`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			token, err := f.make()
			if err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
			return err
		},
	}
	p := cmd.Flags()
	p.StringVar(&f.config, "config", "", "configuration file (default parley.yml, if there is one)")
	p.StringVar(&f.user, "sub", "", "the user that bears it")
	p.StringVar(&f.name, "name", "", "a name to be shown")
	p.StringArrayVar(&f.allow, "allow", nil, "`GRANT`: RIGHT,...=ROOMS, with * for one part of a room's name and ** for the rest (repeatable)")
	p.BoolVar(&f.grantless, "allow-nothing", false, "make a token that only says who bears it")
	p.DurationVar(&f.ttl, "ttl", time.Hour, "how long it counts")
	p.StringVar(&f.issuer, "iss", "", "issuer (default: of the configuration)")
	p.StringVar(&f.audience, "aud", "", "audience (default: of the configuration)")
	p.StringVar(&f.keyFile, "key-file", "", "`FILE` of a private key in PEM, or of a secret")
	p.StringVar(&f.alg, "alg", "", "HS256, RS256, ES256 or EdDSA (default: what the key is for)")
	p.StringVar(&f.kid, "kid", "", "name of the key, where the server knows it by one")
	cmd.AddCommand(newInspectCommand(), newKeygenCommand())
	return cmd
}

// make makes the token.
func (f *tokenFlags) make() (string, error) {
	t := auth.Token{User: f.user, Name: f.name, Issuer: f.issuer, Audience: f.audience}
	var err error
	switch {
	case f.user == "":
		return "", usagef("--sub: which user the token is for")
	case f.ttl < time.Second:
		return "", usagef("--ttl: at least 1s, not %v", f.ttl)
	case len(f.allow) == 0 && !f.grantless:
		return "", usagef("--allow: what the user may do, as in --allow 'join,send=lobby'")
	}
	if f.name != "" {
		if t.Name, err = parley.ParseName(f.name); err != nil {
			return "", usagef("--name: %s", sentence(err))
		}
	}
	if t.Grants, err = readAllow(f.allow); err != nil {
		return "", err
	}
	settings, err := readAuth(f.config)
	if err != nil {
		return "", err
	}
	signer, err := f.signer(settings.Auth, &t)
	if err != nil {
		return "", err
	}
	now := time.Now()
	t.Expires = now.Add(f.ttl)
	token, err := signer.Sign(t, now)
	if err != nil {
		return "", usagef("%s", sentence(err))
	}
	return token, nil
}

// signer finds what the token is signed with, and what it takes from the configuration, if there is
// one: nil is none.
func (f *tokenFlags) signer(config *auth.Config, t *auth.Token) (signer *auth.Signer, err error) {
	if config != nil && t.Issuer == "" {
		t.Issuer = config.Issuer
	}
	if config != nil && t.Audience == "" {
		t.Audience = config.Audience
	}
	switch {
	case t.Issuer == "":
		return nil, usagef("--iss: the configuration has no auth.issuer")
	case t.Audience == "":
		return nil, usagef("--aud: the configuration has no auth.audience")
	case f.keyFile != "":
		signer, err = auth.LoadSigner(f.keyFile, f.alg, f.kid)
	case config == nil:
		return nil, usagef("--key-file: the configuration has no keys")
	default:
		signer, err = config.Signer(f.alg, f.kid)
	}
	if err != nil {
		return nil, usagef("%w", err)
	}
	return signer, nil
}

// readAllow reads grants of the command line.
func readAllow(allow []string) (auth.Grants, error) {
	grants := auth.Grants{}
	for _, text := range allow {
		g, err := auth.ParseGrant(text)
		if err != nil {
			return nil, usagef("--allow: %s", sentence(err))
		}
		grants = append(grants, g)
	}
	return grants, nil
}

// readAuth reads what the configuration says of who may do what; nothing, where there is none.
func readAuth(named string) (auth.Settings, error) {
	c, err := server.Sources{File: configFile(named), Environment: os.LookupEnv}.Read()
	if err != nil {
		return auth.Settings{}, err
	}
	return auth.Settings{Auth: c.Auth, Anonymous: c.Anonymous, Revoked: c.Revoked}, nil
}

func newInspectCommand() *cobra.Command {
	var config string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "inspect [TOKEN|-]",
		Short: "Explain a token or an API key",
		Long: `Explain a token or an API key: what it says, and whether a server with this configuration would take
it. Without one, or with -, it is read from stdin: other users of this machine can see arguments.

Exit code 4 says that the configuration refuses it.`,
		Example: `  parley token inspect - < token
  parley token --sub ada --allow 'join=lobby' | parley token inspect --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			credential, err := readCredential(cmd.InOrStdin(), firstOf(args))
			if err != nil {
				return err
			}
			settings, err := readAuth(config)
			if err != nil {
				return err
			}
			in, err := auth.Inspect(cmd.Context(), settings, credential)
			if err != nil {
				return usagef("%w", err)
			}
			if asJSON {
				err = json.NewEncoder(cmd.OutOrStdout()).Encode(in)
			} else {
				_, err = io.WriteString(cmd.OutOrStdout(), explain(in, time.Now()))
			}
			if err == nil && !in.Good && in.Why != "" {
				err = parley.Errorf(parley.Unauthorized, "%s", in.Why)
			}
			return err
		},
	}
	cmd.Flags().StringVar(&config, "config", "", "configuration file (default parley.yml, if there is one)")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// readCredential takes what was typed, or else stdin.
func readCredential(stdin io.Reader, typed string) (string, error) {
	if typed != "" && typed != "-" {
		return typed, nil
	}
	text, err := io.ReadAll(io.LimitReader(stdin, 2*auth.MaxCredential))
	if err != nil {
		return "", fmt.Errorf("read the token: %w", err)
	}
	if typed = strings.TrimSpace(string(text)); typed == "" {
		return "", usagef("there is no token on stdin")
	}
	return typed, nil
}

// explain says in words what a credential says.
func explain(in *auth.Inspection, now time.Time) string {
	var b strings.Builder
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-10s %s\n", name, oneLine(text))
		}
	}
	var header []string
	for _, name := range []string{"alg", "kid", "typ"} {
		if v, ok := in.Header[name]; ok {
			header = append(header, fmt.Sprintf("%s %v", name, v))
		}
	}
	line("header", strings.Join(header, ", "))
	line("API key", in.Key)
	line("user", in.User)
	line("name", in.Name)
	line("issuer", in.Issuer)
	line("audience", strings.Join(in.Audience, ", "))
	line("id", in.ID)
	line("issued", when(in.Issued, now))
	line("valid from", when(in.NotBefore, now))
	line("expires", when(in.Expires, now))
	for _, g := range in.Grants {
		line("may", fmt.Sprintf("%s in %s", strings.Join(g.May.Names(), ", "), g.Rooms))
	}
	if len(in.Grants) == 0 && (in.Good || in.Header != nil) {
		line("may", "nothing")
	}
	switch {
	case in.Good:
		line("verdict", "good")
	case in.Why != "":
		line("verdict", "refused: "+in.Why)
	default:
		line("verdict", "not checked: the configuration has no section auth")
	}
	return b.String()
}

// when is a time, and how far it is from now.
func when(t *time.Time, now time.Time) string {
	if t == nil {
		return ""
	}
	text := t.Format(time.RFC3339)
	if d := t.Sub(now).Round(time.Second); d < 0 {
		return fmt.Sprintf("%s, %v ago", text, -d)
	} else if d > 0 {
		return fmt.Sprintf("%s, in %v", text, d)
	}
	return text + ", now"
}

func newKeygenCommand() *cobra.Command {
	var alg, out string
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key that tokens are signed with",
		Long: `Make a key that tokens are signed with: in the file --out, and its public key in a file of that name
with .pub behind it. HS256 has one secret for who signs and who checks. No file is overwritten.`,
		Example: `  parley token keygen --out ed.key
  parley token keygen --alg HS256 --out hs.key`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("--out: the file to write the key to")
			}
			private, public, err := auth.NewKey(alg)
			if err != nil {
				return usagef("--alg: %w", err)
			}
			if err := writeNew(out, string(private), 0o600); err != nil {
				return err
			}
			line := fmt.Sprintf("{alg: %s, secret_file: %q}", alg, out)
			if !auth.IsSecret(alg) {
				if err := writeNew(out+".pub", string(public), 0o644); err != nil {
					return err
				}
				line = fmt.Sprintf("{alg: %s, public_key_file: %q}", alg, out+".pub")
			}
			tell(cmd.ErrOrStderr(), "parley: for auth.keys in parley.yml:\n- %s\n", line)
			return nil
		},
	}
	cmd.Flags().StringVar(&alg, "alg", "EdDSA", "HS256, RS256, ES256 or EdDSA")
	cmd.Flags().StringVar(&out, "out", "", "`FILE` to write it to")
	return cmd
}
