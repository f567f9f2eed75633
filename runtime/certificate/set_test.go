package certificate_test

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/certificate"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// vault is secrets in memory. Put tells those who watch, at once.
type vault struct {
	mu       sync.Mutex
	values   map[string][]byte
	watchers map[string]map[*func()]bool
}

func (v *vault) Get(ref string) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if value, ok := v.values[ref]; ok {
		return value, nil
	}
	return nil, fmt.Errorf("secret %s: absent", ref)
}

func (v *vault) Watch(ref string, changed func()) func() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.watchers[ref] == nil {
		v.watchers[ref] = map[*func()]bool{}
	}
	v.watchers[ref][&changed] = true
	return func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.watchers[ref], &changed)
	}
}

func (v *vault) put(ref string, value []byte) {
	v.mu.Lock()
	v.values[ref] = value
	var tell []func()
	for w := range v.watchers[ref] {
		tell = append(tell, *w)
	}
	v.mu.Unlock()
	for _, f := range tell {
		f()
	}
}

func (v *vault) watching() (n int) {
	for _, ws := range v.watchers {
		n += len(ws)
	}
	return n
}

// scene is a vault with certificates, and who watches what becomes of them.
type scene struct {
	*vault
	authority *testkit.Authority
	log       bytes.Buffer
	reloads   []bool
}

func newScene(t *testing.T) *scene {
	return &scene{vault: &vault{values: map[string][]byte{}, watchers: map[string]map[*func()]bool{}}, authority: testkit.NewAuthority(t)}
}

func (s *scene) env() certificate.Env {
	return certificate.Env{
		Secrets: s.vault, Log: slog.New(slog.NewTextHandler(&s.log, nil)), Now: time.Now,
		Reloaded: func(listener string, ok bool) { s.reloads = append(s.reloads, ok && listener == "public") },
	}
}

// issue puts a certificate into the vault as NAME.crt and NAME.key.
func (s *scene) issue(t *testing.T, name string, l testkit.Leaf) ir.Certificate {
	cert, key := s.authority.Issue(t, l)
	s.put(name+".key", key)
	s.put(name+".crt", cert)
	return ir.Certificate{Cert: name + ".crt", Key: name + ".key"}
}

func listener(certs ...ir.Certificate) ir.Listener {
	return ir.Listener{ID: "public", TLS: &ir.ListenerTLS{Certificates: certs, MinVersion: "1.2"}}
}

// shake does a handshake and returns what the client saw.
func shake(t *testing.T, set *certificate.Set, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close() //nolint:errcheck // a pipe
	defer b.Close() //nolint:errcheck // a pipe
	done := make(chan error, 1)
	go func() {
		done <- tls.Server(a, &tls.Config{SessionTicketsDisabled: true, GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return set.Config(), nil
		}}).Handshake()
		_ = a.Close()
	}()
	client.InsecureSkipVerify = true // what is shown is what is tested
	c := tls.Client(b, client)
	err := c.Handshake()
	_ = b.Close()
	<-done
	return c.ConnectionState(), err
}

func TestChoiceByName(t *testing.T) {
	s := newScene(t)
	set, err := certificate.Load(listener(
		s.issue(t, "first", testkit.Leaf{Names: []string{"first.example", "192.0.2.1"}}),
		s.issue(t, "wild", testkit.Leaf{Names: []string{"*.shop.example", "shop.example"}}),
		s.issue(t, "exact", testkit.Leaf{Names: []string{"API.shop.example"}}),
		s.issue(t, "later", testkit.Leaf{Names: []string{"*.com", "first.example"}}),
		s.issue(t, "modern", testkit.Leaf{Names: []string{"both.example"}}),
		s.issue(t, "old", testkit.Leaf{Names: []string{"both.example"}, RSA: true}),
	), s.env())
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close() //nolint:errcheck // returns nil
	for _, tt := range []struct {
		name, want string
		suites     []uint16
	}{
		{"first.example", "first.example", nil},
		{"FIRST.example", "first.example", nil},
		{"shop.example", "*.shop.example", nil},
		{"www.shop.example", "*.shop.example", nil},
		{"api.shop.example", "API.shop.example", nil},
		{"a.b.shop.example", "first.example", nil}, // a wildcard is one label
		{"x.api.shop.example", "first.example", nil},
		{"example.com", "*.com", nil},
		{"com", "first.example", nil},
		{"", "first.example", nil},
		{"nobody.example", "first.example", nil},
		{"both.example", "both.example ECDSA", nil},
		{"both.example", "both.example RSA", []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := &tls.Config{ServerName: tt.name}
			if tt.suites != nil {
				c.CipherSuites, c.MaxVersion = tt.suites, tls.VersionTLS12
			}
			state, err := shake(t, set, c)
			if err != nil {
				t.Fatal(err)
			}
			leaf := state.PeerCertificates[0]
			got := leaf.DNSNames[0]
			if strings.Contains(tt.want, " ") {
				got += " " + leaf.PublicKeyAlgorithm.String()
			}
			if got != tt.want {
				t.Errorf("certificate of %s, want %s", got, tt.want)
			}
		})
	}
}

