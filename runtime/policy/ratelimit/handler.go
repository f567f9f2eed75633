package ratelimit

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/internal/gcra"
	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// quotaExceeded is the problem type of draft-ietf-httpapi-ratelimit-headers-11, section 5.1.
const quotaExceeded = "https://iana.org/assignments/http-problem-types#quota-exceeded"

// handler is the policy of one route.
type handler struct {
	limits   []*limit
	onError  string
	replicas int64
	shadow   bool

	header     string // headersStandard, headersLegacy or headersNone
	advertised string // the value of RateLimit-Policy

	state   policy.State
	clock   func() time.Time
	log     *slog.Logger
	errors  policy.Series
	local   *local
	release func()
}

// limit is one limit, ready to be asked.
type limit struct {
	id       string
	base     []byte // what the names of its buckets begin with
	overflow string
	parts    []part
	bucket   gcra.Bucket
	cost     int64
	block    int64 // tokens to take ahead; 0: none
	quota    int64
	window   time.Duration
	counts   counts
}

// local is what a gateway knows by itself of the buckets of one tenant. It outlives snapshots: a new configuration must not be a way
// to full buckets.
type local struct {
	began    time.Time // times are counted from here, in nanoseconds by the monotonic clock
	fallback fallback
	leases   leases
}

func build(_ context.Context, e *policy.Env, p *Plan) (policy.Handler, error) {
	if err := p.check(); err != nil {
		return nil, err
	}
	if e.State == nil {
		return nil, policy.ErrNoState
	}
	shared, release, err := e.Shared.Get("rateLimit/"+e.Route.Tenant, func() (any, error) {
		return &local{began: e.Now(), fallback: fallback{full: map[string]int64{}}, leases: leases{all: map[string]*lease{}}}, nil
	})
	if err != nil {
		return nil, err
	}
	h := &handler{
		onError: p.OnError, replicas: p.Replicas, shadow: p.Shadow, header: p.Headers, state: e.State, clock: e.Now, log: e.Log,
		errors: e.Metrics.Series(stateErrors, e.Route.ID), local: shared.(*local), release: release,
	}
	for i := range p.Limits {
		h.limits = append(h.limits, newLimit(e, p, &p.Limits[i]))
	}
	h.advertised = advertise(h.limits)
	return h, nil
}

func newLimit(e *policy.Env, p *Plan, plan *Limit) *limit {
	l := &limit{
		id: plan.ID, base: base(e, p, plan), bucket: plan.bucket(), cost: plan.Cost, quota: plan.TokensPerInterval,
		window: time.Duration(plan.IntervalMs) * time.Millisecond, counts: newCounts(e, p, plan),
	}
	l.overflow = string(l.base)
	if len(p.Limits) == 1 {
		l.block = plan.block()
	}
	for _, name := range plan.Key {
		l.parts = append(l.parts, newPart(name))
	}
	return l
}

// Close implements io.Closer.
func (h *handler) Close() error {
	for _, l := range h.limits {
		l.counts.used.close()
	}
	h.release()
	return nil
}

func (h *handler) now() int64 { return int64(h.clock().Sub(h.local.began)) }

// of is a bucket of the limit, to be asked for tokens.
func (l *limit) of(name string, tokens int64) policy.Bucket {
	return policy.Bucket{Name: name, Every: time.Duration(l.bucket.Every), Burst: l.bucket.Burst, Cost: tokens}
}

// Decide takes what the request costs from all its buckets, or from none of them and refuses.
func (h *handler) Decide(ctx context.Context, x *policy.Exchange) policy.Verdict {
	if l := h.limits[0]; l.block > 0 {
		var space [maxName]byte
		t, err := h.leased(ctx, l.appendName(space[:0], x))
		if err != nil {
			return h.without(ctx, x, h.buckets(x))
		}
		return h.settle(ctx, x, []policy.Taken{t}, false)
	}
	buckets := h.buckets(x)
	taken, err := h.state.Take(ctx, buckets)
	if err != nil || len(taken) != len(buckets) {
		return h.without(ctx, x, buckets)
	}
	return h.settle(ctx, x, taken, false)
}

