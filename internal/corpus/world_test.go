package corpus_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/apikeys"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/keyset"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/secret"
	"github.com/suuupra/gateway/runtime/state/memstate"
)

// urlKey is the secret behind signed addresses.
const urlKey = "corpus-url-key-0123456789abcdefghijklmnop"

func TestMain(m *testing.M) {
	for name, value := range map[string]string{"CORPUS_URL_KEY": urlKey, "CORPUS_HOOK": "corpus-hook-0123456789abcdef"} {
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	testkit.NoLeaks(m)
}

// world is what a gateway has around it, the real thing but for the network: an issuer with its keys, handed out API keys, secrets, and
// the requests of an ordinary minute.
type world struct {
	tokens  *testkit.Tokens
	pepper  []byte
	state   *memstate.State
	keys    *keyset.Sets
	secrets *secret.Store
	live    []live
}

func newWorld(t *testing.T) *world {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	w := &world{pepper: []byte("corpus-pepper-0123456789abcdefghijkl"), state: memstate.New(memstate.Options{Now: func() time.Time { return begin }}), secrets: secret.New(log)}
	t.Setenv("CORPUS_CA", string(testkit.NewAuthority(t).PEM))
	t.Setenv("OTHER_CA", string(testkit.NewAuthority(t).PEM))
	var err error
	w.tokens, err = testkit.NewTokens("ES256")
	must(t, err)
	w.keys = keyset.New(keyset.Env{
		Log: log, Metrics: &policytest.Counts{}, Now: time.Now, Client: func(bool) *http.Client { return &http.Client{Transport: issuer{w.tokens.KeySet()}} },
	})
	set, err := w.keys.Hold(policy.KeySource{Issuer: "https://id.example.com", JWKSURI: "https://id.example.com/jwks.json", Private: true})
	must(t, err)
	t.Cleanup(func() { must(t, set.Close()) })
	testkit.Eventually(t, "the keys of the issuer are there", func() bool { return set.Current() != nil })
	w.live = w.minute(t)
	return w
}

// env is what the policies of a gateway may reach.
func (w *world) env(log *slog.Logger, now func() time.Time) policy.Env {
	return policy.Env{Log: log, Now: now, Secrets: w.secrets, KeySets: w.keys, State: w.state, Pepper: w.pepper}
}

// issuer answers for the one that the site trusts, and is not there for anybody else.
type issuer struct{ keys []byte }

// RoundTrip implements http.RoundTripper.
func (i issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.String() != "https://id.example.com/jwks.json" {
		return nil, errors.New("nobody is there")
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(i.keys))), Request: r,
	}, nil
}

// nobody is there to be dialled.
func nobody(context.Context, string) (net.Conn, error) { return nil, errors.New("nobody is there") }

// live is a request that was recorded at a gateway that serves the base.
type live struct {
	times      int
	from       string
	method     string
	scheme     string
	host, path string
	fields     []httpmsg.Field
	size       int64 // of the body
}

func (l *live) request(at time.Time) *httpmsg.Request {
	return &httpmsg.Request{
		Method: l.method, Target: l.path, Proto: "HTTP/1.1", Scheme: l.scheme, Host: l.host, Authority: l.host, ContentLength: l.size,
		Peer: netip.AddrPortFrom(netip.MustParseAddr(l.from), 40000), Header: httpmsg.Header{Fields: l.fields}, Received: at,
	}
}

// Who asks: somebody in the office, the same through the proxy, a customer, and an address nobody knows.
const (
	desk     = "192.0.2.20"
	proxy    = "198.51.100.7"
	customer = "203.0.113.5"
	stranger = "203.0.113.66"
)

