package httptarget_test

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/ir"
)

// secure is an upstream behind TLS that offers these protocols.
func secure(t *testing.T, h http.HandlerFunc, protocols ...string) (addr string, a *testkit.Authority) {
	t.Helper()
	a = testkit.NewAuthority(t)
	cert, key := a.Issue(t, testkit.Leaf{Names: []string{"127.0.0.1"}})
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var speaks http.Protocols
	for _, p := range protocols {
		speaks.SetHTTP1(speaks.HTTP1() || p == "http/1.1")
		speaks.SetHTTP2(speaks.HTTP2() || p == "h2")
	}
	return serve(t, &http.Server{
		Handler: h, Protocols: &speaks, ReadHeaderTimeout: 10 * time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12},
	}), a
}

// serve runs a server until the test ends.
func serve(t *testing.T, s *http.Server) string {
	t.Helper()
	l := listen(t)
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.TLSConfig != nil {
			_ = s.ServeTLS(l, "", "")
			return
		}
		_ = s.Serve(l)
	}()
	t.Cleanup(func() { _ = s.Close(); <-done })
	return l.Addr().String()
}

// trusting are options for upstreams behind TLS, whose authority is a secret.
func trusting(a *testkit.Authority, addrs ...string) options {
	o := defaults(addrs...)
	o.upstream.Scheme, o.upstream.TLS = "https", &ir.UpstreamTLS{CA: "env:CA"}
	o.reach.Secret = func(ref string) ([]byte, error) {
		if ref != "env:CA" {
			return nil, fmt.Errorf("no secret %s", ref)
		}
		return a.PEM, nil
	}
	return o
}

// speaker is a client of the proxy that uses one protocol.
func speaker(t *testing.T, over2 bool) *http.Client {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(!over2)
	p.SetUnencryptedHTTP2(over2)
	tr := &http.Transport{Protocols: &p}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// echo answers with what comes, as it comes.
func echo(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("X-Proto", r.Proto)
	w.Header().Set("Trailer", "X-Got")
	rc := http.NewResponseController(w)
	_ = rc.EnableFullDuplex()
	_ = rc.Flush()
	buf := make([]byte, 32<<10)
	total := 0
	for {
		n, err := r.Body.Read(buf)
		total += n
		if _, werr := w.Write(buf[:n]); werr != nil || rc.Flush() != nil {
			return
		}
		if err != nil {
			w.Header().Set("X-Got", fmt.Sprint(total, "/", r.Trailer.Get("X-Sent")))
			return
		}
	}
}

// TestBodiesOverEveryProtocol sends bodies of all sizes there and back, with trailers, whatever either side speaks.
func TestBodiesOverEveryProtocol(t *testing.T) {
	tlsAddr, authority := secure(t, echo, "h2", "http/1.1")
	plainTLS, authority1 := secure(t, echo, "http/1.1")
	for _, up := range []struct {
		name, proto string
		options     options
	}{
		{"http2 in the clear", "HTTP/2.0", origin2(t, echo)},
		{"http2 over TLS", "HTTP/2.0", trusting(authority, tlsAddr)},
		{"http1 over TLS", "HTTP/1.1", trusting(authority1, plainTLS)},
		{"http1", "HTTP/1.1", defaults(serve(t, &http.Server{Handler: http.HandlerFunc(echo), ReadHeaderTimeout: 10 * time.Second}))},
	} {
		up.options.front = ir.HTTP2{Cleartext: true, MaxStreams: 100}
		p := startProxy(t, up.options)
		for _, over2 := range []bool{false, true} {
			client := speaker(t, over2)
			for _, size := range []int{0, 1, 16<<10 - 1, 16 << 10, 16<<10 + 1, 100_000, 3 << 20} {
				for _, declared := range []bool{true, false} {
					t.Run(fmt.Sprintf("%s/from http2 %v/%d declared %v", up.name, over2, size, declared), func(t *testing.T) {
						body := bytes.Repeat([]byte("0123456789abcdef"), size/16+1)[:size]
						req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.addr+"/", struct{ io.Reader }{bytes.NewReader(body)})
						if err != nil {
							t.Fatal(err)
						}
						want := fmt.Sprint(size, "/")
						if declared {
							req.ContentLength = int64(size)
						} else {
							req.Trailer = http.Header{"X-Sent": {"all"}}
							want += "all"
						}
						resp, err := client.Do(req)
						if err != nil {
							t.Fatal(err)
						}
						defer func() { _ = resp.Body.Close() }()
						got, err := io.ReadAll(resp.Body)
						if err != nil || !bytes.Equal(got, body) {
							t.Errorf("%d bytes of %d came back, %v", len(got), size, err)
						}
						if proto := resp.Header.Get("X-Proto"); proto != up.proto {
							t.Errorf("the upstream was spoken to in %s", proto)
						}
						if got := resp.Trailer.Get("X-Got"); got != want {
							t.Errorf("trailer %q, want %q", got, want)
						}
					})
				}
			}
		}
	}
}

