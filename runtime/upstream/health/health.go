// Package health says which endpoints of an upstream may be used. A Host is the health of one endpoint: what active checks find,
// and what exchanges report. A Monitor looks over the hosts of one upstream together: it ejects those that answer worse than the
// others, and stops doing so when too few would be left. It chooses no endpoint and sends no request but checks.
package health

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"net"
	"time"

	"github.com/suuupra/gateway/schema/ir"
)

// Result is how an exchange with an endpoint went.
type Result uint8

// The results. All but Success and ClientGone are failures.
const (
	ClientGone    Result = iota // says nothing about the endpoint
	Success                     // a response below 500
	Status5xx                   // a response of 500 or above, but for those of GatewayError
	GatewayError                // 502, 503 or 504
	ConnectFailed               // no connection
	Reset                       // the connection ended before the response did, or the response was malformed
	TimedOut                    // no response in time
)

// failed reports whether the result counts against the endpoint.
func (r Result) failed() bool { return r >= Status5xx }

// gateway reports whether the result is what a gateway would answer 502, 503 or 504 to.
func (r Result) gateway() bool { return r >= GatewayError }

// Event is a change of an endpoint's health, or of the upstream's as a whole, with the numbers behind it.
type Event struct {
	Time     time.Time        `json:"time"`
	Upstream string           `json:"upstream"`
	Endpoint string           `json:"endpoint,omitempty"`
	Kind     string           `json:"kind"`
	Reason   string           `json:"reason,omitempty"`
	Numbers  map[string]int64 `json:"numbers,omitempty"`
}

// Kinds of event.
const (
	Ejected   = "ejected"
	Returned  = "returned"
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

// LogValue implements slog.LogValuer.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("upstream", e.Upstream)}
	if e.Endpoint != "" {
		attrs = append(attrs, slog.String("endpoint", e.Endpoint))
	}
	if e.Reason != "" {
		attrs = append(attrs, slog.String("reason", e.Reason))
	}
	for _, name := range sortedNames(e.Numbers) {
		attrs = append(attrs, slog.Int64(name, e.Numbers[name]))
	}
	return slog.GroupValue(attrs...)
}

// HostConfig describes a Host. Only Upstream and Address are required.
type HostConfig struct {
	Upstream, Address string
	Check             *ir.Health  // nil: no active checks
	Outlier           *ir.Outlier // nil: what exchanges report is counted, and nothing follows
	Scheme            string
	HostHeader        string // sent by HTTP checks that name no host of their own; empty: the address
	// Dial connects as the upstream's exchanges do, under the same address rules: TCP, and TLS over it for https.
	Dial    func(ctx context.Context, address string) (net.Conn, error)
	Now     func() time.Time
	Rand    func() uint64
	OnEvent func(Event)       // may be called from several goroutines
	OnCheck func(passed bool) // after each active check
	Log     *slog.Logger
}

func (c *HostConfig) fill() {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rand == nil {
		c.Rand = rand.Uint64
	}
	if c.OnEvent == nil {
		c.OnEvent = func(Event) {}
	}
	if c.OnCheck == nil {
		c.OnCheck = func(bool) {}
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }
