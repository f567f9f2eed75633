package simulate

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// base is the name of the environment of a repository that has none.
const base = "base"

// offline takes out of a program what there is only with a network and a clock that runs: checks of servers, TLS towards them, how they
// are found, timeouts, listeners, and what the gateway says about itself. Everything that decides about a request stays.
func offline(p *ir.Program) *ir.Program {
	q := &ir.Program{Environment: cmp.Or(p.Environment, base), Gateway: p.Gateway}
	g := &q.Gateway
	g.Listeners, g.AccessLog, g.Tracing, g.LoadShedding = nil, ir.AccessLog{}, ir.Tracing{}, nil
	q.Upstreams = slices.Clone(p.Upstreams)
	for i := range q.Upstreams {
		u := &q.Upstreams[i]
		u.Scheme, u.Protocol, u.TLS, u.Health, u.Outlier = "http", "http1", nil, nil, nil
		if u.Discovery != nil {
			u.Discovery, u.Endpoints = nil, []ir.Endpoint{{Address: "discovered:80"}}
		}
	}
	q.Routes = slices.Clone(p.Routes)
	for i := range q.Routes {
		f := &q.Routes[i].Forward
		f.Timeout, f.HeaderTimeout, f.IdleTimeout = 0, 0, 0
		if f.Retry != nil {
			retry := *f.Retry
			retry.PerTryTimeout, f.Retry = 0, &retry
		}
	}
	return q
}

// verdict wraps a program as what a gateway builds from. Nobody has signed it, and nobody verifies it: it never leaves the process.
func verdict(p *ir.Program) (*bundle.Verdict, error) {
	shards, err := ir.Pack(p)
	if err != nil {
		return nil, err
	}
	b, err := bundle.New(bundle.Info{
		Name: p.Gateway.Name, Environment: p.Environment, Compiler: "offline", SchemaVersion: v1.APIVersion, MinRuntime: "0.0.0", Kinds: []string{},
	}, shards)
	if err != nil {
		return nil, fmt.Errorf("wrap program: %w", err)
	}
	return &bundle.Verdict{Bundle: b}, nil
}
