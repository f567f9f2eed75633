package compiler

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
)

// checker carries the tables of one check run.
type checker struct {
	in     *resolved
	memo   *memo
	diags  *diag.List
	ids    map[string]map[string]*object
	grants grant.Set
	guess  guesser
	lower  map[string]map[string]*object // the ids that no overlay has added, nil until they are needed
}

// guesser finds what was likely meant by a name that is not known, as long as there is time: each guess looks at every name
// there is, so a repository full of mistakes gets suggestions for the first of them only.
type guesser struct{ spent int }

// maxGuesses is how many names are looked at in one run.
const maxGuesses = 200_000

func (g *guesser) suggest(name string, known map[string]*object) string {
	if g.spent += len(known); g.spent > maxGuesses {
		return ""
	}
	return diag.Suggest(name, slices.Collect(maps.Keys(known)))
}

// check validates every merged object, then what holds between objects: references, tenants' grants, reserved paths,
// ambiguous and unreachable routes. After it, the memo holds what each matcher compiles to.
func check(in *resolved, m *memo, diags *diag.List) {
	c := &checker{in: in, memo: m, diags: diags, ids: in.byID}
	m.expect(len(in.objects[kindRoute]))
	c.shapes()
	if diags.HasErrors() {
		return // references of misshapen objects would only repeat what has been said
	}
	c.grants = grantsOf(in.grants)
	routes := make([]ir.Route, 0, len(in.objects[kindRoute]))
	owners := make([]*object, 0, len(in.objects[kindRoute]))
	for _, o := range in.objects[kindRoute] {
		c.references(o)
		if mt, ok := c.matcher(o); ok {
			routes = append(routes, ir.Route{ID: o.id, Match: *mt})
			owners = append(owners, o)
		}
	}
	c.tenants()
	if !diags.HasErrors() {
		c.between(routes, owners)
	}
}

// definitions names the v1 definition each kind of object must satisfy.
var definitions = map[string]string{kindRoute: "Route", kindUpstream: "Upstream", kindPolicy: "Policy"}

func (c *checker) shapes() {
	if g := c.in.gateway; g != nil {
		c.memo.validate("Gateway", g, "gateway", c.diags)
	}
	for _, t := range slices.Sorted(maps.Keys(c.in.grants)) {
		c.memo.validate("Tenant", c.in.grants[t], "tenant", c.diags)
	}
	for _, kind := range objectKinds {
		for _, o := range c.in.objects[kind] {
			before := c.diags.Len()
			c.memo.validate(definitions[kind], o.node, o.path, c.diags)
			if c.diags.Len() > before && o.patch {
				c.hintPatch(o)
			}
		}
	}
}

// hintPatch explains an incomplete object of an overlay: most often it was meant to patch one whose id it misspells.
func (c *checker) hintPatch(o *object) {
	if c.lower == nil {
		c.lower = map[string]map[string]*object{}
	}
	known := c.lower[o.kind]
	if known == nil {
		known = maps.Clone(c.ids[o.kind])
		maps.DeleteFunc(known, func(_ string, other *object) bool { return other.patch })
		c.lower[o.kind] = known
	}
	if near := c.guess.suggest(o.id, known); near != "" {
		c.diags.Add(diag.Diagnostic{
			Severity: diag.Warning, Code: "GW3008", Pos: o.idPos, Width: len(o.id), Path: o.path + ".id",
			Message: fmt.Sprintf("%s %q patches nothing: no lower layer has that id, so it is added as a new one", singular[o.kind], o.id),
			Notes:   []diag.Note{{Pos: c.ids[o.kind][near].idPos, Message: fmt.Sprintf("%q is defined here", near)}},
			Hint:    fmt.Sprintf("did you mean %q", near),
		})
	}
}

// references checks that what a route names exists, and that its tenant may use it.
func (c *checker) references(o *object) {
	if use := o.node.Get("use"); use != nil {
		for i, n := range use.Items {
			c.reference(o.tenant, kindPolicy, n, fmt.Sprintf("%s.use[%d]", o.path, i))
		}
	}
	if n := o.node.Get("target").Get("upstream"); n != nil {
		c.reference(o.sender, kindUpstream, n, o.path+".target.upstream")
	}
}

