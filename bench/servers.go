package main

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

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
