package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"time"
)

// reply is what the upstream answers: a small JSON-sized body, so that the proxy's own work dominates.
var reply = []byte("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 256\r\n\r\n" + strings.Repeat("x", 256))

// stream is what it answers to a request under /stream: an event stream with one event, that then stays open.
var stream = []byte("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")

// upstream answers every request with reply. It reads requests without a body and knows nothing else, to be cheap.
func upstream() (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	go each(l, func(c net.Conn) {
		in := bufio.NewReader(c)
		for {
			target, err := readRequest(in)
			if err != nil {
				return
			}
			if bytes.Contains(target, []byte("/stream")) {
				if _, err := c.Write(stream); err == nil {
					_, _ = in.ReadByte() // until the proxy leaves
				}
				return
			}
			if _, err := c.Write(reply); err != nil {
				return
			}
		}
	})
	return l, nil
}

// readRequest reads one request header and returns a copy of its first line, only where it may be a stream's.
func readRequest(in *bufio.Reader) ([]byte, error) {
	line, err := in.ReadSlice('\n')
	if err != nil {
		return nil, err
	}
	var first []byte
	if bytes.Contains(line, []byte("/stream")) {
		first = bytes.Clone(line)
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return nil, err
		}
		if len(line) <= 2 {
			return first, nil
		}
	}
}

// each serves every connection of l until l is closed.
func each(l net.Listener, serve func(net.Conn)) {
	for {
		c, err := l.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		go func() {
			defer func() { _ = c.Close() }()
			serve(c)
		}()
	}
}

// serve runs one of the Go proxies that gwrun is compared with; it is this program, started again.
func serve(kind, listen, to string) error {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	switch kind {
	case "relay":
		each(l, func(c net.Conn) { relay(c, to) })
		return nil
	case "reverseproxy":
		return http.Serve(l, reverseProxy(to))
	}
	return fmt.Errorf("serve what? %q", kind)
}

// relay copies bytes between a client and an upstream connection and parses nothing: what a Go proxy cannot beat with one
// goroutine a connection.
func relay(c net.Conn, to string) {
	u, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer func() { _ = u.Close() }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		copyBytes(u, c)
	}()
	copyBytes(c, u)
	_ = c.Close()
	<-done
}

// copyBytes keeps io.Copy from handing the sockets to the kernel (splice), which no proxy that reads headers can.
func copyBytes(dst, src net.Conn) {
	buf := make([]byte, 4096)
	_, _ = io.CopyBuffer(struct{ io.Writer }{dst}, struct{ io.Reader }{src}, buf)
}

// reverseProxy is what the standard library offers, with enough idle connections to keep them all.
func reverseProxy(to string) http.Handler {
	p := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: to})
	p.Transport = &http.Transport{MaxIdleConnsPerHost: 1024, IdleConnTimeout: time.Minute}
	return p
}
