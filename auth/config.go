package auth

import "time"

// Settings is what an Authority goes by: three sections of the configuration file.
type Settings struct {
	Auth      *Config // nil = nobody can say who they are
	Anonymous Grants  // of who shows no credential; nil = not given: everything if Auth is nil too, else nothing
	Revoked   Revoked

	Dir   string           // where relative names of key files begin; "" = the working directory
	Clock func() time.Time // nil = time.Now
}

// Config is the section auth: whose tokens and which API keys are good.
type Config struct {
	Issuer   string         `yaml:"issuer"`             // a token's iss
	Audience string         `yaml:"audience"`           // must be among a token's aud
	Leeway   time.Duration  `yaml:"leeway,omitempty"`   // by which clocks may differ; 0 = DefaultLeeway
	Keys     []KeyConfig    `yaml:"keys,omitempty"`     // that sign tokens
	JWKS     *JWKSConfig    `yaml:"jwks,omitempty"`     // where more of them are found
	APIKeys  []APIKeyConfig `yaml:"api_keys,omitempty"` // of services
}

// DefaultLeeway is by how much the clocks of who issues a token and who checks it may differ.
const DefaultLeeway = 30 * time.Second

// KeyConfig is a key that tokens are checked with, for one algorithm and no other. It comes from
// exactly one place: a shared secret from a file or the environment, a public key from a PEM file.
type KeyConfig struct {
	Alg           string `yaml:"alg"`                       // HS256, RS256, ES256 or EdDSA
	KID           string `yaml:"kid,omitempty"`             // which tokens may name; "" = any
	SecretFile    string `yaml:"secret_file,omitempty"`     // HS256: at least 32 bytes; a newline at the end does not count
	SecretEnv     string `yaml:"secret_env,omitempty"`      // HS256: a variable of the environment
	PublicKeyFile string `yaml:"public_key_file,omitempty"` // the others: PEM
}

// JWKSConfig is a set of keys that an issuer publishes.
type JWKSConfig struct {
	URL     string        `yaml:"url"`               // https, or http on this machine
	Algs    []string      `yaml:"algs"`              // RS256, ES256, EdDSA: those that tokens may use
	Refresh time.Duration `yaml:"refresh,omitempty"` // how often it is read anew; 0 = DefaultRefresh
}

// DefaultRefresh is how often published keys are read anew.
const DefaultRefresh = 15 * time.Minute

// APIKeyConfig is a service's key. Its name is the user that the service is.
type APIKeyConfig struct {
	Name   string `yaml:"name"`
	Hash   string `yaml:"hash"` // argon2id in PHC form, of the key's secret part
	Grants Grants `yaml:"grants"`
}

// Revoked are those who are refused whatever they show.
type Revoked struct {
	Users []string `yaml:"users"`
	Keys  []string `yaml:"keys"` // names of API keys
}
