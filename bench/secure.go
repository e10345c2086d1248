package bench

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// IdleTLS is Idle over TLS. Its server has a certificate that is made for it.
type IdleTLS struct{ Idle }

func (IdleTLS) peer(string, string) []string { return nil }

func (i IdleTLS) run(ctx context.Context, t *target) (Row, error) {
	i.secure = true
	return i.Idle.run(ctx, t)
}

// configure writes the configuration of the server.
func (IdleTLS) configure(dir string) (file string, err error) {
	cert, key, err := newCertificate()
	if err != nil {
		return "", fmt.Errorf("make a certificate: %w", err)
	}
	file = filepath.Join(dir, "parley.yml")
	for path, text := range map[string]string{
		file:                           "tls: {cert: cert.pem, key: key.pem}\n",
		filepath.Join(dir, "cert.pem"): cert,
		filepath.Join(dir, "key.pem"):  key,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			return "", err
		}
	}
	return file, nil
}

// newCertificate makes a certificate, which nobody vouches for, and its key.
func newCertificate() (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	block := func(kind string, b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}))
	}
	return block("CERTIFICATE", der), block("PRIVATE KEY", encoded), nil
}

// overTLS speaks TLS with a server that this load has started itself, so that there is nobody to vouch for.
func overTLS(c net.Conn) net.Conn {
	return tls.Client(c, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12})
}
