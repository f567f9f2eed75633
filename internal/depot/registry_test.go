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
		{"overloaded", "/manifests/", status(503), func(err error) bool { var u *Unavailable; return errors.As(err, &u) }},
		{"too many requests", "/manifests/", status(429), func(err error) bool { var u *Unavailable; return errors.As(err, &u) }},
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
