package compiler

import (
	"fmt"
	"slices"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// MinRuntime is the oldest gwrun that understands what this compiler emits.
const MinRuntime = "0.1.0"

// Emit makes the unsigned bundle of a program: canonical shards and their manifest. The same program and origin give the
// same bytes on any machine.
func Emit(p *ir.Program, origin load.Origin, compilerVersion string) (*bundle.Bundle, error) {
	shards, err := ir.Pack(p)
	if err != nil {
		return nil, fmt.Errorf("emit: %w", err)
	}
	b, err := bundle.New(bundle.Info{
		Name:          p.Gateway.Name,
		Environment:   p.Environment,
		Source:        bundle.Source{Commit: origin.Commit, Tree: origin.Tree, Dirty: origin.Dirty},
		Compiler:      compilerVersion,
		SchemaVersion: v1.APIVersion,
		MinRuntime:    MinRuntime,
		Kinds:         kindsOf(p),
	}, shards)
	if err != nil {
		return nil, fmt.Errorf("emit: %w", err)
	}
	return b, nil
}

// kindsOf lists the policy and target kinds a program uses: a gwrun that lacks one refuses the bundle.
func kindsOf(p *ir.Program) []string {
	seen := map[string]bool{}
	for i := range p.Routes {
		seen["target/"+p.Routes[i].Target.Type] = true
		for _, pol := range p.Routes[i].Policies {
			seen["policy/"+pol.Kind] = true
		}
	}
	out := make([]string, 0, len(seen))
	for k := range seen {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
