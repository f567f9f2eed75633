package engine_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/engine"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/schema/ir"
)

// cleartext is a listener that takes HTTP/2 by prior knowledge.
func cleartext(t *testing.T) engine.Listener {
	t.Helper()
	return engine.Listener{Listener: listen(t), ID: "plain", HTTP2: ir.HTTP2{Enabled: true, Cleartext: true, MaxStreams: 10}}
}

// h2Client speaks nothing but HTTP/2.
func h2Client(t *testing.T, config *tls.Config) (*http.Client, string) {
	t.Helper()
	var protocols http.Protocols
	scheme := "http://"
	if config == nil {
		protocols.SetUnencryptedHTTP2(true)
	} else {
		protocols.SetHTTP2(true)
		scheme = "https://"
		config = config.Clone()
		config.NextProtos = []string{"h2"}
	}
	tr := &http.Transport{Protocols: &protocols, TLSClientConfig: config, DisableCompression: true}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}, scheme
}

// echo answers with what it was asked.
func echo(_ context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
	h := &httpmsg.Header{}
	h.Add("X-Asked", fmt.Sprintf("%s %s %s %s %s %d", r.Method, r.Target, r.Proto, r.Scheme, r.Authority, r.ContentLength))
	for _, f := range r.Header.Fields {
		h.Add("X-Field", f.Name+"="+f.Value)
	}
	var body []byte
	if r.Body != nil {
		var err error
		body, err = io.ReadAll(r.Body)
		var bad *httpmsg.Error
		if errors.As(err, &bad) {
			_ = w.Header(bad.Status, nil, 0)
			return
		}
	}
	_ = w.Header(200, h, -1)
	_, _ = w.Write(body)
	if r.Trailer != nil {
		w.Trailer(r.Trailer)
	}
}

func TestHTTP2(t *testing.T) {
	tlsListener, clientConfig := secured(t)
	tlsListener.HTTP2 = ir.HTTP2{Enabled: true, MaxStreams: 10}
	tlsListener.TLS.NextProtos = []string{"h2", "http/1.1"}
	for _, at := range []struct {
		name   string
		l      engine.Listener
		config *tls.Config
	}{{"h2c", cleartext(t), nil}, {"h2 over TLS", tlsListener, clientConfig}} {
		t.Run(at.name, func(t *testing.T) {
			_, addr := serve(t, at.l, echo, settings, engine.Hooks{})
			client, scheme := h2Client(t, at.config)
			long := strings.Repeat("0123456789", 30_000)
			for _, tt := range []struct {
				name, method, path, body string
				length                   int64
				header                   http.Header
				status                   int
				asked                    string
				code                     string
			}{
				{name: "get", method: "GET", path: "/a?b=c", status: 200, asked: "GET /a?b=c HTTP/2.0 %s %s 0"},
				{name: "body", method: "POST", path: "/", body: long, length: int64(len(long)), status: 200, asked: "POST / HTTP/2.0 %s %s 300000"},
				{name: "body of unknown length", method: "PUT", path: "/", body: long, length: -1, status: 200, asked: "PUT / HTTP/2.0 %s %s -1"},
				{name: "too large", method: "POST", path: "/", body: strings.Repeat("x", 11<<20), length: 11 << 20, status: 413},
				{name: "long target", method: "GET", path: "/" + strings.Repeat("a", 9<<10), status: 414, code: "target_too_long"},
				{name: "long header", method: "GET", path: "/", header: http.Header{"X": {strings.Repeat("a", 33<<10)}}, status: 431, code: "header_too_large"},
				{name: "many fields", method: "GET", path: "/", header: http.Header{"X": make([]string, 101)}, status: 431, code: "too_many_fields"},
				{name: "odd path", method: "GET", path: "/a\\b", status: 200, asked: "GET /a%%5Cb HTTP/2.0 %s %s 0"},
			} {
				t.Run(tt.name, func(t *testing.T) {
					req, err := http.NewRequestWithContext(t.Context(), tt.method, scheme+addr+tt.path, strings.NewReader(tt.body))
					if err != nil {
						t.Fatal(err)
					}
					if req.ContentLength = tt.length; tt.body == "" {
						req.Body = nil
					}
					if tt.header != nil {
						req.Header = tt.header
					}
					resp, err := client.Do(req)
					if err != nil {
						t.Fatal(err)
					}
					defer func() { _ = resp.Body.Close() }()
					got, err := io.ReadAll(resp.Body)
					if err != nil && tt.status == 200 {
						t.Fatal(err)
					}
					if resp.StatusCode != tt.status || resp.Proto != "HTTP/2.0" {
						t.Fatalf("%s, %d: %.200s", resp.Proto, resp.StatusCode, got)
					}
					if tt.code != "" && !strings.Contains(string(got), `"code":"`+tt.code+`"`) {
						t.Errorf("got %s", got)
					}
					if tt.status == 200 {
						if want := fmt.Sprintf(tt.asked, strings.TrimSuffix(scheme, "://"), addr); resp.Header.Get("X-Asked") != want {
							t.Errorf("asked %q, want %q", resp.Header.Get("X-Asked"), want)
						}
						if string(got) != tt.body {
							t.Errorf("got %d bytes of body", len(got))
						}
						if resp.Header.Get("Date") == "" || resp.Header.Get("Content-Type") != "" {
							t.Errorf("header %v", resp.Header)
						}
					}
				})
			}
		})
	}
}

