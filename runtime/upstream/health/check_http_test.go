package health

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

// tcp connects as upstreams over http do.
func tcp(ctx context.Context, address string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", address)
}

// tlsTo connects as upstreams over https do, and asks for the protocols.
func tlsTo(a *testkit.Authority, protocols ...string) func(context.Context, string) (net.Conn, error) {
	return func(ctx context.Context, address string) (net.Conn, error) {
		d := tls.Dialer{Config: &tls.Config{RootCAs: a.Pool, NextProtos: protocols, MinVersion: tls.VersionTLS12}}
		return d.DialContext(ctx, "tcp", address)
	}
}

// certificate is one for the loopback address.
func certificate(t *testing.T, a *testkit.Authority) tls.Certificate {
	t.Helper()
	pair, err := tls.X509KeyPair(a.Issue(t, testkit.Leaf{Names: []string{"127.0.0.1"}}))
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// checkOnce makes one check with the settings, and gives the reason and the detail; both are empty if it passes.
func checkOnce(t *testing.T, c HostConfig) (reason, detail string) {
	t.Helper()
	c.Upstream = "u"
	c.fill()
	failure := (&Host{c: c}).check(t.Context())
	if failure == nil {
		return "", ""
	}
	return failure.reason, failure.detail()
}

// quick are the settings of a check over a real network: long enough for a busy machine.
func quick(kind string) *ir.Health {
	c := every3s()
	c.Type, c.Timeout = kind, 10_000
	return c
}

func TestHTTPCheck(t *testing.T) {
	var asked atomic.Pointer[http.Request]
	mux := http.NewServeMux()
	mux.HandleFunc("/status/{code}", func(w http.ResponseWriter, r *http.Request) {
		code := 0
		for _, d := range r.PathValue("code") {
			code = code*10 + int(d-'0')
		}
		w.Header().Set("Location", "/followed")
		w.WriteHeader(code)
	})
	mux.HandleFunc("/followed", func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") })
	mux.HandleFunc("/early", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusEarlyHints)
	})
	mux.HandleFunc("/many-early", func(w http.ResponseWriter, _ *http.Request) {
		for range maxCheckInterim + 1 {
			w.WriteHeader(http.StatusEarlyHints)
		}
	})
	mux.HandleFunc("/long", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, strings.Repeat("x", 1<<20)) })
	mux.HandleFunc("/endless", func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			if _, err := w.Write(make([]byte, 1<<14)); err != nil {
				return
			}
		}
	})
	mux.HandleFunc("/big-header", func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("X", strings.Repeat("x", 1<<16)) })
	mux.HandleFunc("/cut", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "short")
		panic(http.ErrAbortHandler)
	})
	mux.HandleFunc("/hang", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	note := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r)
		mux.ServeHTTP(w, r)
	})

	a := testkit.NewAuthority(t)
	start := func(scheme string, protocols func(*http.Protocols)) string {
		s := httptest.NewUnstartedServer(note)
		s.EnableHTTP2 = false
		s.Config.Protocols = new(http.Protocols)
		protocols(s.Config.Protocols)
		if scheme == "https" {
			s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, a)}, MinVersion: tls.VersionTLS12}
			if s.Config.Protocols.HTTP2() {
				s.TLS.NextProtos = []string{"h2", "http/1.1"}
			}
			s.StartTLS()
		} else {
			s.Start()
		}
		t.Cleanup(s.Close)
		return s.Listener.Addr().String()
	}
	for protocol, config := range map[string]HostConfig{
		"HTTP/1.1": {Address: start("http", func(p *http.Protocols) { p.SetHTTP1(true) }), Dial: tcp},
		"HTTP/1.1 over TLS": {
			Address: start("https", func(p *http.Protocols) { p.SetHTTP1(true) }), Scheme: "https", Dial: tlsTo(a, "http/1.1"),
		},
		"HTTP/2 in the clear": {Address: start("http", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }), Dial: tcp, HTTP2: true},
		"HTTP/2 over TLS": {
			Address: start("https", func(p *http.Protocols) { p.SetHTTP1(true); p.SetHTTP2(true) }), Scheme: "https", Dial: tlsTo(a, "h2", "http/1.1"),
		},
	} {
		t.Run(protocol, func(t *testing.T) {
			for name, test := range map[string]struct {
				edit           func(*ir.Health)
				reason, detail string
			}{
				"/status/200":          {},
				"/status/204":          {},
				"/status/302":          {},
				"/status/404":          {reason: CheckStatus, detail: "answered 404"},
				"/status/500":          {reason: CheckStatus, detail: "answered 500"},
				"/status/503?but=fine": {edit: func(c *ir.Health) { c.Status = []ir.Span{{From: 200, To: 204}, {From: 503, To: 503}} }},
				"/status/205":          {edit: func(c *ir.Health) { c.Status = []ir.Span{{From: 200, To: 204}, {From: 206, To: 299}} }, reason: CheckStatus, detail: "answered 205"},
				"/status/201?by=HEAD":  {edit: func(c *ir.Health) { c.Method = "HEAD" }},
				"/long?by=HEAD":        {edit: func(c *ir.Health) { c.Method = "HEAD" }},
				"/early":               {},
				"/long":                {},
				"/endless":             {},
				"/cut":                 {reason: CheckBroken},
				"/big-header":          {reason: CheckBroken},
				"/hang":                {edit: func(c *ir.Health) { c.Timeout = 50 }, reason: CheckTimeout, detail: "no answer within 50ms"},
			} {
				t.Run(name, func(t *testing.T) {
					c := config
					c.Check = quick("http")
					c.Check.Path = name
					if test.edit != nil {
						test.edit(c.Check)
					}
					reason, detail := checkOnce(t, c)
					if reason != test.reason || test.detail != "" && detail != test.detail {
						t.Errorf("%q %q, want %q %q", reason, detail, test.reason, test.detail)
					}
					r := asked.Load()
					if r.RequestURI != name || r.Method != c.Check.Method || r.Host != c.Address || r.UserAgent() != userAgent || r.ContentLength != 0 {
						t.Errorf("asked %s %s of %s as %s", r.Method, r.RequestURI, r.Host, r.UserAgent())
					}
					if http2 := strings.HasPrefix(protocol, "HTTP/2"); http2 != (r.ProtoMajor == 2) || strings.HasSuffix(protocol, "TLS") != (r.TLS != nil) {
						t.Errorf("asked by %s", r.Proto)
					}
				})
			}
		})
	}
	t.Run("interim answers without end", func(t *testing.T) {
		c := quick("http")
		c.Path = "/many-early"
		reason, detail := checkOnce(t, HostConfig{Address: start("http", func(p *http.Protocols) { p.SetHTTP1(true) }), Dial: tcp, Check: c})
		if reason != CheckBroken || detail != "more than 4 interim answers" {
			t.Errorf("%q %q", reason, detail)
		}
	})
}

