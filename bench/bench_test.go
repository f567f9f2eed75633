package main

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
)

func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go each(l, serve)
	return l.Addr().String()
}

func fixed(t *testing.T) string {
	t.Helper()
	l, err := upstream()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestLoadThroughEachGoProxy(t *testing.T) {
	to := fixed(t)
	addrs := map[string]string{"upstream": to, "relay": listen(t, func(c net.Conn) { relay(c, to) })}
	for name, addr := range addrs {
		l := load{addr: addr, requests: [][]byte{get("a.example.com", "/"), get("b.example.com", "/x")}, connections: 3, duration: 100 * time.Millisecond}
		r := l.run(t.Context())
		if r.answered == 0 || r.failed != 0 {
			t.Errorf("%s: %d answered, %d failed: %s", name, r.answered, r.failed, r.firstFail)
		}
		if len(r.latencies) != r.answered || r.quantile(0.5) > r.quantile(0.99) {
			t.Errorf("%s: %d latencies for %d answers, p50 %s, p99 %s", name, len(r.latencies), r.answered, r.quantile(0.5), r.quantile(0.99))
		}
	}
}

func TestLoadCountsFailures(t *testing.T) {
	for name, answer := range map[string]string{
		"HTTP/1.1 503":           "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 2\r\n\r\nno",
		"neither Content-Length": "HTTP/1.1 200 OK\r\n\r\n",
		"EOF":                    "HTTP/1.1 200",
	} {
		addr := listen(t, func(c net.Conn) {
			_, _ = c.Read(make([]byte, 1024))
			_, _ = c.Write([]byte(answer))
		})
		r := load{addr: addr, requests: [][]byte{get("a", "/")}, connections: 1, duration: 50 * time.Millisecond}.run(t.Context())
		if r.answered != 0 || r.failed == 0 || !strings.Contains(r.firstFail, name) {
			t.Errorf("%d answered, %d failed, first %q, want %q", r.answered, r.failed, r.firstFail, name)
		}
	}
}

func TestIdleStreams(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BENCH_SLEEPER", "1")
	to := fixed(t)
	// The process only lends its memory figures: the streams go straight to the upstream.
	p, err := start(t.Context(), "sleeper", self, "-test.run=^TestSleeper$")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	if _, err := idleStreams(t.Context(), &subject{addr: to, process: p}, get("a", "/stream"), 5); err != nil {
		t.Error(err)
	}
	if _, err := idleStreams(t.Context(), &subject{addr: to, process: p}, get("a", "/"), 1); err == nil {
		t.Error("an answer that is no stream passed for one")
	}
}

// TestSleeper is a process of its own: it uses CPU, in itself and in a child, and waits to be ended.
func TestSleeper(t *testing.T) {
	if os.Getenv("BENCH_SLEEPER") == "" {
		return
	}
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
	}
	_, _ = os.Stdout.WriteString("spun\n")
	select {}
}

func TestUsage(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("BENCH_SLEEPER", "1")
	// A shell in between: its child's use must count.
	p, err := start(t.Context(), "sleeper", "/bin/sh", "-c", self+" -test.run='^TestSleeper$' & trap \"kill $!\" INT; wait")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.stop)
	testkit.Eventually(t, "the child has spun", func() bool { return strings.Contains(p.out.String(), "spun") })
	u, err := p.usage()
	if err != nil {
		t.Fatal(err)
	}
	if u.cpu < 50*time.Millisecond || u.rss < 1<<20 {
		t.Errorf("CPU %s and %d bytes are less than the child used", u.cpu, u.rss)
	}
}

func TestRatioIsTakenRoundByRound(t *testing.T) {
	// The machine halved its speed after the first round; the servers kept their ratio.
	a := []sample{{rate: 100}, {rate: 50}, {rate: 50}}
	b := []sample{{rate: 200}, {rate: 100}, {rate: 100}}
	if got := ratio(a, b, rateOf); got != 0.5 {
		t.Errorf("ratio %v, want 0.5", got)
	}
	if got := median(a, rateOf); got != 50 {
		t.Errorf("median %v, want 50", got)
	}
}

func TestPublishPutsTheIndexLast(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	write := func(dir, name, content string) {
		t.Helper()
		full := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(from, "blobs/sha256/aa", "content")
	write(from, "index.json", "new")
	write(to, "index.json", "old")
	// A blob that cannot be written must leave the old index.
	write(to, "blobs", "in the way")
	if err := publish(from, to); err == nil {
		t.Fatal("published over a file that is in the way")
	}
	index := func() string {
		t.Helper()
		b, err := os.ReadFile(filepath.Join(to, "index.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	if index() != "old" {
		t.Error("the index names content that is not there")
	}
	if err := os.Remove(filepath.Join(to, "blobs")); err != nil {
		t.Fatal(err)
	}
	if err := publish(from, to); err != nil {
		t.Fatal(err)
	}
	if index() != "new" {
		t.Error("the index was not published")
	}
}

func TestRecord(t *testing.T) {
	path := filepath.Join(t.TempDir(), "doc.md")
	doc := "head\n<!-- last result -->\nold\n<!-- end of last result -->\nfoot\n"
	if err := os.WriteFile(path, []byte(doc), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := record(path, "new\n"); err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Replace(doc, "old", "new", 1); string(got) != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if err := os.WriteFile(path, []byte("no markers"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := record(path, "new\n"); err == nil {
		t.Error("recorded into a document without markers")
	}
}

// TestWorkloadsAgainstTheUpstream runs every kind of load that needs no TLS straight against the upstream.
func TestWorkloadsAgainstTheUpstream(t *testing.T) {
	s := &subject{name: "upstream", addr: fixed(t), host: "a.example.com"}
	s.requests = [][]byte{get(s.host, "/")}
	ran := 0
	for _, w := range workloads(identity{roots: x509.NewCertPool()}) {
		if w.can != nil && !w.can(s) || strings.HasPrefix(w.name, "new connections") { // the upstream keeps every connection
			continue
		}
		t.Run(w.name, func(t *testing.T) {
			r, err := w.run(t.Context(), s, 300*time.Millisecond)
			if err != nil || r.failed > 0 || r.answered == 0 {
				t.Errorf("%d answered, %d failed, first %q, %v", r.answered, r.failed, r.firstFail, err)
			}
		})
		ran++
	}
	if ran < 6 {
		t.Errorf("%d workloads ran", ran)
	}
}

func TestSecureWorkloads(t *testing.T) {
	id, err := newIdentity(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "ok")
	}))
	cert, err := tls.LoadX509KeyPair(id.cert, id.key)
	if err != nil {
		t.Fatal(err)
	}
	server.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	s := &subject{name: "server", secure: server.Listener.Addr().String(), http2: true, host: secureHost}
	ran := 0
	for _, w := range workloads(id) {
		if w.can == nil {
			continue
		}
		r, err := w.run(t.Context(), s, 300*time.Millisecond)
		if err != nil || r.failed > 0 || r.answered == 0 {
			t.Errorf("%s: %d answered, %d failed, first %q, %v", w.name, r.answered, r.failed, r.firstFail, err)
		}
		ran++
	}
	if ran != 3 {
		t.Errorf("%d workloads ran", ran)
	}
}

func TestSystemCallsAreParsed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "summary")
	text := "    calls syscall\n--------- ----------------\n     4001 read\n        2 futex\n--------- ----------------\n     4003 total\n"
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := parseCounts(path)
	if err != nil || len(got) != 2 || got["read"] != 4001 || got["futex"] != 2 {
		t.Errorf("got %v, %v", got, err)
	}
}
