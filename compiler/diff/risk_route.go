package diff

import (
	"regexp"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// routeRisks looks at one route that is new, gone or different.
func (d *differ) routeRisks(x delta) {
	if x.old != nil {
		if to, request := d.fallen(x); to != nil {
			d.risk(AuthRemoved, x.obj, []string{"matcher"}, "%s was taken by this route, which asks for a credential, and falls to route %s, which asks for none", request, Show(to.ID))
		}
	}
	switch {
	case x.new == nil:
		d.risk(RouteRemoved, x.obj, nil, "%s is no longer taken by this route", requests(&x.old.Match))
	case x.old == nil:
		if len(mechanisms(x.new)) == 0 {
			d.risk(PublicRouteAdded, x.obj, nil, "%s needs no credential", requests(&x.new.Match))
			if from, request := d.carvedOut(&x.new.Match); from != nil {
				d.risk(AuthRemoved, x.obj, nil, "%s was taken by route %s, which asks for a credential, and needs none any more", request, Show(from.ID))
			}
		}
		d.targetRisks(x)
		d.bodyRisks(x)
	default:
		d.matchRisks(x)
		d.targetRisks(x)
		d.policyRisks(x)
		d.bodyRisks(x)
		for _, l := range []limit{
			{keys: []string{"policy", "timeout"}, what: "the timeout in milliseconds", old: x.old.Forward.Timeout, new: x.new.Forward.Timeout},
			{keys: []string{"policy", "timeouts", "header"}, what: "the header timeout in milliseconds", old: x.old.Forward.HeaderTimeout, new: x.new.Forward.HeaderTimeout},
			{keys: []string{"policy", "timeouts", "idle"}, what: "the idle timeout in milliseconds", old: x.old.Forward.IdleTimeout, new: x.new.Forward.IdleTimeout},
		} {
			d.loosened(x.obj, l)
		}
		d.forwardRisks(x)
	}
}

func (d *differ) matchRisks(x delta) {
	was, now := &x.old.Match, &x.new.Match
	if hostRank(now.Host) > hostRank(was.Host) {
		d.risk(HostWidened, x.obj, []string{"matcher", "host"}, "the route takes %s, it took %s only", hostWords(now.Host), hostWords(was.Host))
	}
	if why := pathWidened(was, now); why != "" {
		field := "path"
		if now.PathRegex != "" {
			field = "pathRegex"
		}
		d.risk(PathWidened, x.obj, []string{"matcher", field}, "%s", why)
	}
	switch more := without(now.Methods, was.Methods); {
	case len(was.Methods) == 0:
	case len(now.Methods) == 0:
		d.risk(MethodsWidened, x.obj, []string{"matcher", "methods"}, "the route takes any method, it took %s", Show(anys(was.Methods)))
	case len(more) > 0:
		d.risk(MethodsWidened, x.obj, []string{"matcher", "methods"}, "the route takes %s as well", Show(anys(more)))
	}
	d.conditions(x, "headers", "header", was.Headers, now.Headers)
	d.conditions(x, "query", "query parameter", was.Query, now.Query)
}

// conditions notes conditions that are gone, or that any value now meets.
func (d *differ) conditions(x delta, field, what string, was, now []ir.Pair) {
	for _, c := range was {
		keys := []string{"matcher", field, spell(c.Name)}
		i := slices.IndexFunc(now, func(n ir.Pair) bool { return n.Name == c.Name })
		switch {
		case i < 0:
			d.risk(MatchWidened, x.obj, keys, "the %s %s is not asked for any more", what, Show(c.Name))
		case now[i].Value == "*" && c.Value != "*":
			d.risk(MatchWidened, x.obj, keys, "the %s %s may have any value, it had to be %s", what, Show(c.Name), Show(c.Value))
		}
	}
}

// hostRank orders hosts by how much they take: exact, wildcards by the length of their suffix, any.
func hostRank(h string) int {
	switch {
	case h == "":
		return 0
	case strings.HasPrefix(h, "*."):
		return -strings.Count(h, ".")
	}
	return -1 << 16
}

func hostWords(h string) string {
	if h == "" {
		return "any host"
	}
	return Show(h)
}

// pathWidened says in what way a path takes more than before, or "". It compares the patterns, not the paths a route wins
// in the end, which depend on its neighbours.
func pathWidened(was, now *ir.Match) string {
	const opaque = "a regular expression may match more than %s did"
	switch {
	case was.Path == now.Path && was.PathRegex == now.PathRegex:
		return ""
	case now.PathRegex != "":
		old := was.PathRegex
		if old == "" {
			old = was.Path
		}
		return strings.Replace(opaque, "%s", Show(old), 1)
	}
	n := segments(now.Path)
	if was.PathRegex != "" {
		if re, err := regexp.Compile(`^(?:` + was.PathRegex + `)$`); err == nil && n.literal() && re.MatchString(now.Path) {
			return ""
		}
		return "the route takes " + Show(now.Path) + ", which need not match " + Show(was.PathRegex)
	}
	o := segments(was.Path)
	switch {
	case o.subtree && n.subtree && len(n.parts) < len(o.parts):
		return "the prefix is shorter, " + Show(now.Path) + " instead of " + Show(was.Path)
	case !o.subtree && n.subtree:
		return "the route takes everything under " + Show(now.Path) + ", it took " + Show(was.Path) + " only"
	case n.covers(o) && !o.covers(n):
		return "the route takes " + Show(now.Path) + ", which holds " + Show(was.Path) + " and more"
	}
	return ""
}

// pattern is a path in segments.
type pattern struct {
	parts   []string // "" stands for a capture
	subtree bool
}

func segments(path string) pattern {
	var p pattern
	path, p.subtree = strings.CutSuffix(path, "/*")
	for s := range strings.SplitSeq(strings.TrimPrefix(path, "/"), "/") {
		if strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}") {
			s = ""
		}
		p.parts = append(p.parts, s)
	}
	if p.subtree && path == "" {
		p.parts = nil // "/*"
	}
	return p
}

