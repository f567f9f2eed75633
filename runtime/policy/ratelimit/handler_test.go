package ratelimit

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// TestTenAMinute is exercise 1 of the guide: of eleven requests at once the last is refused, with all that a client needs to know.
func TestTenAMinute(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 10, intervalMs: 60000, key: [ip] }")
	one := func() *policy.Exchange { return r.from("192.0.2.1") }
	for i := range 10 {
		said, h := r.send(one())
		want := fmt.Sprintf("RateLimit-Policy: \"default\";q=10;w=60\nRateLimit: \"default\";r=%d;t=6\n", 9-i)
		if got := lines(h); said != "pass" || got != want {
			t.Fatalf("request %d: %s\n%s", i+1, said, got)
		}
	}
	v := r.h.Decide(t.Context(), one())
	want := &policy.Reject{
		Status: 429, Code: "rate_limited", Detail: "too many requests; try again in 6 s", Header: []httpmsg.Field{{Name: "Retry-After", Value: "6"}},
		Type: "https://iana.org/assignments/http-problem-types#quota-exceeded", Violated: []string{"default"},
	}
	if got, want := fmt.Sprintf("%+v", v.Reject), fmt.Sprintf("%+v", want); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	if said, _ := r.send(r.from("192.0.2.2")); said != "pass" {
		t.Errorf("another client: %s", said)
	}
	if got, want := r.Counts.All(), []string{
		"gw_ratelimit_requests_total{route=r,limit=default,key_type=ip,outcome=allowed} 11",
		"gw_ratelimit_requests_total{route=r,limit=default,key_type=ip,outcome=limited} 1",
		"gw_ratelimit_saturation{route=r,limit=default} 1",
	}; !slices.Equal(got, want) {
		t.Errorf("metrics %q", got)
	}
}

// TestTime goes along the edges of the refill.
func TestTime(t *testing.T) {
	for _, tt := range []struct {
		name, yaml string
		steps      []step
	}{
		{"at the edge of the window", "{ tokensPerInterval: 10, intervalMs: 60000, key: [ip] }", []step{
			{0, 10, 10},
			{6*second - time.Nanosecond, 1, 0},
			{time.Nanosecond, 2, 1},
			{54 * second, 20, 9},
			{60 * second, 20, 10},
		}},
		{"a burst after idling", "{ tokensPerInterval: 1, intervalMs: 1000, burst: 10, key: [ip] }", []step{
			{0, 20, 10},
			{5 * second, 20, 5},
			{10 * second, 20, 10},
			{3600 * second, 20, 10},
		}},
		{"a burst smaller than the rate", "{ tokensPerInterval: 100, intervalMs: 1000, burst: 2, key: [ip] }", []step{
			{0, 5, 2},
			{10 * time.Millisecond, 5, 1},
			{20 * time.Millisecond, 5, 2},
		}},
		{"requests that cost three", "{ tokensPerInterval: 10, intervalMs: 10000, cost: 3, key: [ip] }", []step{
			{0, 5, 3},
			{2*second - time.Nanosecond, 1, 0},
			{time.Nanosecond, 2, 1},
		}},
		{"a rate that is no whole number of nanoseconds", "{ tokensPerInterval: 7, intervalMs: 1000, key: [ip] }", []step{
			{0, 20, 7},
			{second, 20, 6}, // rounded against the client
			{7 * time.Nanosecond, 20, 1},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.yaml)
			for i, s := range tt.steps {
				r.Advance(s.after)
				if got := r.burst(s.send, func() *policy.Exchange { return r.from("192.0.2.1") }); got != s.pass {
					t.Errorf("step %d: %d of %d pass, want %d", i+1, got, s.send, s.pass)
				}
			}
		})
	}
}

type step struct {
	after      time.Duration
	send, pass int
}

