package ratelimit

import (
	"context"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/state/memstate"
)

// gone is a state that is away at once.
type gone struct{ policy.State }

func (gone) Take(context.Context, []policy.Bucket) ([]policy.Taken, error) {
	return nil, policy.ErrStateAway
}
func (gone) Replicas() int { return 4 }

func BenchmarkDecide(b *testing.B) {
	for _, bb := range []struct{ name, yaml, want string }{
		{"memstate", "{ tokensPerInterval: 1000000000, intervalMs: 1000, key: [ip] }", "pass"},
		{"several", "{ limits: [ { id: a, tokensPerInterval: 1000000000, intervalMs: 1000 }, { id: b, tokensPerInterval: 1000000, intervalMs: 1000, burst: 1000000000, key: [ip] } ] }", "pass"},
		{"lease", "{ tokensPerInterval: 1000000, intervalMs: 1000, burst: 1000000000, localPercent: 1, key: [ip] }", "pass"},
		{"lease, refused", "{ tokensPerInterval: 10, intervalMs: 86400000, localPercent: 50, key: [ip] }", "429 rate_limited"},
		{"refused", "{ tokensPerInterval: 1, intervalMs: 86400000, key: [ip] }", "429 rate_limited"},
		{"fallback", "{ tokensPerInterval: 1000000000, intervalMs: 1000, key: [ip] }", "pass"},
	} {
		b.Run(bb.name, func(b *testing.B) {
			w := policytest.NewWorld()
			w.State = memstate.New(memstate.Options{Now: w.Now})
			w.Metrics = silent{}
			h := w.Build(b, Kind, plan(b, bb.yaml))
			if bb.name == "fallback" {
				h.(*handler).state = gone{}
			}
			x := w.Exchange("GET", "/users")
			x.Principal = &policy.Principal{Issuer: "https://identity.example", Subject: "user-4711"}
			for range 10 {
				h.Decide(b.Context(), x)
			}
			if said := policytest.Said(h.Decide(b.Context(), x)); said != bb.want {
				b.Fatal(said)
			}
			b.ReportAllocs()
			for b.Loop() {
				w.Clock = w.Clock.Add(1000)
				h.Decide(b.Context(), x)
			}
		})
	}
}

func BenchmarkRespond(b *testing.B) {
	w := policytest.NewWorld()
	w.State = memstate.New(memstate.Options{Now: w.Now})
	h := w.Build(b, Kind, plan(b, "{ tokensPerInterval: 60, intervalMs: 60000 }"))
	x := w.Exchange("GET", "/users")
	h.Decide(b.Context(), x)
	r := &httpmsg.Response{}
	b.ReportAllocs()
	for b.Loop() {
		r.Header.Reset()
		h.(policy.ResponseHandler).Respond(b.Context(), x, r)
	}
}

// silent are metrics that cost nothing.
type silent struct{}

func (silent) Series(*policy.Vector, ...string) policy.Series { return silent{} }
func (silent) Add(float64)                                    {}
func (silent) Set(float64)                                    {}
