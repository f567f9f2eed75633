package engine_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

// secured is a listener with a certificate for gateway.example, and the configuration of a client that trusts it.
func secured(t *testing.T) (engine.Listener, *tls.Config) {
	t.Helper()
	ca := testkit.NewAuthority(t)
	pair, err := tls.X509KeyPair(ca.Issue(t, testkit.Leaf{Names: []string{"gateway.example"}}))
	if err != nil {
		t.Fatal(err)
	}
	l := engine.Listener{Listener: listen(t), ID: "public", TLS: &tls.Config{
		Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"},
	}}
	return l, &tls.Config{RootCAs: ca.Pool, ServerName: "gateway.example"}
}

// notes gathers what hooks say.
type notes struct {
	mu   sync.Mutex
	said []string
	more chan struct{}
}

func (n *notes) hooks() engine.Hooks {
	n.more = make(chan struct{}, 100)
	say := func(format string, a ...any) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.said = append(n.said, fmt.Sprintf(format, a...))
		n.more <- struct{}{}
	}
	return engine.Hooks{
		Refused: func(status int, code string, remote netip.AddrPort) { say("%d %s %s", status, code, remote.Addr()) },
		HandshakeFailed: func(listener, reason string, remote netip.AddrPort) {
			say("%s %s %s", listener, reason, remote.Addr())
		},
	}
}

// next waits for the next thing said.
func (n *notes) next(t *testing.T) string {
	t.Helper()
	select {
	case <-n.more:
	case <-time.After(10 * time.Second):
		t.Fatal("nobody said anything")
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	said := n.said[0]
	n.said = n.said[1:]
	return said
}

func connect(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func TestHandshakeFails(t *testing.T) {
	write := func(what string) func(net.Conn, *tls.Config) {
		return func(c net.Conn, _ *tls.Config) {
			_, _ = io.WriteString(c, what)
			_, _ = io.Copy(io.Discard, c)
		}
	}
	shake := func(change func(*tls.Config)) func(net.Conn, *tls.Config) {
		return func(c net.Conn, config *tls.Config) {
			change(config)
			if err := tls.Client(c, config).Handshake(); err == nil {
				_, _ = io.Copy(io.Discard, c)
			}
		}
	}
	for _, tt := range []struct {
		name, reason string
		client       func(c net.Conn, config *tls.Config)
	}{
		{"HTTP in the clear", "plain_http", write(last)},
		{"HTTP/2 in the clear", "plain_http", write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")},
		{"another protocol", "not_tls", write("SSH-2.0-OpenSSH_9.6\r\n")},
		{"an alert", "client_refused", write("\x15\x03\x01\x00\x02\x02\x28")},
		{"a hello that is none", "protocol", write("\x16\x03\x01\x00\x04\x01\x00\x00\x00")},
		{"nothing", "client_gone", func(c net.Conn, _ *tls.Config) { _ = c.Close() }},
		{"half a hello", "client_gone", func(c net.Conn, _ *tls.Config) {
			_, _ = io.WriteString(c, "\x16\x03\x01\x02\x00\x01")
			_ = c.Close()
		}},
		{"a reset", "client_gone", func(c net.Conn, _ *tls.Config) {
			_ = c.(*net.TCPConn).SetLinger(0)
			_, _ = io.WriteString(c, "\x16")
			_ = c.Close()
		}},
		{"silence", "timeout", func(c net.Conn, _ *tls.Config) { _, _ = io.Copy(io.Discard, c) }},
		{"a byte now and then", "timeout", func(c net.Conn, _ *tls.Config) {
			for _, b := range []byte("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + strings.Repeat("x", 100)) {
				if _, err := c.Write([]byte{b}); err != nil {
					return
				}
				<-time.After(20 * time.Millisecond) // the pace of the client: all together takes longer than a handshake may
			}
		}},
		{"an old version", "version", shake(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })},
		{"a client that does not trust us", "client_refused", shake(func(c *tls.Config) { c.RootCAs = nil })},
		{"another name", "client_refused", shake(func(c *tls.Config) { c.ServerName = "other.example" })},
		{"HTTP/2 or nothing", "protocol", shake(func(c *tls.Config) { c.NextProtos = []string{"h2"} })},
		{"no suite in common", "protocol", shake(func(c *tls.Config) {
			c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{tls.TLS_RSA_WITH_AES_128_CBC_SHA}
		})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := &notes{}
			l, config := secured(t)
			s := settings
			if tt.reason == "timeout" {
				s.Timeouts.ReadHeader = 200
			}
			_, addr := serve(t, l, hello, s, said.hooks())
			c := connect(t, addr)
			done := make(chan struct{})
			go func() {
				defer close(done)
				tt.client(c, config.Clone())
			}()
			if got, want := said.next(t), "public "+tt.reason+" 127.0.0.1"; got != want {
				t.Errorf("hook got %q, want %q", got, want)
			}
			_ = c.Close()
			<-done
			again, err := tls.Dial("tcp", addr, config)
			if err != nil {
				t.Fatalf("the next client: %v", err)
			}
			_ = again.Close()
		})
	}
}

func TestPlainHTTPToTLS(t *testing.T) {
	l, _ := secured(t)
	_, addr := serve(t, l, hello, settings, engine.Hooks{})
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"} {
		c := connect(t, addr)
		_, _ = io.WriteString(c, method+" / HTTP/1.1\r\nHost: h\r\nX-Long: "+strings.Repeat("x", 100<<10)+"\r\n\r\n")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != 400 || resp.Header.Get("Content-Type") != "text/plain; charset=utf-8" ||
			string(body) != "This port takes HTTPS, and the request came as plain HTTP. Use https:// in place of http://.\n" {
			t.Errorf("%s: %d %v %q, %v", method, resp.StatusCode, resp.Header, body, err)
		}
	}
}