func (p pattern) literal() bool { return !p.subtree && !slices.Contains(p.parts, "") }

// covers reports whether p matches whatever q matches.
func (p pattern) covers(q pattern) bool {
	if len(p.parts) > len(q.parts) || !p.subtree && (q.subtree || len(p.parts) != len(q.parts)) {
		return false
	}
	for i, s := range p.parts {
		if s != "" && s != q.parts[i] {
			return false
		}
	}
	return true
}

// bodyRisks compares what bounds request bodies of a route: its own limit or, without one, the gateway's, which the old
// side had as well. A gateway's limit that is raised is the gateway's risk, not that of each of its routes.
func (d *differ) bodyRisks(x delta) {
	var was int64
	var had bool
	if x.old != nil {
		was, had = ownBodyLimit(x.old)
	}
	now, has := ownBodyLimit(x.new)
	general := d.b.gateway().Limits.BodyBytes
	keys := []string{"policy", "bodyLimit", "maxBytes"}
	switch {
	case had && has:
		d.loosened(x.obj, limit{keys: keys, what: "the limit on request bodies", old: was, new: now})
	case had && (general == 0 || general > was):
		d.risk(LimitRemoved, x.obj, keys[:2], "request bodies were bound to %d bytes, now the gateway's limit of %d holds", was, general)
	case !had && has && x.old != nil:
		d.loosened(x.obj, limit{keys: keys, what: "the limit on request bodies", old: d.a.gateway().Limits.BodyBytes, new: now})
	}
}

func ownBodyLimit(r *ir.Route) (int64, bool) {
	for i := range r.Policies {
		if r.Policies[i].Kind != bodyLimitKind {
			continue
		}
		m, _ := decode(r.Policies[i].Plan).(map[string]any)
		if n, ok := number(m["maxBytes"]); ok {
			return n, true
		}
	}
	return 0, false
}

// without returns the elements of list that base lacks.
func without(list, base []string) []string {
	var out []string
	for _, s := range list {
		if !slices.Contains(base, s) {
			out = append(out, s)
		}
	}
	return out
}

// anys makes a value of a set.
func anys(list []string) any {
	out := make([]any, len(list))
	for i, s := range slices.Sorted(slices.Values(list)) {
		out[i] = s
	}
	return out
}
