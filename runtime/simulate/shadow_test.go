package simulate_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/runtime/snapshot"
)

const shadowSite = `
gateway: { name: site, trustedProxies: [198.51.100.0/24] }
upstreams:
  - { id: one, targets: [{ url: "http://one:8080" }] }
  - { id: two, targets: [{ url: "http://two:8080" }] }
routes:
  - { id: same, matcher: { path: "/same/*" }, target: { type: http, upstream: one }, policy: { ip: { deny: [192.0.2.0/24] } } }
  - { id: office, matcher: { path: "/office/*" }, target: { type: http, upstream: one }, policy: { ip: { allow: [192.0.2.0/24] } } }
  - { id: open, matcher: { path: "/open/*" }, target: { type: http, upstream: one } }
  - { id: moved, matcher: { path: "/moved/*" }, target: { type: http, upstream: one } }
  - { id: old, matcher: { path: "/old/{name}" }, target: { type: http, upstream: one } }
  - id: limited
    matcher: { path: /limited }
    target: { type: http, upstream: one }
    policy: { rateLimit: { tokensPerInterval: 3, intervalMs: 60000, key: [ip] } }
  - id: counted
    matcher: { path: /counted }
    target: { type: http, upstream: one }
    policy: { rateLimit: { tokensPerInterval: 100, intervalMs: 60000, key: [ip] } }
  - { id: prefixed, matcher: { path: "/prefixed/*" }, target: { type: http, url: "http://127.0.0.1:8080/v1" } }
`

// shadowed changes a line for each thing that may differ.
var shadowed = strings.NewReplacer(
	`policy: { ip: { allow: [192.0.2.0/24] } }`, `policy: { ip: { allow: [192.0.2.0/24, 203.0.113.0/24] } }`,
	`{ id: open, matcher: { path: "/open/*" }, target: { type: http, upstream: one } }`, `{ id: open, matcher: { path: "/open/*" }, target: { type: http, upstream: one }, policy: { ip: { deny: [203.0.113.0/24] } } }`,
	`{ id: moved, matcher: { path: "/moved/*" }, target: { type: http, upstream: one } }`, `{ id: moved, matcher: { path: "/moved/*" }, target: { type: http, upstream: two } }`,
	`{ id: old, matcher: { path: "/old/{name}" }, target: { type: http, upstream: one } }`, `{ id: old, matcher: { path: "/old/{name}" }, target: { type: http, upstream: one }, policy: { rewrite: { path: "/new/${params.name}" } } }`,
	`tokensPerInterval: 3,`, `tokensPerInterval: 5,`,
	`tokensPerInterval: 100,`, `tokensPerInterval: 50,`,
	`:8080/v1"`, `:8080/v2"`,
)

type shadowRig struct {
	*simulate.Shadow
	t       *testing.T
	serving *snapshot.Snapshot
	seen    int64
}

