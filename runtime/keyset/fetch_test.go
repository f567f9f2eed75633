package keyset_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/keyset"
	"github.com/suuupra/gateway/runtime/policy"
)

// logged collects why fetches failed.
type logged struct{ lines chan string }

func (l *logged) Enabled(context.Context, slog.Level) bool { return true }
func (l *logged) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logged) WithGroup(string) slog.Handler            { return l }

func (l *logged) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "error" || a.Key == "why" {
			text += ": " + a.Value.String()
		}
		return true
	})
	select {
	case l.lines <- text:
	default:
	}
	return nil
}

// TestHostileIssuers fetches from servers that answer otherwise than they should, over real connections.
func TestHostileIssuers(t *testing.T) {
	good, err := jose.NewSigner("ES256", "a")
	if err != nil {
		t.Fatal(err)
	}
	set, err := jose.EncodeSet(good)
	if err != nil {
		t.Fatal(err)
	}
	big := strings.Repeat("x", 1<<20)
	var others atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		others.Add(1)
		_, _ = w.Write(set)
	}))
	t.Cleanup(other.Close)
	for _, tt := range []struct {
		name      string
		answer    http.HandlerFunc
		discovery bool
		want      string
	}{
		{
			"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) }, false,
			"fetch the key set: answered 302; redirects are not followed: configure the address it leads to",
		},
		{"a page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, false, "read the key set"},
		{"an error", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, false, "fetch the key set: answered 500"},
		{"nothing", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, false, "fetch the key set: answered 204"},
		{"a flood", func(w http.ResponseWriter, _ *http.Request) {
			for range 100 {
				if _, err := fmt.Fprint(w, big); err != nil {
					return
				}
			}
		}, false, "fetch the key set: answered more than 262144 bytes"},
		{"compressed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write([]byte("\x1f\x8b"))
		}, false, "answered in a content encoding that was not asked for"},
		{"an empty set", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"keys":[]}`) }, false, "the key set holds no key that can be used"},
		{"only a secret", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[{"kty":"oct","k":"AAAA","kid":"a"}]}`)
		}, false, "the key set holds no key that can be used"},
		{"too many keys", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"keys":[`+strings.Repeat(`{},`, 1000)+`{}]}`)
		}, false, "the key set has 1001 keys, 100 are allowed"},
		{"keys twice", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, `{"keys":[],"keys":%s}`, set) }, false, "read the key set"},
		{"metadata of another issuer", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":"https://evil","jwks_uri":%q}`, other.URL)
		}, true, `the metadata are those of issuer "https://evil", not of "https://id"`},
		{"metadata without keys", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"issuer":"https://id"}`) }, true, "the issuer's metadata name no jwks_uri"},
		{"metadata in another case", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprintf(w, `{"issuer":"https://id","JWKS_URI":%q}`, other.URL)
		}, true, "the issuer's metadata name no jwks_uri"},
		{"keys in a file", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://id","jwks_uri":"file:///etc/passwd"}`)
		}, true, "jwks_uri in the issuer's metadata"},
		{"keys over gopher", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://id","jwks_uri":"gopher://id/"}`)
		}, true, `jwks_uri in the issuer's metadata: "gopher://id/" must be an https URL`},
		{"keys at the metadata service", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://id","jwks_uri":"http://169.254.169.254/latest"}`)
		}, true, "169.254.169.254"},
		{"keys with a password", func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, `{"issuer":"https://id","jwks_uri":"https://u:p@id/"}`)
		}, true, `jwks_uri in the issuer's metadata: the URL of host "id" holds credentials`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			server := httptest.NewServer(tt.answer)
			defer server.Close()
			log := &logged{lines: make(chan string, 8)}
			sets := keyset.New(keyset.Env{Log: slog.New(log), Metrics: &policytest.Counts{}, Now: time.Now, Client: keyset.Client})
			src := policy.KeySource{Issuer: "https://id", Private: true, JWKSURI: server.URL}
			if tt.discovery {
				src.JWKSURI, src.DiscoveryURL = "", server.URL
			}
			k := hold(t, sets, src)
			defer func() { _ = k.Close() }()
			if _, err := k.Keys(t.Context(), "a"); !errors.Is(err, policy.ErrKeysAway) {
				t.Errorf("%v", err)
			}
			if got := <-log.lines; !strings.Contains(got, tt.want) {
				t.Errorf("said %q, want %q", got, tt.want)
			}
		})
	}
	if n := others.Load(); n > 0 {
		t.Errorf("%d requests went where nobody has looked", n)
	}
}

// TestSlowIssuer answers a byte at a time.
func TestSlowIssuer(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for r.Context().Err() == nil {
			_, _ = w.Write([]byte(" "))
			_ = http.NewResponseController(w).Flush()
			select {
			case <-r.Context().Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}))
	defer server.Close()
	sets := keyset.New(keyset.Env{Log: slog.New(slog.DiscardHandler), Metrics: &policytest.Counts{}, Now: time.Now, Client: keyset.Client})
	k := hold(t, sets, policy.KeySource{Issuer: "https://id", Private: true, JWKSURI: server.URL})
	defer func() { _ = k.Close() }()
	if _, err := k.Keys(t.Context(), "a"); !errors.Is(err, policy.ErrKeysAway) {
		t.Errorf("%v", err)
	}
}

// TestPrivateAddresses are not dialled for who may not have it.
func TestPrivateAddresses(t *testing.T) {
	var asked atomic.Int64
	server := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	defer server.Close()
	log := &logged{lines: make(chan string, 8)}
	sets := keyset.New(keyset.Env{Log: slog.New(log), Metrics: &policytest.Counts{}, Now: time.Now, Client: keyset.Client})
	for _, at := range []string{server.URL, strings.Replace(server.URL, "127.0.0.1", "localhost", 1), strings.Replace(server.URL, "127.0.0.1", "[::ffff:127.0.0.1]", 1)} {
		k := hold(t, sets, policy.KeySource{Issuer: at, JWKSURI: at})
		if _, err := k.Keys(t.Context(), ""); !errors.Is(err, policy.ErrKeysAway) {
			t.Errorf("%s: %v", at, err)
		}
		if got := <-log.lines; !strings.HasSuffix(got, "address is not allowed: 127.0.0.1 is not a public address") {
			t.Errorf("%s: said %q", at, got)
		}
		_ = k.Close()
	}
	if asked.Load() > 0 {
		t.Error("it was asked")
	}
}

// TestHoldRefuses what no compiler would have written.
func TestHoldRefuses(t *testing.T) {
	sets := keyset.New(keyset.Env{Log: slog.New(slog.DiscardHandler), Metrics: &policytest.Counts{}, Now: time.Now, Client: keyset.Client})
	for _, src := range []policy.KeySource{
		{Issuer: "i"},
		{Issuer: "i", JWKSURI: "https://a", DiscoveryURL: "https://b"},
		{Issuer: "i", JWKSURI: "http://a"},
		{Issuer: "i", JWKSURI: "file:///x", Private: true},
		{Issuer: "i", JWKSURI: "https://u:p@a"},
		{Issuer: "i", JWKSURI: "https://"},
		{Issuer: "i", JWKSURI: "://"},
	} {
		if k, err := sets.Hold(src); err == nil {
			_ = k.Close()
			t.Errorf("%+v is held", src)
		}
	}
}
