// Package grant decides whether what a tenant takes lies within what it was granted. The compiler asks it about what people have
// written, and every gateway asks it again about each bundle before anything of it is built: one answer for both. It must not know
// where something was written.
package grant

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// The parts of a grant, as authors call them.
const (
	Hosts        = "hosts"
	PathPrefixes = "pathPrefixes"
)

// Excess is something that lies outside a grant.
type Excess struct {
	Field string // the part of the grant that would have to allow it
	What  string // such as `host "a.example.com"`
}

// Matcher returns what a matcher takes beyond a grant.
func Matcher(g *ir.Grant, m *ir.Match) []Excess {
	var out []Excess
	if !slices.ContainsFunc(g.Hosts, func(granted string) bool { return HostWithin(m.Host, granted) }) {
		what := "every host"
		if m.Host != "" {
			what = fmt.Sprintf("host %q", m.Host)
		}
		out = append(out, Excess{Hosts, what})
	}
	if slices.Contains(g.PathPrefixes, "/") {
		return out
	}
	switch _, err := match.ParsePath(m.Path); { // a path with dots in it could begin with the prefix and lead out of it
	case m.PathRegex != "":
		out = append(out, Excess{PathPrefixes, "all that a regular expression may match"})
	case err != nil, !slices.ContainsFunc(g.PathPrefixes, func(granted string) bool { return PathWithin(m.Path, granted) }):
		out = append(out, Excess{PathPrefixes, fmt.Sprintf("path %q", m.Path)})
	}
	return out
}

// HostWithin reports whether every host that a pattern takes is one that a granted pattern takes.
func HostWithin(host, granted string) bool {
	host, granted = strings.ToLower(host), strings.ToLower(granted)
	if suffix, wild := strings.CutPrefix(granted, "*."); wild {
		return strings.HasSuffix(host, "."+suffix)
	}
	return host != "" && host == granted
}

// PathWithin reports whether every path that a canonical pattern takes lies under a granted prefix, by whole literal segments.
func PathWithin(pattern, granted string) bool {
	prefix, reason := match.NormalizePath(granted)
	if reason != "" {
		return false
	}
	prefix = strings.TrimSuffix(prefix, "/")
	if prefix == "" {
		return true
	}
	rest, ok := strings.CutPrefix(pattern, prefix)
	return ok && (rest == "" || rest[0] == '/')
}

// Kind reports whether a tenant may write a kind of policy, by its field.
func Kind(g *ir.Grant, field string) bool { return g != nil && slices.Contains(g.PolicyKinds, field) }

// Upstream reports whether a tenant may send requests to an upstream of the base.
func Upstream(g *ir.Grant, id string) bool { return g != nil && slices.Contains(g.Upstreams, id) }

// Secret reports whether a tenant may have a secret used.
func Secret(g *ir.Grant, ref string) bool { return g != nil && slices.Contains(g.Secrets, ref) }

// PrivateAddresses reports whether a tenant's upstreams may be inside the gateway's own network.
func PrivateAddresses(g *ir.Grant) bool { return g != nil && g.PrivateAddresses }