// TestHTTP2HopByHop holds the fields that end here, and trailers both ways.
func TestHTTP2Trailers(t *testing.T) {
	_, addr := serve(t, cleartext(t), echo, settings, engine.Hooks{})
	client, scheme := h2Client(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), "POST", scheme+addr+"/", io.MultiReader(strings.NewReader("body")))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("TE", "trailers")
	req.Header.Set("Proxy", "http://evil")
	req.Trailer = http.Header{"X-Sum": {"42"}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "body" || resp.Trailer.Get("X-Sum") != "42" {
		t.Errorf("%q, %v, trailer %v", body, err, resp.Trailer)
	}
	for _, f := range resp.Header["X-Field"] {
		if name, _, _ := strings.Cut(f, "="); strings.EqualFold(name, "te") || strings.EqualFold(name, "proxy") {
			t.Errorf("the handler saw %s", f)
		}
	}
}

// TestHTTP2Ends has responses end in every way.
func TestHTTP2Ends(t *testing.T) {
	gone := make(chan error, 1)
	var n notes
	_, addr := serve(t, cleartext(t), func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		switch r.Target {
		case "/short":
			_ = w.Header(200, nil, 10)
			_, _ = w.Write([]byte("hello"))
		case "/abort":
			_ = w.Header(200, nil, -1)
			_, _ = w.Write([]byte("hello"))
			_ = w.Flush()
			w.Abort()
		case "/panic":
			panic("on purpose")
		case "/none":
		case "/early":
			h := &httpmsg.Header{}
			h.Add("Link", "</style.css>; rel=preload")
			_ = w.Informational(103, h)
			_ = w.Header(200, nil, 0)
		case "/stream":
			_ = w.Header(200, nil, -1)
			_, _ = w.Write([]byte("first"))
			_ = w.Flush()
			<-ctx.Done()
			gone <- ctx.Err()
		}
	}, settings, n.hooks())
	client, scheme := h2Client(t, nil)
	get := func(path string) (*http.Response, string, error) {
		resp, err := client.Get(scheme + addr + path) //nolint:noctx // bounded by the client
		if err != nil {
			return nil, "", err
		}
		defer func() { _ = resp.Body.Close() }()
		b, err := io.ReadAll(resp.Body)
		return resp, string(b), err
	}
	for _, path := range []string{"/short", "/abort", "/panic"} {
		if resp, body, err := get(path); err == nil {
			t.Errorf("%s: %d %q looks whole", path, resp.StatusCode, body)
		}
	}
	if resp, body, err := get("/none"); err != nil || resp.StatusCode != 500 || !strings.Contains(body, "no_response") {
		t.Errorf("nothing: %v %q %v", resp, body, err)
	}
	if resp, _, err := get("/early"); err != nil || resp.StatusCode != 200 || resp.Header.Get("Link") != "" {
		t.Errorf("early hints: %v %v", resp, err)
	}
	resp, err := client.Get(scheme + addr + "/stream") //nolint:noctx // bounded by the client
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if _, err := io.ReadFull(resp.Body, buf); err != nil || string(buf) != "first" {
		t.Errorf("%q, %v", buf, err)
	}
	_ = resp.Body.Close() // resets the stream
	if err := <-gone; !errors.Is(err, context.Canceled) {
		t.Errorf("a client that left: %v", err)
	}
}

