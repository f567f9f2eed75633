package runtime_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/certificate"
	"github.com/suuupra/gateway/runtime/secret"
	"github.com/suuupra/gateway/schema/ir"
)

// front is a rig with a listener that speaks TLS, and certificates in files.
type front struct {
	*rig
	ca        *testkit.Authority
	dir, addr string
	upstream  string
}

func newFront(t *testing.T) *front {
	t.Helper()
	f := &front{rig: newRig(t, options{}), ca: testkit.NewAuthority(t), dir: t.TempDir(), upstream: origin(t)}
	secrets := secret.New(slog.New(slog.NewTextHandler(f.log, nil)))
	f.builder.Certificates = &certificate.Env{
		Secrets: secrets, Log: slog.New(slog.NewTextHandler(f.log, nil)), Now: time.Now, Reloaded: f.metrics.CertificateReloaded,
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f.addr = l.Addr().String()
	served := make(chan error, 1)
	go func() { served <- f.Listen(l, ir.Listener{ID: "public", TLS: &ir.ListenerTLS{}}) }()
	t.Cleanup(func() {
		f.stop()
		secrets.Close()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return f
}

// origin answers everything.
func origin(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })}
	go func() { _ = srv.Serve(l) }() // returns when it is closed
	t.Cleanup(func() { _ = srv.Close() })
	return l.Addr().String()
}

func (f *front) write(name, host string) ir.Certificate {
	f.t.Helper()
	cert, key := f.ca.Write(f.t, f.dir, name, testkit.Leaf{Names: []string{host}})
	return ir.Certificate{Cert: "file:" + cert, Key: "file:" + key}
}

// program has one route, and a listener with the certificates.
func (f *front) program(certs ...ir.Certificate) *ir.Program {
	prog := f.pub.Program(f.upstream, "home")
	prog.Gateway.Listeners = []ir.Listener{{ID: "public", Address: f.addr, TLS: &ir.ListenerTLS{Certificates: certs, MinVersion: "1.2"}}}
	return prog
}

// visit makes a connection and a request on it, and returns the connection with the serial number of the certificate.
func (f *front) visit(config *tls.Config) (*tls.Conn, string, error) {
	c, err := tls.Dial("tcp", f.addr, config)
	if err != nil {
		return nil, "", err
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	if err := askHome(c); err != nil {
		return nil, "", err
	}
	return c, c.ConnectionState().PeerCertificates[0].SerialNumber.String(), nil
}

func askHome(c net.Conn) error {
	if _, err := io.WriteString(c, "GET /home HTTP/1.1\r\nHost: api.example\r\n\r\n"); err != nil {
		return err
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return err
	}
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != "ok" {
		return fmt.Errorf("%d %q, %w", resp.StatusCode, body, err)
	}
	return nil
}

func (f *front) shown(config *tls.Config) string {
	f.t.Helper()
	c, serial, err := f.visit(config)
	if err != nil {
		f.t.Fatal(err)
	}
	_ = c.Close()
	return serial
}

// Certificates change in their files while clients connect: none of them fails, and a pair that is none changes nothing.
func TestRotationUnderLoad(t *testing.T) {
	f := newFront(t)
	f.activate(f.program(f.write("tls", "api.example")))
	config := &tls.Config{RootCAs: f.ca.Pool, ServerName: "api.example"}
	var visits atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	for i := range 4 {
		clients.Go(func() {
			mine := config.Clone()
			if i%2 == 0 {
				mine.ClientSessionCache = tls.NewLRUClientSessionCache(1) // resumes
			}
			for ctx.Err() == nil {
				c, _, err := f.visit(mine)
				if err != nil {
					t.Error(err)
					return
				}
				visits.Add(1)
				_ = c.Close()
			}
		})
	}
	until := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for end := time.Now().Add(20 * time.Second); !ok(); <-tick.C {
			if time.Now().After(end) {
				t.Fatalf("never happened: %s; log:\n%s", what, f.log)
			}
		}
	}
	first := f.shown(config)
	f.write("tls", "api.example")
	until("the new certificate is shown", func() bool { return f.shown(config) != first })
	second := f.shown(config)
	if err := os.WriteFile(filepath.Join(f.dir, "tls.crt"), []byte("half of a cer"), 0o600); err != nil {
		t.Fatal(err)
	}
	until("the broken one is noticed", func() bool { return strings.Contains(f.log.String(), "a changed certificate cannot be used") })
	if now := f.shown(config); now != second {
		t.Errorf("shows %s after a broken change, want %s", now, second)
	}
	f.write("tls", "api.example")
	until("the next good one is shown", func() bool { return f.shown(config) != second })
	cancel()
	clients.Wait()
	if visits.Load() == 0 {
		t.Error("nobody came")
	}
	if text := f.scrape(); !strings.Contains(text, `gw_certificate_reloads_total{listener="public",outcome="failure"}`) || strings.Contains(text, `gw_tls_handshake_failures_total{`) {
		t.Errorf("metrics:\n%s", text)
	}
}

// A swap brings its certificates with it, for those who connect from then on; a bundle whose certificates cannot be used changes
// nothing.
func TestSwapOfCertificates(t *testing.T) {
	f := newFront(t)
	config := &tls.Config{RootCAs: f.ca.Pool, ServerName: "api.example"}
	if _, _, err := f.visit(config); err == nil || err.Error() != "remote error: tls: internal error" {
		t.Errorf("before there is a certificate: %v", err)
	}
	a, b := f.write("a", "api.example"), f.write("b", "api.example")
	f.activate(f.program(a))
	old, first, err := f.visit(config)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close() //nolint:errcheck // a test's connection
	f.activate(f.program(b))
	second := f.shown(config)
	if second == first {
		t.Error("the swap changed nothing")
	}
	if err := askHome(old); err != nil {
		t.Errorf("a connection from before: %v", err)
	}

	absent := ir.Certificate{Cert: "file:" + filepath.Join(f.dir, "absent.crt"), Key: "file:" + filepath.Join(f.dir, "absent.key")}
	prog := f.program(b, absent)
	prog.Gateway.Name = "tests"
	err = f.activator.Offer(t.Context(), f.pub.Publish(prog), "")
	if want := `listener "public": certificate: secret ` + absent.Cert + `: no such file or directory`; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("error %v, want %s", err, want)
	}
	if now := f.shown(config); now != second {
		t.Errorf("shows %s, want %s", now, second)
	}
	f.metric(`gw_tls_handshake_failures_total{listener="public",reason="protocol"} 1`)
	if text := f.scrape(); strings.Count(text, "\ngw_certificate_expiry_timestamp_seconds{") != 1 ||
		!strings.Contains(text, `gw_certificate_expiry_timestamp_seconds{certificate="`+b.Cert+`",listener="public"}`) {
		t.Errorf("metrics:\n%s", text)
	}

	prog = f.program() // the listener comes to be one in the clear, which takes a restart
	prog.Gateway.Listeners[0].TLS = nil
	f.activate(prog)
	if now := f.shown(config); now != second {
		t.Errorf("shows %s, want %s", now, second)
	}
}
