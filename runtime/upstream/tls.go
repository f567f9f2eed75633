package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"

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
	known, err := u.credentials()
	if err != nil {
		return nil, err
	}
	if known.roots != nil {
		c.RootCAs = known.roots
	}
	if known.cert != nil {
		c.Certificates = []tls.Certificate{*known.cert}
	}
	return c, nil
}

// credentials are what tls.ca and tls.cert stand for; nil where they are absent.
type credentials struct {
	roots *x509.CertPool
	cert  *tls.Certificate
}

// credentials reads what the secrets hold now. What cannot be read any more is used as it was read last: a file that is half written
// must not take an upstream away.
func (u *Upstream) credentials() (*credentials, error) {
	known, err := u.readCredentials()
	u.tlsMu.Lock()
	defer u.tlsMu.Unlock()
	switch {
	case err == nil:
		if u.tlsFailing {
			u.env.Log.Info("credentials of an upstream can be read again", slog.String("upstream", u.spec.ID))
		}
		u.tlsLast, u.tlsFailing = known, false
	case u.tlsLast == nil:
		return nil, err
	case !u.tlsFailing:
		u.tlsFailing = true
		u.env.Log.Error("credentials of an upstream cannot be read; those read last stay in use", slog.String("upstream", u.spec.ID),
			slog.Any("error", err))
	}
	return u.tlsLast, nil
}

func (u *Upstream) readCredentials() (*credentials, error) {
	s, out := u.spec.TLS, &credentials{}
	if s.CA != "" {
		raw, err := u.env.Secret(s.CA)
		if err != nil {
			return nil, fmt.Errorf("read tls.ca: %w", err)
		}
		out.roots = x509.NewCertPool()
		if !out.roots.AppendCertsFromPEM(raw) {
			return nil, fmt.Errorf("tls.ca: %s holds no PEM certificate", s.CA)
		}
	}
	if s.Cert != "" {
		cert, err := u.certificate(s)
		if err != nil {
			return nil, err
		}
		out.cert = &cert
	}
	return out, nil
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
