package diff

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

// edits changes the base program in many ways, for tests of what holds whatever the change.
func edits() map[string]func(*ir.Program) {
	out := map[string]func(*ir.Program){"nothing": unchanged}
	for _, cases := range [][]riskCase{authCases(), routeCases(), limitCases(), targetCases(), resilienceCases(), listenerCases()} {
		for _, c := range cases {
			out[string(c.code)+" "+c.name] = c.edit
			if c.from != nil {
				out[string(c.code)+" "+c.name+", before"] = c.from
			}
		}
	}
	return out
}

func asJSON(t *testing.T, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func TestSameProgramHasNoDifference(t *testing.T) {
	for name, edit := range edits() {
		for seed := range uint64(3) {
			a := base(edit)
			r := Programs(a, shuffled(base(edit), rand.New(rand.NewPCG(seed, 1))))
			if !r.Empty() || len(r.Risks)+len(r.Effects) > 0 {
				t.Errorf("%s, seed %d: %s", name, seed, asJSON(t, r))
			}
		}
	}
	if r := Programs(nil, nil); !r.Empty() || r.Summary() != "no changes" {
		t.Errorf("two absent programs differ: %s", r.Summary())
	}
}

func TestOrderOfInputHasNoEffect(t *testing.T) {
	for name, edit := range edits() {
		a, b := base(), base(edit)
		want := asJSON(t, Programs(a, b))
		for seed := range uint64(3) {
			r := rand.New(rand.NewPCG(seed, 2))
			if got := asJSON(t, Programs(shuffled(a, r), shuffled(b, r))); got != want {
				t.Errorf("%s, seed %d: report depends on the order\n%s\n%s", name, seed, want, got)
			}
		}
	}
}

// TestComparisonDoesNotTouchTheInput holds that programs may be compared while they are in use.
func TestComparisonDoesNotTouchTheInput(t *testing.T) {
	for name, edit := range edits() {
		a, b := base(), base(edit)
		Programs(a, b)
		if !reflect.DeepEqual(a, base()) || !reflect.DeepEqual(b, base(edit)) {
			t.Errorf("%s: a program was changed", name)
		}
	}
}

// TestEveryFieldIsCompared changes each field of the compiled form by itself. A field that is added to package ir must
// show in a report without anybody thinking of this package.
func TestEveryFieldIsCompared(t *testing.T) {
	seen := 0
	mutate := func(what string, start func() *ir.Program, pick func(*ir.Program) reflect.Value) {
		probe := pick(start())
		for i := range leaves(probe, "") {
			a, b := start(), start()
			leaf := leaves(pick(b), "")[i]
			seen++
			switch leaf.v.Kind() {
			case reflect.String:
				leaf.v.SetString(leaf.v.String() + "x")
			case reflect.Bool:
				leaf.v.SetBool(!leaf.v.Bool())
			case reflect.Int64:
				leaf.v.SetInt(leaf.v.Int() + 1)
			case reflect.Pointer: // a part that is there on one side only
				if leaf.v.IsNil() {
					leaf.v.Set(reflect.New(leaf.v.Type().Elem()))
					fill(leaf.v.Elem())
				} else {
					leaf.v.SetZero()
				}
			case reflect.Slice: // raw JSON, or an empty list
				if leaf.v.Type().Elem().Kind() == reflect.Uint8 {
					leaf.v.SetBytes([]byte(`{"added":1}`))
				} else {
					leaf.v.Set(reflect.MakeSlice(leaf.v.Type(), 1, 1))
				}
			case reflect.Map:
				leaf.v.Set(reflect.MakeMap(leaf.v.Type()))
				leaf.v.SetMapIndex(reflect.ValueOf("added"), reflect.Zero(leaf.v.Type().Elem()))
			default:
				t.Fatalf("%s%s: a field of kind %s: teach this test, and see that the comparison takes it", what, leaf.path, leaf.v.Kind())
			}
			if r := Programs(a, b); r.Empty() {
				t.Errorf("%s%s differs and the report is empty", what, leaf.path)
			}
		}
	}
	for _, start := range []func() *ir.Program{func() *ir.Program { return base() }, func() *ir.Program { return base(filled) }} {
		mutate("gateway", start, func(p *ir.Program) reflect.Value { return reflect.ValueOf(&p.Gateway).Elem() })
		mutate("route", start, func(p *ir.Program) reflect.Value { return reflect.ValueOf(&p.Routes[2]).Elem() })
		mutate("upstream", start, func(p *ir.Program) reflect.Value { return reflect.ValueOf(&p.Upstreams[2]).Elem() })
		mutate("inline upstream", start, func(p *ir.Program) reflect.Value { return reflect.ValueOf(&p.Upstreams[0]).Elem() })
	}
	if seen < 250 {
		t.Errorf("only %d fields were changed", seen)
	}
}

// filled gives a program every part there is.
func filled(p *ir.Program) {
	for _, v := range []any{&p.Gateway, &p.Routes[2].Forward, &p.Upstreams[2], &p.Upstreams[0]} {
		fill(reflect.ValueOf(v).Elem())
	}
}

// fill makes what is nil below v, each with something in it.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i))
		}
	case reflect.Pointer:
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		fill(v.Elem())
	case reflect.Slice:
		if v.Len() == 0 && v.Type().Elem().Kind() != reflect.Uint8 {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		}
		for i := range v.Len() {
			fill(v.Index(i))
		}
	case reflect.String:
		if v.String() == "" {
			v.SetString("y")
		}
	case reflect.Int64:
		if v.Int() == 0 {
			v.SetInt(7)
		}
	}
}