func TestCheckedHost(t *testing.T) {
	for name, test := range map[string]struct {
		address, scheme, header, check string
		want                           string
	}{
		"the address":               {"10.0.0.1:8080", "http", "", "", "10.0.0.1:8080"},
		"without the scheme's port": {"10.0.0.1:80", "http", "", "", "10.0.0.1"},
		"which is another by TLS":   {"10.0.0.1:443", "https", "", "", "10.0.0.1"},
		"not that of http":          {"10.0.0.1:80", "https", "", "", "10.0.0.1:80"},
		"IPv6":                      {"[::80]:80", "", "", "", "[::80]"},
		"of the upstream":           {"10.0.0.1:80", "http", "api.example", "", "api.example"},
		"of the check":              {"10.0.0.1:80", "http", "api.example", "health.example", "health.example"},
	} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string, 1)
			s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got <- r.Host }))
			t.Cleanup(s.Close)
			c := quick("http")
			c.Host = test.check
			reason, detail := checkOnce(t, HostConfig{
				Address: test.address, Scheme: test.scheme, HostHeader: test.header, Check: c,
				Dial: func(ctx context.Context, _ string) (net.Conn, error) { return tcp(ctx, s.Listener.Addr().String()) },
			})
			if reason != "" {
				t.Fatalf("%q %q", reason, detail)
			}
			if host := <-got; host != test.want {
				t.Errorf("asked %q, want %q", host, test.want)
			}
		})
	}
}

