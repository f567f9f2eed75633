package compiler

import (
	"math"
	"net/netip"
	"slices"

	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// lowerGateway fills in every default of the gateway's settings.
func lowerGateway(g *v1.Gateway) ir.Gateway {
	g.ApplyDefaults()
	out := ir.Gateway{
		Name:           g.Name,
		Listeners:      []ir.Listener{},
		TrustedProxies: prefixes(g.TrustedProxies),
		Limits: ir.Limits{
			HeaderBytes: int64(*g.Limits.MaxHeaderBytes), HeaderFields: *g.Limits.MaxHeaderFields,
			URLBytes: int64(*g.Limits.MaxURLBytes), BodyBytes: int64(*g.Limits.MaxBodyBytes),
		},
		Timeouts: ir.Timeouts{
			ReadHeader: int64(*g.Timeouts.ReadHeader), BodyIdle: int64(*g.Timeouts.BodyIdle), KeepAlive: int64(*g.Timeouts.KeepAlive),
		},
		AccessLog: ir.AccessLog{Enabled: g.AccessLog.Enabled, Format: g.AccessLog.Format},
		Tracing: ir.Tracing{
			Endpoint:     g.Telemetry.Tracing.Endpoint,
			SamplePerMil: int64(math.Round(*g.Telemetry.Tracing.SampleRatio * 1000)),
		},
	}
	for _, l := range g.Listeners {
		out.Listeners = append(out.Listeners, ir.Listener{ID: l.ID, Address: l.Address})
	}
	if a := g.Admin; a != nil {
		out.Admin = ir.Admin{
			APIEnabled: a.APIEnabled, HotReloadEnabled: a.HotReloadEnabled,
			SecretsManagementEnabled: a.SecretsManagementEnabled, DashboardUIEnabled: a.DashboardUIEnabled,
		}
	}
	return out
}

// prefixes writes addresses and networks in one form, sorted: their order has no meaning.
func prefixes(list []string) []string {
	var out []string
	for _, s := range list {
		if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked().String())
		} else if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()).String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// upstreamSettings are the settings of an upstream, defaults filled in. Inline upstreams have the defaults alone.
func upstreamSettings(u *v1.Upstream) ir.Upstream {
	u.ApplyDefaults()
	return ir.Upstream{
		Host:           u.Host,
		ConnectTimeout: int64(*u.ConnectTimeout),
		IdleTimeout:    int64(*u.IdleTimeout),
		MaxIdle:        *u.MaxIdleConnections,
		MaxConnections: *u.MaxConnections,
	}
}

// forwardOf are the settings of the forward phase, defaults filled in.
func forwardOf(p *v1.RoutePolicy) ir.Forward {
	p.ApplyDefaults()
	return ir.Forward{
		Timeout:       int64(*p.Timeout),
		HeaderTimeout: int64(*p.Timeouts.Header),
		IdleTimeout:   int64(*p.Timeouts.Idle),
	}
}
