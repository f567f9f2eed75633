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
	for i := range g.Listeners {
		out.Listeners = append(out.Listeners, listenerOf(&g.Listeners[i], out.TrustedProxies))
	}
	if s := g.LoadShedding; s != nil && s.Enabled {
		out.LoadShedding = &ir.LoadShedding{TargetDelay: int64(*s.TargetDelay), MaxPercent: *s.MaxPercent, MaxInFlight: *s.MaxInFlight}
	}
	out.GitOps = gitOpsOf(g.GitOps)
	out.Admin = adminOf(g.Admin)
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