// listen starts a server that does as told with each connection. It is stopped with its connections.
func listen(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			serve(nc)
			_ = nc.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return l.Addr().String()
}

// saying answers the first bytes of a client with the text.
func saying(text string) func(net.Conn) {
	return func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 4096))
		_, _ = io.WriteString(nc, text)
	}
}

// again sends the text for as long as somebody takes it.
func again(first, text string) func(net.Conn) {
	return func(nc net.Conn) {
		_, _ = nc.Read(make([]byte, 4096))
		_, err := io.WriteString(nc, first)
		for err == nil {
			_, err = io.WriteString(nc, text)
		}
	}
}

// mute reads for as long as somebody sends.
func mute(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) }

// Servers that are ill answer anything. Each check ends, with a reason, whatever comes.
func TestHostileHTTP1(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\n"
	for name, test := range map[string]struct {
		serve          func(net.Conn)
		timeout        int64
		reason, detail string
	}{
		"another protocol":         {serve: saying("SSH-2.0-OpenSSH_9.9\r\n"), reason: CheckBroken, detail: `read the answer: malformed HTTP response "SSH-2.0-OpenSSH_9.9"`},
		"garbage":                  {serve: saying("\x00\x01\xff\xfe\r\n\r\n"), reason: CheckBroken, detail: `read the answer: malformed HTTP response "\x00\x01\xff\xfe"`},
		"a version there is not":   {serve: saying("HTTP/9.9 200 OK\r\n\r\n"), reason: CheckBroken, detail: "answered by HTTP/9"},
		"a status that is none":    {serve: saying("HTTP/1.1 2OO OK\r\n\r\n"), reason: CheckBroken},
		"nothing":                  {serve: func(net.Conn) {}, reason: CheckBroken},
		"half a header":            {serve: saying(head + "X: y"), reason: CheckBroken, detail: "read the answer: unexpected EOF"},
		"lengths that differ":      {serve: saying(head + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"), reason: CheckBroken},
		"a length below zero":      {serve: saying(head + "Content-Length: -1\r\n\r\n"), reason: CheckBroken},
		"a length without end":     {serve: again(head+"Content-Length: 9000000000000000000\r\n\r\n", "xxxxxxxx")},
		"a body that breaks off":   {serve: saying(head + "Content-Length: 10\r\n\r\nabc"), reason: CheckBroken, detail: "read the body of the answer: unexpected EOF"},
		"chunks that are none":     {serve: saying(head + "Transfer-Encoding: chunked\r\n\r\nzz\r\n"), reason: CheckBroken},
		"chunks that break off":    {serve: saying(head + "Transfer-Encoding: chunked\r\n\r\n5\r\nab"), reason: CheckBroken},
		"chunks without end":       {serve: again(head+"Transfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n")},
		"chunks that are padding":  {serve: again(head+"Transfer-Encoding: chunked\r\n\r\n", "1;"+strings.Repeat("x", 3000)+"\r\nx\r\n"), reason: CheckBroken},
		"a body without end":       {serve: again("HTTP/1.0 200 OK\r\n\r\n", "xxxxxxxx")},
		"a body to the end":        {serve: saying("HTTP/1.0 200 OK\r\n\r\nfine")},
		"a header without end":     {serve: again(head, "X: y\r\n"), reason: CheckBroken, detail: "the header of the answer has more than 16384 bytes"},
		"a line without end":       {serve: again("", "HTTP"), reason: CheckBroken, detail: "the header of the answer has more than 16384 bytes"},
		"interim without end":      {serve: again("", "HTTP/1.1 100 Continue\r\n\r\n"), reason: CheckBroken, detail: "more than 4 interim answers"},
		"another one behind":       {serve: saying(head + "Content-Length: 2\r\n\r\nokHTTP/1.1 500 No\r\n\r\n")},
		"silence":                  {serve: mute, timeout: 50, reason: CheckTimeout, detail: "no answer within 50ms"},
		"silence after the status": {serve: func(nc net.Conn) { _, _ = io.WriteString(nc, head); mute(nc) }, timeout: 50, reason: CheckTimeout, detail: "no answer within 50ms"},
		"silence in the body": {
			serve:   func(nc net.Conn) { _, _ = io.WriteString(nc, head+"Content-Length: 5\r\n\r\nab"); mute(nc) },
			timeout: 50, reason: CheckTimeout, detail: "no answer within 50ms",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := quick("http")
			if test.timeout != 0 {
				c.Timeout = test.timeout
			}
			reason, detail := checkOnce(t, HostConfig{Address: listen(t, test.serve), Dial: tcp, Check: c})
			if reason != test.reason || test.detail != "" && detail != test.detail {
				t.Errorf("%q %q, want %q %q", reason, detail, test.reason, test.detail)
			}
		})
	}
}

func TestTCPCheck(t *testing.T) {
	a := testkit.NewAuthority(t)
	plain := listen(t, func(net.Conn) {})
	secure := httptest.NewUnstartedServer(http.NotFoundHandler())
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate(t, a)}, MinVersion: tls.VersionTLS12}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	nobody := testkit.FreePort(t)
	_, port, _ := net.SplitHostPort(plain)
	number := int64(0)
	for _, d := range port {
		number = number*10 + int64(d-'0')
	}
	for name, test := range map[string]struct {
		address string
		port    int64
		dial    func(context.Context, string) (net.Conn, error)
		reason  string
	}{
		"open":                       {plain, 0, tcp, ""},
		"closed":                     {nobody, 0, tcp, CheckConnect},
		"closed, but another port":   {nobody, number, tcp, ""},
		"TLS":                        {secure.Listener.Addr().String(), 0, tlsTo(a), ""},
		"no TLS where there must be": {plain, 0, tlsTo(a), CheckConnect},
		"a certificate of strangers": {secure.Listener.Addr().String(), 0, tlsTo(testkit.NewAuthority(t)), CheckConnect},
	} {
		t.Run(name, func(t *testing.T) {
			c := quick("tcp")
			c.Port = test.port
			if reason, detail := checkOnce(t, HostConfig{Address: test.address, Dial: test.dial, Check: c}); reason != test.reason {
				t.Errorf("%q %q, want %q", reason, detail, test.reason)
			}
		})
	}
}