// Clients that connect to a TLS port and say nothing take no more than the connections there may be, and those beyond are not
// waited for.
func TestHalfOpenHandshakesAreBounded(t *testing.T) {
	said := &notes{}
	l, config := secured(t)
	s := settings
	s.MaxConnections = 5
	s.Timeouts.ReadHeader = 60_000
	srv, addr := serve(t, l, hello, s, said.hooks())
	var open []net.Conn
	for range 20 {
		open = append(open, connect(t, addr))
	}
	for range 15 {
		if got := said.next(t); got != "503 too_many_connections 127.0.0.1" {
			t.Errorf("hook got %q", got)
		}
	}
	testkit.Eventually(t, "5 connections are open", func() bool { return srv.Stats().Open == 5 })
	for _, c := range open {
		_ = c.Close()
	}
	for range 5 {
		if got := said.next(t); got != "public client_gone 127.0.0.1" {
			t.Errorf("hook got %q", got)
		}
	}
	testkit.Eventually(t, "0 connections are open", func() bool { return srv.Stats().Open == 0 })
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
}

// whoami answers with the peer.
func whoami(_ context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	peer := r.Scheme + " " + r.Peer.String()
	_ = w.Header(200, nil, int64(len(peer)))
	_, _ = io.WriteString(w, peer)
}

func TestProxyProtocol(t *testing.T) {
	const header = "PROXY TCP4 203.0.113.7 10.0.0.1 54321 443\r\n"
	loopback := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")}
	elsewhere := loopback[:1]
	for _, tt := range []struct {
		name   string
		from   []netip.Prefix
		secure bool
		pieces []string // sent one by one
		want   string   // the end of the answer
		said   string   // by a hook
	}{
		{"believed", loopback, false, []string{header + last}, "\r\n\r\nhttp 203.0.113.7:54321", ""},
		{"in pieces", loopback, false, []string{header[:3], header[3:20], header[20:], last}, "\r\n\r\nhttp 203.0.113.7:54321", ""},
		{"version 2", loopback, false, []string{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xcb\x00\x71\x07\x0a\x00\x00\x01\xd4\x31\x01\xbb" + last}, "\r\n\r\nhttp 203.0.113.7:54321", ""},
		{"under TLS", loopback, true, []string{header}, "\r\n\r\nhttps 203.0.113.7:54321", ""},
		{"missing", loopback, false, []string{last}, "", "400 proxy_header_invalid 127.0.0.1"},
		{"missing under TLS", loopback, true, nil, "", "400 proxy_header_invalid 127.0.0.1"},
		{"wrong", loopback, false, []string{"PROXY TCP4 nobody 10.0.0.1 1 2\r\n" + last}, "", "400 proxy_header_invalid 127.0.0.1"},
		{"slow", loopback, false, []string{header[:10]}, "", "400 proxy_header_timeout 127.0.0.1"},
		{"twice", loopback, false, []string{header + header + last}, "", "400 bad_version 203.0.113.7"},
		{"from somebody else", elsewhere, false, []string{header + last}, "", "400 bad_version 127.0.0.1"},
		{"version 2 from somebody else", elsewhere, false, []string{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + strings.Repeat("x", 12) + last}, "", "400 bad_request_line 127.0.0.1"},
		{"from somebody else, under TLS", elsewhere, true, []string{header}, "", "public not_tls 127.0.0.1"},
		{"from nobody", nil, false, []string{header + last}, "", "400 bad_version 127.0.0.1"},
		{"none asked for", elsewhere, false, []string{last}, "\r\n\r\nhttp 127.0.0.1:", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			said := &notes{}
			l, config := secured(t)
			if !tt.secure {
				l.TLS = nil
			}
			l.ProxyFrom = tt.from
			s := settings
			if tt.name == "slow" {
				s.Timeouts.ReadHeader = 100
			}
			_, addr := serve(t, l, whoami, s, said.hooks())
			c := connect(t, addr)
			for _, p := range tt.pieces {
				if _, err := io.WriteString(c, p); err != nil {
					t.Fatal(err)
				}
			}
			if tt.secure {
				c = tls.Client(c, config)
				_, _ = io.WriteString(c, last)
			}
			answer, _ := io.ReadAll(c)
			got := string(answer)
			if tt.said != "" {
				if s := said.next(t); s != tt.said {
					t.Errorf("hook got %q, want %q", s, tt.said)
				}
				if strings.Contains(got, "200 OK") {
					t.Errorf("answered %q", got)
				}
				return
			}
			if i := strings.LastIndex(got, tt.want); i < 0 || tt.name != "none asked for" && !strings.HasSuffix(got, tt.want) {
				t.Errorf("answered %q, want %q", got, tt.want)
			}
		})
	}
}

// A client that leaves a stream over TLS is noticed at once, also behind bytes that nobody reads.
func TestClientLeavesTLSStream(t *testing.T) {
	for _, pending := range []string{"", "GET /next HTTP/1.1\r\nHost: h\r\n\r\n"} {
		entered, gone := make(chan struct{}), make(chan struct{})
		l, config := secured(t)
		_, addr := serve(t, l, func(ctx context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
			_ = w.Header(200, nil, -1)
			_, _ = io.WriteString(w, "data: 1\n\n")
			_ = w.Flush()
			close(entered)
			<-ctx.Done()
			close(gone)
		}, settings, engine.Hooks{})
		c, err := tls.Dial("tcp", addr, config)
		if err != nil {
			t.Fatal(err)
		}
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"+pending)
		<-entered
		if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
			t.Fatal(err)
		}
		_ = c.Close()
		select {
		case <-gone:
		case <-time.After(5 * time.Second):
			t.Errorf("with %q pending: not noticed", pending)
		}
	}
}

