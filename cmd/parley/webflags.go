package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"parley"
	"parley/client"
	"parley/server"
)

// webFlags are where a server speaks HTTP, and who is asking, for what takes the right to administer.
type webFlags struct {
	at, token, ca string
}

const webHelp = `

The server is asked over HTTP, at --http or PARLEY_HTTP. Where it knows who is who, a token with the right
admin in every room is needed: --token, PARLEY_TOKEN, or the file that PARLEY_TOKEN_FILE names. --ca, or
PARLEY_CA, is for servers with TLS that the system does not know.`

func (f *webFlags) register(cmd *cobra.Command) {
	cmd.Long += webHelp
	p := cmd.Flags()
	p.StringVar(&f.at, "http", server.Default().HTTP, "where the server speaks HTTP: host:port or a URL")
	p.StringVar(&f.token, "token", "", "the token that proves who you are")
	p.StringVar(&f.ca, "ca", "", "PEM `FILE` with who vouches for a server that speaks TLS")
}

// settle fills in from the environment what no flag has set.
func (f *webFlags) settle(cmd *cobra.Command) error {
	for name, value := range map[string]*string{"http": &f.at, "token": &f.token, "ca": &f.ca} {
		if env, ok := os.LookupEnv("PARLEY_" + strings.ToUpper(name)); ok && !cmd.Flags().Changed(name) {
			*value = env
		}
	}
	file := os.Getenv("PARLEY_TOKEN_FILE")
	switch {
	case file == "" || cmd.Flags().Changed("token"):
		return nil
	case f.token != "":
		return usagef("PARLEY_TOKEN and PARLEY_TOKEN_FILE are both set; one of them is enough")
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return usagef("PARLEY_TOKEN_FILE: %w", err)
	}
	f.token = strings.TrimSpace(string(text))
	return nil
}

// get asks for a path. An answer that is an error is one; of another the caller closes the body.
func (f *webFlags) get(ctx context.Context, cmd *cobra.Command, path string) (*http.Response, error) {
	if err := f.settle(cmd); err != nil {
		return nil, err
	}
	if !strings.Contains(f.at, "://") {
		f.at = "http://" + near(f.at)
	}
	u, err := url.Parse(f.at)
	if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") {
		return nil, usagef("--http: %q is neither host:port nor a URL", f.at)
	}
	roots, err := (&clientFlags{ca: f.ca}).roots()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.JoinPath(path).String(), nil)
	if err != nil {
		return nil, usagef("--http: %w", err)
	}
	if f.token != "" {
		req.Header.Set("Authorization", "Bearer "+f.token)
	}
	way := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // it is one
	way.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	way.DisableKeepAlives = true // one question
	resp, err := (&http.Client{Transport: way}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("%w to %s: %w", client.ErrConnect, f.at, err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp, nil
	}
	defer func() { _ = resp.Body.Close() }()
	return nil, problemOf(resp, f.at)
}

// problemOf is the error that an answer is.
func problemOf(resp *http.Response, at string) error {
	const most = 64 << 10
	body, err := io.ReadAll(io.LimitReader(resp.Body, most))
	var problem struct {
		Code   parley.Code `json:"code"`
		Detail string      `json:"detail"`
	}
	if err != nil || json.Unmarshal(body, &problem) != nil || problem.Code == "" {
		return fmt.Errorf("%s answers %s", at, resp.Status)
	}
	return parley.Errorf(problem.Code, "%s", problem.Detail)
}
