package health

import (
	"log/slog"
	"maps"
	"slices"
	"time"
)

// Event is a change of an endpoint's health, or of the upstream's as a whole, with the numbers behind it. Kind and Reason are
// from the fixed lists below and may label metrics; Detail is what an endpoint or the network said and may not.
type Event struct {
	Time     time.Time `json:"time"`
	Upstream string    `json:"upstream"`
	Endpoint string    `json:"endpoint,omitempty"` // empty: the upstream as a whole
	Kind     string    `json:"kind"`
	Reason   string    `json:"reason,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	// Numbers say why: shares are in thousandths (_permil), times in milliseconds (_ms).
	Numbers map[string]int64 `json:"numbers,omitempty"`
	// Quiet says that the endpoint changes so often that a log should not hold each change. It is told and kept all the same.
	Quiet bool `json:"-"`
}

// Kinds of event.
const (
	Ejected   = "ejected"
	Returned  = "returned"  // from an ejection
	Unhealthy = "unhealthy" // by active checks
	Healthy   = "healthy"   // by active checks
	Panic     = "panic"     // too few endpoints are left: all of them are used
	PanicOver = "panic_over"
)

// Reasons of an ejection.
const (
	Consecutive5xx     = "consecutive_5xx"
	ConsecutiveGateway = "consecutive_gateway_failure"
	SuccessRate        = "success_rate"
	FailurePercentage  = "failure_percentage"
)

// Reasons of a return.
const (
	EjectionOver = "ejection_over"
	CheckPassed  = "check_passed"
)

// Reasons for which an endpoint is unhealthy: how the last of its checks failed.
const (
	CheckTimeout    = "timeout"
	CheckConnect    = "connect_failed"
	CheckBroken     = "bad_answer"  // malformed, too long, or it broke off
	CheckStatus     = "status"      // not one of those that are healthy
	CheckNotServing = "not_serving" // by the gRPC health protocol
)

// LogValue implements slog.LogValuer.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("upstream", e.Upstream)}
	for _, a := range []slog.Attr{slog.String("endpoint", e.Endpoint), slog.String("reason", e.Reason), slog.String("detail", e.Detail)} {
		if a.Value.String() != "" {
			attrs = append(attrs, a)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Numbers)) {
		attrs = append(attrs, slog.Int64(name, e.Numbers[name]))
	}
	return slog.GroupValue(attrs...)
}
