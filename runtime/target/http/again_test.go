package httptarget

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/target"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// desk is a target at which calls are decided upon without being made.
type desk struct {
	t      *testing.T
	target *Target
	told   *Told
	now    time.Time
	rand   uint64
}

func newDesk(t *testing.T, f ir.Forward, limits *ir.Bulkhead) *desk {
	t.Helper()
	up, err := upstream.New(ir.Upstream{
		ID: "up", Scheme: "http", Limits: limits, Endpoints: []ir.Endpoint{{Address: "127.0.0.1:1"}, {Address: "127.0.0.1:2"}},
	}, upstream.Env{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = up.Close() })
	d := &desk{t: t, told: &Told{}, now: time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)}
	env := &target.Env{Upstream: up, Now: func() time.Time { return d.now }, Rand: func() uint64 { return d.rand }}
	env.Fill()
	d.target, err = Build(&ir.Route{ID: "r", Forward: f}, d.told, env)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// call is an exchange under way.
func (d *desk) call(method string) *call {
	if !d.target.up.Begin() {
		d.t.Fatal("the upstream admits no request")
	}
	d.t.Cleanup(d.target.up.End)
	r := &httpmsg.Request{Method: method}
	return &call{t: d.target, ctx: d.t.Context(), r: r, x: &policy.Exchange{Request: r}}
}

// generous repeats whatever may be repeated.
func generous() *ir.Retry {
	return &ir.Retry{
		Attempts: 9, On: slices.Clone(conditions), Methods: []string{"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"},
		BackoffBase: 100, BackoffMax: 1000, BudgetPercent: 100, BudgetMin: 3,
	}
}

var conditions = []string{
	ir.RetryConnectFailure, ir.RetryReset, ir.RetryTimeout, ir.RetryRefusedStream, ir.RetryStatus5xx, ir.RetryStatusGateway, ir.RetryStatus429,
}

// TestAgain holds which failures are repeated for which requests. Those for which the upstream did nothing may be repeated whatever
// the request asks for.
func TestAgain(t *testing.T) {
	requests := []struct {
		method, key, upgrade string
		repeatable           bool
	}{
		{"GET", "", "", true},
		{"HEAD", "", "", true},
		{"OPTIONS", "", "", true},
		{"TRACE", "", "", true},
		{"PUT", "", "", true},
		{"DELETE", "", "", true},
		{"POST", "", "", false},
		{"PATCH", "", "", false},
		{"get", "", "", false},
		{"POST", "8e03978e", "", true},
		{"PATCH", "8e03978e", "", true},
		{"GET", "", "websocket", false},
		{"GET", "8e03978e", "websocket", false},
	}
	for _, condition := range conditions {
		for _, on := range [][]string{conditions, {condition}, slices.DeleteFunc(slices.Clone(conditions), func(s string) bool { return s == condition }), nil} {
			for _, r := range requests {
				for _, harmless := range []bool{false, true} {
					p := generous()
					p.On = on
					d := newDesk(t, ir.Forward{Retry: p}, nil)
					c := d.call(r.method)
					c.r.Upgrade = r.upgrade
					if r.key != "" {
						c.r.Header.Add("Idempotency-Key", r.key)
					}
					want := slices.Contains(on, condition) && (harmless || r.repeatable)
					got := c.again(&outcome{err: errors.New("x"), why: condition, reason: "x", harmless: harmless})
					c.endRetry()
					if got != want {
						t.Errorf("%s on %v, %s key %q upgrade %q, harmless %v: repeated %v, want %v", condition, on, r.method, r.key, r.upgrade, harmless, got, want)
					}
					if told := len(d.told.Repeated()); (told == 1) != want || len(d.told.Refused()) != 0 {
						t.Errorf("%s: metrics were told %v and %v", condition, d.told.Repeated(), d.told.Refused())
					}
				}
			}
		}
	}
}