// TestRetryAfterIsTrue comes back exactly when it is told to.
func TestRetryAfterIsTrue(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 7, intervalMs: 60000, cost: 2, key: [ip] }")
	for i := range 50 {
		said, h := r.send(r.from("192.0.2.1"))
		if said == "pass" {
			continue
		}
		wait, err := time.ParseDuration(h.Get("Retry-After") + "s")
		if err != nil || wait < second {
			t.Fatalf("Retry-After: %q", h.Get("Retry-After"))
		}
		if got := h.Get("RateLimit"); got != fmt.Sprintf(`"default";r=0;t=%d`, wait/second) {
			t.Errorf("RateLimit: %s, Retry-After: %s", got, wait)
		}
		r.Advance(wait)
		if said, _ := r.send(r.from("192.0.2.1")); said != "pass" {
			t.Fatalf("request %d: %s after the wait of %s that was asked for", i, said, wait)
		}
	}
}

// TestSeveralLimits takes from all or from none.
func TestSeveralLimits(t *testing.T) {
	r := newRig(t, `{ limits: [
	  { id: burst, tokensPerInterval: 3, intervalMs: 1000, key: [ip] },
	  { id: day, tokensPerInterval: 5, intervalMs: 86400000, key: [ip], cost: 1 } ] }`)
	one := func() *policy.Exchange { return r.from("192.0.2.1") }
	if got := r.burst(50, one); got != 3 {
		t.Fatalf("%d pass, want 3", got)
	}
	said, h := r.send(one())
	want := `Retry-After: 1
RateLimit-Policy: "burst";q=3;w=1, "day";q=5;w=86400
RateLimit: "burst";r=0;t=1, "day";r=2;t=17280
`
	if got := lines(h); said != "429 rate_limited" || got != want {
		t.Errorf("%s\n%s\nwant\n%s", said, got, want)
	}
	r.Advance(10 * second)
	if got := r.burst(50, one); got != 2 { // the refusals of burst have cost day nothing
		t.Errorf("%d pass, want 2", got)
	}
	v := r.h.Decide(t.Context(), one())
	if got := v.Reject; !slices.Equal(got.Violated, []string{"day"}) || got.Header[0].Value != "17270" {
		t.Errorf("%+v", got)
	}
	if n := len(r.state.costs()); n != 2*(50+1+50+1) {
		t.Errorf("%d buckets were asked", n)
	}
	for _, tt := range []struct {
		limit, outcome string
		want           float64
	}{{"burst", "allowed", 5}, {"burst", "limited", 48}, {"day", "allowed", 5}, {"day", "limited", 49}} {
		if got := r.count(tt.limit, "ip", tt.outcome); got != tt.want {
			t.Errorf("%s %s: %g, want %g", tt.limit, tt.outcome, got, tt.want)
		}
	}
}

// TestBothViolated names all limits that refuse, and waits for the one that takes longest.
func TestBothViolated(t *testing.T) {
	r := newRig(t, `{ limits: [
	  { id: a, tokensPerInterval: 1, intervalMs: 10000, key: [ip] },
	  { id: b, tokensPerInterval: 1, intervalMs: 60000, key: [ip] } ] }`)
	r.send(r.from("192.0.2.1"))
	v := r.h.Decide(t.Context(), r.from("192.0.2.1"))
	if got := v.Reject; !slices.Equal(got.Violated, []string{"a", "b"}) || got.Header[0].Value != "60" {
		t.Errorf("%+v", got)
	}
}

