package hostile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// mistake is a route that must not compile.
type mistake struct {
	name   string
	policy string // of the route; "": none
	target string // URL; "": https://example.com
	base   bool   // the operator has written it, not a tenant
	want   string // the code of the error
}

const (
	neverDialled = "GW3022"
	notPublic    = "GW3023"
	noURL        = "GW2104"
	noHost       = "GW2121"
	credentials  = "GW2190"
)

// limitMistakes are limits that would be none.
var limitMistakes = []mistake{
	{name: "limit of 0", policy: "rateLimit: { tokensPerInterval: 0, intervalMs: 60000 }", want: "GW2103"},
	{name: "limit of -1", policy: "rateLimit: { tokensPerInterval: -1, intervalMs: 60000 }", want: "GW2103"},
	{name: "limit of 2^53", policy: "rateLimit: { tokensPerInterval: 9007199254740992, intervalMs: 60000 }", want: "GW2103"},
	{name: "limit of 2^64", policy: "rateLimit: { tokensPerInterval: 18446744073709551616, intervalMs: 60000 }", want: "GW1104"},
	{name: "limit of a half", policy: "rateLimit: { tokensPerInterval: 0.5, intervalMs: 60000 }", want: "GW2101"},
	{name: "limit as text", policy: `rateLimit: { tokensPerInterval: "10", intervalMs: 60000 }`, want: "GW2101"},
	{name: "no limit", policy: "rateLimit: { intervalMs: 60000 }", want: "GW3042"},
	{name: "interval of 0", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 0 }", want: "GW2103"},
	{name: "interval of -1", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: -1 }", want: "GW2103"},
	{name: "interval of a year", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 31536000000 }", want: "GW2103"},
	{name: "no interval", policy: "rateLimit: { tokensPerInterval: 10 }", want: "GW3042"},
	{name: "burst of 0", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, burst: 0 }", want: "GW2103"},
	{name: "cost beyond the burst", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, cost: 11 }", want: "GW2103"},
	{name: "cost of 0", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, cost: 0 }", want: "GW2103"},
	{name: "bucket that fills in centuries", policy: "rateLimit: { tokensPerInterval: 1, intervalMs: 86400000, burst: 1000000 }", want: "GW2103"},
	{name: "no limits", policy: "rateLimit: { limits: [] }", want: "GW2105"},
	{name: "limits and a limit", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, limits: [{ id: a, tokensPerInterval: 10, intervalMs: 60000 }] }", want: "GW2034"},
	{name: "no key", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, key: [] }", want: "GW2105"},
	{name: "key of a cookie", policy: `rateLimit: { tokensPerInterval: 10, intervalMs: 60000, key: ["cookie:a"] }`, want: "GW2104"},
	{name: "key of a user nobody asks for", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, key: [user] }", want: "GW3042"},
	{name: "onError that is none", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, onError: ignore }", want: "GW2102"},
	{name: "0 replicas", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, replicas: 0 }", want: "GW2103"},
	{name: "more than half ahead", policy: "rateLimit: { tokensPerInterval: 10, intervalMs: 60000, localPercent: 51 }", want: "GW2103"},
}

