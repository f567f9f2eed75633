package simulate_test

import (
	"crypto/sha256"
	"fmt"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/policy/all"
	"github.com/suuupra/gateway/runtime/simulate"
	targets "github.com/suuupra/gateway/runtime/target/all"
	"github.com/suuupra/gateway/runtime/upstream/dialguard"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

func TestMain(m *testing.M) { testkit.NoLeaks(m) }

const version = "apiVersion: gateway.suuupra.dev/v1\n"

// site is a configuration with a route for each thing that a test can be about.
const site = `
gateway:
  name: site
  trustedProxies: [198.51.100.0/24]
  limits: { maxHeaderFields: 20, maxUrlBytes: 2KiB, maxBodyBytes: 32KiB }
upstreams:
  - { id: plain, targets: [{ url: "http://plain:8080" }], host: plain.internal }
  - { id: secure, targets: [{ url: "https://a.example.com" }, { url: "https://b.example.com" }], protocol: http2, tls: { cert: "file:/tls/crt", key: "file:/tls/key" } }
  - { id: found, discovery: { dns: { name: found.internal, port: 80 } }, health: { tcp: {} }, outlier: {} }
routes:
  - { id: open, matcher: { path: "/open/*" }, target: { type: http, upstream: plain } }
  - { id: prefixed, matcher: { host: api.example.com, path: "/prefixed/*" }, target: { type: http, url: "http://backend:8080/v2" } }
  - { id: secure, matcher: { path: /secure }, target: { type: http, upstream: secure }, policy: { timeout: 1 } }
  - { id: found, matcher: { path: /found }, target: { type: http, upstream: found } }
  - id: users
    matcher: { path: "/users/*" }
    target: { type: http, upstream: plain }
    policy:
      auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/keys", requiredRoles: [user], type: at+jwt } }
      contextInjection: { claims: { X-User-Id: sub, X-Org: realm.org }, identityToken: { secretRef: "env:IDENTITY" } }
      headers: { request: { remove: [X-Internal] }, response: { remove: [Server] } }
  - id: several
    matcher: { path: "/several/*" }
    target: { type: http, upstream: plain }
    policy:
      auth:
        jwt:
          issuers:
            - { issuer: "https://one.example.com", audience: one, jwksUri: "https://one.example.com/keys", algorithms: [EdDSA] }
            - { issuer: "https://two.example.com", audience: two, secretRef: "env:TWO", algorithms: [HS512] }
  - id: cookie
    matcher: { path: /cookie }
    target: { type: http, upstream: plain }
    policy: { auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/keys", from: { cookie: session } } } }
  - id: stream
    matcher: { path: /stream }
    target: { type: http, upstream: plain }
    policy: { auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/keys", from: { query: access_token } } } }
  - id: header
    matcher: { path: /header }
    target: { type: http, upstream: plain }
    policy: { auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/keys", from: { header: X-Token } } } }
  - id: once
    matcher: { path: /once }
    target: { type: http, upstream: plain }
    policy: { auth: { jwt: { issuer: "https://id.example.com", audience: api, jwksUri: "https://id.example.com/keys", replayProtection: true } } }
  - id: keyed
    matcher: { path: "/keyed/*" }
    target: { type: http, upstream: plain }
    policy: { auth: { apiKey: { requiredScopes: [read], header: X-Partner-Key } } }
  - id: signed
    matcher: { path: "/signed/*" }
    target: { type: http, upstream: plain }
    policy: { signedUrl: { keys: [{ id: k1, secretRef: "env:K1" }, { id: k2, secretRef: "env:K2" }], maxLifetime: 1m } }
  - id: limited
    matcher: { path: /limited }
    target: { type: http, upstream: plain }
    policy: { rateLimit: { tokensPerInterval: 10, intervalMs: 60000 } }
  - id: closed
    matcher: { path: /closed }
    target: { type: http, upstream: plain }
    policy: { rateLimit: { tokensPerInterval: 1000, intervalMs: 60000, onError: closed } }
  - { id: upload, matcher: { path: /upload }, target: { type: http, upstream: plain }, policy: { bodyLimit: { maxBytes: 1KiB } } }
  - { id: large, matcher: { path: /large }, target: { type: http, upstream: plain }, policy: { bodyLimit: { maxBytes: 16MiB } } }
  - { id: inside, matcher: { path: /inside }, target: { type: http, upstream: plain }, policy: { ip: { allow: [10.0.0.0/8], deny: [10.6.6.0/24] } } }
  - id: pages
    matcher: { path: /pages, methods: [GET, PUT] }
    target: { type: http, upstream: plain }
    policy: { cors: { allowOrigins: ["https://shop.example.com"], allowMethods: [GET, PUT] } }
  - id: retried
    matcher: { path: /retried }
    target: { type: http, upstream: plain }
    policy: { retry: { attempts: 2, on: [gatewayError, connectFailure], backoff: { base: 10s, max: 10s } } }
  - id: broken
    matcher: { path: /broken }
    target: { type: http, upstream: plain }
    policy: { circuitBreaker: { minimumCalls: 5, errorPercent: 50, openFor: 5s } }
  - id: careful
    matcher: { path: /careful }
    target: { type: http, upstream: plain }
    policy: { securityHeaders: {}, compression: { minBytes: 16 } }
  - id: rewritten
    matcher: { path: "/old/{name}" }
    target: { type: http, upstream: plain }
    policy: { rewrite: { path: "/new/${params.name}", query: { remove: [debug] } } }
`

// rig is what a test of the tester works with.
type rig struct {
	t       testing.TB
	program *ir.Program
	cases   []*simulate.Case
	tools   simulate.Tools
	diags   diag.List // what there was to say
}

// newRig compiles a configuration and reads tests, both without their apiVersion.
func newRig(t testing.TB, config, tests string) *rig {
	t.Helper()
	r, ok := tryRig(t, config, tests)
	if !ok {
		var b strings.Builder
		_ = diag.Text(&b, diag.Report{Diagnostics: r.diags.Sorted()})
		t.Fatal(b.String())
	}
	return r
}

// tryRig is newRig for what may be malformed.
func tryRig(t testing.TB, config, tests string) (r *rig, ok bool) {
	t.Helper()
	raw := func(path, text string) load.RawFile {
		data := []byte(version + text)
		return load.RawFile{Path: path, Data: data, Digest: sha256.Sum256(data), Layer: load.LayerOf(path)}
	}
	opts := compiler.Options{Kinds: all.Kinds(), Dial: dialguard.Check}
	for _, k := range targets.Kinds() {
		opts.Targets = append(opts.Targets, k.TargetKind)
	}
	unit, err := compiler.New(opts).Open(t.Context(), &load.Tree{
		Files: []load.RawFile{raw("gateway.yaml", config)}, Tests: []load.RawFile{raw("tests/t.yaml", tests)}, Environments: []string{"prod"},
	})
	if err != nil {
		t.Fatal(err)
	}
	out := unit.Compile("")
	files, diags, err := unit.Tests(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	diags.Merge(out.Diags)
	r = &rig{t: t, program: out.WithOrigins(), diags: diags, tools: simulate.Tools{Kinds: all.Kinds(), Targets: targets.Kinds()}}
	if diags.HasErrors() {
		return r, false
	}
	if r.cases, err = simulate.Cases(files); err != nil {
		t.Fatal(err)
	}
	return r, true
}

// suite builds the configuration.
func (r *rig) suite() *simulate.Suite {
	r.t.Helper()
	s, err := simulate.NewSuite(r.t.Context(), r.program, r.cases, r.tools)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(s.Close)
	return s
}

// run runs the tests.
func (r *rig) run() []simulate.Result {
	r.t.Helper()
	results, err := r.suite().Run(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	return results
}

// said is what failed, a line for each: the place, the request, what was expected, and what came.
func said(results []simulate.Result) []string {
	var out []string
	for _, r := range results {
		if r.Failed == nil {
			continue
		}
		for _, m := range r.Failed.Mismatches {
			out = append(out, fmt.Sprintf("%d:%d request %d/%d %s: expected %s, got %s", m.Pos.Line, m.Pos.Col, r.Failed.Step, r.Failed.Repetition, m.Field, m.Expected, m.Got))
		}
	}
	return out
}

// one is a file with one test, of these requests and what is said beside them.
func one(requests, beside string) string {
	return "tests:\n  - name: a test\n    requests:\n      - " + strings.ReplaceAll(strings.TrimSpace(requests), "\n", "\n      - ") + "\n" + beside
}
