// Package policytest lets the tests of a policy kind compile what an author would write, build it, and ask it about requests,
// without a gateway around it.
package policytest

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// Route is what a policy is compiled for.
type Route struct {
	Policy string   // the route's policy as YAML, e.g. "ip: { allow: [10.0.0.0/8] }"
	Match  ir.Match // of the route
	Tenant bool     // a tenant wrote it: private addresses may not be dialled
}

// Compile compiles one kind of a route's policy. said is what the compiler has to say about it, a line for each diagnostic:
// severity, code, path and message, then the hint.
func Compile(tb testing.TB, k policy.Kind, r Route) (plan json.RawMessage, said []string) {
	tb.Helper()
	var bad diag.List
	n := yamlpos.Decode("routes.yaml", []byte(r.Policy), &bad)
	if bad.HasErrors() {
		tb.Fatalf("the policy is no YAML: %v", bad.Sorted())
	}
	spec := n.At(k.Name)
	if spec == nil {
		tb.Fatalf("the policy has no %s", k.Name)
	}
	c := &policy.CompileContext{
		Diags: &bad, Path: "policy." + k.Name, Route: "r", Match: &r.Match, Policy: n,
		Address: func(*url.URL, string) bool { return !r.Tenant },
	}
	plan, _ = k.Compile(c, spec)
	for _, d := range bad.Sorted() {
		line := fmt.Sprintf("%s %s %s: %s", d.Severity, d.Code, d.Path, d.Message)
		if d.Hint != "" {
			line += " (" + d.Hint + ")"
		}
		said = append(said, line)
	}
	return plan, said
}

// MustCompile is Compile for a policy with which all is well.
func MustCompile(tb testing.TB, k policy.Kind, r Route) json.RawMessage {
	tb.Helper()
	plan, said := Compile(tb, k, r)
	if len(said) > 0 || plan == nil {
		tb.Fatalf("compile %s: %q", r.Policy, said)
	}
	return plan
}

// World is an environment for policies whose parts a test can set and look at.
type World struct {
	policy.Env
	Clock   time.Time // what Now says
	Counts  *Counts
	secrets map[string][]byte
	mu      sync.Mutex
}

// NewWorld returns a world at noon of 2026-01-01 UTC, without state and key sets.
func NewWorld() *World {
	w := &World{Clock: time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC), Counts: &Counts{}, secrets: map[string][]byte{}}
	w.Env = policy.Env{
		Log: slog.New(slog.DiscardHandler), Now: w.now, Shared: shared{}, Route: policy.Route{ID: "r"}, Upstream: "users",
		Environment: "test", Metrics: w.Counts, Secrets: w,
	}
	return w
}

func (w *World) now() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.Clock
}

// Advance moves the clock.
func (w *World) Advance(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.Clock = w.Clock.Add(d)
}

// SetSecret gives a reference a value; nil takes it away.
func (w *World) SetSecret(ref string, value []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.secrets[ref] = value
}

// Hold implements policy.Secrets.
func (w *World) Hold(ref string) (policy.Secret, error) { return secret{w, ref}, nil }

type secret struct {
	w   *World
	ref string
}

func (s secret) Value() ([]byte, uint64, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	v := s.w.secrets[s.ref]
	if v == nil {
		return nil, 0, errors.New("secret " + s.ref + ": is not there")
	}
	version := uint64(len(v))
	for _, b := range v {
		version = version*31 + uint64(b)
	}
	return v, version, nil
}

func (secret) Close() error { return nil }

// shared makes each value anew.
type shared struct{}

func (shared) Get(_ string, create func() (any, error)) (any, func(), error) {
	v, err := create()
	return v, func() {}, err
}

// Build builds a policy in the world, and closes it when the test ends.
func (w *World) Build(tb testing.TB, k policy.Kind, plan json.RawMessage) policy.Handler {
	tb.Helper()
	h, err := k.Build(tb.Context(), &w.Env, plan)
	if err != nil {
		tb.Fatalf("build %s: %v", plan, err)
	}
	if c, ok := h.(interface{ Close() error }); ok {
		tb.Cleanup(func() { _ = c.Close() })
	}
	return h
}

// Exchange is a request as a policy meets it. Lines are header fields, "Name: value".
func (w *World) Exchange(method, target string, lines ...string) *policy.Exchange {
	r := &httpmsg.Request{Method: method, Target: target, Authority: "api.example.com", Proto: "HTTP/1.1"}
	for _, l := range lines {
		name, value, _ := strings.Cut(l, ": ")
		r.Header.Add(name, value)
	}
	x := &policy.Exchange{Request: r, ClientIP: netip.MustParseAddr("192.0.2.1"), ID: "req-1", Route: w.Route, MaxBody: 1 << 20}
	x.Path, x.RawQuery, _ = strings.Cut(target, "?")
	x.Timings.Start = w.now()
	return x
}

// Said is a verdict in short: "pass", "answer 204", or "403 scope_missing".
func Said(v policy.Verdict) string {
	switch {
	case v.Reject != nil:
		return fmt.Sprintf("%d %s", v.Reject.Status, v.Reject.Code)
	case v.Response != nil:
		return fmt.Sprintf("answer %d", v.Response.Status)
	}
	return "pass"
}

// Counts keeps the series of a test.
type Counts struct {
	mu  sync.Mutex
	all map[string]float64
}

// Series implements policy.Metrics.
func (c *Counts) Series(v *policy.Vector, values ...string) policy.Series {
	if len(values) != len(v.Labels) {
		panic(fmt.Sprintf("%s has labels %v, not values %v", v.Name, v.Labels, values))
	}
	pairs := make([]string, len(values))
	for i := range values {
		pairs[i] = v.Labels[i] + "=" + values[i]
	}
	return series{c, v.Name + "{" + strings.Join(pairs, ",") + "}"}
}

// Of is the value of a series, e.g. "gw_authz_denied_total{route=r,reason=role}".
func (c *Counts) Of(name string) float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.all[name]
}

// All lists what is not zero, sorted, as "name{labels} value".
func (c *Counts) All() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for name, v := range c.all {
		if v != 0 {
			out = append(out, fmt.Sprintf("%s %g", name, v))
		}
	}
	slices.Sort(out)
	return out
}

type series struct {
	c    *Counts
	name string
}

func (s series) Add(n float64) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if s.c.all == nil {
		s.c.all = map[string]float64{}
	}
	s.c.all[s.name] += n
}

func (s series) Set(v float64) {
	s.Add(v - s.c.Of(s.name))
}
