// Package health says which endpoints of an upstream may be used. A Host is the health of one endpoint: what active checks find,
// and what exchanges report. A Monitor looks over the hosts of one upstream together: it ejects those that answer worse than the
// others, and stops doing so when too few would be left. It chooses no endpoint and sends no request but checks.
//
// An endpoint is used from the moment it is known: until its checks have failed as often in a row as the settings ask, it is
// healthy. A gateway that starts, or a pool that grows, thus waits for no check, and one lost packet takes nothing out.
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

// The results. All but Success and ClientGone are failures, and all failures but Status5xx are what a gateway answers 502, 503 or
// 504 to: connections that fail and answers that do not come in time count as such, as Envoy has it unless it is told to split
// local from external errors.
const (
	ClientGone    Result = iota // says nothing about the endpoint
	Success                     // a response below 500
	Status5xx                   // a response of 500 or above, but for those of GatewayError
	GatewayError                // 502, 503 or 504
	ConnectFailed               // no connection
	Reset                       // the connection ended before the response did, or the response was malformed
	TimedOut                    // no response in time
)

func (r Result) failed() bool  { return r >= Status5xx }
func (r Result) gateway() bool { return r >= GatewayError }

// HostConfig describes a Host. Only Upstream and Address are required.
type HostConfig struct {
	Upstream, Address string
	Check             *ir.Health  // nil: no active checks
	Outlier           *ir.Outlier // nil: what exchanges report is counted, and nothing follows
	Scheme            string      // "http" or "https", of the upstream; empty: http
	HostHeader        string      // sent by checks that name no host of their own; empty: the address
	// HTTP2 makes checks by HTTP speak HTTP/2, for upstreams that speak nothing else. If Dial agrees on it by ALPN they do anyway.
	HTTP2 bool
	// Dial connects as the upstream's exchanges do, under the same address rules: TCP, and TLS over it for https.
	Dial    func(ctx context.Context, address string) (net.Conn, error)
	Now     func() time.Time
	Rand    func() uint64
	OnEvent func(Event)       // may be called from several goroutines; must not close the host
	OnCheck func(passed bool) // after each active check
	Log     *slog.Logger      // is told of checks that fail, at debug level
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

// ms turns milliseconds of the compiled form into a duration. A bound of 34 years keeps sums and products in range.
func ms(n int64) time.Duration { return time.Duration(min(n, 1<<40)) * time.Millisecond }
