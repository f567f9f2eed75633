package kubernetes

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/match"
	v1 "github.com/suuupra/gateway/schema/v1"
)

// RouteGroup is the API group of Routes, the custom resource for what Ingress and HTTPRoute cannot say.
const RouteGroup = "gateway.suuupra.dev"

// CustomRoute is a Route of gateway.suuupra.dev/v1: a route of the config language, whose id is made from its name. It belongs to the
// tenant that has the name of its namespace, so that it may take what tenants/<namespace>/tenant.yaml grants, and nothing else.
type CustomRoute struct {
	metav1.ObjectMeta
	spec    *schema.Node // as it was written, but for service
	wants   v1.Matcher
	service *backend // in place of a target
}

// ParseRoute reads the spec of a Route, as JSON. It is judged as strictly as a route in a file: what is wrong with it is in the
// diagnostics, whose Path says where ("spec.matcher.path"), and then there is no Route.
func ParseRoute(meta *metav1.ObjectMeta, spec []byte) (*CustomRoute, []diag.Diagnostic) {
	var diags diag.List
	r := &CustomRoute{ObjectMeta: *meta}
	written := yamlpos.Decode("spec", spec, &diags)
	if written == nil || diags.HasErrors() {
		return nil, diags.Sorted()
	}
	r.spec = r.withoutService(written, &diags)
	if f := r.spec.Field("id"); f != nil {
		diags.Add(diag.Diagnostic{Code: "GW2031", Pos: f.Pos, Path: "spec.id", Message: `unknown field "id"`, Hint: "the id is made from the namespace and the name"})
		return nil, diags.Sorted()
	}
	whole := r.node(r.id())
	v1.Validate("Route", whole, "spec", &diags)
	v1.CheckSecrets(whole, "spec", &diags)
	var route v1.Route
	if !diags.HasErrors() {
		v1.Decode(whole, "spec", &route, &diags)
	}
	if diags.HasErrors() {
		return nil, diags.Sorted()
	}
	r.wants = route.Matcher
	return r, nil
}

// withoutService takes spec.service, the field that the config language does not have, off a spec, and puts a target in its place.
func (r *CustomRoute) withoutService(n *schema.Node, diags *diag.List) *schema.Node {
	f := n.Field("service")
	if f == nil {
		return n
	}
	out := *n
	out.Fields = slices.DeleteFunc(slices.Clone(n.Fields), func(f schema.Field) bool { return f.Name == "service" })
	wrong := func(path, message string) { diags.Errorf("GW2101", f.Pos, path, "%s %s", path, message) }
	if n.Field("target") != nil {
		wrong("spec.service", "is there, and spec.target too; must be one of them")
		return &out
	}
	out.Fields = append(out.Fields, schema.Field{Name: "target", Pos: f.Pos, Value: targetNode("service")})
	var service struct {
		Name string  `json:"name"`
		Port v1.Port `json:"port"`
	}
	v1.Decode(f.Value, "spec.service", &service, diags)
	number, err := strconv.ParseUint(string(service.Port), 10, 16)
	switch {
	case diags.HasErrors():
	case !serviceForm.MatchString(service.Name):
		wrong("spec.service.name", "must be the name of a service of the namespace")
	case err == nil && number > 0:
		r.service = &backend{namespace: r.Namespace, service: service.Name, portNumber: int32(number)}
	case err != nil && portForm.MatchString(string(service.Port)):
		r.service = &backend{namespace: r.Namespace, service: service.Name, portName: string(service.Port)}
	default:
		wrong("spec.service.port", "must be the number or the name of a port")
	}
	return &out
}

// portForm is the name of a port, of which at least one character is a letter.
var portForm = regexp.MustCompile(`^[a-z0-9-]{0,14}[a-z][a-z0-9-]{0,14}$`)

// id is the id of the route. Those of Ingresses and HTTPRoutes end in another way.
func (r *CustomRoute) id() string { return identifier(r.Namespace, r.Name, "route") }

// node is the route as a file holds it.
func (r *CustomRoute) node(id string) *schema.Node {
	out := *r.spec
	out.Fields = append([]schema.Field{{Name: "id", Value: textNode(id)}}, r.spec.Fields...)
	return &out
}

func textNode(s string) *schema.Node { return &schema.Node{Kind: schema.String, Str: s} }

func targetNode(upstream string) *schema.Node {
	return &schema.Node{Kind: schema.Map, Fields: []schema.Field{{Name: "type", Value: textNode("http")}, {Name: "upstream", Value: textNode(upstream)}}}
}

// custom is a Route on its way.
type custom struct {
	candidate
	of       *CustomRoute
	upstream *v1.Upstream // of its tenant, for spec.service
	gone     *missing     // why it has no route
}

// customRoutes judges every Route by itself. One that is left out has no closed route in its place: nobody has said yet that its
// namespace may have the host, and its requests go where they went before.
func (t *translator) customRoutes() {
	for _, r := range sortedByAge(t.in.Routes) {
		c := &custom{of: r, candidate: candidate{object: Ref{"Route", r.Namespace, r.Name}, field: "spec"}}
		if !t.inNamespace(r.Namespace) {
			t.find(Finding{Grade: Note, Reason: "NotChosen", Object: c.object, Message: t.notInNamespace()})
			continue
		}
		c.route = v1.Route{ID: r.id(), Matcher: r.wants}
		c.route.Matcher.Host = strings.ToLower(r.wants.Host)
		c.gone = t.judge(c)
		t.customs = append(t.customs, c)
	}
}

