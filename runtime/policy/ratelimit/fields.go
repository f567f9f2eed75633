package ratelimit

import (
	"context"
	"strconv"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
)

// stand says where a request left its limits.
func (h *handler) stand(taken []policy.Taken) []policy.Limited {
	out := make([]policy.Limited, len(taken))
	for i, l := range h.limits {
		out[i] = policy.Limited{ID: l.id, Quota: l.quota, Window: l.window, Remaining: taken[i].Remaining, Reset: taken[i].Reset}
	}
	return out
}

// advertise is the value of RateLimit-Policy. A quota is in requests, not in tokens; where an interval does not bring enough tokens
// for one, it is one request in as long as that takes.
func advertise(limits []*limit) string {
	var b []byte
	for _, l := range limits {
		quota, window := l.quota/l.cost, l.window
		if quota == 0 {
			quota, window = 1, time.Duration(l.bucket.Every*l.cost)
		}
		b = appendItem(b, l.id, "q", quota, "w", seconds(window))
	}
	return string(b)
}

// appendItem appends a member of a list (RFC 9651, section 3.1): a string with two parameters. The string needs no escape.
func appendItem(b []byte, id, first string, one int64, second string, two int64) []byte {
	if len(b) > 0 {
		b = append(b, ", "...)
	}
	b = append(append(append(b, '"'), id...), `";`...)
	b = strconv.AppendInt(append(append(b, first...), '='), one, 10)
	b = append(append(append(b, ';'), second...), '=')
	return strconv.AppendInt(b, two, 10)
}

// Respond tells a client where it stands, on refusals too. What an upstream says of limits of its own stays beside it in the standard
// fields, which are lists; the old ones hold one limit, which is ours.
func (h *handler) Respond(_ context.Context, x *policy.Exchange, r *httpmsg.Response) {
	if len(x.Limits) != len(h.limits) { // it was not counted
		return
	}
	switch h.header {
	case headersStandard:
		var space [128]byte
		b := space[:0]
		for i, l := range h.limits {
			left, wait := l.left(&x.Limits[i])
			b = appendItem(b, l.id, "r", left, "t", ceil(wait))
		}
		r.Header.Add("RateLimit-Policy", h.advertised)
		r.Header.Add("RateLimit", string(b))
	case headersLegacy:
		l, at := h.tightest(x.Limits)
		left, _ := l.left(at)
		r.Header.Set("X-RateLimit-Limit", strconv.FormatInt(max(1, l.quota/l.cost), 10))
		r.Header.Set("X-RateLimit-Remaining", strconv.FormatInt(left, 10))
		r.Header.Set("X-RateLimit-Reset", strconv.FormatInt(ceil(at.Reset), 10))
	}
}

// left is how many requests a client can make at once, and how long until it can make one more: the effective window of the draft's
// section 4.1.2. After a refusal that is Retry-After. A full bucket gets no fuller; its window is over.
func (l *limit) left(at *policy.Limited) (requests int64, wait time.Duration) {
	requests = at.Remaining / l.cost
	more := (requests + 1) * l.cost
	if more > l.bucket.Burst {
		return requests, at.Reset
	}
	return requests, max(0, at.Reset-time.Duration((l.bucket.Burst-more)*l.bucket.Every))
}

// tightest is the limit that allows the fewest requests, of those the one that takes longest to recover.
func (h *handler) tightest(at []policy.Limited) (*limit, *policy.Limited) {
	best := 0
	for i := range at {
		a, _ := h.limits[i].left(&at[i])
		b, _ := h.limits[best].left(&at[best])
		if a < b || a == b && at[i].Reset > at[best].Reset {
			best = i
		}
	}
	return h.limits[best], &at[best]
}

// ceil is d in whole seconds, rounded up.
func ceil(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

// seconds is ceil, but at least 1: who is told to come back at once is refused again, and a window is never empty.
func seconds(d time.Duration) int64 { return max(1, ceil(d)) }