// TestHTTP2Shutdown stops the server while streams are under way: all of them end well, and the client learns that it has to go
// elsewhere with the next.
func TestHTTP2Shutdown(t *testing.T) {
	begun, goOn := make(chan struct{}, 8), make(chan struct{})
	srv, addr := serve(t, cleartext(t), func(_ context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
		_ = w.Header(200, nil, -1)
		if r.Target == "/first" {
			return
		}
		_ = w.Flush()
		begun <- struct{}{}
		<-goOn
		_, _ = w.Write([]byte("whole"))
	}, settings, engine.Hooks{})
	client, scheme := h2Client(t, nil)
	first, err := client.Get(scheme + addr + "/first") //nolint:noctx // bounded by the client; with all at a time it may dial more than once
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, first.Body)
	_ = first.Body.Close()
	var answers sync.WaitGroup
	var whole atomic.Int64
	for range 8 {
		answers.Go(func() {
			resp, err := client.Get(scheme + addr + "/") //nolint:noctx // bounded by the client
			if err != nil {
				t.Error(err)
				return
			}
			defer func() { _ = resp.Body.Close() }()
			if b, err := io.ReadAll(resp.Body); err != nil || string(b) != "whole" {
				t.Errorf("%q, %v", b, err)
				return
			}
			whole.Add(1)
		})
	}
	for range 8 {
		<-begun
	}
	if n := srv.Stats(); n.Active != 8 || n.Open != 1 {
		t.Errorf("%+v", n)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- srv.Shutdown(t.Context()) }()
	testkit.Eventually(t, "nobody new comes in", func() bool {
		c, err := net.Dial("tcp", addr)
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	close(goOn)
	answers.Wait()
	if err := <-stopped; err != nil || whole.Load() != 8 {
		t.Errorf("%v, %d answers", err, whole.Load())
	}
}

// TestHTTP2Cut has a swap cut what began before it, and a stop what does not end.
func TestHTTP2Cut(t *testing.T) {
	begun := make(chan struct{}, 3)
	srv, addr := serve(t, cleartext(t), func(ctx context.Context, w httpmsg.ResponseWriter, _ *httpmsg.Request) {
		_ = w.Header(200, nil, -1)
		_ = w.Flush()
		begun <- struct{}{}
		<-ctx.Done()
	}, settings, engine.Hooks{})
	client, scheme := h2Client(t, nil)
	read := make(chan error, 3)
	for range 3 {
		go func() {
			resp, err := client.Get(scheme + addr + "/") //nolint:noctx // bounded by the client
			if err == nil {
				_, err = io.ReadAll(resp.Body)
				_ = resp.Body.Close()
			}
			read <- err
		}()
		<-begun
	}
	if n := srv.Cut(time.Now(), time.Millisecond, nil, nil); n != 3 {
		t.Errorf("%d cut", n)
	}
	for range 3 {
		if err := <-read; err == nil {
			t.Error("a stream that was cut looks whole")
		}
	}
	if n := srv.Cut(time.Now(), 0, nil, nil); n != 0 {
		t.Errorf("%d cut twice", n)
	}
}

// attacker speaks HTTP/2 by hand.
type attacker struct {
	net.Conn
	*http2.Framer
	block bytes.Buffer
	enc   *hpack.Encoder
}

func attack(t *testing.T, addr string) *attacker {
	t.Helper()
	a := &attacker{Conn: connect(t, addr)}
	a.Framer, a.enc = http2.NewFramer(a.Conn, a.Conn), hpack.NewEncoder(&a.block)
	if _, err := io.WriteString(a, http2.ClientPreface); err != nil {
		t.Fatal(err)
	}
	if err := a.WriteSettings(); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *attacker) head(fields ...[2]string) []byte {
	a.block.Reset()
	for _, f := range append([][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "h"}, {":path", "/"}}, fields...) {
		_ = a.enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return a.block.Bytes()
}

// untilGone reads frames until the connection ends, and returns the code of the GOAWAY that came, if one did.
func (a *attacker) untilGone(t *testing.T) string {
	t.Helper()
	_ = a.SetDeadline(time.Now().Add(10 * time.Second))
	code := "none"
	for {
		f, err := a.ReadFrame()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				t.Error("the connection was not ended")
			}
			return code
		}
		if g, ok := f.(*http2.GoAwayFrame); ok {
			code = g.ErrCode.String()
		}
	}
}

