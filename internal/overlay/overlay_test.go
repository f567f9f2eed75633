package overlay_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

func upstream(id, address string) ir.Upstream {
	return ir.Upstream{ID: id, Scheme: "http", Endpoints: []ir.Endpoint{{Address: address}}, ConnectTimeout: 1000, IdleTimeout: 1000, MaxIdle: 1, MaxConnections: 1}
}

func route(id, path string) ir.Route {
	return ir.Route{ID: id, Match: ir.Match{Path: path}, Target: ir.Target{Type: "http", Upstream: "users"}, Forward: ir.Forward{Timeout: 1000}}
}

// program has two upstreams and two routes, changed as a test wants.
func program(change func(*ir.Program)) *ir.Program {
	p := &ir.Program{
		Environment: "prod", Gateway: ir.Gateway{Name: "shop"},
		Upstreams: []ir.Upstream{upstream("spare", "10.0.0.9:80"), upstream("users", "10.0.0.1:80")},
		Routes:    []ir.Route{route("orders", "/orders"), route("users", "/users")},
	}
	if change != nil {
		change(p)
	}
	return p
}

var at = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// between is the overlay that makes one program of the other.
func between(t *testing.T, id string, s bundle.Strategy, before, after *ir.Program) *bundle.Overlay {
	t.Helper()
	changes, err := overlay.Between(before, after)
	if err != nil {
		t.Fatal(err)
	}
	return &bundle.Overlay{ID: id, Name: "shop", Environment: "prod", Strategy: s, IssuedAt: bundle.TimeOf(at), ExpiresAt: bundle.TimeOf(at.Add(time.Hour)), Changes: changes}
}

