package sink

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Open begins to deliver to a destination:
//
//	stdout, stderr
//	file:///var/log/gateway/audit.jsonl            may be rotated by renaming it
//	syslog+udp://HOST:514                          RFC 5424 and 5426
//	syslog+tcp://HOST:601                          RFC 5424 and 6587, octet counting
//	syslog+tls://HOST:6514[?ca=FILE][&cert=FILE&key=FILE][&serverName=NAME]     RFC 5424 and 5425
//
// A server that is away is no error: records wait for it.
func Open(spec string, o Options) (*Sink, error) {
	switch spec {
	case "stdout":
		return start(spec, &stream{w: os.Stdout}, o), nil
	case "stderr":
		return start(spec, &stream{w: os.Stderr}, o), nil
	}
	u, err := url.Parse(spec)
	if err != nil {
		return nil, errors.New("audit sink: not a URL; write stdout, stderr, file:///PATH or syslog+tls://HOST:6514") // the cause quotes it
	}
	name := u.Path
	if u.Scheme != "" {
		name = u.Scheme + "://" + u.Host + u.Path
	}
	to, err := destinationOf(u, o)
	if err != nil {
		return nil, fmt.Errorf("audit sink %.200q: %w", name, err)
	}
	return start(name, to, o), nil
}

func destinationOf(u *url.URL, o Options) (destination, error) {
	if u.User != nil || u.Fragment != "" {
		return nil, errors.New("it must have neither a user nor a fragment")
	}
	network, isSyslog := strings.CutPrefix(u.Scheme, "syslog+")
	switch {
	case u.Scheme == "file" && u.Host == "" && u.RawQuery == "" && filepath.IsAbs(u.Path):
		return openFile(u.Path)
	case u.Scheme == "file":
		return nil, errors.New("write file:/// and an absolute path")
	case !isSyslog || !slices.Contains([]string{"udp", "tcp", "tls"}, network):
		return nil, errors.New("write stdout, stderr, file:///PATH, syslog+udp://HOST:PORT, syslog+tcp://HOST:PORT or syslog+tls://HOST:PORT")
	case u.Hostname() == "" || u.Port() == "" || u.Path != "":
		return nil, errors.New("write a host and a port, such as " + u.Scheme + "://logs.example.com:6514, and no path")
	}
	s := &remote{network: network, address: net.JoinHostPort(u.Hostname(), u.Port()), app: header(o.App, "gwrun", 48), host: header(o.Instance, "-", 255)}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errors.New("the part after ? cannot be read")
	}
	for k, v := range query {
		if network != "tls" || !slices.Contains([]string{"ca", "cert", "key", "serverName"}, k) || len(v) != 1 || v[0] == "" {
			return nil, fmt.Errorf("unknown setting %.50q; syslog+tls takes ca, cert, key and serverName, each once", k)
		}
	}
	if network == "tls" {
		if s.tls, err = tlsConfig(u.Hostname(), query); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// maxPEM bounds a file of certificates or of a key.
const maxPEM = 1 << 20

// tlsConfig is RFC 5425's: the server is authenticated always, the client if it has a certificate.
func tlsConfig(host string, query url.Values) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if name := query.Get("serverName"); name != "" {
		c.ServerName = name
	}
	if path := query.Get("ca"); path != "" {
		pem, err := readPEM(path)
		if err != nil {
			return nil, fmt.Errorf("ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("ca: %s holds no certificate", path)
		}
	}
	cert, key := query.Get("cert"), query.Get("key")
	if (cert == "") != (key == "") {
		return nil, errors.New("cert and key belong together")
	}
	if cert == "" {
		return c, nil
	}
	certPEM, err := readPEM(cert)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	keyPEM, err := readPEM(key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		return nil, fmt.Errorf("cert %s and key %s are no pair of PEM files", cert, key) // the cause could quote the key
	}
	c.Certificates = []tls.Certificate{pair}
	return c, nil
}

func readPEM(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("%s is larger than %d bytes", path, maxPEM)
	}
	return data, err
}