// TestAgainNot holds what keeps an attempt that might be repeated from it.
func TestAgainNot(t *testing.T) {
	reset := outcome{err: errors.New("x"), why: ir.RetryReset, reason: "x"}
	for _, tt := range []struct {
		name   string
		edit   func(d *desk, c *call)
		o      outcome
		reason string // told to metrics
	}{
		{"attempts", func(_ *desk, c *call) { c.trying.retries = 9 }, reset, "attempts"},
		{"attempts, of none", func(d *desk, _ *call) { d.target.retry.Attempts = 0 }, reset, "attempts"},
		{"the deadline is over", func(d *desk, c *call) { c.by = d.now }, reset, "deadline"},
		{"the deadline is within the pause", func(d *desk, c *call) { d.rand = 100 * 1e6; c.by = d.now.Add(100 * time.Millisecond) }, reset, "deadline"},
		{"budget", func(d *desk, _ *call) { d.target.retry.BudgetPercent, d.target.retry.BudgetMin = 0, 0 }, reset, "budget"},
		{"no condition", nil, outcome{err: errors.New("x")}, ""},
		{"the client has gone", func(_ *desk, c *call) { ctx, cancel := context.WithCancel(c.ctx); cancel(); c.ctx = ctx }, reset, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := newDesk(t, ir.Forward{Retry: generous()}, nil)
			c := d.call("GET")
			if tt.edit != nil {
				tt.edit(d, c)
			}
			o := tt.o
			if c.again(&o) {
				t.Fatal("repeated")
			}
			if c.retrying || c.trying.passed || len(d.told.Repeated()) != 0 {
				t.Errorf("place in the budget %v, pass of the breaker %v, told %v", c.retrying, c.trying.passed, d.told.Repeated())
			}
			var want []string
			if tt.reason != "" {
				want = []string{tt.reason}
			}
			if got := d.told.Refused(); !slices.Equal(got, want) {
				t.Errorf("told %v, want %v", got, want)
			}
		})
	}
	t.Run("breaker", func(t *testing.T) {
		d := newDesk(t, ir.Forward{Retry: generous(), Breaker: &ir.Breaker{Window: 1000, MinimumCalls: 1, ErrorPercent: 50, OpenFor: 1000}}, nil)
		pass, _, _ := d.target.breaker.Allow()
		pass.Done(true, 0)
		if d.target.breaker.State() != breaker.Open {
			t.Fatal("the breaker did not open")
		}
		c := d.call("GET")
		o := reset
		if c.again(&o) {
			t.Fatal("repeated")
		}
		c.endRetry()
		if got := d.told.Refused(); !slices.Equal(got, []string{"breaker"}) {
			t.Errorf("told %v", got)
		}
	})
}

// TestImpliedRetry holds what routes without a retry policy do: they pass over to endpoints they have not tried.
func TestImpliedRetry(t *testing.T) {
	for _, why := range conditions {
		d := newDesk(t, ir.Forward{}, nil)
		c := d.call("POST")
		got := c.again(&outcome{err: errors.New("x"), why: why, reason: "x", harmless: why == ir.RetryConnectFailure || why == ir.RetryRefusedStream})
		c.endRetry()
		if want := why == ir.RetryConnectFailure || why == ir.RetryRefusedStream; got != want {
			t.Errorf("%s: %v, want %v", why, got, want)
		}
	}
	t.Run("however many do so", func(t *testing.T) {
		d := newDesk(t, ir.Forward{}, nil)
		for i := range 50 {
			if c := d.call("GET"); !c.again(&outcome{err: errors.New("x"), why: ir.RetryConnectFailure, harmless: true}) {
				t.Fatalf("request %d is not sent to another endpoint: %v", i, d.told.Refused())
			}
		}
	})
}