// TestHTTP2Floods sends what costs the sender nothing: the connection is ended, with the reason, and everybody else is served.
func TestHTTP2Floods(t *testing.T) {
	for _, tt := range []struct {
		name, code, refused string
		send                func(a *attacker, i int) error
		times               int
	}{
		{"rapid reset", "ENHANCE_YOUR_CALM", "http2_reset_flood", func(a *attacker, i int) error {
			stream := uint32(2*i + 1)
			return errors.Join(
				a.WriteHeaders(http2.HeadersFrameParam{StreamID: stream, BlockFragment: a.head(), EndHeaders: true, EndStream: true}),
				a.WriteRSTStream(stream, http2.ErrCodeCancel))
		}, 2000},
		{"pings", "ENHANCE_YOUR_CALM", "http2_ping_flood", func(a *attacker, _ int) error { return a.WritePing(false, [8]byte{}) }, 2000},
		{"settings", "ENHANCE_YOUR_CALM", "http2_settings_flood", func(a *attacker, _ int) error { return a.WriteSettings() }, 2000},
		{"empty data", "ENHANCE_YOUR_CALM", "http2_empty_flood", func(a *attacker, i int) error {
			if i == 0 {
				return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.head(), EndHeaders: true})
			}
			return a.WriteData(1, false, nil)
		}, 2000},
		{"priorities", "ENHANCE_YOUR_CALM", "http2_frame_flood", func(a *attacker, _ int) error {
			return a.WritePriority(1, http2.PriorityParam{StreamDep: 3})
		}, 5000},
		// The standard library bounds these two.
		{"continuation", "", "", func(a *attacker, i int) error {
			if i == 0 {
				return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.head(), EndStream: true})
			}
			return a.WriteContinuation(1, false, bytes.Repeat([]byte{0x00, 0x01, 'a', 0x01, 'b'}, 1000))
		}, 2000},
		{"a header that unpacks to a thousand times its size", "", "", func(a *attacker, i int) error {
			big := [2]string{"x-bomb", strings.Repeat("a", 4000)}
			fields := make([][2]string, 4000)
			for i := range fields {
				fields[i] = big
			}
			if i > 0 {
				return a.WritePing(false, [8]byte{})
			}
			return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.head(fields...), EndHeaders: true, EndStream: true})
		}, 150},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var n notes
			srv, addr := serve(t, cleartext(t), func(ctx context.Context, w httpmsg.ResponseWriter, r *httpmsg.Request) {
				if r.Target == "/fine" {
					echo(ctx, w, r)
					return
				}
				<-ctx.Done() // each stream would hold its place
			}, settings, n.hooks())
			a := attack(t, addr)
			go func() {
				for i := range tt.times {
					if tt.send(a, i) != nil {
						return
					}
				}
			}()
			if code := a.untilGone(t); tt.code != "" && code != tt.code {
				t.Errorf("GOAWAY %s, want %s", code, tt.code)
			}
			if tt.refused != "" && !strings.Contains(n.next(t), tt.refused) {
				t.Errorf("noted something else than %s", tt.refused)
			}
			client, scheme := h2Client(t, nil)
			if resp, err := client.Get(scheme + addr + "/fine"); err != nil || resp.StatusCode != 200 { //nolint:noctx // bounded by the client
				t.Errorf("somebody else: %v, %v", resp, err)
			} else {
				_ = resp.Body.Close()
			}
			testkit.Eventually(t, "nothing of the attack is left", func() bool { return srv.Stats().Active == 0 })
		})
	}
}