// TestConversation has both sides of one exchange speak in turn.
func TestConversation(t *testing.T) {
	for _, over2 := range []bool{false, true} {
		o := origin2(t, echo)
		o.front = ir.HTTP2{Cleartext: true, MaxStreams: 100}
		p := startProxy(t, o)
		r, w := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+p.addr+"/", r)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := speaker(t, over2).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			said := fmt.Sprintf("message %d", i)
			if _, err := io.WriteString(w, said); err != nil {
				t.Fatal(err)
			}
			heard := make([]byte, len(said))
			if _, err := io.ReadFull(resp.Body, heard); err != nil || string(heard) != said {
				t.Fatalf("%q came back as %q, %v", said, heard, err)
			}
		}
		_ = w.Close()
		if rest, err := io.ReadAll(resp.Body); err != nil || len(rest) != 0 {
			t.Errorf("at the end %q, %v", rest, err)
		}
		_ = resp.Body.Close()
	}
}

// TestCutIsVisibleOverHTTP2 has an upstream reset a stream that a client reads over HTTP/2.
func TestCutIsVisibleOverHTTP2(t *testing.T) {
	o := origin2(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "half")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	})
	o.front = ir.HTTP2{Cleartext: true, MaxStreams: 100}
	p := startProxy(t, o)
	resp, err := speaker(t, true).Get("http://" + p.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	got, err := io.ReadAll(resp.Body)
	if reset := (http2.StreamError{}); string(got) != "half" || !errors.As(err, &reset) {
		t.Errorf("%q, %v", got, err)
	}
}

// TestEarlyHeader has the upstream answer before it has got the body, which is held back for its word. What comes in the end is that
// of the request, though the gateway has long begun others.
func TestEarlyHeader(t *testing.T) {
	const held, size = 4, 3000
	o := origin2(t, func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).Flush()
		got, err := io.ReadAll(r.Body)
		if want := strings.Repeat(r.Header.Get("X-Byte"), size); err != nil || string(got) != want {
			t.Errorf("the body of another request came: %d bytes, %v", len(got), err)
		}
		_, _ = io.WriteString(w, "ok")
	})
	p := startProxy(t, o)
	request := func(c *client, expect, letter string) {
		c.send(fmt.Sprintf("POST / HTTP/1.1\r\nHost: h\r\n%sX-Byte: %s\r\nContent-Length: %d\r\n\r\n%s", expect, letter, size, strings.Repeat(letter, size)))
		contains(t, c.head(), "200 OK")
	}
	end := func(c *client) {
		if got := c.exactly(len("2\r\nok\r\n0\r\n\r\n")); got != "2\r\nok\r\n0\r\n\r\n" {
			t.Errorf("got %q", got)
		}
	}
	var early []*client
	for i := range held {
		c := dial(t, p.addr)
		request(c, "Expect: 100-continue\r\n", string(rune('a'+i)))
		early = append(early, c)
	}
	c := dial(t, p.addr)
	for range 50 {
		request(c, "", "z")
		end(c)
	}
	for _, c := range early {
		end(c)
	}
}

// TestUpgradeNeedsHTTP1 has clients ask for another protocol of an upstream that could speak HTTP/2.
func TestUpgradeNeedsHTTP1(t *testing.T) {
	addr, authority := secure(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			w.Header().Set("X-Proto", r.Proto)
			return
		}
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Errorf("%s: %v", r.Proto, err)
			return
		}
		defer func() { _ = c.Close() }()
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
		_, _ = io.Copy(c, rw)
	}, "h2", "http/1.1")
	p := startProxy(t, trusting(authority, addr))
	for range 2 { // also when the endpoint is known to speak HTTP/2
		c := dial(t, p.addr)
		c.send("GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n")
		contains(t, c.head(), "101 Switching Protocols")
		c.send("hello")
		if got := c.exactly(5); got != "hello" {
			t.Errorf("got %q", got)
		}
		_ = c.Close()
		c = dial(t, p.addr)
		c.send(get)
		contains(t, c.head(), "200 OK", "X-Proto: HTTP/2.0\r\n")
		_ = c.Close()
	}
}

// TestRetryInAnotherProtocol has a chunked body go to one server in HTTP/1.1, and then to another in HTTP/2.
func TestRetryInAnotherProtocol(t *testing.T) {
	var asked atomic.Int64
	handler := func(w http.ResponseWriter, r *http.Request) {
		got, _ := io.ReadAll(r.Body)
		if asked.Add(1)%2 == 1 {
			w.WriteHeader(503)
			return
		}
		fmt.Fprintf(w, "%s", got)
	}
	old, authority := secure(t, handler, "http/1.1")
	fresh, other := secure(t, handler, "h2")
	o := trusting(authority, old, fresh)
	authority.PEM = append(authority.PEM, other.PEM...)
	o.upstream.Balance = &ir.Balance{Strategy: ir.BalanceRoundRobin}
	o.forward.Retry = retrying()
	p := startProxy(t, o)
	for range 6 {
		c := dial(t, p.addr)
		c.send(wholePut)
		contains(t, c.head(), "200 OK", "X-Gateway-Attempts: 2\r\n", "Content-Length: 1\r\n")
		if got := c.exactly(1); got != "x" {
			t.Errorf("got %q", got)
		}
		_ = c.Close()
	}
}