type leaf struct {
	path string
	v    reflect.Value
}

// leaves lists the fields below v, and the parts that may be absent.
func leaves(v reflect.Value, path string) []leaf {
	var out []leaf
	switch {
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			out = append(out, leaves(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	case v.Kind() == reflect.Slice && v.Len() > 0 && v.Type().Elem().Kind() != reflect.Uint8:
		for i := range v.Len() {
			out = append(out, leaves(v.Index(i), fmt.Sprintf("%s[%d]", path, i))...)
		}
	case v.Kind() == reflect.Pointer && !v.IsNil():
		out = append(leaves(v.Elem(), path), leaf{path, v})
	default:
		out = append(out, leaf{path, v})
	}
	return out
}

// lines lists the changes of a report, without the places.
func lines(r *Report) []string {
	var out []string
	for i := range r.Objects {
		o := &r.Objects[i]
		if len(o.Changes) == 0 {
			out = append(out, marks[o.Op]+" "+title(o))
		}
		for _, c := range o.Changes {
			a, b := showBoth(c.Old, c.New)
			if c.Old == nil {
				a = "-"
			}
			if c.New == nil {
				b = "-"
			}
			out = append(out, marks[c.Op]+" "+title(o)+": "+c.Path+" "+a+" -> "+b)
		}
	}
	return out
}

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		name string
		from func(*ir.Program)
		edit func(*ir.Program)
		want []string
	}{
		{"matcher", nil, onMatch(func(m *ir.Match) { m.Host, m.Methods, m.Query = "", []string{"PUT", "POST"}, nil }), []string{
			"- route users: matcher.host api.example.com -> -",
			"~ route users: matcher.methods [GET, PUT] -> [POST, PUT]",
			`- route users: matcher.query.v "2" -> -`,
		}},
		{"forward", nil, onRoute("users", func(r *ir.Route) { r.Forward = ir.Forward{Timeout: 1, HeaderTimeout: 2, IdleTimeout: 3} }), []string{
			"~ route users: policy.timeout 10000 -> 1",
			"~ route users: policy.timeouts.header 60000 -> 2",
			"~ route users: policy.timeouts.idle 60000 -> 3",
		}},
		{"upstream", nil, onUpstream("users", func(u *ir.Upstream) {
			u.Scheme, u.ConnectTimeout, u.MaxIdle = "http", 1, 2
			u.Endpoints = u.Endpoints[:1]
		}), []string{
			"~ upstream users: connectTimeout 5000 -> 1",
			"~ upstream users: maxIdleConnections 256 -> 2",
			"~ upstream users: targets [https://users-1:8443, https://users-2:8443] -> [http://users-1:8443]",
		}},
		{"order of targets", nil, onUpstream("users", func(u *ir.Upstream) { slices.Reverse(u.Endpoints) }), []string{
			"~ upstream users: targets [https://users-1:8443, https://users-2:8443] -> [https://users-2:8443, https://users-1:8443]",
		}},
		{"gateway", nil, gateway(func(g *ir.Gateway) {
			g.Limits = ir.Limits{HeaderBytes: 1, HeaderFields: 2, URLBytes: 3, BodyBytes: 4}
			g.Tracing = ir.Tracing{Endpoint: "http://c:4318", SamplePerMil: 25}
			g.Listeners = []ir.Listener{{ID: "public", Address: ":80"}, {ID: "b c", Address: ":81"}}
		}), []string{
			`+ gateway: listeners["b c"].address - -> :81`,
			`+ gateway: listeners["b c"].http2.cleartext - -> false`,
			`+ gateway: listeners["b c"].http2.enabled - -> false`,
			`+ gateway: listeners["b c"].http2.maxStreams - -> 0`,
			"~ gateway: listeners[public].address :8080 -> :80",
			"~ gateway: limits.maxBodyBytes 1048576 -> 4",
			"~ gateway: limits.maxHeaderBytes 32768 -> 1",
			"~ gateway: limits.maxHeaderFields 100 -> 2",
			"~ gateway: limits.maxUrlBytes 8192 -> 3",
			"+ gateway: telemetry.tracing.endpoint - -> http://c:4318",
			"~ gateway: telemetry.tracing.sampleRatio 0.1 -> 0.025",
		}},
		{"listener", nil, onListener(func(l *ir.Listener) {
			l.TLS = &ir.ListenerTLS{Certificates: []ir.Certificate{{Cert: "file:/c", Key: "env:K"}}, MinVersion: "1.2"}
			l.HTTP2, l.ProxyProtocol = ir.HTTP2{Enabled: true, MaxStreams: 100}, []string{"10.0.0.0/8"}
		}), []string{
			"~ gateway: listeners[public].http2.enabled false -> true",
			"~ gateway: listeners[public].http2.maxStreams 0 -> 100",
			"+ gateway: listeners[public].proxyProtocol.from - -> [10.0.0.0/8]",
			"+ gateway: listeners[public].tls.certificates[0].cert - -> file:/c",
			"+ gateway: listeners[public].tls.certificates[0].key - -> env:K",
			`+ gateway: listeners[public].tls.minVersion - -> "1.2"`,
		}},
		{"weights and notes", nil, onUpstream("users", func(u *ir.Upstream) {
			u.Endpoints = []ir.Endpoint{u.Endpoints[0], {Address: "users-2:8443", Weight: 3, Metadata: []ir.Pair{{Name: "zone", Value: "b"}}}}
		}), []string{
			"+ upstream users: targets[1].metadata.zone - -> b",
			"+ upstream users: targets[1].weight - -> 3",
		}},
		{"another weight", onUpstream("users", func(u *ir.Upstream) { u.Endpoints[1].Weight = 3 }), onUpstream("users", func(u *ir.Upstream) { u.Endpoints[1].Weight = 5 }), []string{
			"~ upstream users: targets[1].weight 3 -> 5",
		}},
		{"parts of an upstream", onUpstream("users", func(u *ir.Upstream) { resilient(u); u.Health.Type = "tcp" }), onUpstream("users", func(u *ir.Upstream) {
			resilient(u)
			u.Balance = &ir.Balance{Strategy: "maglev", HashOn: []ir.HashPart{{IP: true}}, BoundPercent: 125}
			u.Health.Healthy, u.Health.Path, u.Health.Status = 2, "/healthz", []ir.Span{{From: 200, To: 200}, {From: 202, To: 299}}
			u.Outlier.MaxEjectedPercent, u.Outlier.FailurePercent = 50, 85
			u.Limits.Pending = 8
			u.TLS.SNI = "users.internal"
		}), []string{
			"- upstream users: health.tcp {} -> -",
			"~ upstream users: health.healthyThreshold 1 -> 2",
			"+ upstream users: health.http.path - -> /healthz",
			`+ upstream users: health.http.status - -> [200, 202-299]`,
			"~ upstream users: limits.pending 16 -> 8",
			"+ upstream users: loadBalancing.boundPercent - -> 125",
			"+ upstream users: loadBalancing.hashOn[0].ip - -> true",
			"+ upstream users: loadBalancing.strategy - -> maglev",
			"~ upstream users: outlier.failurePercentage 0 -> 85",
			"~ upstream users: outlier.maxEjectionPercent 10 -> 50",
			"+ upstream users: tls.sni - -> users.internal",
		}},
		{"discovery", nil, onUpstream("users", func(u *ir.Upstream) {
			u.Endpoints, u.Discovery = nil, &ir.Discovery{DNS: &ir.DNS{Name: "users.internal", Type: "ip", Port: 80, MinTTL: 1000, MaxTTL: 300000}}
		}), []string{
			"+ upstream users: discovery.dns.maxTtl - -> 300000",
			"+ upstream users: discovery.dns.minTtl - -> 1000",
			"+ upstream users: discovery.dns.name - -> users.internal",
			"+ upstream users: discovery.dns.port - -> 80",
			"+ upstream users: discovery.dns.type - -> ip",
			"+ upstream users: scheme - -> https",
			"- upstream users: targets [https://users-1:8443, https://users-2:8443] -> -",
		}},
		{"retry and breaker", forward(guarded), forward(func(f *ir.Forward) {
			guarded(f)
			f.Retry.BackoffMax, f.Retry.BudgetMin, f.Retry.On = 500, 5, []string{"5xx", "reset"}
			f.Breaker.HalfOpenRampFor, f.Priority = 5000, ir.PriorityCritical
		}), []string{
			"~ route users: policy.circuitBreaker.halfOpenFor 10000 -> 5000",
			"+ route users: policy.loadShedding.priority - -> critical",
			"~ route users: policy.retry.backoff.max 250 -> 500",
			"~ route users: policy.retry.budget.minConcurrency 3 -> 5",
			"~ route users: policy.retry.on [connectFailure, reset] -> [5xx, reset]",
		}},
		{"conditions in another order", forward(guarded), forward(func(f *ir.Forward) { guarded(f); slices.Reverse(f.Retry.On) }), nil},
		{"preference of a compression", plan("compression", `{"algorithms":["zstd","gzip"]}`), plan("compression", `{"algorithms":["gzip","zstd"]}`), []string{
			"~ route users: policy.compression.algorithms [zstd, gzip] -> [gzip, zstd]",
		}},
		{"url", nil, both(withUpstream(upstreamOf("http://docs:81", "http", "docs:81")), toUpstream("docs", "http://docs:81")), []string{
			"~ route docs: target.url http://docs:80 -> http://docs:81",
		}},
		{"url to upstream", nil, toUpstream("docs", "users"), []string{
			"+ route docs: target.upstream - -> users",
			"- route docs: target.url http://docs:80 -> -",
		}},
		{"url of a tenant", nil, both(withUpstream(upstreamOf("http://docs:80#acme", "http", "docs:80")),
			onUpstream("http://docs:80#acme", func(u *ir.Upstream) { u.Tenant = "acme" }),
			onRoute("docs", func(r *ir.Route) { r.Tenant, r.Target.Upstream = "acme", "http://docs:80#acme" })), []string{
			"+ route docs: tenant - -> acme",
		}},
		{"inline upstream answers elsewhere", nil, endpoint("http://docs:80", 0, "evil:80"), []string{
			"+ route docs: target.targets - -> [http://evil:80]",
		}},
		{"policy", nil, both(plan("bodyLimit", `{"maxBytes":1}`), plan("new", `{}`), plan("auth.oidc", `{"a":{"b":[1]}}`)), []string{
			"+ route users: policy.auth.oidc.a.b - -> [1]",
			"~ route users: policy.bodyLimit.maxBytes 65536 -> 1",
			"+ route users: policy.new - -> {}",
		}},
		{"element of a list of parts", nil, plan("novel", `{"list":[{"a":0},{"a":1},{"a":2}],"onError":"closed","text":"x"}`), []string{
			"+ route users: policy.novel.list[0].a - -> 0",
		}},
		{"not JSON", nil, plan("novel", `{"list":`), []string{
			`~ route users: policy.novel {list: [{a: 1}, {a: 2}], onError: closed, text: x} -> "{\"list\":"`,
		}},
		{"policy that is there twice", nil, onRoute("users", func(r *ir.Route) { r.Policies = append(r.Policies, policyOf("ip", `{"allow":["0.0.0.0/0"]}`)) }), []string{
			`+ route users: policy["ip (again)"].allow - -> [0.0.0.0/0]`,
		}},
		{"type of a value", plan("novel", `{"text":"1"}`), plan("novel", `{"text":1}`), []string{
			`~ route users: policy.novel.text "1" -> 1`,
		}},
		{"renamed route", nil, onRoute("docs", func(r *ir.Route) { r.ID = "manual" }), []string{"~ route manual (was docs)"}},
		{"renamed upstream", nil, both(onUpstream("users", func(u *ir.Upstream) { u.ID = "people" }), toUpstream("users", "people")), []string{
			"~ upstream people (was users)",
			"~ route users: target.upstream users -> people",
		}},
		{"renamed upstream and route", nil, both(onUpstream("users", func(u *ir.Upstream) { u.ID = "people" }), toUpstream("users", "people"), onRoute("users", func(r *ir.Route) { r.ID = "people" })), []string{
			"~ upstream people (was users)",
			"~ route people (was users): target.upstream users -> people",
		}},
		{"replaced route", nil, onRoute("docs", func(r *ir.Route) { r.ID, r.Forward.Timeout = "manual", 1 }), []string{
			"~ route manual (was docs): policy.timeout 10000 -> 1",
		}},
		{"id that is there twice", nil, add(routeOf("docs", ir.Match{Path: "/x"}, "users")), []string{
			`+ route "docs (again)": matcher.path - -> /x`,
			`+ route "docs (again)": policy.timeout - -> 10000`,
			`+ route "docs (again)": policy.timeouts.header - -> 60000`,
			`+ route "docs (again)": policy.timeouts.idle - -> 60000`,
			`+ route "docs (again)": target.type - -> http`,
			`+ route "docs (again)": target.upstream - -> users`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.from == nil {
				c.from = unchanged
			}
			got, want := lines(Programs(base(c.from), base(c.edit))), slices.Clone(c.want)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
		})
	}
}

