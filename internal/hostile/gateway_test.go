package hostile_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// patience is longer than any timeout of the gateways under test: what takes longer hangs.
const patience = 20 * time.Second

// gateway is a gwrun with a listener in the clear, one with TLS, both for HTTP/1.1 and HTTP/2, a route for everything, and one for
// what is guarded. The two have an upstream each, so that it shows which of them took a request.
type gateway struct {
	t             *testing.T
	process       *testkit.Process
	plain, secure string // addresses
	ca            *testkit.Authority
	open, guarded *origin
	probes        atomic.Int64
}

// newGateway makes what a gateway is configured with, and does not start it.
func newGateway(t *testing.T, scripts func(path string) script) *gateway {
	t.Helper()
	g := &gateway{t: t, plain: testkit.FreePort(t), secure: testkit.FreePort(t), ca: testkit.NewAuthority(t)}
	g.open, g.guarded = newOrigin(t, scripts), newOrigin(t, scripts)
	return g
}

// settings is gateway.yaml: the listeners, and what else there is to say (YAML in braces).
func (g *gateway) settings(more string) string {
	cert, key := g.ca.Write(g.t, g.t.TempDir(), "tls", testkit.Leaf{Names: []string{"h", "127.0.0.1"}})
	return fmt.Sprintf(`gateway:
  name: hostile
  listeners:
    - { id: plain, address: %q, http2: { cleartext: true } }
    - { id: secure, address: %q, tls: { certificates: [{ cert: "file:%s", key: "file:%s" }] } }
%s
`, g.plain, g.secure, cert, key, more)
}

// writeConfig writes the files of a config repository.
func writeConfig(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte("apiVersion: gateway.suuupra.dev/v1\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// startGateway serves with settings of the gateway (YAML in braces) beside its listeners.
func startGateway(t *testing.T, settings string, scripts func(path string) script) *gateway {
	t.Helper()
	bin := testkit.Binary(t, "gwrun")
	g, dir := newGateway(t, scripts), t.TempDir()
	writeConfig(t, dir, map[string]string{
		"gateway.yaml": g.settings(settings),
		"routes/routes.yaml": fmt.Sprintf(`routes:
  - id: everything
    matcher: { path: /* }
    target: { type: http, url: "http://%s" }
  - id: guarded
    matcher: { path: /guarded/* }
    target: { type: http, url: "http://%s" }
  - id: timed
    matcher: { path: /timed/* }
    target: { type: http, url: "http://%s" }
    policy: { timeout: 1s }
`, g.open.addr, g.guarded.addr, g.open.addr),
	})
	g.process = testkit.Start(t, testkit.Command{Path: bin, Args: []string{"dev", dir, "--listen", "", "--demo", ""}})
	g.process.WaitLine(`serving \S+ on `)
	awaitOpen(t, g.plain, g.secure)
	return g
}

// awaitOpen waits until there are listeners at all of the addresses.
func awaitOpen(t *testing.T, addresses ...string) {
	t.Helper()
	testkit.Eventually(t, "the listeners are open", func() bool {
		for _, addr := range addresses {
			c, err := net.Dial("tcp", addr)
			if err != nil {
				return false
			}
			_ = c.Close()
		}
		return true
	})
}

// carriers are the ways HTTP/1.1 comes to the gateway.
var carriers = []string{"in the clear", "over TLS"}

// client is a connection to the gateway.
type client struct {
	net.Conn
	in *bufio.Reader
}

// dial connects, with a protocol of ALPN if it is over TLS.
func (g *gateway) dial(t *testing.T, carrier, alpn string) *client {
	t.Helper()
	return g.dialFrom(t, carrier, alpn, "")
}

// dialFrom connects from an address of this machine, any of 127.0.0.0/8; "" is 127.0.0.1.
func (g *gateway) dialFrom(t *testing.T, carrier, alpn, from string) *client {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	var nc net.Conn
	var err error
	if carrier == "over TLS" {
		config := &tls.Config{RootCAs: g.ca.Pool, ServerName: "h", NextProtos: []string{alpn}}
		nc, err = (&tls.Dialer{NetDialer: &d, Config: config}).DialContext(t.Context(), "tcp", g.secure)
	} else {
		nc, err = d.DialContext(t.Context(), "tcp", g.plain)
	}
	if err != nil {
		t.Fatal(err)
	}
	_ = nc.SetDeadline(time.Now().Add(patience))
	t.Cleanup(func() { _ = nc.Close() })
	return &client{nc, bufio.NewReader(nc)}
}

// answers reads responses until the connection ends, and returns them as tables write them: "200; 400 bad_host". What is no
// response, or one without end, is an error.
func (c *client) answers() (string, error) {
	var all []string
	for {
		if _, err := c.in.Peek(1); err != nil {
			if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
				return strings.Join(all, "; "), errors.New("the connection was not ended")
			}
			return strings.Join(all, "; "), nil // by FIN or, for a client that still sends, by RST
		}
		status, _, err := c.response(http.MethodGet)
		if err != nil {
			return strings.Join(all, "; "), err
		}
		all = append(all, status)
	}
}

// response reads one, and returns its status with its code, and its body. Interim responses are skipped.
func (c *client) response(method string) (status, body string, err error) {
	for {
		resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
		if err != nil {
			return "", "", err
		}
		text, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode >= 200 {
			return strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", code(string(text)))), string(text), err
		}
	}
}

// code is the reason a problem gives.
func code(body string) string {
	_, after, _ := strings.Cut(body, `"code":"`)
	code, _, found := strings.Cut(after, `"`)
	if !found {
		return ""
	}
	return code
}

// moment is what the upstreams had seen before an input.
type moment struct{ open, guarded mark }

func (g *gateway) moment() moment { return moment{g.open.mark(), g.guarded.mark()} }

// serves asks for something of its own, and returns the path.
func (g *gateway) serves(t *testing.T) string {
	t.Helper()
	probe := fmt.Sprintf("/probe/%d", g.probes.Add(1))
	c := g.dial(t, "in the clear", "")
	_, _ = fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n", probe)
	if got, err := c.answers(); got != "200" || err != nil {
		t.Fatalf("the next client got %q, %v", got, err)
	}
	return probe
}

// judge compares what reached the upstreams since with the request lines of a table ("(cut)?" is one that a refusal may have
// been in time for), after it has seen that the gateway serves somebody else.
func (g *gateway) judge(t *testing.T, since moment, open, guarded string) (seen []exchange) {
	t.Helper()
	probe := g.serves(t)
	seen, bytes := g.open.since(t, since.open)
	for i, x := range seen {
		if x.line == "GET "+probe {
			seen, bytes = append(seen[:i:i], seen[i+1:]...), bytes-len(x.head)
			break
		}
	}
	if begun, rest, perhaps := strings.Cut(open, " (cut)?"); perhaps {
		open, bytes = strings.TrimPrefix(rest, "; "), 0
		seen = slices.DeleteFunc(seen, func(x exchange) bool { return x.line == begun && !x.whole })
	}
	if got := lines(seen); got != open || open == "" && bytes != 0 {
		t.Errorf("the upstream got %q and %d bytes, want %q", got, bytes, open)
	}
	behind, bytes := g.guarded.since(t, since.guarded)
	if got := lines(behind); got != guarded || guarded == "" && bytes != 0 {
		t.Errorf("the guarded upstream got %q and %d bytes, want %q", got, bytes, guarded)
	}
	return append(seen, behind...)
}