// TestStreamsAreShared has more requests than an upstream takes on one connection, where there may be no other: they wait for each
// other.
func TestStreamsAreShared(t *testing.T) {
	for _, tt := range []struct{ streams, connections, requests int64 }{{100, 1, 100}, {4, 1, 60}, {1, 1, 30}, {4, 3, 60}} {
		t.Run(fmt.Sprint(tt), func(t *testing.T) {
			var under, most atomic.Int64
			var protocols http.Protocols
			protocols.SetUnencryptedHTTP2(true)
			o := http2Options(serve(t, &http.Server{
				Protocols: &protocols, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: int(tt.streams)}, ReadHeaderTimeout: 10 * time.Second,
				Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					for n, old := under.Add(1), most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					_, _ = io.WriteString(w, "ok")
					under.Add(-1)
				}),
			}))
			o.upstream.MaxConnections = tt.connections
			o.upstream.ConnectTimeout = 10_000
			p := startProxy(t, o)
			client := speaker(t, false)
			warm, err := client.Get("http://" + p.addr) // the server says how many it takes with its first answer
			if err != nil {
				t.Fatal(err)
			}
			_ = warm.Body.Close()
			var all sync.WaitGroup
			for range tt.requests {
				all.Go(func() {
					resp, err := client.Get("http://" + p.addr)
					if err != nil {
						t.Error(err)
						return
					}
					if got, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(got) != "ok" {
						t.Errorf("%d %q, %v", resp.StatusCode, got, err)
					}
					_ = resp.Body.Close()
				})
			}
			all.Wait()
			if open := p.pool.Gauges(nil).Open; open > tt.connections || most.Load() > tt.streams*tt.connections {
				t.Errorf("%d connections, %d streams at a time", open, most.Load())
			}
		})
	}
}

// TestSlowClientsStallNobody has clients that read nothing of long responses, beside one that does, all on one connection upstream.
func TestSlowClientsStallNobody(t *testing.T) {
	const slow = 24
	var written atomic.Int64
	piece := make([]byte, 64<<10)
	o := origin2(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/quick" {
			_, _ = io.WriteString(w, "ok")
			return
		}
		for { // until its window is full, and its client's socket too
			n, err := w.Write(piece)
			if written.Add(int64(n)); err != nil {
				return
			}
		}
	})
	o.settings.Timeouts.BodyIdle = 60_000 // for longer than this test waits, nobody is cut
	p := startProxy(t, o)
	for range slow {
		c := dial(t, p.addr)
		c.send("GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
	}
	last, since := int64(-1), time.Now()
	eventually(t, "all stand still", func() bool {
		if n := written.Load(); n != last || p.pool.Gauges(nil).Requests < slow {
			last, since = n, time.Now()
		}
		return time.Since(since) > 200*time.Millisecond
	})
	if open := p.pool.Gauges(nil).Open; open != 1 {
		t.Fatalf("%d connections", open)
	}
	c := dial(t, p.addr)
	c.send("GET /quick HTTP/1.1\r\nHost: h\r\n\r\n")
	contains(t, c.head(), "200 OK")
	if got := c.exactly(2); got != "ok" {
		t.Errorf("got %q", got)
	}
}

// TestLongUploadHasTime has a client take longer for its body than an upstream may for its answer, after 100 (Continue) or not.
func TestLongUploadHasTime(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v", len(got), err)
	}
	for name, o := range map[string]options{
		"http1": defaults(serve(t, &http.Server{Handler: http.HandlerFunc(handler), ReadHeaderTimeout: 10 * time.Second})),
		"http2": origin2(t, handler),
	} {
		for _, expect := range []string{"", "Expect: 100-continue\r\n"} {
			t.Run(name+" "+expect, func(t *testing.T) {
				o.forward.HeaderTimeout = 100
				p := startProxy(t, o)
				c := dial(t, p.addr)
				c.send("POST / HTTP/1.1\r\nHost: h\r\n" + expect + "Content-Length: 100000\r\n\r\n")
				if expect != "" {
					contains(t, c.head(), "100 Continue")
				}
				pace := time.NewTicker(50 * time.Millisecond)
				defer pace.Stop()
				for range 10 {
					<-pace.C
					c.send(strings.Repeat("x", 10_000))
				}
				contains(t, c.head(), "200 OK")
				if got := c.exactly(len("100000 <nil>")); got != "100000 <nil>" {
					t.Errorf("got %q", got)
				}
			})
		}
	}
}