func TestOrigins(t *testing.T) {
	a := base()
	b := base(both(onRoute("users", func(r *ir.Route) { r.Match.Path, r.Forward.IdleTimeout, r.Tenant = "/x", 1, "acme" }),
		jwt(`["user"]`, `["x"]`), endpoint("users", 0, "users-9:1"), gateway(func(g *ir.Gateway) { g.Name = "y" }),
		onUpstream("pay", func(u *ir.Upstream) { u.MaxIdle = 1 })))
	b.Origins["routes/users/matcher.path"] = at3("routes/users.yaml", 40, 22)
	want := map[string]string{
		"matcher.path":                  "routes/users.yaml:4:22 routes/users.yaml:40:22",
		"policy.timeouts.idle":          "policies/slow.yaml:4:17 policies/slow.yaml:4:17",
		"policy.auth.jwt.requiredRoles": "routes/users.yaml:8:14 routes/users.yaml:8:14",
		"policy.auth.apiKey.scopes":     "routes/users.yaml:3:5 -",
		"tenant":                        "- routes/users.yaml:3:5",
		"targets":                       "upstreams/users.yaml:5:9 upstreams/users.yaml:5:9",
		"name":                          "gateway.yaml:2:1 gateway.yaml:2:1",
		"maxIdleConnections":            "- -",
	}
	got := map[string]string{}
	for _, o := range Programs(a, b).Objects {
		for _, c := range o.Changes {
			got[c.Path] = c.OldPos.String() + " " + c.NewPos.String()
		}
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v\nwant %v", got, want)
	}
}

