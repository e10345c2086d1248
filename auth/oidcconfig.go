package auth

import (
	"errors"
	"net/url"
	"slices"
	"strings"
)

// OIDCConfig lets people sign in to the page at an OpenID provider.
type OIDCConfig struct {
	Issuer           string   `yaml:"issuer"`                       // https, or http on this machine; its discovery document is below it
	ClientID         string   `yaml:"client_id"`                    // who we are to the provider
	ClientSecretFile string   `yaml:"client_secret_file,omitempty"` // "" = a public client: PKCE alone protects
	RedirectURL      string   `yaml:"redirect_url"`                 // this server's /login/callback, as browsers reach it
	Scopes           []string `yaml:"scopes,omitempty"`             // asked for beside openid; nil = profile and email
	UserClaim        string   `yaml:"user_claim,omitempty"`         // of the ID token; "" = sub. email counts where it is verified
	NameClaim        string   `yaml:"name_claim,omitempty"`         // to be shown; "" = name
	Grants           Grants   `yaml:"grants,omitempty"`             // of everybody who signs in
	GroupsClaim      string   `yaml:"groups_claim,omitempty"`       // "" = groups
	Groups           Groups   `yaml:"groups,omitempty"`             // what members of a group may do as well
}

// CallbackPath is where the provider sends people back to.
const CallbackPath = "/login/callback"

const maxGroups = 256

// fill gives a copy with every default.
func (c *OIDCConfig) fill() *OIDCConfig {
	f := *c
	if f.Scopes == nil {
		f.Scopes = []string{"profile", "email"}
	}
	f.Scopes = append([]string{"openid"}, slices.DeleteFunc(slices.Clone(f.Scopes), func(s string) bool { return s == "openid" })...)
	for field, usual := range map[*string]string{&f.UserClaim: "sub", &f.NameClaim: "name", &f.GroupsClaim: "groups"} {
		if *field == "" {
			*field = usual
		}
	}
	return &f
}

func (c *OIDCConfig) check() error {
	if err := checkPublishedAt(c.Issuer); err != nil {
		return badSetting("auth.oidc.issuer", err)
	}
	if err := checkCallback(c.RedirectURL); err != nil {
		return badSetting("auth.oidc.redirect_url", err)
	}
	if err := c.Grants.Check(); err != nil {
		return badSetting("auth.oidc.grants", err)
	}
	all := len(c.Grants)
	for _, grants := range c.Groups {
		all += len(grants)
	}
	switch {
	case c.ClientID == "":
		return badSettingf("auth.oidc.client_id", "who this server is to the provider")
	case len(c.Groups) > maxGroups:
		return badSettingf("auth.oidc.groups", "%d groups; there may be %d", len(c.Groups), maxGroups)
	case all > MaxGrants:
		return badSettingf("auth.oidc.groups", "%d grants in all; somebody in every group may have %d", all, MaxGrants)
	case all == 0:
		return badSettingf("auth.oidc.grants", "without grants, here or in groups, nobody who signs in could do anything")
	}
	for _, scope := range c.Scopes {
		if scope == "" || strings.ContainsFunc(scope, func(r rune) bool { return r <= ' ' || r > '~' || r == '"' || r == '\\' }) {
			return badSettingf("auth.oidc.scopes", "%q is no scope", clip(scope))
		}
	}
	return nil
}

// checkCallback: what the provider answers with must come here, and nowhere else.
func checkCallback(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return errors.New("this server's URL, as browsers have it, and " + CallbackPath)
	case u.Path != CallbackPath:
		return errors.New("its path is " + CallbackPath)
	case u.Scheme == "https", u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return errors.New("https, but for this machine: whoever is on the way could sign in as others")
}

// secret reads the client's secret, "" where it has none.
func (c *OIDCConfig) secret() (string, error) {
	if c.ClientSecretFile == "" {
		return "", nil
	}
	data, err := readKeyFile(c.ClientSecretFile)
	if err != nil {
		return "", badSetting("auth.oidc.client_secret_file", err)
	}
	secret := strings.TrimRight(string(data), "\r\n")
	if secret == "" {
		return "", badSettingf("auth.oidc.client_secret_file", "%s is empty", c.ClientSecretFile)
	}
	return secret, nil
}