// judge finds out whether a Route can be said at all.
func (t *translator) judge(c *custom) *missing {
	if err := c.compile(); err != nil {
		return &missing{"UnsupportedMatch", err.Error(), "change spec.matcher"}
	}
	if path := match.Reserved(c.matcher); path != "" {
		return &missing{"ReservedPath", fmt.Sprintf("the gateway answers %s itself, on every host", path), "serve it under another path"}
	}
	to := c.of.service
	if to == nil {
		return nil
	}
	tune := tuning{}
	found, gone := t.discover(c.object, "spec.service", *to, &tune)
	if gone != nil {
		return gone
	}
	// No upstream of the base may have the same id, or the tenant's would be a patch of it: names in Kubernetes have no underscore.
	u := v1.Upstream{ID: identifier(to.namespace, to.service, to.port()+"_tenant"), Discovery: found}
	tune.apply(&u, t.clusterName(*to))
	c.upstream = &u
	return nil
}

// settleCustoms keeps the Routes that neither claim the host of somebody older nor tie with another route. Ingresses and HTTPRoutes come
// first there: they cannot say what makes one of two routes more specific, and Routes can.
func (t *translator) settleCustoms(kept []*candidate) []*custom {
	t.claimHosts()
	for {
		open := slices.DeleteFunc(slices.Clone(t.customs), func(c *custom) bool { return c.gone != nil })
		all := slices.Clone(kept)
		for _, c := range open {
			all = append(all, &c.candidate)
		}
		routes := make([]ir.Route, len(all))
		for i, c := range all {
			routes[i].Match = c.match
		}
		ties := match.Conflicts(routes)
		if len(ties) == 0 {
			return open
		}
		for i := range ties {
			winner, w := all[ties[i].A], &ties[i].Witness
			loser := open[ties[i].B-len(kept)] // those of kept do not tie
			loser.gone = cmp.Or(loser.gone, &missing{
				"Ambiguous", fmt.Sprintf("ties with %s (%s): %s %s%s satisfies both", winner.object, winner.field, w.Method, w.Host, w.Path),
				"make one of the two more specific, such as by a header or by methods",
			})
		}
	}
}

// tellCustoms reports what became of Routes.
func (t *translator) tellCustoms() {
	for _, c := range t.customs {
		if c.gone != nil {
			t.find(Finding{Grade: Omitted, Reason: c.gone.reason, Object: c.object, Field: c.field, Message: c.gone.message, Instead: c.gone.instead})
		}
		accepted := c.gone.condition("Accepted", "Accepted", c.of.Generation)
		t.status = append(t.status, Status{Object: c.object, Route: &RouteStatus{Conditions: []metav1.Condition{accepted}}})
	}
}

// claimHosts refuses the Routes whose host an older object of another namespace has. A wildcard and a host under it are two hosts:
// whoever granted both to different namespaces meant it.
func (t *translator) claimHosts() {
	claims := t.claims()
	for _, c := range t.customs {
		if c.gone != nil {
			continue
		}
		host := c.route.Matcher.Host
		own := claim{c.object, c.of.CreationTimestamp.Time}
		by, taken := claims[host]
		switch {
		case !taken || own.before(by):
			claims[host] = own
		case by.object.Namespace != c.object.Namespace:
			c.gone = &missing{
				"HostTaken", fmt.Sprintf("host %q was claimed before by %s, of another namespace", host, by.object),
				"take another host, or have that object removed",
			}
		}
	}
}

// claim is an object that has a route for a host.
type claim struct {
	object  Ref
	created time.Time
}

// before reports whether a claim is older than another one, as Kubernetes ranks them.
func (c claim) before(o claim) bool {
	return cmp.Or(c.created.Compare(o.created), cmp.Compare(c.object.Namespace, o.object.Namespace), cmp.Compare(c.object.Name, o.object.Name)) < 0
}

// claims are the hosts of Ingresses and HTTPRoutes, with the oldest of each.
func (t *translator) claims() map[string]claim {
	created := map[Ref]time.Time{}
	for _, o := range t.in.Ingresses {
		created[Ref{"Ingress", o.Namespace, o.Name}] = o.CreationTimestamp.Time
	}
	for _, o := range t.in.HTTPRoutes {
		created[Ref{"HTTPRoute", o.Namespace, o.Name}] = o.CreationTimestamp.Time
	}
	out := map[string]claim{}
	for _, c := range t.candidates {
		own := claim{c.object, created[c.object]}
		if by, taken := out[c.match.Host]; !taken || own.before(by) {
			out[c.match.Host] = own
		}
	}
	return out
}

// written is the route as its file holds it.
func (c *custom) written() *schema.Node {
	n := c.of.node(c.route.ID)
	for i := range n.Fields {
		if c.upstream != nil && n.Fields[i].Name == "target" {
			n.Fields[i].Value = targetNode(c.upstream.ID)
		}
	}
	return n
}