func TestVersionsAndProtocols(t *testing.T) {
	s := newScene(t)
	one := s.issue(t, "one", testkit.Leaf{Names: []string{"one.example"}})
	for _, tt := range []struct {
		name, least string
		http2       bool
		client      *tls.Config
		protocol    string
		version     uint16
		err         string
	}{
		{"newest", "1.2", false, &tls.Config{}, "", tls.VersionTLS13, ""},
		{"1.2", "1.2", false, &tls.Config{MaxVersion: tls.VersionTLS12}, "", tls.VersionTLS12, ""},
		{"too old", "1.2", false, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, "", 0, "remote error: tls: protocol version not supported"},
		{"1.2 where 1.3 is asked for", "1.3", false, &tls.Config{MaxVersion: tls.VersionTLS12}, "", 0, "remote error: tls: protocol version not supported"},
		{"HTTP/2", "1.2", true, &tls.Config{NextProtos: []string{"http/1.1", "h2"}}, "h2", tls.VersionTLS13, ""},
		{"HTTP/2 with an old suite only", "1.2", true, &tls.Config{NextProtos: []string{"h2", "http/1.1"}, MaxVersion: tls.VersionTLS12}, "h2", tls.VersionTLS12, ""},
		{"HTTP/2 not offered", "1.2", false, &tls.Config{NextProtos: []string{"h2", "http/1.1"}}, "http/1.1", tls.VersionTLS13, ""},
		{"HTTP/2 or nothing", "1.2", false, &tls.Config{NextProtos: []string{"h2"}}, "", 0, "remote error: tls: no application protocol"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := listener(one)
			l.TLS.MinVersion, l.HTTP2.Enabled = tt.least, tt.http2
			set, err := certificate.Load(l, s.env())
			if err != nil {
				t.Fatal(err)
			}
			defer set.Close() //nolint:errcheck // returns nil
			state, err := shake(t, set, tt.client)
			switch {
			case tt.err != "":
				if err == nil || err.Error() != tt.err {
					t.Errorf("error %v, want %s", err, tt.err)
				}
			case err != nil:
				t.Error(err)
			case state.Version != tt.version || state.NegotiatedProtocol != tt.protocol:
				t.Errorf("version %x, protocol %q", state.Version, state.NegotiatedProtocol)
			}
		})
	}
}

