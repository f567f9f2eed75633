package compiler

import (
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// panicPercent is the share of usable servers below which all of them are used, where nobody says another one.
const panicPercent = 50

// panicPercentOf is the one threshold of an upstream, which either kind of check may set.
func panicPercentOf(u *v1.Upstream) int64 {
	switch {
	case u.Health != nil && u.Health.PanicPercent != nil:
		return *u.Health.PanicPercent
	case u.Outlier != nil && u.Outlier.PanicPercent != nil:
		return *u.Outlier.PanicPercent
	}
	return panicPercent
}

// healthOf are the active checks, defaults filled in.
func healthOf(h *v1.Health, panicAt int64) *ir.Health {
	if h == nil {
		return nil
	}
	out := &ir.Health{
		Interval: int64(*h.Interval), Timeout: int64(*h.Timeout), JitterPercent: *h.JitterPercent,
		Healthy: *h.HealthyThreshold, Unhealthy: *h.UnhealthyThreshold, PanicPercent: panicAt,
	}
	if h.Port != nil {
		out.Port = *h.Port
	}
	switch {
	case h.HTTP != nil:
		out.Type, out.Path, out.Method, out.Host = "http", h.HTTP.Path, h.HTTP.Method, h.HTTP.Host
		for _, r := range h.HTTP.Status {
			from, to := r.Span()
			out.Status = append(out.Status, ir.Span{From: from, To: to})
		}
	case h.TCP != nil:
		out.Type = "tcp"
	case h.GRPC != nil:
		out.Type, out.Service = "grpc", h.GRPC.Service
	}
	return out
}

// outlierOf are the passive checks, defaults filled in.
func outlierOf(o *v1.Outlier, panicAt int64) *ir.Outlier {
	if o == nil {
		return nil
	}
	return &ir.Outlier{
		Consecutive5xx: *o.Consecutive5xx, ConsecutiveGatewayFailure: *o.ConsecutiveGatewayFailure,
		Interval: int64(*o.Interval), BaseEjection: int64(*o.BaseEjectionTime), MaxEjection: int64(*o.MaxEjectionTime),
		MaxEjectedPercent: *o.MaxEjectionPercent,
		SuccessRateHosts:  *o.SuccessRateMinimumHosts, SuccessRateRequests: *o.SuccessRateRequestVolume, SuccessRateFactorPerMil: *o.SuccessRateStdevFactor,
		FailurePercent: *o.FailurePercentage, FailurePercentRequests: *o.FailurePercentageRequestVolume,
		SmallPools: *o.SmallPools, PanicPercent: panicAt,
	}
}