func same(t *testing.T, a, b *ir.Program) bool {
	t.Helper()
	changes, err := overlay.Between(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return len(changes) == 0
}

func slow(p *ir.Program)  { p.Routes[1].Forward.Timeout = 9000 }
func moved(p *ir.Program) { p.Routes[1].Target.Upstream = "spare" }
func guarded(p *ir.Program) {
	p.Routes[1].Policies = []ir.Policy{{Kind: "auth.jwt", Plan: []byte(`{"a":1}`)}}
}

func headers(p *ir.Program) {
	p.Routes[1].Policies = append(p.Routes[1].Policies, ir.Policy{Kind: "headers", Plan: []byte(`{"set":"x"}`)})
}

func all(changes ...func(*ir.Program)) func(*ir.Program) {
	return func(p *ir.Program) {
		for _, c := range changes {
			c(p)
		}
	}
}

func TestLay(t *testing.T) {
	for _, tt := range []struct {
		name     string
		strategy bundle.Strategy
		overlay  func(*ir.Program) // what it changes of the program it is made for
		now      func(*ir.Program) // what the repository has changed since
		want     func(*ir.Program) // what serves
		state    overlay.State
		why      string
		holds    bool
	}{
		{"nothing else has changed", bundle.GitWins, slow, nil, slow, overlay.Active, "", false},
		{"something else has changed", bundle.GitWins, slow, func(p *ir.Program) { p.Routes[0].Forward.Timeout = 5 }, all(slow, func(p *ir.Program) { p.Routes[0].Forward.Timeout = 5 }), overlay.Active, "", false},
		{"the repository has caught up", bundle.Manual, slow, slow, slow, overlay.Done, "", false},
		{"git wins", bundle.GitWins, slow, moved, moved, overlay.Aside, `route "users" was changed in the repository, which wins`, false},
		{"live wins", bundle.LiveWins, slow, moved, slow, overlay.Active, "", false},
		{"live wins over a removal", bundle.LiveWins, slow, func(p *ir.Program) { p.Routes = p.Routes[:1] }, slow, overlay.Active, "", false},
		{"live wins with a removal", bundle.LiveWins, func(p *ir.Program) { p.Routes = p.Routes[:1] }, slow, func(p *ir.Program) { p.Routes = p.Routes[:1] }, overlay.Active, "", false},
		{"a person decides", bundle.Manual, slow, moved, moved, overlay.Aside, `route "users" was changed in the repository, too`, true},
		{"an unknown strategy", "later", slow, moved, moved, overlay.Aside, "which wins", false},
		{"two parts of one route", bundle.Merge, slow, moved, all(slow, moved), overlay.Active, "", false},
		{"git has it, and more", bundle.Merge, slow, all(slow, guarded), all(slow, guarded), overlay.Done, "", false},
		{"where to is never merged", bundle.Merge, moved, slow, slow, overlay.Aside, "the overlay changes target, which is never merged", false},
		{"both the same part", bundle.Merge, slow, func(p *ir.Program) { p.Routes[1].Forward.Timeout = 7 }, func(p *ir.Program) { p.Routes[1].Forward.Timeout = 7 }, overlay.Aside, "both change forward", false},
		{"what git protects is taken over", bundle.Merge, slow, guarded, all(slow, guarded), overlay.Active, "", false},
		{"a policy is merged beside another", bundle.Merge, headers, guarded, all(guarded, headers), overlay.Active, "", false},
		{"what protects is never merged", bundle.Merge, guarded, slow, slow, overlay.Aside, "the overlay changes policies auth.jwt, which is never merged", false},
		{"the matcher is never merged", bundle.Merge, func(p *ir.Program) { p.Routes[1].Match.Path = "/u" }, slow, slow, overlay.Aside, "the overlay changes match, which is never merged", false},
		{"a removed route is never merged", bundle.Merge, slow, func(p *ir.Program) { p.Routes = p.Routes[:1] }, func(p *ir.Program) { p.Routes = p.Routes[:1] }, overlay.Aside, "cannot be merged", false},
		{
			"the upstream is gone", bundle.GitWins, moved, func(p *ir.Program) { p.Upstreams = p.Upstreams[1:] }, func(p *ir.Program) { p.Upstreams = p.Upstreams[1:] },
			overlay.Aside, `route "users" goes to upstream "spare", which there is no more`, false,
		},
		{
			"a route of the repository is like one of the overlay by now", bundle.GitWins,
			func(p *ir.Program) { p.Routes = append(p.Routes, route("zoo", "/zoo")) },
			func(p *ir.Program) { p.Routes = append(p.Routes, route("zebra", "/zoo")) },
			func(p *ir.Program) { p.Routes = append(p.Routes, route("zebra", "/zoo")) },
			overlay.Aside, `routes "zebra" and "zoo" would both match the same requests`, false,
		},
		{"an upstream", bundle.Merge, func(p *ir.Program) { p.Upstreams[1].MaxIdle = 7 }, func(p *ir.Program) { p.Upstreams[1].TLS = &ir.UpstreamTLS{} }, func(p *ir.Program) {
			p.Upstreams[1].MaxIdle, p.Upstreams[1].TLS = 7, &ir.UpstreamTLS{}
		}, overlay.Active, "", false},
		{"tls of an upstream is never merged", bundle.Merge, func(p *ir.Program) { p.Upstreams[1].TLS = &ir.UpstreamTLS{} }, func(p *ir.Program) { p.Upstreams[1].MaxIdle = 7 }, func(p *ir.Program) {
			p.Upstreams[1].MaxIdle = 7
		}, overlay.Aside, "the overlay changes tls, which is never merged", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			made, now := program(nil), program(tt.now)
			o := between(t, "inc-42", tt.strategy, made, program(tt.overlay))
			got, outcomes := overlay.Lay(now, []*bundle.Overlay{o}, nil)
			if len(outcomes) != 1 {
				t.Fatalf("%+v", outcomes)
			}
			if r := outcomes[0]; r.ID != "inc-42" || r.State != tt.state || !strings.Contains(r.Why, tt.why) || (r.Why == "") != (tt.why == "") || r.Holds != tt.holds {
				t.Errorf("%+v, want %s: %q", r, tt.state, tt.why)
			}
			if !same(t, got, program(tt.want)) {
				t.Errorf("serves %+v", got.Routes)
			}
			if !same(t, now, program(tt.now)) {
				t.Error("the program itself was changed")
			}
			if !slices.IsSortedFunc(got.Routes, func(a, b ir.Route) int { return strings.Compare(a.ID, b.ID) }) {
				t.Error("the routes are out of order")
			}
		})
	}
}

