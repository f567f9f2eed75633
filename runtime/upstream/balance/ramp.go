package balance

import (
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// ramp is slow start: a host that is new comes to its full weight over a window. The weight is multiplied by
// max(10 %, (age/window)^(1/aggression)) with an aggression of 1, as in Envoy's slow start mode.
type ramp struct {
	window time.Duration
	over   time.Time // when the last of the hosts has its full weight
	now    func() time.Time
}

// least is the share of its weight that a host has at once: none at all would never find out whether it works.
const least = 0.1

// newRamp returns nil if there is nothing to ramp.
func newRamp(spec *ir.Balance, hosts []Host, env Env) *ramp {
	r := &ramp{window: time.Duration(spec.SlowStart) * time.Millisecond, now: env.Now}
	if r.window <= 0 {
		return nil
	}
	now := env.Now()
	for i := range hosts {
		if end := hosts[i].Since.Add(r.window); !hosts[i].Since.IsZero() && end.After(now) && end.After(r.over) {
			r.over = end
		}
	}
	if r.over.IsZero() {
		return nil
	}
	return r
}

// under reports whether some host still has less than its full weight, and what time it is.
func (r *ramp) under() (time.Time, bool) {
	if r == nil {
		return time.Time{}, false
	}
	now := r.now()
	return now, now.Before(r.over)
}

// weight is what a host counts at a moment that under returned.
func (r *ramp) weight(h *Host, now time.Time, ramping bool) float64 {
	if !ramping {
		return float64(h.Weight)
	}
	return float64(h.Weight) * r.share(h, now)
}

// share is the part of its weight that a host has.
func (r *ramp) share(h *Host, now time.Time) float64 {
	if h.Since.IsZero() {
		return 1
	}
	return min(1, max(least, float64(now.Sub(h.Since))/float64(r.window)))
}
