package depot

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/schema/bundle"
)

// TestRegistryFaults puts a liar in front of a real registry.
func TestRegistryFaults(t *testing.T) {
	real := testkit.Registry(t)
	raw, c := signed(t, newKey(t), 1, []byte("[1]"))
	commit(t, openAt(t, "oci://"+real.Host+"/shop").(Writer), raw, c)
	target, err := url.Parse(real.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) }}
	shard := string(c.Bundle.Layers[1].Digest)
	for _, tc := range []struct {
		name, path string
		answer     http.HandlerFunc
		want       func(error) bool
	}{
		{"nothing wrong", "/none", nil, nil},
		{"other bytes in a blob", "/blobs/" + shard, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[2]")) }, reason(bundle.DigestMismatch)},
		{"endless blob", "/blobs/" + shard, func(w http.ResponseWriter, r *http.Request) {
			for r.Context().Err() == nil {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		}, reason(bundle.TooLarge)},
		{"compressed blob", "/blobs/" + shard, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b\x08"))
		}, reason(bundle.DigestMismatch)},
		{"blob of another size", "/blobs/" + shard, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("[")) }, text("mismatch Content-Length")},
		{"missing blob", "/blobs/" + shard, status(404), func(err error) bool { return errors.Is(err, ErrNotFound) }},
		{"broken", "/manifests/", status(500), later(0)},
		{"overloaded", "/manifests/", status(503), later(0)},
		{"too many requests", "/blobs/", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "90")
			w.WriteHeader(429)
		}, later(90 * time.Second)},
		{"credentials wanted", "/manifests/", status(401), text("401")},
		{"redirect without TLS to elsewhere", "/blobs/" + shard, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://192.0.2.1/", http.StatusTemporaryRedirect)
		}, text("not a loopback address")},
		{"tag that names an image", "/manifests/channel-prod", func(w http.ResponseWriter, r *http.Request) {
			image := []byte(`{"schemaVersion":2,"mediaType":"` + bundle.MediaTypeImageManifest + `","config":{},"layers":[]}`)
			w.Header().Set("Content-Type", bundle.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", string(bundle.DigestOf(image)))
			if _, err := w.Write(image); err != nil {
				t.Error(err)
			}
		}, func(err error) bool { return errors.Is(err, ErrNotFound) }},
		{"tag that is endless", "/manifests/channel-prod", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", bundle.MediaTypeImageManifest)
			w.Header().Set("Docker-Content-Digest", string(bundle.DigestOf(nil)))
			w.Header().Set("Content-Length", "1099511627776")
		}, reason(bundle.ArchiveMalformed)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.URL.Path, tc.path) {
					tc.answer(w, r)
					return
				}
				proxy.ServeHTTP(w, r)
			}))
			defer s.Close()
			got, err := Fetch(t.Context(), openAt(t, "oci://"+strings.TrimPrefix(s.URL, "http://")+"/shop"), Request{Environment: "prod"})
			if tc.want == nil {
				if err != nil || !bytes.Equal(got.Raw.Channel, raw.Channel) {
					t.Errorf("Fetch: %v", err)
				}
			} else if err == nil || !tc.want(err) {
				t.Errorf("Fetch: %v", err)
			}
		})
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func reason(want bundle.Reason) func(error) bool {
	return func(err error) bool {
		var e *bundle.Error
		return errors.As(err, &e) && e.Reason == want
	}
}

func later(after time.Duration) func(error) bool {
	return func(err error) bool {
		var u *Unavailable
		return errors.As(err, &u) && u.After == after
	}
}

// guarded is a proxy that asks for a name and password.
func guarded(t *testing.T, target string) string {
	t.Helper()
	to, err := url.Parse(target)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, _ := r.BasicAuth(); user != "ana" || password != "s3cret" {
			w.Header().Set("WWW-Authenticate", `Basic realm="bundles"`)
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		r.Host = to.Host
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// TestCredentials: from the address or from the environment, and never shown.
func TestCredentials(t *testing.T) {
	repo := testkit.GitServer(t).Create("config", nil)
	gitHost, gitPath, _ := strings.Cut(strings.TrimPrefix(repo.URL, "http://"), "/")
	git := guarded(t, "http://"+gitHost) + "/" + gitPath + "#bundles"
	registry := guarded(t, testkit.Registry(t).URL) + "/shop"
	web := guarded(t, strings.TrimSuffix(testkit.BundleServer(t).URL, "/bundles")) + "/bundles"
	env := Credentials{GitUser: "ana", GitToken: "s3cret", RegistryUser: "ana", RegistrySecret: "s3cret"}
	for _, c := range []struct {
		name, where string
		credentials Credentials
		ok          bool
	}{
		{"git, address", "git+http://ana:s3cret@" + git, Credentials{}, true},
		{"git, environment", "git+http://" + git, env, true},
		{"git, user in the address", "git+http://ana@" + git, Credentials{GitToken: "s3cret"}, true},
		{"git, wrong", "git+http://ana:wr0ng@" + git, env, false},
		{"git, none", "git+http://" + git, Credentials{}, false},
		{"registry, address", "oci://ana:s3cret@" + registry, Credentials{}, true},
		{"registry, environment", "oci://" + registry, env, true},
		{"registry, wrong", "oci://ana:wr0ng@" + registry, env, false},
		{"web, address", "http://ana:s3cret@" + web, Credentials{WebToken: "other"}, true},
		{"web, wrong", "http://ana:wr0ng@" + web, Credentials{}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := ParseLocation(c.where)
			if err != nil {
				t.Fatal(err)
			}
			d, err := Open(l, Options{Credentials: c.credentials})
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			_, err = Fetch(t.Context(), d, Request{Environment: "prod"})
			if c.ok && !errors.Is(err, ErrNotFound) { // they are all empty
				t.Errorf("Fetch: %v", err)
			}
			if !c.ok && (err == nil || errors.Is(err, ErrNotFound)) {
				t.Errorf("Fetch: %v", err)
			}
			if text := err.Error() + l.String(); strings.Contains(text, "s3cret") || strings.Contains(text, "wr0ng") {
				t.Errorf("a password shows: %s", text)
			}
		})
	}
}