// reference checks one name that a tenant's layer, or the base, gives.
func (c *checker) reference(tenant, kind string, n *schema.Node, path string) {
	to := c.ids[kind][n.Str]
	if to == nil {
		d := diag.Diagnostic{
			Code: "GW3010", Pos: n.Pos, Width: n.Width, Path: path,
			Message: fmt.Sprintf("there is no %s %q", singular[kind], n.Str),
			Hint:    fmt.Sprintf("define it under %s", kind),
		}
		if near := c.guess.suggest(n.Str, c.ids[kind]); near != "" {
			d.Hint = fmt.Sprintf("did you mean %q", near)
		}
		c.diags.Add(d)
		return
	}
	switch {
	case to.tenant == tenant:
		return
	case to.tenant != "":
		c.diags.Add(diag.Diagnostic{
			Code: "GW3011", Pos: n.Pos, Width: n.Width, Path: path,
			Message: fmt.Sprintf("%s %q belongs to tenant %q", singular[kind], n.Str, to.tenant),
			Notes:   []diag.Note{{Pos: to.idPos, Message: "defined here"}},
			Hint:    "use one of your own, or one of the base that your tenant is granted",
		})
	case kind == kindUpstream && !grant.Upstream(c.grants[tenant], n.Str):
		c.diags.Add(c.ungranted(tenant, n.Pos, n.Width, path,
			fmt.Sprintf("tenant %q may not use upstream %q of the base", tenant, n.Str), "upstreams"))
	}
}

// matcher compiles a route's conditions and checks what can be said of them alone. Every field that is wrong is reported.
func (c *checker) matcher(o *object) (*ir.Match, bool) {
	n := o.node.Get("matcher")
	if m, ok := c.memo.matches[n]; ok {
		return m, true
	}
	m := &ir.Match{
		Path: n.Get("path").Text(), PathRegex: n.Get("pathRegex").Text(), Methods: texts(n.Get("methods")),
		Headers: pairs(n.Get("headers"), strings.ToLower), Query: pairs(n.Get("query"), func(s string) string { return s }),
	}
	slices.Sort(m.Methods)
	host, err := match.ParseHost(n.Get("host").Text())
	ok := c.pattern(o, n, err)
	m.Host = host.String()
	if host.Any() {
		m.Host = ""
	}
	probe := *m
	probe.Host = ""
	matcher, err := match.Compile(&probe)
	if ok = c.pattern(o, n, err) && ok; !ok {
		return m, false
	}
	if what := match.Reserved(matcher); what != "" {
		at := n
		for _, field := range []string{"path", "pathRegex"} {
			if v := n.Get(field); v != nil {
				at = v
			}
		}
		c.diags.Add(diag.Diagnostic{
			Code: match.CodeReserved, Pos: at.Pos, Width: at.Width, Path: o.path + ".matcher",
			Message: fmt.Sprintf("route %q asks for %s, which is reserved for the gateway itself", o.id, what),
			Hint:    "the gateway answers /health, /livez, /readyz, /metrics and /admin/** before any route; choose another path",
		})
		return m, false
	}
	c.memo.matches[n] = m
	return m, true
}

// pattern reports an error of package match at the field it is about.
func (c *checker) pattern(o *object, matcher *schema.Node, err error) bool {
	var bad *match.PatternError
	if !errors.As(err, &bad) {
		return true
	}
	at := matcher
	if v := matcher.Get(bad.Field); v != nil {
		at = v
	}
	c.diags.Add(diag.Diagnostic{
		Code: bad.Code, Pos: at.Pos, Width: at.Width, Path: o.path + ".matcher." + bad.Field,
		Message: fmt.Sprintf("%s %q: %s", bad.Field, bad.Value, bad.Problem), Hint: bad.Hint,
	})
	return false
}

