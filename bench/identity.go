package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// identity is the certificate every server under measurement shows: ECDSA P-256, as public sites do.
type identity struct {
	cert, key, both string // files, PEM
	roots           *x509.CertPool
}

// secureHost is the name in the certificate.
const secureHost = "bench.example.com"

func newIdentity(dir string) (identity, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return identity{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: secureHost}, DNSNames: []string{secureHost, "*.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true, IsCA: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return identity{}, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return identity{}, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return identity{}, err
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret})
	id := identity{
		cert: filepath.Join(dir, "cert.pem"), key: filepath.Join(dir, "key.pem"), both: filepath.Join(dir, "both.pem"),
		roots: x509.NewCertPool(),
	}
	id.roots.AddCert(leaf)
	for path, text := range map[string][]byte{id.cert: certPEM, id.key: keyPEM, id.both: append(certPEM[:len(certPEM):len(certPEM)], keyPEM...)} {
		if err := os.WriteFile(path, text, 0o600); err != nil {
			return identity{}, err
		}
	}
	return id, nil
}

// client is how the load connects: sessions are never resumed, so that every new connection costs a whole handshake.
func (id identity) client(protocol string) *tls.Config {
	return &tls.Config{RootCAs: id.roots, ServerName: secureHost, NextProtos: []string{protocol}, MinVersion: tls.VersionTLS12}
}
