package server

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
)

// routes is by what the nodes of a cluster prove to each other who they are.
type routes struct {
	pair  *pair
	roots *x509.CertPool
}

// files are those of the certificate that a node shows.
func (c *ClusterTLS) files() TLS { return TLS{Cert: c.Cert, Key: c.Key} }

// routeFindings are what is wrong with the certificates of nodes.
func (c *Config) routeFindings() (f findings) {
	t := &c.Cluster.TLS
	if *t == (ClusterTLS{}) {
		return nil
	}
	f.need(c.Cluster.Listen != "", "cluster.tls", "there is no cluster whose nodes could speak TLS")
	f.need(t.Cert != "" && t.Key != "" && t.CA != "", "cluster.tls", "nodes show each other a certificate and check it: give all of cert, key and ca")
	if len(f) > 0 {
		return f
	}
	_, err := readPair(t.files())
	f.need(err == nil, "cluster.tls", "%v", err)
	_, err = readRoots(t.CA)
	f.need(err == nil, "cluster.tls.ca", "%v", err)
	return f
}

// openRoutes reads what a node shows; nil where nodes do not speak TLS.
func openRoutes(c *Config, logger *slog.Logger) (*routes, error) {
	t := &c.Cluster.TLS
	if t.Cert == "" {
		return nil, nil // none is none
	}
	pair, err := openPair(t.files(), logger)
	if err != nil {
		return nil, badConfig("cluster.tls: %w", err)
	}
	roots, err := readRoots(t.CA)
	if err != nil {
		return nil, badConfig("cluster.tls.ca: %w", err)
	}
	return &routes{pair: pair, roots: roots}, nil
}

// config is that of both ends of a connection between nodes. The certificate is the one of the moment: it
// may be replaced while the node runs, and those who are connected stay so.
func (r *routes) config() *tls.Config {
	if r == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: r.pair.get,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return r.pair.shown.Load(), nil
		},
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  r.roots,
		RootCAs:    r.roots,
	}
}

// run looks after the certificate until ctx ends.
func (r *routes) run(ctx context.Context) {
	if r != nil {
		r.pair.run(ctx)
	}
}