// TestFields has the exact text of every kind of header field.
func TestFields(t *testing.T) {
	for _, tt := range []struct {
		name, yaml  string
		first, last string // of two requests at once
	}{
		{
			"standard", "{ tokensPerInterval: 60, intervalMs: 60000, key: [ip] }",
			"RateLimit-Policy: \"default\";q=60;w=60\nRateLimit: \"default\";r=59;t=1\n",
			"RateLimit-Policy: \"default\";q=60;w=60\nRateLimit: \"default\";r=58;t=1\n",
		},
		{
			"legacy", "{ tokensPerInterval: 60, intervalMs: 60000, headers: legacy, key: [ip] }",
			"X-RateLimit-Limit: 60\nX-RateLimit-Remaining: 59\nX-RateLimit-Reset: 1\n",
			"X-RateLimit-Limit: 60\nX-RateLimit-Remaining: 58\nX-RateLimit-Reset: 2\n",
		},
		{"none", "{ tokensPerInterval: 60, intervalMs: 60000, headers: none, key: [ip] }", "", ""},
		{
			"in requests, not in tokens", "{ tokensPerInterval: 60, intervalMs: 60000, cost: 7, key: [ip] }",
			"RateLimit-Policy: \"default\";q=8;w=60\nRateLimit: \"default\";r=7;t=3\n", // 53 tokens: 56 in 3 s
			"RateLimit-Policy: \"default\";q=8;w=60\nRateLimit: \"default\";r=6;t=3\n", // 46 tokens: 49 in 3 s
		},
		{
			"an interval is not enough for one", "{ tokensPerInterval: 2, intervalMs: 1500, burst: 10, cost: 5, key: [ip] }",
			"RateLimit-Policy: \"default\";q=1;w=4\nRateLimit: \"default\";r=1;t=4\n",
			"RateLimit-Policy: \"default\";q=1;w=4\nRateLimit: \"default\";r=0;t=4\n",
		},
		{
			"no more than is saved up", "{ tokensPerInterval: 1, intervalMs: 60000, burst: 5, key: [ip] }",
			"RateLimit-Policy: \"default\";q=1;w=60\nRateLimit: \"default\";r=4;t=60\n",
			"RateLimit-Policy: \"default\";q=1;w=60\nRateLimit: \"default\";r=3;t=60\n",
		},
		{
			"the tightest of several, legacy", `{ headers: legacy, limits: [
			  { id: wide, tokensPerInterval: 100, intervalMs: 1000, key: [ip] }, { id: slow, tokensPerInterval: 3, intervalMs: 30000, key: [ip] },
			  { id: fast, tokensPerInterval: 3, intervalMs: 3000, key: [ip] } ] }`,
			"X-RateLimit-Limit: 3\nX-RateLimit-Remaining: 2\nX-RateLimit-Reset: 10\n",
			"X-RateLimit-Limit: 3\nX-RateLimit-Remaining: 1\nX-RateLimit-Reset: 20\n",
		},
		{"shadow says nothing", "{ tokensPerInterval: 1, intervalMs: 60000, shadow: true, key: [ip] }", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.yaml)
			if _, h := r.send(r.from("192.0.2.1")); lines(h) != tt.first {
				t.Errorf("got\n%swant\n%s", lines(h), tt.first)
			}
			if _, h := r.send(r.from("192.0.2.1")); lines(h) != tt.last {
				t.Errorf("got\n%swant\n%s", lines(h), tt.last)
			}
		})
	}
}

// TestRespondLeavesOthersAlone adds to the fields of an upstream where they are lists, and answers for no request that it was not
// asked about.
func TestRespondLeavesOthersAlone(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 60, intervalMs: 60000, key: [ip] }")
	x := r.from("192.0.2.1")
	resp := &httpmsg.Response{}
	resp.Header.Add("RateLimit", `"upstream";r=1;t=1`)
	r.h.(policy.ResponseHandler).Respond(t.Context(), x, resp)
	if got := lines(resp.Header); got != "RateLimit: \"upstream\";r=1;t=1\n" {
		t.Errorf("a request that was not counted: %s", got)
	}
	r.h.Decide(t.Context(), x)
	r.h.(policy.ResponseHandler).Respond(t.Context(), x, resp)
	if got := resp.Header.Values("RateLimit"); !slices.Equal(got, []string{`"upstream";r=1;t=1`, `"default";r=59;t=1`}) {
		t.Errorf("%q", got)
	}
	if got := fmt.Sprint(x.Limits); got != "[{default 60 1m0s 59 1s}]" {
		t.Errorf("x.Limits = %s", got)
	}
}

