// Package certificate holds the certificates that the gateway's listeners show to clients: loaded from secret references, chosen
// by the name a client asks for, and read again when they change. It must not open a listener, and keeps keys out of errors,
// logs and metrics.
package certificate

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Secrets is where references lead. Watch is told of changes, and never twice at the same time.
type Secrets interface {
	Get(ref string) ([]byte, error)
	Watch(ref string, changed func()) (stop func())
}

// Env is what a set needs beside its settings. All fields are required.
type Env struct {
	Secrets  Secrets
	Log      *slog.Logger
	Now      func() time.Time
	Reloaded func(listener string, ok bool) // certificates were read again
}

// Set is the certificates of one listener. Choosing takes no lock; a set that was closed goes on with what it has.
type Set struct {
	env      Env
	listener string
	spec     *ir.ListenerTLS
	config   *tls.Config
	stops    []func()

	loading sync.Mutex // one reload at a time
	table   atomic.Pointer[table]
}

// Load reads the certificates of a listener that has TLS, and watches them. It fails if one of them cannot be used; errors name
// the listener and the references. The set must be closed.
func Load(l ir.Listener, env Env) (*Set, error) {
	least, err := version(l.TLS.MinVersion)
	if err != nil {
		return nil, fmt.Errorf("listener %q: %w", l.ID, err)
	}
	s := &Set{env: env, listener: l.ID, spec: l.TLS}
	s.config = &tls.Config{MinVersion: least, NextProtos: []string{"http/1.1"}, GetCertificate: s.choose}
	if l.HTTP2.Enabled {
		s.config.NextProtos = []string{"h2", "http/1.1"}
	}
	for i, c := range l.TLS.Certificates { // before they are read: no change may slip in between
		again := func() { s.reload(i) }
		s.stops = append(s.stops, env.Secrets.Watch(c.Cert, again))
		if c.Key != c.Cert {
			s.stops = append(s.stops, env.Secrets.Watch(c.Key, again))
		}
	}
	s.loading.Lock()
	defer s.loading.Unlock()
	if err := s.load(); err != nil {
		s.unwatch()
		return nil, err
	}
	return s, nil
}

// version is a minimum version as crypto/tls counts.
func version(name string) (uint16, error) {
	switch name {
	case "", "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("TLS version %q is not known to this gateway", name)
}

// load reads all of them for the first time.
func (s *Set) load() error {
	if len(s.spec.Certificates) == 0 {
		return fmt.Errorf("listener %q has TLS and no certificate", s.listener)
	}
	pairs := make([]*tls.Certificate, len(s.spec.Certificates))
	var errs []error
	for i := range pairs {
		var err error
		if pairs[i], err = s.read(i); err != nil {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	s.table.Store(newTable(pairs))
	return nil
}

// read reads one certificate with its key.
func (s *Set) read(i int) (*tls.Certificate, error) {
	ref := s.spec.Certificates[i]
	chain, err := s.env.Secrets.Get(ref.Cert)
	if err != nil {
		return nil, fmt.Errorf("listener %q: certificate: %w", s.listener, err)
	}
	key, err := s.env.Secrets.Get(ref.Key)
	if err != nil {
		return nil, fmt.Errorf("listener %q: private key: %w", s.listener, err)
	}
	pair, err := tls.X509KeyPair(chain, key)
	if err != nil {
		return nil, fmt.Errorf("listener %q: certificate %s with key %s: %w", s.listener, ref.Cert, ref.Key, err)
	}
	if now := s.env.Now(); now.After(pair.Leaf.NotAfter) || now.Before(pair.Leaf.NotBefore) {
		s.env.Log.Warn("a certificate is not valid now; clients will refuse it", slog.String("listener", s.listener), slog.String("certificate", ref.Cert),
			slog.Time("from", pair.Leaf.NotBefore), slog.Time("to", pair.Leaf.NotAfter))
	}
	return &pair, nil
}

// reload reads one certificate again. What cannot be used changes nothing: its files may be half written.
func (s *Set) reload(i int) {
	s.loading.Lock()
	defer s.loading.Unlock()
	before := s.table.Load()
	if before == nil { // the set could not be loaded
		return
	}
	pair, err := s.read(i)
	s.env.Reloaded(s.listener, err == nil)
	if err != nil {
		s.env.Log.Error("a changed certificate cannot be used; serving the one before", slog.Any("error", err),
			slog.Time("expires", before.pairs[i].Leaf.NotAfter))
		return
	}
	pairs := append([]*tls.Certificate{}, before.pairs...)
	pairs[i] = pair
	s.table.Store(newTable(pairs))
	s.env.Log.Info("a certificate was read again", slog.String("listener", s.listener), slog.String("certificate", s.spec.Certificates[i].Cert),
		slog.Time("expires", pair.Leaf.NotAfter))
}

// Config is the settings of the listener for one connection: what tls.Config.GetConfigForClient returns. It offers HTTP/2 if the
// listener has it. The suites and curves are the defaults of crypto/tls, which are kept current.
func (s *Set) Config() *tls.Config { return s.config }

// Expiries tells when each certificate ends, by the reference it came from.
func (s *Set) Expiries(yield func(certificate string, expires time.Time)) {
	for i, p := range s.table.Load().pairs {
		yield(s.spec.Certificates[i].Cert, p.Leaf.NotAfter)
	}
}

// Close ends the watching. It is idempotent.
func (s *Set) Close() error {
	s.loading.Lock()
	defer s.loading.Unlock()
	s.unwatch()
	return nil
}

func (s *Set) unwatch() {
	for _, stop := range s.stops {
		stop()
	}
	s.stops = nil
}

// table finds certificates by name. It is immutable.
type table struct {
	pairs []*tls.Certificate            // in authored order, at least one
	names map[string][]*tls.Certificate // lower case, exact or "*." and the rest, in authored order
}

func newTable(pairs []*tls.Certificate) *table {
	t := &table{pairs: pairs, names: map[string][]*tls.Certificate{}}
	for _, p := range pairs {
		for _, name := range p.Leaf.DNSNames {
			name = strings.ToLower(name)
			t.names[name] = append(t.names[name], p)
		}
	}
	return t
}

// choose finds the certificate for a client: of those for the very name, else of those for a wildcard above it (one label, RFC
// 9525 section 6.3), the first that the client can use; else the first of all.
func (s *Set) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	t := s.table.Load()
	name := strings.ToLower(strings.TrimSuffix(hello.ServerName, "."))
	found := t.names[name]
	if len(found) == 0 {
		if _, parent, ok := strings.Cut(name, "."); ok {
			found = t.names["*."+parent]
		}
	}
	if len(found) > 1 { // e.g. one with an RSA key for old clients
		for _, p := range found {
			if hello.SupportsCertificate(p) == nil {
				return p, nil
			}
		}
	}
	if len(found) > 0 {
		return found[0], nil
	}
	return t.pairs[0], nil
}