func TestEffects(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*ir.Program)
		want []string
	}{
		{"nothing", unchanged, nil},
		{"other upstream", toUpstream("docs", "users"), []string{"ANY /docs/* : http://docs:80 -> upstream users"}},
		{"auth dropped", both(drop("auth"), onMatch(func(m *ir.Match) { m.Headers, m.Query = nil, nil }), onRoute("users", func(r *ir.Route) { r.Forward.Timeout = 5 })), []string{
			"GET,PUT api.example.com/api/users/* with header x-beta=* with header x-tenant=acme with query v=2 => GET,PUT api.example.com/api/users/*" +
				" : auth apiKey+jwt, timeout 10000 -> auth none, timeout 5",
		}},
		{"matcher alone", onRoute("docs", func(r *ir.Route) { r.Match = ir.Match{PathRegex: "/d.*"} }), []string{
			"ANY /docs/* => ANY ~ /d.* : http://docs:80, auth none",
		}},
		{"added", add(routeOf("n", ir.Match{Path: "/n"}, "users", policyOf("jwt", `{}`))), []string{"ANY /n : another route, or 404 -> upstream users, auth jwt"}},
		{"removed", removeRoute("docs"), []string{"ANY /docs/* : http://docs:80, auth none -> another route, or 404"}},
		{"renamed", onRoute("docs", func(r *ir.Route) { r.ID = "manual" }), nil},
		{"upstream", endpoint("users", 0, "x:1"), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			r := Programs(base(), base(c.edit))
			for i := range r.Effects {
				got = append(got, r.Effects[i].String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func TestAbsentProgram(t *testing.T) {
	up, down := Programs(nil, base()), Programs(base(), nil)
	if got, want := up.Summary(), "6 added, 0 removed, 0 changed; "; !strings.HasPrefix(got, want) {
		t.Errorf("from nothing: %s", got)
	}
	if got, want := down.Summary(), "0 added, 6 removed, 0 changed; "; !strings.HasPrefix(got, want) {
		t.Errorf("to nothing: %s", got)
	}
	if !slices.ContainsFunc(down.Risks, func(k Risk) bool { return k.Code == EmptyConfig }) {
		t.Errorf("to nothing: no %s in %v", EmptyConfig, down.Risks)
	}
}