func TestLoadFails(t *testing.T) {
	s := newScene(t)
	good, other := s.issue(t, "good", testkit.Leaf{}), s.issue(t, "other", testkit.Leaf{})
	const private = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n"
	s.put("text", []byte("password"))
	s.put("broken.key", []byte(private))
	for _, tt := range []struct {
		name, want string
		l          ir.Listener
	}{
		{"none", `listener "public" has TLS and no certificate`, listener()},
		{"absent", `listener "public": certificate: secret nowhere: absent`, listener(good, ir.Certificate{Cert: "nowhere", Key: "good.key"})},
		{"absent key", `listener "public": private key: secret nowhere: absent`, listener(ir.Certificate{Cert: "good.crt", Key: "nowhere"})},
		{"of another key", `listener "public": certificate good.crt with key other.key: tls: private key does not match public key`, listener(ir.Certificate{Cert: good.Cert, Key: other.Key})},
		{"no PEM", `listener "public": certificate text with key good.key: tls: failed to find any PEM data in certificate input`, listener(ir.Certificate{Cert: "text", Key: "good.key"})},
		{"broken key", `listener "public": certificate good.crt with key broken.key: tls: failed to parse private key`, listener(ir.Certificate{Cert: "good.crt", Key: "broken.key"})},
		{"all of them", "secret a: absent\nlistener \"public\": certificate: secret b: absent", listener(ir.Certificate{Cert: "a", Key: "a"}, ir.Certificate{Cert: "b", Key: "b"})},
		{"unknown version", `listener "public": TLS version "1.4" is not known to this gateway`, ir.Listener{ID: "public", TLS: &ir.ListenerTLS{MinVersion: "1.4"}}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := certificate.Load(tt.l, s.env())
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %s", err, tt.want)
			}
			for _, content := range []string{"password", "c2VjcmV0"} {
				if strings.Contains(err.Error()+s.log.String(), content) {
					t.Errorf("a secret is in %q, log %q", err, s.log.String())
				}
			}
			if n := s.watching(); n != 0 {
				t.Errorf("%d watches are left", n)
			}
		})
	}
}

func TestReload(t *testing.T) {
	s := newScene(t)
	day := func(n int) time.Time { return time.Now().AddDate(0, 0, n).Truncate(time.Second).UTC() }
	one := s.issue(t, "one", testkit.Leaf{Names: []string{"one.example"}, Expires: day(1)})
	two := s.issue(t, "two", testkit.Leaf{Names: []string{"two.example"}, Expires: day(2)})
	set, err := certificate.Load(listener(one, two), s.env())
	if err != nil {
		t.Fatal(err)
	}
	expect := func(step string, reloads string, names string, expires ...time.Time) {
		t.Helper()
		if got := fmt.Sprint(s.reloads); got != reloads {
			t.Errorf("%s: reloads %s, want %s", step, got, reloads)
		}
		s.reloads = nil
		var got []time.Time
		set.Expiries(func(ref string, at time.Time) { got = append(got, at.UTC()) })
		if fmt.Sprint(got) != fmt.Sprint(expires) {
			t.Errorf("%s: expiries %v, want %v", step, got, expires)
		}
		var shown []string
		for _, name := range []string{"one.example", "two.example", "new.example"} {
			state, err := shake(t, set, &tls.Config{ServerName: name})
			if err != nil {
				t.Fatal(err)
			}
			shown = append(shown, strings.TrimSuffix(state.PeerCertificates[0].DNSNames[0], ".example"))
		}
		if got := strings.Join(shown, " "); got != names {
			t.Errorf("%s: shows %s, want %s", step, got, names)
		}
	}
	expect("at first", "[]", "one two one", day(1), day(2))

	s.issue(t, "two", testkit.Leaf{Names: []string{"new.example"}, Expires: day(3)}) // the key first: for a moment they do not fit
	expect("after a new pair", "[false true]", "one one new", day(1), day(3))

	s.put("two.crt", []byte("half writ"))
	expect("after a broken certificate", "[false]", "one one new", day(1), day(3))
	if !strings.Contains(s.log.String(), "a changed certificate cannot be used; serving the one before") || strings.Contains(s.log.String(), "half writ") {
		t.Errorf("log %s", s.log.String())
	}

	s.issue(t, "two", testkit.Leaf{Names: []string{"two.example"}, Expires: day(-1)})
	expect("after one that has expired", "[false true]", "one two one", day(1), day(-1))
	if !strings.Contains(s.log.String(), "a certificate is not valid now; clients will refuse it") {
		t.Errorf("log %s", s.log.String())
	}

	for range 2 {
		if err := set.Close(); err != nil {
			t.Error(err)
		}
	}
	s.issue(t, "one", testkit.Leaf{Names: []string{"new.example"}})
	expect("after Close", "[]", "one two one", day(1), day(-1))
	if n := s.watching(); n != 0 {
		t.Errorf("%d watches are left", n)
	}
}
