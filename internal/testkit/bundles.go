package testkit

import (
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// BundleHost is a web server that keeps bundles: GET, HEAD and PUT of files, with ETags and conditions.
type BundleHost struct {
	URL string

	mu        sync.Mutex
	files     map[string][]byte
	log       []string
	intercept func(w http.ResponseWriter, r *http.Request) bool
}

// BundleServer starts a web server gwctl can publish to and gwrun can fetch from, and stops it when the test ends.
func BundleServer(tb testing.TB) *BundleHost {
	tb.Helper()
	h := &BundleHost{files: map[string][]byte{}}
	s := httptest.NewServer(h)
	h.URL = s.URL + "/bundles"
	tb.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return h
}

// Intercept sees each request first; when it returns true it has answered. Nil ends it.
func (h *BundleHost) Intercept(f func(w http.ResponseWriter, r *http.Request) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.intercept = f
}

// Set replaces a file behind the protocol's back; nil removes it.
func (h *BundleHost) Set(name string, data []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if data == nil {
		delete(h.files, name)
		return
	}
	h.files[name] = data
}

// File returns a file, or nil.
func (h *BundleHost) File(name string) []byte {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.files[name]
}

// Requests returns what was asked since the last call: "METHOD name STATUS".
func (h *BundleHost) Requests() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := h.log
	h.log = nil
	return out
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// ServeHTTP answers one request.
func (h *BundleHost) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	intercept := h.intercept
	h.mu.Unlock()
	w := &statusWriter{ResponseWriter: rw, status: http.StatusOK}
	name := strings.TrimPrefix(r.URL.Path, "/bundles/")
	if intercept == nil || !intercept(w, r) {
		h.serve(w, r, name)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, fmt.Sprintf("%s %s %d", r.Method, name, w.status))
}

func (h *BundleHost) serve(w http.ResponseWriter, r *http.Request, name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	data, ok := h.files[name]
	etag := fmt.Sprintf(`"%x"`, sha256.Sum256(data))
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if !ok {
			http.Error(w, "no such file", http.StatusNotFound)
			return
		}
		w.Header().Set("ETag", etag)
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		if r.Method == http.MethodGet {
			_, _ = w.Write(data) // a client that has left is no failure of the server
		}
	case http.MethodPut:
		match, none := r.Header.Get("If-Match"), r.Header.Get("If-None-Match")
		if none == "*" && ok || match != "" && (!ok || match != etag) {
			http.Error(w, "it has changed", http.StatusPreconditionFailed)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, "the body broke off", http.StatusBadRequest)
			return
		}
		h.files[name] = body
		w.WriteHeader(http.StatusCreated)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}
