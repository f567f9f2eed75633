package compiler

import (
	"fmt"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// upstream judges what only several settings of an upstream together can get wrong.
func (s site) upstream(u *v1.Upstream, out *ir.Upstream) {
	if u.Targets != nil && s.has("scheme") {
		s.idle("scheme", "targets", "leave it out", "scheme has no effect beside targets, whose urls say it")
	}
	s.balance(u)
	if u.Health != nil {
		s.health(u, out)
	}
	if u.Outlier != nil {
		s.outlier(u)
	}
	if u.Health != nil && u.Outlier != nil && u.Health.PanicPercent != nil && u.Outlier.PanicPercent != nil && *u.Health.PanicPercent != *u.Outlier.PanicPercent {
		s.contradicts("outlier.panicPercent", "health.panicPercent", "one number holds for both: leave one of them out",
			"outlier.panicPercent is %d, but health.panicPercent is %d", *u.Outlier.PanicPercent, *u.Health.PanicPercent)
	}
	if u.TLS != nil {
		s.tls(u.TLS, out.Scheme)
	}
	if u.Discovery != nil && out.Scheme == "https" && (out.TLS == nil || out.TLS.SNI == "" && !out.TLS.SkipVerify) {
		s.report(diag.Warning, "GW3048", "discovery", "give the name in their certificates as tls.sni", []string{"scheme"},
			"the servers are found by address, so each of their certificates would have to hold its address")
	}
	if u.Limits != nil && *u.Limits.Connections < *u.MaxConnections && s.has("maxConnections") && s.has("limits.connections") {
		s.idle("maxConnections", "limits.connections", "write less than limits.connections",
			"maxConnections is %d for each server, but limits.connections allows %d for all of them", *u.MaxConnections, *u.Limits.Connections)
	}
	if *u.MaxIdleConnections > *u.MaxConnections && s.has("maxIdleConnections") {
		s.idle("maxIdleConnections", "maxConnections", "write at most maxConnections",
			"maxIdleConnections is %d, but there are never more than maxConnections, %d", *u.MaxIdleConnections, *u.MaxConnections)
	}
}

func (s site) balance(u *v1.Upstream) {
	const at = "loadBalancing."
	strategy := ir.BalanceLeastConnections
	if b := u.LoadBalancing; b != nil {
		strategy = b.Strategy
		switch hash := hashes[strategy]; {
		case hash && len(b.HashOn) == 0:
			s.needs("loadBalancing", "add hashOn, such as [{ header: x-user-id }]", "strategy %s has no hashOn to make a key of", strategy)
		case !hash && len(b.HashOn) > 0:
			s.needs(at+"hashOn", "write strategy: ringHash or maglev", "hashOn has an effect only with strategy ringHash or maglev, not with %s", strategy)
		case !hash && b.BoundPercent != nil:
			s.idle(at+"boundPercent", at+"strategy", "leave it out, or write strategy: ringHash or maglev",
				"boundPercent has an effect only with strategy ringHash or maglev, not with %s", strategy)
		}
		if *b.SlowStart > 0 && (hashes[strategy] || strategy == ir.BalanceRoundRobin) {
			s.idle(at+"slowStart", at+"strategy", "leave it out, or choose another strategy", "slowStart has no effect with strategy %s", strategy)
		}
	}
	if strategy != ir.BalanceRoundRobin {
		return
	}
	for i, t := range u.Targets {
		if *t.Weight == 1 {
			continue
		}
		at := s.node.Get("targets").Items[i].Get("weight")
		s.diags.Add(diag.Diagnostic{
			Severity: diag.Warning, Code: "GW3041", Pos: at.Pos, Width: at.Width, Path: fmt.Sprintf("%s.targets[%d].weight", s.path, i),
			Message: fmt.Sprintf("weight has no effect with strategy %s", strategy),
			Hint:    "write strategy: weighted, for turns by weight",
		})
		return // the first one is enough
	}
}

func (s site) health(u *v1.Upstream, out *ir.Upstream) {
	h := u.Health
	if *h.Timeout > *h.Interval {
		s.contradicts("health.timeout", "health.interval", "write at most the interval",
			"health.timeout is %s, must be at most the interval, %s", *h.Timeout, *h.Interval)
	}
	if h.GRPC != nil && h.Port == nil && (u.Protocol == "http1" || u.Protocol == "auto" && out.Scheme == "http") {
		spoken := "protocol is http1"
		if u.Protocol == "auto" {
			spoken = "over http, protocol auto is HTTP/1.1"
		}
		s.report(diag.Error, "GW3045", "health.grpc", "write protocol: http2, or give the check a port of its own", []string{"protocol"},
			"gRPC needs HTTP/2, but "+spoken)
	}
}

func (s site) outlier(u *v1.Upstream) {
	o := u.Outlier
	if *o.BaseEjectionTime > *o.MaxEjectionTime {
		s.contradicts("outlier.baseEjectionTime", "outlier.maxEjectionTime", "write the smaller one as baseEjectionTime",
			"outlier.baseEjectionTime is %s, must be at most maxEjectionTime, %s", *o.BaseEjectionTime, *o.MaxEjectionTime)
	}
	if *o.Consecutive5xx == 0 && *o.ConsecutiveGatewayFailure == 0 && *o.SuccessRateMinimumHosts == 0 && *o.FailurePercentage == 0 && !*o.SmallPools {
		s.idle("outlier", "outlier.smallPools", "leave outlier out, or give one of its checks a number", "every check of outlier is switched off, so it ejects nobody")
	}
	if len(u.Targets) == 1 && panicPercentOf(u) > 0 {
		s.idle("outlier", "targets", "leave it out, or add a server",
			"outlier has no effect with one server: below panicPercent, requests go to it whether it is ejected or not")
	}
}

// tls refuses what would pass for encryption and is none, and warns of what encrypts for anybody.
func (s site) tls(t *v1.UpstreamTLS, scheme string) {
	if scheme == "http" {
		s.report(diag.Error, "GW3043", "tls", "write https, or leave tls out", []string{"scheme", "targets"},
			"tls is set, but the servers are spoken to over http: nothing would be encrypted")
	}
	switch {
	case t.Cert != "" && t.Key == "":
		s.needs("tls.cert", "add tls.key", "tls.cert has no key to prove whose it is")
	case t.Cert == "" && t.Key != "":
		s.needs("tls.key", "add tls.cert", "tls.key has no cert to show")
	}
	if !t.SkipVerify {
		return
	}
	s.report(diag.Warning, "GW3044", "tls.skipVerify", "give the certificate's issuer as tls.ca, or the name it is for as tls.sni", nil,
		"certificates of the servers are not verified: whoever stands in between can read and change everything")
	if t.CA != "" {
		s.idle("tls.ca", "tls.skipVerify", "remove skipVerify", "tls.ca has no effect beside skipVerify, which takes any certificate")
	}
}