func TestShadow(t *testing.T) {
	r := newRig(t, "{ tokensPerInterval: 2, intervalMs: 60000, shadow: true, onError: closed, key: [ip] }")
	if got := r.burst(5, func() *policy.Exchange { return r.from("192.0.2.1") }); got != 5 {
		t.Errorf("%d of 5 pass", got)
	}
	r.state.leave()
	if said, _ := r.send(r.from("192.0.2.1")); said != "pass" {
		t.Errorf("state away: %s", said)
	}
	if got, want := r.Counts.All(), []string{
		"gw_ratelimit_requests_total{route=r,limit=default,key_type=ip,outcome=allowed} 2",
		"gw_ratelimit_requests_total{route=r,limit=default,key_type=ip,outcome=shadow_limited} 3",
		"gw_ratelimit_requests_total{route=r,limit=default,key_type=ip,outcome=unlimited} 1",
		"gw_ratelimit_saturation{route=r,limit=default} 1",
		"gw_ratelimit_state_errors_total{route=r} 1",
	}; !slices.Equal(got, want) {
		t.Errorf("metrics %q", got)
	}
}

// TestTwoGateways share a bucket.
func TestTwoGateways(t *testing.T) {
	const yaml = "{ tokensPerInterval: 10, intervalMs: 60000, key: [ip] }"
	a := newRig(t, yaml)
	w := policytest.NewWorld()
	w.State = a.state
	b := &rig{w, a.state, w.Build(t, Kind, plan(t, yaml))}
	passed := 0
	for range 20 {
		passed += a.burst(1, func() *policy.Exchange { return a.from("192.0.2.1") })
		passed += b.burst(1, func() *policy.Exchange { return b.from("192.0.2.1") })
	}
	if passed != 10 {
		t.Errorf("%d pass, want 10", passed)
	}
}

// TestClientGone tells a request that has ended from a state that is away.
func TestClientGone(t *testing.T) {
	for _, yaml := range []string{
		"{ tokensPerInterval: 10, intervalMs: 60000, onError: open, key: [ip] }",
		"{ limits: [ { id: a, tokensPerInterval: 10, intervalMs: 60000 }, { id: b, tokensPerInterval: 10, intervalMs: 9000 } ] }",
	} {
		r := newRig(t, yaml)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got := policytest.Said(r.h.Decide(ctx, r.from("192.0.2.1"))); got != "499 client_closed" {
			t.Errorf("%s: %s", yaml, got)
		}
		if got := r.Counts.All(); got != nil {
			t.Errorf("%s: counted %q", yaml, got)
		}
	}
}

// liar is a state that answers for too few buckets.
type liar struct{ *shared }

func (liar) Take(context.Context, []policy.Bucket) ([]policy.Taken, error) { return nil, nil }

// TestOnError is about a state that is away, that fails in another way, and that makes no sense.
func TestOnError(t *testing.T) {
	for _, tt := range []struct{ onError, first, third, fields, outcome string }{
		{"local", "pass", "429 rate_limited", "Retry-After: 30\n", "degraded_limited"},
		{"open", "pass", "pass", "", "unlimited"},
		{"closed", "503 limit_unavailable", "503 limit_unavailable", "Retry-After: 1\n", "unavailable"},
	} {
		for name, fail := range map[string]func(r *rig){
			"away":   func(r *rig) { r.state.leave() },
			"broken": func(r *rig) { r.state.setAway(errBroken) },
			"lying":  func(r *rig) { r.h.(*handler).state = liar{r.state} },
		} {
			for _, local := range []int{0, 50} {
				t.Run(fmt.Sprintf("%s/%s/%d", tt.onError, name, local), func(t *testing.T) {
					r := newRig(t, fmt.Sprintf("{ tokensPerInterval: 2, intervalMs: 60000, burst: 4, cost: 1, localPercent: %d, onError: %s, key: [ip] }", local, tt.onError))
					fail(r)
					if said, _ := r.send(r.from("192.0.2.1")); said != tt.first {
						t.Errorf("first: %s, want %s", said, tt.first)
					}
					r.burst(3, func() *policy.Exchange { return r.from("192.0.2.1") })
					said, h := r.send(r.from("192.0.2.1"))
					if said != tt.third || lines(h) != tt.fields {
						t.Errorf("fifth: %s, want %s\n%s", said, tt.third, lines(h))
					}
					if r.count("default", "ip", tt.outcome) == 0 {
						t.Errorf("no %s in %q", tt.outcome, r.Counts.All())
					}
					if got := r.Counts.Of("gw_ratelimit_state_errors_total{route=r}"); got != 5 {
						t.Errorf("%g errors", got)
					}
				})
			}
		}
	}
}