// edgeMistakes would let in whom they should keep out.
var edgeMistakes = []mistake{
	{name: "every origin with credentials", policy: `cors: { allowOrigins: ["*"], allowCredentials: true }`, want: "GW3040"},
	{name: "every origin beside one", policy: `cors: { allowOrigins: ["*", "https://a.test"] }`, want: "GW3040"},
	{name: "origin null", policy: `cors: { allowOrigins: ["null"] }`, want: "GW2104"},
	{name: "star within an origin", policy: `cors: { allowOrigins: ["https://a*.test"] }`, want: "GW2104"},
	{name: "origin with a path", policy: `cors: { allowOrigins: ["https://a.test/"] }`, want: "GW2104"},
	{name: "every header with credentials", policy: `cors: { allowOrigins: ["https://a.test"], allowHeaders: ["*"], allowCredentials: true }`, want: "GW3040"},
	{name: "network with bits behind its mask", policy: `ip: { allow: [10.1.2.3/8] }`, want: "GW2123"},
	{name: "network as a number", policy: `ip: { deny: ["2130706433"] }`, want: "GW2123"},
	{name: "network with zeros in front", policy: `ip: { deny: ["010.0.0.0/8"] }`, want: "GW2123"},
	{name: "network with a zone", policy: `ip: { deny: ["fe80::1%eth0"] }`, want: "GW2104"},
	{name: "no networks", policy: `ip: { allow: [] }`, want: "GW2105"},
	{name: "injected Host", policy: `contextInjection: { claims: { Host: sub } }`, want: "GW3040"},
	{name: "injected Authorization", policy: `contextInjection: { claims: { Authorization: sub } }`, want: "GW3040"},
	{name: "injected X-Forwarded-For", policy: `contextInjection: { claims: { X-Forwarded-For: sub } }`, want: "GW3040"},
	{name: "injected X-Forwarded-For with underscores", policy: `contextInjection: { claims: { x_forwarded_for: sub } }`, want: "GW3040"},
	{name: "injected Content-Length", policy: `contextInjection: { claims: { Content-Length: sub } }`, want: "GW3040"},
	{name: "injected Transfer-Encoding", policy: `contextInjection: { claims: { Transfer_Encoding: sub } }`, want: "GW3040"},
	{name: "field injected twice in two spellings", policy: `contextInjection: { claims: { X-User: sub, x_user: iss } }`, want: "GW3040"},
	{name: "field that is set to a line break", policy: `headers: { request: { set: { X-A: "a\r\nX-B: b" } } }`, want: "GW2104"},
	{name: "field that is set in the framing", policy: `headers: { request: { set: { Transfer-Encoding: chunked } } }`, want: "GW3040"},
	{name: "path that leads out", policy: `rewrite: { path: "/../x" }`, want: "GW2104"},
	{name: "path of a claim", policy: `rewrite: { path: "/x/${claims.sub}" }`, want: "GW2104"},
	{name: "key in the field of the token", policy: `auth: { apiKey: { header: Authorization }, jwt: { issuer: "https://i", audience: a, secretRef: "env:X" } }`, base: true, want: "GW3040"},
	{name: "key in a forwarding field", policy: `auth: { apiKey: { header: X-Forwarded-For } }`, want: "GW3040"},
}

// tokenMistakes would take tokens that they should not.
var tokenMistakes = []mistake{
	{name: "algorithm none", policy: `auth: { jwt: { issuer: "https://i", audience: a, jwksUri: "https://example.com/k", algorithms: [none] } }`, want: "GW2102"},
	{name: "HS256 with published keys", policy: `auth: { jwt: { issuer: "https://i", audience: a, jwksUri: "https://example.com/k", algorithms: [HS256] } }`, want: "GW3040"},
	{name: "ES256 with a secret", policy: `auth: { jwt: { issuer: "https://i", audience: a, secretRef: "env:X", algorithms: [ES256] } }`, base: true, want: "GW3040"},
	{name: "no audience", policy: `auth: { jwt: { issuer: "https://i", jwksUri: "https://example.com/k" } }`, want: "GW3042"},
	{name: "no issuer", policy: `auth: { jwt: { audience: a, jwksUri: "https://example.com/k" } }`, want: "GW3042"},
	{name: "no keys", policy: `auth: { jwt: { issuer: "https://i", audience: a } }`, want: "GW3042"},
	{name: "two places of keys", policy: `auth: { jwt: { issuer: "https://i", audience: a, jwksUri: "https://example.com/k", oidcDiscoveryUrl: "https://example.com/d" } }`, want: "GW2034"},
	{name: "one issuer twice", policy: `auth: { jwt: { issuers: [{ issuer: "https://i", audience: a, jwksUri: "https://example.com/k" }, { issuer: "https://i", audience: b, jwksUri: "https://evil.example/k" }] } }`, want: "GW3040"},
	{name: "optional with roles", policy: `auth: { jwt: { issuer: "https://i", audience: a, jwksUri: "https://example.com/k", optional: true, requiredRoles: [user] } }`, want: "GW3040"},
	{name: "skew of a day", policy: `auth: { jwt: { issuer: "https://i", audience: a, jwksUri: "https://example.com/k", clockSkewSeconds: 86400 } }`, want: "GW2103"},
	{name: "tenant with a secret of the gateway's", policy: `auth: { jwt: { issuer: "https://i", audience: a, secretRef: "env:GWRUN_API_KEY_PEPPER" } }`, want: "GW2191"},
	{name: "authorization that asks for nothing", policy: `authorization: {}`, want: "GW3042"},
	{name: "authorization that nobody can meet", policy: `authorization: { roles: { any: [admin] } }`, want: "GW3042"},
	{name: "condition that is none", policy: `authorization: { conditions: [{ id: a, when: "claims.sub" }, { id: b, when: "sub == 1" }] }`, want: "GW3060"},
}