// TestPause holds how long is waited before a repetition.
func TestPause(t *testing.T) {
	const ms = time.Millisecond
	d := newDesk(t, ir.Forward{Retry: generous()}, nil)
	date := func(after time.Duration) string { return d.now.Add(after).Format("Mon, 02 Jan 2006 15:04:05 GMT") }
	for _, tt := range []struct {
		name       string
		retries    int64
		retryAfter string
		low, high  time.Duration // high < 0: not repeated
	}{
		{"the first", 0, "", 0, 100 * ms},
		{"the second", 1, "", 0, 200 * ms},
		{"the fourth", 3, "", 0, 800 * ms},
		{"at most", 4, "", 0, 1000 * ms},
		{"still at most", 8, "", 0, 1000 * ms},
		{"at once", 0, "0", 0, 100 * ms},
		{"a second", 0, "1", 1000 * ms, 1000 * ms},
		{"more than the maximum", 0, "2", 0, -1},
		{"ten years", 0, "315360000", 0, -1},
		{"more than a number", 0, "99999999999999999999999", 0, -1},
		{"a date", 0, date(time.Second), 1000 * ms, 1000 * ms},
		{"a later date", 0, date(2 * time.Second), 0, -1},
		{"a date that is past", 0, date(-time.Hour), 0, 100 * ms},
		{"nonsense", 0, "soon", 0, 100 * ms},
		{"a negative number", 0, "-5", 0, 100 * ms},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, edge := range []struct {
				rand uint64
				want time.Duration
			}{
				{0, tt.low},
				{uint64(max(tt.high, 0)), max(tt.low, tt.high)},
				{uint64(max(tt.high, 0)) / 2, max(tt.low, tt.high/2)},
			} {
				// A connection that has gone, so that there is no response to read Retry-After from, or a response.
				o := outcome{err: errors.New("x"), why: ir.RetryReset}
				c := d.call("GET")
				if tt.retryAfter != "" {
					o = outcome{why: ir.RetryStatusGateway}
					c.resp.Header.Add("Retry-After", tt.retryAfter)
				}
				c.trying.retries, d.rand = tt.retries, edge.rand
				reason := c.hindrance(d.target.retry, &o)
				c.endRetry()
				switch {
				case tt.high < 0 && reason != "retry_after":
					t.Errorf("hindered by %q, want retry_after", reason)
				case tt.high >= 0 && (reason != "" || o.pause != edge.want):
					t.Errorf("a pause of %v, hindered by %q; want %v", o.pause, reason, edge.want)
				}
			}
		})
	}
}

// TestRetryBudget has more requests want a repetition than may have one.
func TestRetryBudget(t *testing.T) {
	for _, tt := range []struct {
		name              string
		requests          int
		percent, min, cap int64
		want              int
	}{
		{"a fifth", 50, 20, 3, 256, 10},
		{"rounded down", 49, 20, 3, 256, 9},
		{"at least", 10, 20, 3, 256, 3},
		{"at least, of few", 2, 20, 3, 256, 2},
		{"the bulkhead's", 50, 100, 3, 7, 7},
		{"the bulkhead's, for the least too", 50, 0, 10, 7, 7},
		{"none", 50, 0, 0, 256, 0},
		{"none by the bulkhead", 50, 100, 3, 0, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := generous()
			p.BudgetPercent, p.BudgetMin = tt.percent, tt.min
			d := newDesk(t, ir.Forward{Retry: p}, &ir.Bulkhead{Connections: 9, Pending: 9, Requests: 1000, Retries: tt.cap})
			var all []*call
			for range tt.requests {
				all = append(all, d.call("GET"))
			}
			repeated := 0
			for _, c := range all {
				if c.again(&outcome{err: errors.New("x"), why: ir.RetryReset}) {
					repeated++
				}
			}
			if got := d.target.up.Gauges(nil).Retries; repeated != tt.want || got != int64(tt.want) {
				t.Errorf("%d of %d were repeated, %d count as under way; want %d", repeated, tt.requests, got, tt.want)
			}
			refused := slices.Repeat([]string{"budget"}, tt.requests-tt.want)
			if got := d.told.Refused(); fmt.Sprint(got) != fmt.Sprint(refused) {
				t.Errorf("told %v", got)
			}
			for _, c := range all { // who has a place needs no other for the next repetition
				if c.retrying && !c.again(&outcome{err: errors.New("x"), why: ir.RetryReset}) {
					t.Error("a second repetition was refused")
				}
				c.endRetry()
			}
			if got := d.target.up.Gauges(nil).Retries; got != 0 {
				t.Errorf("%d places are still taken", got)
			}
		})
	}
}