func newShadow(t *testing.T, before, after string, percent int) *shadowRig {
	t.Helper()
	a, b := newRig(t, before, "tests: []"), newRig(t, after, "tests: []")
	clock := testkit.NewClock(time.Time{})
	s, err := simulate.NewShadow(t.Context(), a.program, b.program, simulate.ShadowOptions{
		Tools: a.tools, Percent: percent, Env: policy.Env{Log: slog.New(slog.DiscardHandler), Now: clock.Now},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	serving := snapshot.Empty()
	if serving.Proxies, err = httpmsg.NewProxies([]string{"198.51.100.0/24"}); err != nil {
		t.Fatal(err)
	}
	return &shadowRig{Shadow: s, t: t, serving: serving}
}

// ask shows a request, and waits until it is judged.
func (s *shadowRig) ask(from, target string, fields ...httpmsg.Field) {
	s.t.Helper()
	method, target, _ := strings.Cut(target, " ")
	r := &httpmsg.Request{
		Method: method, Target: target, Proto: "HTTP/1.1", Scheme: "http", Host: "api.example.com", Authority: "api.example.com",
		Peer: netip.AddrPortFrom(netip.MustParseAddr(from), 1234), Header: httpmsg.Header{Fields: fields}, Received: time.Unix(0, 0),
	}
	s.See(s.serving, r)
	s.seen++
	testkit.Eventually(s.t, target+" is judged", func() bool { return s.Report().Requests == s.seen })
}

func TestShadow(t *testing.T) {
	s := newShadow(t, shadowSite, shadowed.Replace(shadowSite), 100)
	for range 5 {
		s.ask("203.0.113.9", "GET /office/x?key=secret")
	}
	s.ask("192.0.2.1", "GET /office/x")  // passes on both sides
	s.ask("198.51.100.7", "GET /office") // passes on neither
	s.ask("198.51.100.7", "GET /office/behind-a-proxy", httpmsg.Field{Name: "X-Forwarded-For", Value: "203.0.113.9"})
	s.ask("203.0.113.9", "GET /open/x")
	s.ask("192.0.2.1", "GET /open/x")
	s.ask("192.0.2.1", "GET /moved/x")
	s.ask("192.0.2.1", "GET /old/a%20b")
	s.ask("192.0.2.1", "GET /same/x")
	s.ask("192.0.2.1", "GET /nowhere")
	s.ask("192.0.2.1", "GET /%00")
	for range 7 {
		s.ask("192.0.2.1", "GET /limited")
	}
	s.ask("192.0.2.1", "GET /counted")
	s.ask("192.0.2.1", "GET /prefixed/x") // with another path before it

	r := s.Report()
	want := map[simulate.Way]int64{
		simulate.DenyToAllow: 6 + 2, simulate.AllowToDeny: 1, simulate.OtherUpstream: 1, simulate.OtherRequest: 1 + 1, simulate.OtherLimit: 3 + 1,
	}
	if fmt.Sprint(r.Ways) != fmt.Sprint(want) || r.Dropped != 0 || r.Differences() != 16 {
		t.Errorf("ways %v, want %v; dropped %d", r.Ways, want, r.Dropped)
	}
	var routes []string
	said := map[string]string{}
	for _, d := range r.Routes {
		routes = append(routes, d.Route)
		w := d.Witnesses[0]
		said[d.Route] = fmt.Sprintf("%s %s %s%s: %s (%s) -> %s (%s)", w.Way, w.Method, w.Host, w.Path, w.Before.Text, w.Before.Pos, w.After.Text, w.After.Pos)
		if len(d.Witnesses) > 6 {
			t.Errorf("%d witnesses of %s", len(d.Witnesses), d.Route)
		}
	}
	if !slices.Equal(routes, []string{"counted", "limited", "moved", "office", "old", "open", "prefixed"}) {
		t.Errorf("routes %q", routes)
	}
	for route, want := range map[string]string{
		"office": "deny_to_allow GET api.example.com/office/x: 403 ip_denied by ip on route office (gateway.yaml:9:104) -> to one on route office (gateway.yaml:9:5)",
		"open":   "allow_to_deny GET api.example.com/open/x: to one on route open (gateway.yaml:10:5) -> 403 ip_denied by ip on route open (gateway.yaml:10:100)",
		"moved":  "other_upstream GET api.example.com/moved/x: to one on route moved (gateway.yaml:11:5) -> to two on route moved (gateway.yaml:11:5)",
	} {
		if said[route] != want {
			t.Errorf("%s: %s\nwant %s", route, said[route], want)
		}
	}
	if strings.Contains(fmt.Sprintf("%+v", r), "secret") {
		t.Error("the report holds a query")
	}
}

// TestShadowSeesPassers has a route that did not change lose requests to one that is new.
func TestShadowSeesPassers(t *testing.T) {
	hole := strings.Replace(shadowSite, "routes:\n", "routes:\n  - { id: hole, matcher: { path: /office/hole }, target: { type: http, upstream: one } }\n", 1)
	s := newShadow(t, shadowSite, hole, 100)
	s.ask("203.0.113.9", "GET /office/hole")
	s.ask("203.0.113.9", "GET /office/other")
	s.ask("203.0.113.9", "GET /limited")
	if r := s.Report(); r.Ways[simulate.DenyToAllow] != 1 || r.Differences() != 1 || r.Routes[0].Route != "office" || r.Routes[0].Witnesses[0].After.Route != "hole" {
		t.Errorf("report %+v", r)
	}
}

// TestShadowOfTheSame finds no difference between configurations that decide alike, whatever is asked: the other list of proxies keeps
// it from taking routes for the same without a look.
func TestShadowOfTheSame(t *testing.T) {
	other := strings.Replace(shadowSite, "[198.51.100.0/24]", "[198.51.100.0/24, 192.0.2.99]", 1)
	s := newShadow(t, shadowSite, other, 100)
	for _, target := range []string{"GET /open/x", "GET /office/1", "POST /same/x", "GET /limited", "GET /nowhere", "OPTIONS /moved/x", "PATCH /old/x?debug=1", "GET /healthz"} {
		for range 8 {
			s.ask("203.0.113.9", target, httpmsg.Field{Name: "Authorization", Value: "Bearer x.y.z"}, httpmsg.Field{Name: "X-Forwarded-For", Value: "192.0.2.1"})
		}
	}
	if r := s.Report(); r.Differences() != 0 {
		t.Errorf("report %+v", r)
	}
	s.ask("192.0.2.99", "GET /office/x", httpmsg.Field{Name: "X-Forwarded-For", Value: "203.0.113.9"})
	if r := s.Report(); r.Ways[simulate.AllowToDeny] != 1 {
		t.Errorf("a new proxy: %+v", r)
	}
}

// TestShadowTakesWholeClients takes about the share of clients it was told to, and each of them always or never.
func TestShadowTakesWholeClients(t *testing.T) {
	s := newShadow(t, shadowSite, shadowSite, 30)
	const clients, each = 400, 3
	for range each {
		for i := range clients {
			s.See(s.serving, &httpmsg.Request{
				Method: "GET", Target: "/open/x", Host: "h", Authority: "h", Peer: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 1),
			})
		}
	}
	judged := func() int64 { r := s.Report(); return r.Requests + r.Dropped }
	var last int64 = -1
	testkit.Eventually(t, "all are judged", func() bool {
		now := judged()
		settled := now == last && now > 0
		last = now
		return settled
	})
	if n := judged(); n%each != 0 || n < clients*each*15/100 || n > clients*each*45/100 {
		t.Errorf("%d of %d requests were taken", n, clients*each)
	}
}

// TestShadowHasNoEffect keeps the shared state as it is: nothing is taken, no key counts as used.
func TestShadowHasNoEffect(t *testing.T) {
	a, b := newRig(t, shadowSite, "tests: []"), newRig(t, shadowed.Replace(shadowSite), "tests: []")
	real := &untouchable{t: t}
	s, err := simulate.NewShadow(t.Context(), a.program, b.program, simulate.ShadowOptions{
		Tools: a.tools, Percent: 100, Env: policy.Env{Log: slog.New(slog.DiscardHandler), Now: time.Now, State: real},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &shadowRig{Shadow: s, t: t, serving: snapshot.Empty()}
	r.ask("203.0.113.9", "GET /limited")
	r.ask("203.0.113.9", "GET /counted")
	s.Close()
	s.See(r.serving, &httpmsg.Request{Method: "GET", Target: "/limited"}) // one that was under way
}

// untouchable is a state that only lends records of keys.
type untouchable struct{ t *testing.T }

func (u *untouchable) Take(context.Context, []policy.Bucket) ([]policy.Taken, error) {
	u.t.Error("tokens were taken")
	return nil, policy.ErrStateAway
}

func (u *untouchable) First(context.Context, string, time.Duration) (bool, error) {
	u.t.Error("a name was remembered")
	return false, policy.ErrStateAway
}

func (u *untouchable) Key(context.Context, string) (*policy.KeyRecord, error) { return nil, nil }
func (u *untouchable) KeyUsed(string, time.Time)                              { u.t.Error("a key was used") }
func (u *untouchable) Replicas() int                                          { return 1 }

func BenchmarkShadowSee(b *testing.B) {
	a := newRig(b, shadowSite, "tests: []")
	s, err := simulate.NewShadow(b.Context(), a.program, a.program, simulate.ShadowOptions{Tools: a.tools, Percent: 100, Env: policy.Env{Log: slog.New(slog.DiscardHandler), Now: time.Now}})
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	r := &httpmsg.Request{Method: "GET", Target: "/open/x", Host: "h", Authority: "h", Header: httpmsg.Header{Fields: make([]httpmsg.Field, 10)}}
	serving := snapshot.Empty()
	b.ReportAllocs()
	for b.Loop() {
		s.See(serving, r)
	}
}