func TestLaySeveral(t *testing.T) {
	base := program(nil)
	first := between(t, "zz-first", bundle.GitWins, base, program(slow))
	second := between(t, "aa-second", bundle.GitWins, base, program(moved))
	second.IssuedAt = bundle.TimeOf(at.Add(time.Minute))
	other := between(t, "other", bundle.GitWins, base, program(func(p *ir.Program) { p.Routes[0].Forward.Timeout = 5 }))
	list := []*bundle.Overlay{second, other, first}
	got, outcomes := overlay.Lay(base, list, nil)
	want := []overlay.Outcome{
		{ID: "other", State: overlay.Active},
		{ID: "zz-first", State: overlay.Active},
		{ID: "aa-second", State: overlay.Aside, Why: `route "users" is changed by overlay zz-first already`},
	}
	if !slices.Equal(outcomes, want) || !same(t, got, program(all(slow, func(p *ir.Program) { p.Routes[0].Forward.Timeout = 5 }))) {
		t.Errorf("%+v", outcomes)
	}

	// A judge sees the whole on both sides, and what it refuses costs no other.
	judge := func(before, after *ir.Program) string {
		if !same(t, before, base) {
			t.Error("compared with something else")
		}
		if after.Routes[0].Forward.Timeout == 5 {
			return "not that"
		}
		return ""
	}
	got, outcomes = overlay.Lay(base, list, judge)
	if outcomes[0] != (overlay.Outcome{ID: "other", State: overlay.Aside, Why: "not that"}) || outcomes[1].State != overlay.Active || !same(t, got, program(slow)) {
		t.Errorf("%+v", outcomes)
	}
	if got, outcomes = overlay.Lay(base, nil, judge); got != base || len(outcomes) != 0 {
		t.Errorf("without any: %+v", outcomes)
	}
}

// What is signed by a good key may still be nonsense.
func TestLayNonsense(t *testing.T) {
	for name, c := range map[string]struct {
		change bundle.Change
		want   string
	}{
		"not what this gateway understands": {bundle.Change{After: []byte(`{"id":"new","nonsense":1}`)}, `this gateway does not understand it: json: unknown field "nonsense"`},
		"another id":                        {bundle.Change{After: []byte(`{"id":"other"}`)}, `what it is to be calls itself "other"`},
		"null":                              {bundle.Change{After: []byte(`null`)}, `what it is to be calls itself ""`},
		"a list":                            {bundle.Change{After: []byte(`[]`)}, "this gateway does not understand it"},
	} {
		c.change.Kind, c.change.ID = bundle.KindRoutes, "new"
		base := program(nil)
		got, outcomes := overlay.Lay(base, []*bundle.Overlay{{ID: "x", Name: "shop", Environment: "prod", Strategy: bundle.LiveWins, Changes: []bundle.Change{c.change}}}, nil)
		if got != base || outcomes[0].State != overlay.Aside || !strings.Contains(outcomes[0].Why, c.want) {
			t.Errorf("%s: %+v", name, outcomes)
		}
	}
}

func TestBetweenRefusesTheGateway(t *testing.T) {
	_, err := overlay.Between(program(nil), program(func(p *ir.Program) { p.Gateway.TrustedProxies = []string{"0.0.0.0/0"} }))
	if err == nil || !strings.Contains(err.Error(), "settings of the gateway") {
		t.Errorf("%v", err)
	}
}

// What is packed is what a gateway reads: the bundle with another content, and the origin of the one it was.
func TestPack(t *testing.T) {
	shards, err := ir.Pack(program(nil))
	if err != nil {
		t.Fatal(err)
	}
	b, err := bundle.New(bundle.Info{
		Name: "shop", Environment: "prod", Source: bundle.Source{Commit: strings.Repeat("a", 40), Tree: strings.Repeat("b", 40)},
		Compiler: "1.0.0", SchemaVersion: "gateway.suuupra.dev/v1", MinRuntime: "0.1.0", Kinds: []string{"target/http"},
	}, shards)
	if err != nil {
		t.Fatal(err)
	}
	got, err := overlay.Pack(b, program(guarded))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Manifest.Kinds, []string{"policy/auth.jwt", "target/http"}) || got.Manifest.Source != b.Manifest.Source || got.Manifest.ContentDigest == b.Manifest.ContentDigest {
		t.Errorf("%+v", got.Manifest)
	}
	p, err := ir.Unpack(got)
	if err != nil || !same(t, p, program(guarded)) {
		t.Errorf("%v", err)
	}
	if again, err := overlay.Pack(b, program(nil)); err != nil || again.Manifest.ContentDigest != b.Manifest.ContentDigest {
		t.Errorf("without a change: %v", err)
	}
}