// pairs turns a map of conditions into a sorted list.
func pairs(n *schema.Node, name func(string) string) []ir.Pair {
	if n == nil {
		return nil
	}
	out := make([]ir.Pair, 0, len(n.Fields))
	for _, f := range n.Fields {
		out = append(out, ir.Pair{Name: name(f.Name), Value: f.Value.Str})
	}
	slices.SortFunc(out, func(a, b ir.Pair) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// between finds routes that some request cannot tell apart, and routes that no request can reach.
func (c *checker) between(routes []ir.Route, owners []*object) {
	all := make([]matched, len(owners))
	for i, o := range owners {
		all[i] = matched{o.id, o.node.Get("matcher")}
	}
	said, known := c.memo.known(all)
	if !known {
		sub := &checker{diags: &said}
		sub.findBetween(routes, owners)
		c.memo.between = append(c.memo.between, betweenRoutes{all, said})
	}
	c.diags.Merge(said)
}

func (c *checker) findBetween(routes []ir.Route, owners []*object) {
	matcher := func(o *object) *schema.Node { return o.node.Get("matcher") }
	for _, k := range match.Conflicts(routes) {
		a, b := owners[k.A], owners[k.B]
		if matcher(b).Pos.Compare(matcher(a).Pos) < 0 {
			a, b = b, a // the later one is where it is reported
		}
		c.diags.Add(diag.Diagnostic{
			Code: match.CodeTie, Pos: matcher(b).Pos, Width: matcher(b).Width, Path: b.path + ".matcher",
			Message: fmt.Sprintf("routes %q and %q tie: both take %s, and neither is more specific", a.id, b.id, spell(&k.Witness)),
			Notes:   append([]diag.Note{{Pos: matcher(a).Pos, Message: fmt.Sprintf("route %q takes it here", a.id)}}, slices.Concat(patched(a), patched(b))...),
			Hint:    "tell them apart by host, path, method, or one more header or query condition",
		})
	}
	for _, s := range match.Shadowed(routes) {
		o := owners[s.Route]
		d := diag.Diagnostic{
			Code: match.CodeUnreachable, Pos: matcher(o).Pos, Width: matcher(o).Width, Path: o.path + ".matcher",
			Message: fmt.Sprintf("no request can reach route %q: more specific routes take everything it matches, %s for example", o.id, spell(&s.Witness)),
			Hint:    "remove it, or narrow the routes that take its requests; a pathRegex is less specific than any path",
		}
		if s.StandardMethods {
			d.Severity = diag.Warning
			d.Message = fmt.Sprintf("no request with a standard method can reach route %q: more specific routes take everything it matches, %s for example", o.id, spell(&s.Witness))
		}
		for _, by := range s.By {
			d.Notes = append(d.Notes, diag.Note{Pos: matcher(owners[by]).Pos, Message: fmt.Sprintf("taken by route %q", owners[by].id)})
		}
		c.diags.Add(d)
	}
	for _, s := range match.SlowSearches(routes) {
		o := owners[s.Route]
		c.diags.Add(diag.Diagnostic{
			Code: match.CodeSearch, Pos: matcher(o).Pos, Width: matcher(o).Width, Path: o.path + ".matcher",
			Message: fmt.Sprintf("the path patterns of %s make a lookup take up to %d steps, at most %d are allowed", hostName(s.Host), s.Visits, match.MaxVisits),
			Hint:    "use fewer captures side by side with literals at the same depth",
		})
	}
}

// hostName names a host pattern in a message.
func hostName(h match.Host) string {
	if h.Any() {
		return "the routes without a host"
	}
	return "host " + h.String()
}

// patched notes the conditions of a route that an overlay has set: the line of the matcher does not show them.
func patched(o *object) []diag.Note {
	var out []diag.Note
	m := o.node.Get("matcher")
	for _, f := range m.Fields {
		if f.Value.Pos.File != m.Pos.File {
			out = append(out, diag.Note{Pos: f.Value.Pos, Message: fmt.Sprintf("matcher.%s of route %q is set here", f.Name, o.id)})
		}
	}
	return out
}

// spell writes a witness as a person would send it.
func spell(r *match.Request) string {
	out := r.Method + " " + r.Host + r.Path
	if r.RawQuery != "" {
		out += "?" + r.RawQuery
	}
	for _, h := range r.Headers {
		out += fmt.Sprintf(" with %s: %s", h.Name, h.Value)
	}
	return out
}
