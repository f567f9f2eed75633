package compiler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/match"
)

// guardsOf names the policies of a route that turn strangers away, as they are in effect.
func guardsOf(r *loweredRoute) string {
	var out []string
	for i := range r.route.Policies {
		kind := r.route.Policies[i].Kind
		spec := r.policy.At(kind)
		switch kind {
		case "auth.jwt":
			if isTrue(spec.Get("optional")) {
				continue
			}
		case "authorization":
			if isTrue(spec.Get("shadow")) {
				continue
			}
		case "ip":
			if spec.Get("allow") == nil {
				continue // it names a few that are not let in
			}
		case "auth.apiKey", "signedUrl":
		default:
			continue
		}
		out = append(out, kind)
	}
	return strings.Join(out, ", ")
}

// onlyReads reports whether a route guards writes and others may read: that is how public data is served. Methods that change something
// are tried before those that do not.
func onlyReads(guarded []string, method string) bool {
	return (method == "GET" || method == "HEAD") && !slices.Contains(guarded, "GET") && !slices.Contains(guarded, "HEAD")
}

func isTrue(n *schema.Node) bool { return n != nil && n.Kind == schema.Bool && n.Bool }

// falls warns of routes that are guarded for the methods that they list, while requests with other methods go to a more general route
// that nobody guards. It comes after lowering, which lays defaults and named policies under those of a route.
func (l *lowerer) falls() {
	for _, f := range l.memo.falls {
		if slices.Equal(f.routes, l.guarded) {
			l.diags.Merge(f.said)
			return
		}
	}
	var said diag.List
	l.findFalls(&said)
	l.memo.falls = append(l.memo.falls, falls{l.guarded, said})
	l.diags.Merge(said)
}

func (l *lowerer) findFalls(said *diag.List) {
	var narrow []int
	open := false
	for i, g := range l.guarded {
		if g.guards == "" {
			open = true
		} else if len(l.out.routes[i].Match.Methods) > 0 {
			narrow = append(narrow, i)
		}
	}
	if !open || len(narrow) == 0 {
		return
	}
	for _, f := range match.Falls(l.out.routes, narrow) {
		if l.guarded[f.To].guards != "" || onlyReads(l.out.routes[f.Route].Match.Methods, f.Witness.Method) {
			continue
		}
		from, to := l.in.objects[kindRoute][f.Route], l.in.objects[kindRoute][f.To]
		at, guards := from.node.Get("matcher"), l.guarded[f.Route].guards
		said.Add(diag.Diagnostic{
			Severity: diag.Warning, Code: match.CodeFall, Pos: at.Pos, Width: at.Width, Path: from.path + ".matcher",
			Message: fmt.Sprintf("route %q guards %s alone (%s): %s goes to route %q, which asks for nothing",
				from.id, strings.Join(l.out.routes[f.Route].Match.Methods, ", "), guards, spell(&f.Witness), to.id),
			Notes: []diag.Note{{Pos: to.node.Get("matcher").Pos, Message: fmt.Sprintf("route %q takes it here, without %s", to.id, guards)}},
			Hint:  fmt.Sprintf("leave methods out, guard route %q too, or give it a path or methods that do not reach here", to.id),
		})
	}
}
