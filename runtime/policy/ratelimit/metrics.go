package ratelimit

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/runtime/policy"
)

var (
	requests = &policy.Vector{
		Name: "gw_ratelimit_requests_total", Labels: []string{"route", "limit", "key_type", "outcome"},
		Help: "Requests that a limit has judged: allowed, limited, or shadow_limited (would be); with the prefix degraded_ by this gateway alone, as the shared state is away. Those that it could not judge: unlimited (passed) or unavailable (refused).",
	}
	saturation = &policy.Vector{
		Name: "gw_ratelimit_saturation", Labels: []string{"route", "limit"}, Gauge: true,
		Help: "How much of a bucket was used up at the most within the last half minute to minute, of any caller: 0 to 1.",
	}
	stateErrors = &policy.Vector{
		Name: "gw_ratelimit_state_errors_total", Labels: []string{"route"},
		Help: "Requests for which the shared state could not be asked.",
	}
)

// counts are the series of one limit. Those that its route cannot come to are nil.
type counts struct {
	allowed, limited           policy.Series
	aloneAllowed, aloneLimited policy.Series // while the state is away
	unjudged                   policy.Series
	used                       *peak
}

func newCounts(e *policy.Env, p *Plan, l *Limit) counts {
	series := func(outcome string) policy.Series {
		return e.Metrics.Series(requests, e.Route.ID, l.ID, strings.Join(l.Key, "+"), outcome)
	}
	limited, unavailable := "limited", "unavailable"
	if p.Shadow {
		limited, unavailable = "shadow_limited", "unlimited"
	}
	c := counts{allowed: series("allowed"), limited: series(limited)}
	switch p.OnError {
	case onErrorLocal:
		c.aloneAllowed, c.aloneLimited = series("degraded_allowed"), series("degraded_"+limited)
	case onErrorOpen:
		c.unjudged = series("unlimited")
	case onErrorClosed:
		c.unjudged = series(unavailable)
	}
	c.used = &peak{series: e.Metrics.Series(saturation, e.Route.ID, l.ID)}
	return c
}

// span is how long a peak is shown at least.
const span = 30 * time.Second

// peak shows the highest value of this span and the one before. It needs a timer: without requests nobody would take it down again,
// and an alert would go on all night.
type peak struct {
	series policy.Series
	top    atomic.Uint32 // of this span, in ten thousandths

	mu     sync.Mutex
	last   uint32 // of the span before
	timer  *time.Timer
	closed bool
}

// note takes in a value between 0 and 1. Hardly any is a new peak, and all others cost one load.
func (p *peak) note(used float64) {
	v := uint32(used*10_000 + 0.5)
	if v <= p.top.Load() {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if v <= p.top.Load() || p.closed {
		return
	}
	p.top.Store(v)
	if v > p.last {
		p.series.Set(float64(v) / 10_000)
	}
	if p.timer == nil {
		p.timer = time.AfterFunc(span, p.lapse)
	}
}

// lapse ends a span.
func (p *peak) lapse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	p.last = p.top.Swap(0)
	p.series.Set(float64(p.last) / 10_000)
	if p.timer = nil; p.last > 0 {
		p.timer = time.AfterFunc(span, p.lapse)
	}
}

// close stops the timer.
func (p *peak) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed = true; p.timer != nil {
		p.timer.Stop()
	}
}
