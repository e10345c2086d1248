package hooks

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
)

// MinSecret is how many bytes the secret of a hook has at least.
const MinSecret = 16

const maxFile = 1 << 20 // bytes of a file that the configuration names

// readSecret reads what signs: from a file or the environment. key is the setting at fault.
func readSecret(file, env string) (secret []byte, key string, err error) {
	text, key, err := readText(file, env, ".secret")
	if err == nil && len(text) < MinSecret {
		err = fmt.Errorf("a secret has at least %d bytes; this one has %d", MinSecret, len(text))
	}
	return text, key, err
}

// readText reads a line from a file or the environment; a newline at its end does not count.
func readText(file, env, key string) ([]byte, string, error) {
	if env != "" {
		value, ok := os.LookupEnv(env)
		if !ok {
			return nil, key + "_env", fmt.Errorf("%s is not set in the environment", env)
		}
		return []byte(value), key + "_env", nil
	}
	text, err := readFile(file)
	text = bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
	return text, key + "_file", err
}

func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%s is a directory", name)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(data) > maxFile {
		err = fmt.Errorf("%s is larger than any such file", name)
	}
	return data, err
}

// readAuthorities makes the trust of a hook with a ca_file.
func readAuthorities(file string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if file == "" {
		return c, nil
	}
	data, err := readFile(file)
	if err != nil {
		return nil, err
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(data) {
		return nil, errors.New("no certificate is in it")
	}
	return c, nil
}