func TestTunnelOverTLS(t *testing.T) {
	l, config := secured(t)
	_, addr := serve(t, l, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
		tun, err := w.Tunnel(nil)
		if err != nil {
			t.Error(err)
			return
		}
		for {
			p, err := tun.Next()
			if err != nil {
				if err != io.EOF {
					t.Errorf("the tunnel ended with %v", err)
				}
				return
			}
			if _, err := tun.Write(p); err != nil {
				t.Error(err)
			}
		}
	}, settings, engine.Hooks{})
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's connection
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	r := bufio.NewReader(c)
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nearly")
	resp, err := http.ReadResponse(r, nil)
	if err != nil || resp.StatusCode != 101 {
		t.Fatalf("%v, %v", resp, err)
	}
	for _, message := range []string{"early", "x", "hello", strings.Repeat("long", 20_000), ""} {
		if message != "early" {
			go func() { _, _ = io.WriteString(c, message) }()
		}
		got := make([]byte, len(message))
		if _, err := io.ReadFull(r, got); err != nil || string(got) != message {
			t.Errorf("sent %d bytes, got %d, %v", len(message), len(got), err)
		}
	}
	_ = c.CloseWrite()
	if n, err := r.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("read %d bytes, %v, want the end", n, err)
	}
}

// At the end of a server, connections over TLS end as they should: those that wait with a word of goodbye, those with an exchange
// after it, those that never began at once.
func TestShutdownOverTLS(t *testing.T) {
	entered, leave := make(chan struct{}), make(chan struct{})
	l, config := secured(t)
	srv, addr := serve(t, l, func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		if r.Target == "/wait" {
			close(entered)
			<-leave
		}
		hello(ctx, w, r)
	}, settings, engine.Hooks{})
	dial := func() *tls.Conn {
		c, err := tls.Dial("tcp", addr, config)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		return c
	}
	idle, busy, half := dial(), dial(), connect(t, addr)
	_, _ = io.WriteString(half, "\x16\x03\x01")
	_, _ = io.WriteString(idle, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	answer := bufio.NewReader(idle)
	if resp, err := http.ReadResponse(answer, nil); err != nil || resp.StatusCode != 200 {
		t.Fatalf("%v, %v", resp, err)
	}
	_, _ = answer.Discard(5)
	_, _ = io.WriteString(busy, "GET /wait HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	done := make(chan error, 1)
	go func() { done <- srv.Shutdown(t.Context()) }()
	if n, err := answer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the idle connection: %d bytes, %v, want a goodbye", n, err)
	}
	if n, err := half.Read(make([]byte, 1)); err == nil {
		t.Errorf("the half-open connection: %d bytes", n)
	}
	close(leave)
	if b, err := io.ReadAll(busy); err != nil || !strings.HasSuffix(string(b), "Connection: close\r\n\r\nhello") {
		t.Errorf("the busy connection: %q, %v", b, err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// A client that reads nothing cannot hold up the end of a server, whatever there is to say to it.
func TestCloseWaitsForNoReader(t *testing.T) {
	entered := make(chan struct{})
	l, config := secured(t)
	srv, addr := serve(t, l, func(_ context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
		_ = w.Header(200, nil, -1)
		close(entered)
		for {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}, settings, engine.Hooks{})
	c, err := tls.Dial("tcp", addr, config)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close() //nolint:errcheck // a test's connection
	_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	<-entered
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	start := time.Now()
	if err := srv.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if took := time.Since(start); took > 4*time.Second { // saying goodbye in TLS waits for five
		t.Errorf("took %s", took)
	}
}