func (m mistake) outcome() outcome { return refused }

// yaml is the file of a mistake.
func (m *mistake) yaml() (path, text string) {
	id, target := slug(m.name), m.target
	if target == "" {
		target = "https://example.com"
	}
	quoted, _ := json.Marshal(target)
	text = fmt.Sprintf("routes:\n  - id: %[1]s\n    matcher: { host: evil.test, path: \"/%[1]s/*\" }\n    target: { type: http, url: %[2]s }\n", id, quoted)
	if m.policy != "" {
		text += "    policy: { " + m.policy + " }\n"
	}
	if m.base {
		return "routes/" + id + ".yaml", text
	}
	return "tenants/evil/routes/" + id + ".yaml", text
}

// TestMistakes compiles each, together with all others. A stage of the compiler reports everything it finds, and the next begins when
// nothing is left: so what was reported is taken out until nothing is.
func TestMistakes(t *testing.T) {
	t.Parallel()
	buildPrograms(t)
	dir, want := t.TempDir(), map[string]*mistake{}
	files := map[string]string{
		"gateway.yaml":             "gateway: { name: hostile }\n",
		"tenants/evil/tenant.yaml": "tenant: { hosts: [evil.test], policyKinds: [auth, authorization, rateLimit, cors, ip, contextInjection, headers, rewrite] }\n",
	}
	for _, table := range [][]mistake{tokenMistakes, limitMistakes, edgeMistakes, dialMistakes} {
		for i := range table {
			path, text := table[i].yaml()
			if files[path] != "" {
				t.Fatalf("%s is there twice", path)
			}
			files[path], want[path] = text, &table[i]
		}
	}
	writeConfig(t, dir, files)
	found := map[string][]string{}
	for {
		errors := validate(t, dir)
		if len(errors) == 0 {
			break
		}
		for path, codes := range errors {
			found[path] = codes
			if err := os.Remove(filepath.Join(dir, filepath.FromSlash(path))); err != nil {
				t.Fatal(err)
			}
		}
	}
	for path, m := range want {
		t.Run(m.name, func(t *testing.T) {
			if got := found[path]; len(got) == 0 || got[0] != m.want {
				t.Errorf("found %q, want %s", got, m.want)
			}
		})
	}
}

// validate returns the codes of the errors by file.
func validate(t *testing.T, dir string) map[string][]string {
	t.Helper()
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), programs.gwctl, "validate", dir, "--format", "json", "--no-cache")
	cmd.Stdout = &out
	_ = cmd.Run() // its output says more than its exit code
	var report struct {
		Diagnostics []struct{ Severity, Code, File string }
	}
	if err := json.Unmarshal(out.Bytes(), &report); err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	found := map[string][]string{}
	for _, d := range report.Diagnostics {
		if d.Severity == "error" {
			found[d.File] = append(found[d.File], d.Code)
		}
	}
	return found
}

// jwks, discovery and target are the places where a tenant can name an address.
func jwks(name, url, want string) mistake {
	return mistake{name: "keys at " + name, policy: fmt.Sprintf(`auth: { jwt: { issuer: "https://i", audience: a, jwksUri: %q } }`, url), want: want}
}

func metadata(name, url, want string) mistake {
	return mistake{name: "metadata at " + name, policy: fmt.Sprintf(`auth: { jwt: { issuer: "https://i", audience: a, oidcDiscoveryUrl: %q } }`, url), want: want}
}

