package demo

import (
	"bufio"
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHandler(t *testing.T) {
	srv := httptest.NewServer(Handler())
	defer srv.Close()
	for path, want := range map[string]string{
		"/hello":        "hello from the demo upstream",
		"/healthz":      "true",
		"/echo/a?b=c":   `"query":"b=c"`,
		"/api/users":    "Grace",
		"/api/users/42": `"id":"42"`,
	} {
		resp, err := http.Get(srv.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(resp.Body).ReadString('\n')
		_ = resp.Body.Close()
		if !strings.Contains(line, want) {
			t.Errorf("GET %s = %q, want %q in it", path, line, want)
		}
	}
}

// TestStart serves on two addresses, and on none if one of them is taken.
func TestStart(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	a, b := freePort(t), freePort(t)
	done, err := Start(ctx, a, b)
	if err != nil {
		t.Fatal(err)
	}
	for _, addr := range []string{a, b} {
		resp, err := http.Get("http://" + addr + "/hello")
		if err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(resp.Body).ReadString('\n')
		_ = resp.Body.Close()
		if !strings.Contains(line, `"server":"`+addr+`"`) {
			t.Errorf("%s says %q", addr, line)
		}
	}
	c := freePort(t)
	if _, err := Start(ctx, c, b); err == nil || !strings.HasPrefix(err.Error(), "start demo upstream: listen tcp "+b) {
		t.Errorf("the second address is taken, and Start says %v", err)
	}
	if l, err := net.Listen("tcp", c); err != nil {
		t.Errorf("the first address was kept: %v", err)
	} else {
		_ = l.Close()
	}
	cancel()
	<-done
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func TestEventsEndWithTheClient(t *testing.T) {
	gone := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer close(gone)
		events(w, r)
	}))
	defer srv.Close()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if line, err := bufio.NewReader(resp.Body).ReadString('\n'); err != nil || line != "id: 1\n" {
		t.Errorf("first line %q, %v", line, err)
	}
	cancel()
	<-gone
}