// A server that falls ill and gets well again, with everything real but the patience.
func TestServerThatComesAndGoes(t *testing.T) {
	var ill atomic.Bool
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if ill.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(s.Close)
	events := make(chan Event, 100)
	c := quick("http")
	c.Interval, c.Healthy, c.Unhealthy = 10, 2, 3
	h := newHost(t, HostConfig{Address: s.Listener.Addr().String(), Dial: tcp, Check: c, OnEvent: func(e Event) { events <- e }})
	m := NewMonitor(MonitorConfig{Upstream: "u", PanicPercent: 0})
	t.Cleanup(func() { closed(t, m.Close) })
	m.Set([]*Host{h})
	for range 3 {
		ill.Store(true)
		if e := <-events; e.Kind != Unhealthy || e.Reason != CheckStatus || e.Detail != "answered 503" || e.Numbers["failures"] != 3 {
			t.Fatalf("%+v", e)
		}
		if !m.View().Out.Has(0) {
			t.Error("it is in use")
		}
		ill.Store(false)
		if e := <-events; e.Kind != Healthy || e.Numbers["passes"] != 2 {
			t.Fatalf("%+v", e)
		}
		if m.View().Out != nil {
			t.Error("it is out of use")
		}
	}
}

// Close cuts off a check that a real server keeps waiting, and tells it so.
func TestCloseCutsOffCheck(t *testing.T) {
	for _, kind := range []string{"http", "grpc"} {
		t.Run(kind, func(t *testing.T) {
			waits, gone := make(chan struct{}), make(chan error, 1)
			address := listen(t, func(nc net.Conn) {
				_, _ = nc.Read(make([]byte, 4096))
				close(waits)
				_, err := io.Copy(io.Discard, nc)
				gone <- err
			})
			c := quick(kind)
			c.Timeout = 3_600_000
			h := newHost(t, HostConfig{Address: address, Dial: tcp, Check: c})
			<-waits
			closed(t, h.Close)
			if err := <-gone; err != nil && !errors.Is(err, net.ErrClosed) && !strings.Contains(err.Error(), "reset") {
				t.Error(err)
			}
			if s := h.Status(); s.LastCheck != nil {
				t.Errorf("it counted: %+v", s)
			}
		})
	}
}