func target(name, url, want string) mistake {
	return mistake{name: "target at " + name, target: url, want: want}
}

// base has the operator say it.
func base(m mistake) mistake {
	m.base, m.name = true, m.name+" in the base"
	return m
}

// dialMistakes name an address of each block that is special (IANA's registries, metadata services, and what stands for one of them).
var dialMistakes = []mistake{
	jwks("this network", "https://0.0.0.1/k", neverDialled),
	jwks("no address", "https://0.0.0.0/k", neverDialled),
	jwks("10", "https://10.0.0.1/k", notPublic),
	jwks("shared address space", "https://100.64.0.1/k", notPublic),
	jwks("loopback", "https://127.0.0.1/k", notPublic),
	jwks("loopback beyond 1", "https://127.255.255.254/k", notPublic),
	jwks("loopback with a port", "https://127.0.0.1:6379/k", notPublic),
	jwks("link-local", "https://169.254.0.1/k", neverDialled),
	jwks("metadata", "https://169.254.169.254/latest/meta-data/", neverDialled),
	jwks("metadata of ECS", "https://169.254.170.2/k", neverDialled),
	jwks("metadata of Alibaba", "https://100.100.100.200/k", neverDialled),
	jwks("metadata of Azure's wire server", "https://168.63.129.16/k", neverDialled),
	jwks("metadata of Oracle", "https://192.0.0.192/k", neverDialled),
	jwks("172.16", "https://172.16.0.1/k", notPublic),
	jwks("172.31", "https://172.31.255.255/k", notPublic),
	jwks("IETF assignments", "https://192.0.0.8/k", notPublic),
	jwks("TEST-NET-1", "https://192.0.2.1/k", notPublic),
	jwks("6to4 relays", "https://192.88.99.1/k", notPublic),
	jwks("192.168", "https://192.168.0.1/k", notPublic),
	jwks("benchmarks", "https://198.18.0.1/k", notPublic),
	jwks("TEST-NET-2", "https://198.51.100.1/k", notPublic),
	jwks("TEST-NET-3", "https://203.0.113.1/k", notPublic),
	jwks("multicast", "https://224.0.0.1/k", neverDialled),
	jwks("reserved", "https://240.0.0.1/k", neverDialled),
	jwks("broadcast", "https://255.255.255.255/k", neverDialled),
	jwks("no address of IPv6", "https://[::]/k", neverDialled),
	jwks("loopback of IPv6", "https://[::1]/k", notPublic),
	jwks("loopback of IPv6, in long form", "https://[0:0:0:0:0:0:0:1]/k", notPublic),
	jwks("mapped loopback", "https://[::ffff:127.0.0.1]/k", notPublic),
	jwks("mapped metadata", "https://[::ffff:169.254.169.254]/k", neverDialled),
	jwks("mapped metadata in hex", "https://[::ffff:a9fe:a9fe]/k", neverDialled),
	jwks("compatible metadata", "https://[::169.254.169.254]/k", neverDialled),
	jwks("NAT64 of loopback", "https://[64:ff9b::7f00:1]/k", notPublic),
	jwks("NAT64 of metadata", "https://[64:ff9b::a9fe:a9fe]/k", neverDialled),
	jwks("local NAT64", "https://[64:ff9b:1::808:808]/k", notPublic),
	jwks("discard", "https://[100::1]/k", notPublic),
	jwks("dummy prefix", "https://[100:0:0:1::1]/k", notPublic),
	jwks("Teredo to metadata", "https://[2001:0:a9fe:a9fe::1]/k", neverDialled),
	jwks("benchmarks of IPv6", "https://[2001:2::1]/k", notPublic),
	jwks("ORCHID", "https://[2001:20::1]/k", notPublic),
	jwks("documentation", "https://[2001:db8::1]/k", notPublic),
	jwks("6to4 of loopback", "https://[2002:7f00:1::]/k", notPublic),
	jwks("6to4 of metadata", "https://[2002:a9fe:a9fe::1]/k", neverDialled),
	jwks("documentation 2", "https://[3fff::1]/k", notPublic),
	jwks("segment routing", "https://[5f00::1]/k", notPublic),
	jwks("unique local", "https://[fc00::1]/k", notPublic),
	jwks("metadata of AWS over IPv6", "https://[fd00:ec2::254]/k", neverDialled),
	jwks("metadata of Google over IPv6", "https://[fd20:ce::254]/k", neverDialled),
	jwks("link-local of IPv6", "https://[fe80::1]/k", neverDialled),
	jwks("link-local of IPv6 with a zone", "https://[fe80::1%25eth0]/k", neverDialled),
	jwks("site-local", "https://[fec0::1]/k", neverDialled),
	jwks("multicast of IPv6", "https://[ff02::1]/k", neverDialled),
	jwks("localhost", "https://localhost/k", notPublic),
	jwks("localhost in capitals", "https://LOCALHOST/k", notPublic),
	jwks("localhost with a dot", "https://localhost./k", notPublic),
	jwks("below localhost", "https://x.localhost/k", notPublic),
	jwks("loopback with a dot", "https://127.0.0.1./k", notPublic),
	jwks("metadata with a user", "https://good@169.254.169.254/k", noURL),
	jwks("metadata behind a backslash", `https://good.test\@169.254.169.254/k`, noURL),
	jwks("metadata behind a fragment", "https://good.test#@169.254.169.254/k", noURL),
	jwks("escaped digits", "https://%31%32%37.0.0.1/k", noURL),
	jwks("escaped slash", "https://127.0.0.1%2f.good.test/k", noURL),
	jwks("no host", "https:///k", noURL),
	jwks("a socket", "unix:///var/run/docker.sock", noURL),
	jwks("a file", "file:///etc/passwd", noURL),
	jwks("gopher", "gopher://127.0.0.1:6379/_FLUSHALL", noURL),
	jwks("data", "data:application/json,{}", noURL),
	jwks("plain http", "http://example.com/k", noURL),
	jwks("a line break", "https://example.com/\r\nX: y", noURL),
	metadata("loopback", "https://127.0.0.1/d", notPublic),
	metadata("metadata", "https://169.254.169.254/d", neverDialled),
	metadata("mapped metadata", "https://[::ffff:169.254.169.254]/d", neverDialled),
	metadata("localhost", "https://localhost/d", notPublic),
	metadata("unique local", "https://[fd12::1]/d", notPublic),
	metadata("plain http", "http://example.com/d", noURL),
	metadata("a user", "https://a:b@example.com/d", credentials),
	target("loopback", "http://127.0.0.1:8080", notPublic),
	target("10", "http://10.0.0.1", notPublic),
	target("metadata", "http://169.254.169.254", neverDialled),
	target("mapped metadata", "http://[::ffff:169.254.169.254]", neverDialled),
	target("NAT64 of loopback", "http://[64:ff9b::7f00:1]", notPublic),
	target("unique local", "http://[fd12::1]", notPublic),
	target("localhost", "http://localhost:6379", notPublic),
	target("metadata with a user", "http://good@169.254.169.254", credentials),
	target("loopback as a number", "http://2130706433:6379", noHost),
	target("loopback in octal", "http://0177.0.0.1:6379", noHost),
	target("loopback in hex", "http://0x7f.1:6379", noHost),
	target("a short form of loopback", "http://127.1:6379", noHost),
	target("0", "http://0:6379", noHost),
	target("loopback in full-width digits", "http://\uff11\uff12\uff17.0.0.1:6379", noHost),
	base(jwks("metadata", "https://169.254.169.254/k", neverDialled)),
	base(jwks("mapped metadata", "https://[::ffff:a9fe:a9fe]/k", neverDialled)),
	base(jwks("multicast", "https://224.0.0.1/k", neverDialled)),
	base(jwks("no address", "https://0.0.0.0/k", neverDialled)),
	base(metadata("metadata over IPv6", "https://[fd00:ec2::254]/d", neverDialled)),
	base(target("metadata", "http://169.254.169.254", neverDialled)),
	base(target("link-local", "http://[fe80::1]", neverDialled)),
}