// buckets are those that a request is counted in.
func (h *handler) buckets(x *policy.Exchange) []policy.Bucket {
	var space [maxName]byte
	out := make([]policy.Bucket, len(h.limits))
	for i, l := range h.limits {
		out[i] = l.of(string(l.appendName(space[:0], x)), l.cost)
	}
	return out
}

// without judges a request while the shared state is away.
func (h *handler) without(ctx context.Context, x *policy.Exchange, buckets []policy.Bucket) policy.Verdict {
	if ctx.Err() != nil { // it is the request that has ended, not the state
		gone := httpmsg.ErrClientClosed
		return policy.Refuse(&policy.Reject{Status: gone.Status, Code: gone.Code, Detail: gone.Detail})
	}
	h.errors.Add(1)
	if h.onError == onErrorLocal {
		replicas := min(max(h.replicas, int64(h.state.Replicas())), maxReplicas)
		return h.settle(ctx, x, h.local.fallback.take(h.now(), replicas, h.limits, buckets), true)
	}
	for _, l := range h.limits {
		l.counts.unjudged.Add(1)
	}
	if h.onError == onErrorOpen || h.shadow {
		return policy.Pass
	}
	return policy.Refuse(&policy.Reject{
		Status: 503, Code: "limit_unavailable", Detail: "the gateway cannot count requests at the moment; try again",
		Header: []httpmsg.Field{{Name: "Retry-After", Value: "1"}},
	})
}

// settle makes a verdict of what became of the buckets; alone says that this gateway has judged by itself.
func (h *handler) settle(ctx context.Context, x *policy.Exchange, taken []policy.Taken, alone bool) policy.Verdict {
	granted := true
	for i := range taken {
		granted = granted && taken[i].Granted
	}
	for i, l := range h.limits {
		l.count(&taken[i], granted, alone)
	}
	if !alone && !h.shadow { // a gateway that counts by itself does not know where a client stands
		x.Limits = h.stand(taken)
	}
	switch {
	case granted:
		return policy.Pass
	case h.shadow:
		h.log.DebugContext(ctx, "would be limited", slog.String("request", x.ID))
		return policy.Pass
	}
	refusal := h.refusal(taken)
	x.Cause = "limit " + strings.Join(refusal.Violated, ", ")
	return policy.Refuse(refusal)
}

// count counts a request. One that another limit refuses has cost nothing here, and is not counted.
func (l *limit) count(t *policy.Taken, granted, alone bool) {
	allowed, limited := l.counts.allowed, l.counts.limited
	if alone {
		allowed, limited = l.counts.aloneAllowed, l.counts.aloneLimited
	}
	switch {
	case granted:
		allowed.Add(1)
	case !t.Granted:
		limited.Add(1)
	}
	switch {
	case alone: // a share is soon used up, and says nothing of the limit
	case t.Granted:
		l.counts.used.note(1 - float64(t.Remaining)/float64(l.bucket.Burst))
	default:
		l.counts.used.note(1)
	}
}

// refusal answers a request that comes too often.
func (h *handler) refusal(taken []policy.Taken) *policy.Reject {
	var retry time.Duration
	violated := make([]string, 0, len(taken))
	for i := range taken {
		if !taken[i].Granted {
			retry = max(retry, taken[i].Retry)
			violated = append(violated, h.limits[i].id)
		}
	}
	wait := strconv.FormatInt(seconds(retry), 10)
	return &policy.Reject{
		Status: 429, Code: "rate_limited", Detail: "too many requests; try again in " + wait + " s",
		Header: []httpmsg.Field{{Name: "Retry-After", Value: wait}}, Type: quotaExceeded, Violated: violated,
	}
}
