package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"

	"github.com/suuupra/gateway/schema/ir"
)

// tlsConfig is how a connection to host is made. Secrets are read anew for each connection: a certificate that was renewed is
// used from then on.
func (u *Upstream) tlsConfig(host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12, RootCAs: u.env.Roots}
	s := u.spec.TLS
	if s == nil {
		return c, nil
	}
	if s.SNI != "" {
		c.ServerName = s.SNI
	}
	if s.MinVersion == "1.3" {
		c.MinVersion = tls.VersionTLS13
	}
	c.InsecureSkipVerify = s.SkipVerify //nolint:gosec // asked for by the author, and warned of by the compiler
	if s.CA != "" {
		raw, err := u.env.Secret(s.CA)
		if err != nil {
			return nil, fmt.Errorf("read tls.ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", s.CA)
		}
	}
	if s.Cert != "" {
		cert, err := u.certificate(s)
		if err != nil {
			return nil, err
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// certificate reads the client certificate. The error says nothing of what was read.
func (u *Upstream) certificate(s *ir.UpstreamTLS) (tls.Certificate, error) {
	chain, err := u.env.Secret(s.Cert)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read tls.cert: %w", err)
	}
	key, err := u.env.Secret(s.Key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("read tls.key: %w", err)
	}
	cert, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return tls.Certificate{}, errors.New("tls.cert and tls.key are no certificate and its key in PEM")
	}
	return cert, nil
}
