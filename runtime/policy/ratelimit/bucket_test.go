package ratelimit

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// nameOf is the bucket of a request under a key, in its last part: what comes after what all buckets of the limit have.
func nameOf(key []string, x *policy.Exchange) string {
	l := &limit{}
	for _, k := range key {
		l.parts = append(l.parts, newPart(k))
	}
	return string(l.appendName(nil, x))
}

func principal(issuer, subject, claims string) *policy.Principal {
	p := &policy.Principal{Issuer: issuer, Subject: subject}
	d := json.NewDecoder(strings.NewReader(claims))
	d.UseNumber()
	if err := d.Decode(&p.Claims); err != nil {
		panic(err)
	}
	return p
}

// TestName has what each part of a key makes of a request.
func TestName(t *testing.T) {
	const claims = `{"plan":"gold","level":3,"empty":"","nothing":null,"org":{"id":"o1","b":2,"a":1},"https://x.example/t.b":"t1","roles":["a","b"],"a.b":"whole"}`
	known := func(x *policy.Exchange) { x.Principal = principal("https://idp", "u1", claims) }
	for _, tt := range []struct {
		name, key string
		edit      func(x *policy.Exchange)
		want      string
	}{
		{"address", "ip", nil, "4\xc0\x00\x02\x01"},
		{"address, mapped", "ip", func(x *policy.Exchange) { x.ClientIP = netip.MustParseAddr("::ffff:192.0.2.1") }, "4\xc0\x00\x02\x01"},
		{"network of version 6", "ip", func(x *policy.Exchange) { x.ClientIP = netip.MustParseAddr("2001:db8:1:2:3:4:5:6") }, "6\x20\x01\x0d\xb8\x00\x01\x00\x02"},
		{"no address", "ip", func(x *policy.Exchange) { x.ClientIP = netip.Addr{} }, "?"},
		{"user", "user", known, "u11:https://idp2:u1"},
		{"nobody", "user", nil, "4\xc0\x00\x02\x01"},
		{"a token without a subject", "user", func(x *policy.Exchange) { x.Principal = principal("https://idp", "", "{}") }, "4\xc0\x00\x02\x01"},
		{"tenant", "tenant", func(x *policy.Exchange) { x.Tenant = "acme" }, "t4:acme"},
		{"tenant, and a caller of another", "tenant", func(x *policy.Exchange) { x.Tenant, x.Key = "acme", &policy.Key{Tenant: "globex"} }, "t4:acme"},
		{"tenant of the key", "tenant", func(x *policy.Exchange) { x.Key = &policy.Key{Tenant: "acme"} }, "o4:acme"},
		{"tenant of the token before that of the key", "tenant", func(x *policy.Exchange) {
			x.Principal, x.Key = &policy.Principal{Tenant: "acme"}, &policy.Key{Tenant: "globex"}
		}, "o4:acme"},
		{"no tenant", "tenant", nil, "4\xc0\x00\x02\x01"},
		{"key", "key", func(x *policy.Exchange) { x.Key = &policy.Key{ID: "k1"} }, "k2:k1"},
		{"no key", "key", nil, "4\xc0\x00\x02\x01"},
		{"route", "route", nil, "r1:r"},
		{"header", "header:x-app", nil, "h3:one."},
		{"header, several lines", "header:x-app", func(x *policy.Exchange) { x.Request.Header.Add("x-APP", "two") }, "h3:oneh3:two."},
		{"header, empty", "header:x-app", func(x *policy.Exchange) { x.Request.Header.Set("X-App", "") }, "h0:."},
		{"header, absent", "header:x-none", nil, "."},
		{"claim", "claim:plan", known, "c4:gold"},
		{"claim, a number", "claim:level", known, "j1:3"},
		{"claim, a list", "claim:roles", known, `j9:["a","b"]`},
		{"claim, an object in one order", "claim:org", known, `j23:{"a":1,"b":2,"id":"o1"}`},
		{"claim in an object", "claim:org.id", known, "c2:o1"},
		{"claim that is an address", "claim:https://x.example/t.b", known, "c2:t1"},
		{"claim whose name has dots", "claim:a.b", known, "c5:whole"},
		{"claim that is empty", "claim:empty", known, "4\xc0\x00\x02\x01"},
		{"claim that is null", "claim:nothing", known, "4\xc0\x00\x02\x01"},
		{"claim that is absent", "claim:no.such.thing", known, "4\xc0\x00\x02\x01"},
		{"claim in what is no object", "claim:plan.x.y", known, "4\xc0\x00\x02\x01"},
		{"claim of nobody", "claim:plan", nil, "4\xc0\x00\x02\x01"},
		{"together", "ip header:x-app user", known, "4\xc0\x00\x02\x01h3:one.u11:https://idp2:u1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			x := policytest.NewWorld().Exchange("GET", "/", "X-App: one")
			if tt.edit != nil {
				tt.edit(x)
			}
			if got := nameOf(strings.Fields(tt.key), x); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestBase has what tells the buckets of limits apart, and what does not.
func TestBase(t *testing.T) {
	env := func(environment, tenant, route string) *policy.Env {
		return &policy.Env{Environment: environment, Route: policy.Route{ID: route, Tenant: tenant}}
	}
	scoped := Limit{ID: "a", Scope: "s", TokensPerInterval: 10, IntervalMs: 60000, Burst: 20, Key: []string{"ip", "user"}, Cost: 1}
	other := scoped
	other.ID, other.Cost, other.LocalPercent = "b", 5, 10
	bigger := scoped
	bigger.Burst = 21
	own := scoped
	own.Scope = ""
	ownOther := own
	ownOther.ID = "b"
	for _, tt := range []struct {
		name string
		e    *policy.Env
		p    Plan
		l    *Limit
		want string
	}{
		{"a route's own", env("prod", "", "r"), Plan{}, &own, "4:prod0:route 1:r1:a7:ip user"},
		{"another limit of it", env("prod", "", "r"), Plan{}, &ownOther, "4:prod0:route 1:r1:b7:ip user"},
		{"shadow", env("prod", "", "r"), Plan{Shadow: true}, &own, "4:prod0:shadow route 1:r1:a7:ip user"},
		{"a scope", env("prod", "", "r"), Plan{}, &scoped, "4:prod0:scope 1:s10 60000 20 7:ip user"},
		{"the same scope, elsewhere", env("prod", "", "q"), Plan{}, &other, "4:prod0:scope 1:s10 60000 20 7:ip user"},
		{"other numbers", env("prod", "", "r"), Plan{}, &bigger, "4:prod0:scope 1:s10 60000 21 7:ip user"},
		{"a tenant's", env("prod", "acme", "r"), Plan{}, &scoped, "4:prod4:acmescope 1:s10 60000 20 7:ip user"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := string(base(tt.e, &tt.p, tt.l)); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestHostileValues sends what breaks other encodings, and counts each value by itself.
func TestHostileValues(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 1, intervalMs: 60000, key: ['header:X-App', ip] }")
	values := []string{
		"", "{", "}", "{}", "{a}", ":", "*", "a:b", "a: b", "1:a", "h1:a.", ".", "\r\n", "a\r\nSET x y\r\n", "\x00", "\xff\xfe", "a", "A",
		strings.Repeat("a", 200), strings.Repeat("a", 300), strings.Repeat("a", 1<<20), strings.Repeat("a", 1<<20-1) + "b",
	}
	for _, v := range values {
		for i, want := range []string{"pass", "429 rate_limited"} {
			x := r.from("192.0.2.1")
			x.Request.Header.Add("X-App", v)
			if said, _ := r.send(x); said != want {
				t.Errorf("%.40q, request %d: %s, want %s", v, i+1, said, want)
			}
		}
	}
	seen := map[string]bool{}
	for _, name := range r.state.names() {
		if seen[name] = true; len(name) > maxName {
			t.Errorf("a name of %d bytes", len(name))
		}
	}
	if len(seen) != len(values) {
		t.Errorf("%d buckets for %d values", len(seen), len(values))
	}
	if said, _ := r.send(r.from("192.0.2.1")); said != "pass" {
		t.Errorf("without the field: %s", said)
	}
}

// TestOneHostOfVersion6 gives no address of a network a bucket of its own.
func TestOneHostOfVersion6(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 1, intervalMs: 60000, key: [ip] }")
	for ip, want := range map[string]string{"2001:db8::1": "pass", "2001:db8:0:1::1": "pass", "192.0.2.1": "pass"} {
		if said, _ := r.send(r.from(ip)); said != want {
			t.Errorf("%s: %s", ip, said)
		}
	}
	for _, ip := range []string{"2001:db8::2", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8:0:1::", "::ffff:192.0.2.1"} {
		if said, _ := r.send(r.from(ip)); said != "429 rate_limited" {
			t.Errorf("%s: %s", ip, said)
		}
	}
}

// FuzzName holds that two callers have one bucket only if they are the same.
func FuzzName(f *testing.F) {
	f.Add("https://idp", "u", "a", "b", "https://idp", "u", "a", "b")
	f.Add("i", "1:u", "a", "", "i1:", "u", "", "a")
	f.Add("", "", "h1:a", "", "", "", "h1:", "a")
	f.Add("{", "}", ":", "*", "\r\n", "\x00", strings.Repeat("a", 300), ".")
	f.Fuzz(func(t *testing.T, iss1, sub1, one1, two1, iss2, sub2, one2, two2 string) {
		name := func(iss, sub, one, two string) string {
			x := policytest.NewWorld().Exchange("GET", "/")
			x.Principal = principal(iss, sub, "{}")
			x.Principal.Claims = map[string]any{"c": two}
			x.Request.Header.Add("X-A", one)
			x.Request.Header.Add("X-A", two)
			return nameOf([]string{"claim:c", "header:x-a", "user"}, x)
		}
		if sub1 == "" || sub2 == "" { // nobody: issuers do not matter
			iss1, iss2 = "", ""
		}
		same := iss1 == iss2 && sub1 == sub2 && one1 == one2 && two1 == two2
		if a, b := name(iss1, sub1, one1, two1), name(iss2, sub2, one2, two2); (a == b) != same {
			t.Errorf("%q and %q", a, b)
		}
	})
}
