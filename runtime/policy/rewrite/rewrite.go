// Package rewrite gives a request another path or query on its way upstream. The path stays in the one form that was matched and judged:
// what an upstream would read as another one is refused, never repaired. It must not touch headers or bodies, nor what routes and
// policies have decided by.
package rewrite

import "github.com/suuupra/gateway/runtime/policy"

// Kind comes last of the transforms: all others, and all that judge requests, see the path that the client asked for.
var Kind = policy.Define("rewrite", policy.PhaseTransform, compile, build)

// Plan is the compiled form.
type Plan struct {
	Path        string `json:"path,omitempty"` // a template
	StripPrefix string `json:"stripPrefix,omitempty"`
	AddPrefix   string `json:"addPrefix,omitempty"`
	Query       *Query `json:"query,omitempty"`
}

// Query is what becomes of the parameters.
type Query struct {
	Remove []string          `json:"remove,omitempty"` // sorted
	Set    map[string]string `json:"set,omitempty"`    // templates
}
