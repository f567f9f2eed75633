package faults_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/rs/zerolog"
)

// garbage is what a broken server may answer; each is a way to mislead a proxy that is not strict.
var garbage = []string{
	"\x00\x01\x02 nonsense\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
	"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 50\r\n\r\nhello",
	"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n",
	"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("a", 200<<10) + "\r\n\r\n",
	strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 1000),
	"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
}

// origin answers every request with the last segment of its path, so that an answer which belongs to another request shows.
type origin struct {
	addr   string
	broken atomic.Bool
	next   atomic.Int64 // of garbage
}

func newOrigin(t *testing.T) *origin {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	o := &origin{addr: l.Addr().String()}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(ctx, func() { _ = c.Close() })
			go func() {
				defer stop()
				defer func() { _ = c.Close() }()
				o.serve(c)
			}()
		}
	}()
	return o
}

func (o *origin) serve(c net.Conn) {
	in := bufio.NewReader(c)
	for {
		r, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			return
		}
		if o.broken.Load() {
			_, _ = io.WriteString(c, garbage[int(o.next.Add(1))%len(garbage)])
			return
		}
		id := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
		if _, err := fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(id), id); err != nil {
			return
		}
	}
}

// link is a toxiproxy between the gateway and one origin.
type link struct {
	*origin
	t     *testing.T
	proxy *toxiproxy.Proxy
	addr  string
}

func newLink(t *testing.T) *link {
	t.Helper()
	o := newOrigin(t)
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop()), "link", "127.0.0.1:0", o.addr)
	l := &link{origin: o, t: t, proxy: p}
	l.start()
	l.addr = p.Listen
	t.Cleanup(p.Stop)
	return l
}

func (l *link) start() {
	l.t.Helper()
	if err := l.proxy.Start(); err != nil {
		l.t.Fatalf("start link: %v", err)
	}
}

// toxic adds one, as the JSON of toxiproxy's API.
func (l *link) toxic(kind, attributes string) {
	l.t.Helper()
	text := fmt.Sprintf(`{"name": %q, "type": %q, "stream": "downstream", "toxicity": 1, "attributes": %s}`, kind, kind, attributes)
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
		l.t.Fatalf("add toxic %s: %v", kind, err)
	}
}

func (l *link) heal(kind string) {
	l.t.Helper()
	if err := l.proxy.Toxics.RemoveToxic(context.Background(), kind); err != nil {
		l.t.Fatalf("remove toxic %s: %v", kind, err)
	}
}