// minute is the requests of an ordinary minute: some are refused, as always.
func (w *world) minute(t *testing.T) []live {
	t.Helper()
	bearer := func(claims map[string]any) httpmsg.Field {
		all := map[string]any{"iss": "https://id.example.com", "aud": "shop", "sub": "ann", "iat": begin.Unix(), "exp": begin.Add(time.Hour).Unix()}
		for k, v := range claims {
			all[k] = v
		}
		token, err := w.tokens.Sign(all)
		must(t, err)
		return httpmsg.Field{Name: "Authorization", Value: "Bearer " + token}
	}
	field := func(name, value string) httpmsg.Field { return httpmsg.Field{Name: name, Value: value} }
	user, reader, buyer := bearer(nil), bearer(map[string]any{"scope": "user.read"}), bearer(map[string]any{"roles": []string{"buyer"}})
	support := bearer(map[string]any{"sub": "sam", "roles": []string{"support"}})
	auditor := bearer(map[string]any{"permissions": []string{"reports:read"}})
	lapsed := bearer(map[string]any{"exp": begin.Add(-45 * time.Second).Unix(), "iat": begin.Add(-time.Hour).Unix()})
	foreign := bearer(map[string]any{"aud": "another"})
	return []live{
		w.ask(t, 10, customer, "GET http://api.example.com/hello"),
		w.ask(t, 8, customer, "GET http://api.example.com/echo/limited"),
		w.ask(t, 6, customer, "GET http://api.example.com/echo/a"),
		w.ask(t, 4, customer, "GET http://api.example.com/events"),
		w.ask(t, 10, customer, "GET https://api.example.com/catalogue/shoes", field("Origin", "https://shop.example.com")),
		w.ask(t, 10, desk, "GET https://api.example.com/catalogue/hats"),
		w.ask(t, 10, customer, "GET https://api.example.com/search?q=shoes", field("X-Client", "mobile")),
		w.ask(t, 6, customer, "GET https://api.example.com/search?q=hats", field("X-Client", "web")),
		w.ask(t, 4, customer, "GET https://api.example.com/search?q=hats"),
		w.ask(t, 15, customer, "GET http://api.example.com/old/shoes"),
		w.ask(t, 10, customer, "GET https://api.example.com/api/users", user),
		w.ask(t, 6, customer, "GET https://api.example.com/api/users/7", reader),
		w.ask(t, 2, customer, "GET https://api.example.com/api/users/7", user),
		w.ask(t, 2, stranger, "GET https://api.example.com/api/users"),
		w.ask(t, 1, stranger, "GET https://api.example.com/api/users/7/notes"),
		w.ask(t, 2, stranger, "GET https://api.example.com/api/users", foreign),
		w.ask(t, 2, customer, "GET https://api.example.com/api/users", lapsed),
		w.ask(t, 8, customer, "GET https://api.example.com/orders/1", buyer),
		w.ask(t, 1, customer, "POST https://api.example.com/orders/1", buyer),
		w.ask(t, 1, customer, "GET https://api.example.com/orders/1", user),
		w.ask(t, 2, desk, "POST https://api.example.com/orders/1/refund", support),
		w.ask(t, 1, customer, "POST https://api.example.com/orders/1/refund", support),
		w.ask(t, 1, desk, "POST https://api.example.com/orders/1/refund", buyer),
		w.ask(t, 2, desk, "GET https://api.example.com/reports/today", auditor),
		w.ask(t, 6, customer, "GET https://partners.example.com/feed/all", field("X-API-Key", w.apiKey(t, "feed.read"))),
		w.ask(t, 1, stranger, "GET https://partners.example.com/feed/all"),
		w.ask(t, 6, customer, "GET "+w.signed(t, "https://files.example.com/files/a.pdf")),
		w.ask(t, 2, stranger, "GET https://files.example.com/files/a.pdf"),
		w.body(w.ask(t, 3, customer, "POST https://files.example.com/upload", user, field("Content-Type", "application/json")), 200<<10),
		w.ask(t, 6, desk, "GET https://intranet.example.com/wiki"),
		w.ask(t, 3, proxy, "GET https://intranet.example.com/wiki", field("X-Forwarded-For", desk)),
		w.ask(t, 2, stranger, "GET https://intranet.example.com/wiki", field("X-Forwarded-For", desk)),
		w.ask(t, 10, customer, "GET https://acme.example.com/shop/shoes"),
		w.ask(t, 2, customer, "GET https://acme.example.com/shop/cart", user),
		w.ask(t, 10, customer, "GET https://www.globex.example.com/"),
		w.ask(t, 2, customer, "GET https://www.globex.example.com/account/me", user),
		w.ask(t, 4, stranger, "GET http://api.example.com/nowhere"),
	}
}

func (w *world) ask(t *testing.T, times int, from, line string, fields ...httpmsg.Field) live {
	t.Helper()
	method, url, _ := strings.Cut(line, " ")
	scheme, rest, ok := strings.Cut(url, "://")
	host, path, found := strings.Cut(rest, "/")
	if !ok || !found {
		t.Fatalf("%q is no request", line)
	}
	return live{times: times, from: from, method: method, scheme: scheme, host: host, path: "/" + path, fields: fields}
}

func (w *world) body(l live, size int64) live {
	l.size = size
	return l
}

// apiKey hands out a key.
func (w *world) apiKey(t *testing.T, scope string) string {
	t.Helper()
	service, err := apikeys.New(apikeys.Options{
		Store: w.state, Pepper: append([]byte(nil), w.pepper...), Environment: "prod", Tenants: func() []string { return nil },
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return begin }, Random: rand.Reader,
	})
	must(t, err)
	_, text, err := service.Create(t.Context(), apikeys.Order{Owner: "a partner", Scopes: []string{scope}})
	must(t, err)
	return text
}

func (w *world) signed(t *testing.T, url string) string {
	t.Helper()
	key, err := signedurl.NewKey([]byte(urlKey))
	must(t, err)
	out, err := signedurl.Sign(url, &signedurl.Grant{KeyID: "k1", Expires: begin.Add(30 * time.Minute)}, key)
	must(t, err)
	return out
}
