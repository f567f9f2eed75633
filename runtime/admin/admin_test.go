package admin

import (
	"slices"
	"strings"
	"testing"
)

func TestOtherPathsAreNotOurs(t *testing.T) {
	s := newServer(newFake())
	for _, path := range []string{"/", "/healthz", "/health/", "/adminx", "/ADMIN/status", "/x/admin/status", "/metrics/x", "*"} {
		if resp := s.Answer(request("GET", path, bearer(token)...), path); resp != nil {
			t.Errorf("%s: %d", path, resp.Status)
		}
	}
}

func TestMethods(t *testing.T) {
	for path, allow := range map[string]string{
		"/health": "GET, HEAD", "/livez": "GET, HEAD", "/readyz": "GET, HEAD", "/metrics": "GET, HEAD", "/admin/health": "GET, HEAD",
		"/admin/status": "GET, HEAD", "/admin/secrets": "GET, HEAD", "/admin/ui": "GET, HEAD", "/admin/config/routes": "GET, HEAD",
		"/admin/config/routes/users-api": "GET, HEAD", "/admin/reload": "POST",
	} {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "get"} {
			f := newFake()
			resp := newServer(f).do(request(method, path, bearer(token)...))
			if slices.Contains(strings.Split(allow, ", "), method) {
				if resp.Status >= 300 {
					t.Errorf("%s %s: %d", method, path, resp.Status)
				}
			} else if resp.Status != 405 || resp.Header.Get("Allow") != allow || f.reloads != 0 {
				t.Errorf("%s %s: %d, Allow %q", method, path, resp.Status, resp.Header.Get("Allow"))
			}
			for name, want := range map[string]string{"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"} {
				if got := resp.Header.Get(name); got != want {
					t.Errorf("%s %s: %s %q", method, path, name, got)
				}
			}
		}
	}
}

func TestHeadIsGetWithoutABody(t *testing.T) {
	s := newServer(newFake())
	for _, path := range []string{"/health", "/readyz", "/metrics", "/admin/status", "/admin/ui"} {
		get, head := s.do(request("GET", path, bearer(token)...)), s.do(request("HEAD", path, bearer(token)...))
		if head.Body != nil || head.Status != get.Status || head.ContentLength != get.ContentLength || len(head.Header.Fields) != len(get.Header.Fields) {
			t.Errorf("%s: %+v and %+v", path, get, head)
		}
	}
}

func TestHealth(t *testing.T) {
	f := newFake()
	s := newServer(f)
	for _, path := range []string{"/health", "/admin/health"} {
		if got, want := body(t, s.do(request("GET", path))), `{"success":true,"timestamp":"2026-11-23T12:00:00Z"}`+"\n"; got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
	if got := body(t, s.do(request("GET", "/readyz"))); got != `{"status":"ready"}`+"\n" {
		t.Error(got)
	}
	f.notReady = []string{"no bundle has been activated yet"}
	resp := s.do(request("GET", "/readyz"))
	if got := body(t, resp); resp.Status != 503 || got != `{"status":"not ready","reasons":["no bundle has been activated yet"]}`+"\n" {
		t.Errorf("%d %s", resp.Status, got)
	}
	if got := status(s.do(request("GET", "/livez"))); got != 200 {
		t.Errorf("alive: %d", got)
	}
}
