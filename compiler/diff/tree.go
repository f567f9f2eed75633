package diff

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// The trees in this file hold a compiled object in the shape and with the names its author knows. They are made from the
// object's JSON, so that a field the compiled form gains later is compared at once, if perhaps under its compiled name.

func gatewayTree(g *ir.Gateway) map[string]any {
	t := fields(g)
	if m, ok := t["limits"].(map[string]any); ok {
		t["limits"] = renamed(m, limitNames)
	}
	list, _ := t["listeners"].([]any)
	for _, e := range list {
		if m, ok := e.(map[string]any); ok && m["proxyProtocol"] != nil {
			m["proxyProtocol"] = map[string]any{"from": m["proxyProtocol"]}
		}
	}
	if m, ok := t["tracing"].(map[string]any); ok {
		delete(t, "tracing")
		if n, isNum := m["samplePerMil"].(json.Number); isNum {
			delete(m, "samplePerMil")
			m["sampleRatio"] = ratio(n)
		}
		t["telemetry"] = map[string]any{"tracing": m}
	}
	if m, ok := t["tenancy"].(map[string]any); ok {
		tenancyTree(m)
	}
	normalise(t)
	return t
}

// tenancyTree gives each grant its tenant for a name, and the rest the words of its author.
func tenancyTree(t map[string]any) {
	if list, ok := t["grants"].([]any); ok {
		t["grants"] = byTenant(list)
	}
	sources, _ := t["from"].([]any)
	for _, e := range sources {
		if m, ok := e.(map[string]any); ok && m["host"] != nil {
			m["host"] = fmt.Sprint("*.", m["host"])
		}
	}
	if t["passUnknown"] != nil {
		delete(t, "passUnknown")
		t["unknown"] = "none"
	}
}

// byTenant turns a list of what tenants have into a map.
func byTenant(list []any) map[string]any {
	out := make(map[string]any, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		name, _ := m["tenant"].(string)
		delete(m, "tenant")
		place(out, []string{name}, renamed(m, map[string]string{"privateAddresses": "allowPrivateAddresses", "kinds": "policyKinds"}))
	}
	return out
}

// ratio writes thousandths as the fraction that the author wrote.
func ratio(perMil json.Number) json.Number {
	n, err := perMil.Int64()
	switch {
	case err != nil || n < 0 || n > 1000:
		return perMil
	case n == 1000:
		return "1"
	case n == 0:
		return "0"
	}
	digits := json.Number(strings.TrimRight("0."+string("000" + perMil)[len(perMil):], "0"))
	return digits
}

func upstreamTree(u *ir.Upstream) map[string]any {
	t := renamed(fields(u), upstreamNames)
	delete(t, "id")
	scheme, _ := t["scheme"].(string)
	list, _ := t["endpoints"].([]any)
	delete(t, "endpoints")
	targets := make([]any, 0, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		address, _ := m["address"].(string)
		delete(m, "address")
		if pairs, ok := m["metadata"].([]any); ok {
			m["metadata"] = byName(pairs)
		}
		if len(m) == 0 {
			targets = append(targets, scheme+"://"+address)
			continue
		}
		m["url"] = scheme + "://" + address
		targets = append(targets, m)
	}
	if len(targets) > 0 {
		t["targets"] = targets
		delete(t, "scheme") // said by every target
	}
	upstreamParts(t)
	normalise(t)
	return t
}

// routeFields is the tree of a route, as far as it needs nothing but the route.
func routeFields(r *ir.Route) map[string]any {
	bare := *r
	bare.Policies, bare.Target.Plan = nil, nil // not necessarily valid JSON
	t := fields(&bare)
	delete(t, "id")
	if list, ok := t["wrote"].([]any); ok {
		delete(t, "wrote")
		t["writtenBy"] = byTenant(list)
	}
	policy := map[string]any{}
	matcher, _ := t["match"].(map[string]any)
	delete(t, "match")
	for _, name := range []string{"headers", "query"} {
		if list, ok := matcher[name].([]any); ok {
			matcher[name] = byName(list)
		}
	}
	t["matcher"] = matcher
	forward, _ := t["forward"].(map[string]any)
	delete(t, "forward")
	for k, v := range forward {
		forwardPart(policy, k, v)
	}
	for i := range r.Policies {
		place(policy, strings.Split(r.Policies[i].Kind, "."), decode(r.Policies[i].Plan))
	}
	t["policy"] = policy
	target, _ := t["target"].(map[string]any)
	if len(r.Target.Plan) > 0 {
		plan := decode(r.Target.Plan)
		m, ok := plan.(map[string]any)
		if _, a := m["type"]; a || !ok {
			place(target, []string{"plan"}, plan)
		} else {
			for k, v := range m {
				place(target, []string{k}, v)
			}
		}
	}
	normalise(t)
	return t
}

// routeTree is the tree of a route. The upstream that its url stands for is the url itself.
func (s *side) routeTree(r *ir.Route) map[string]any {
	t := routeFields(r)
	if inline(r.Target.Upstream) {
		target, _ := t["target"].(map[string]any)
		delete(target, "upstream")
		place(target, []string{"url"}, urlOf(r.Target.Upstream, r.Tenant))
	}
	return t
}

// inline reports whether an upstream's id is the origin of a route's url: an authored id never holds a colon.
func inline(id string) bool { return strings.Contains(id, "://") }

// urlOf is the url an inline upstream stands for. Its id ends with "#" and the tenant whose rules hold, if it has one.
func urlOf(id, tenant string) string {
	if tenant == "" {
		return id
	}
	return strings.TrimSuffix(id, "#"+tenant)
}

// movedInline lists the inline upstreams that differ although their url is the same, as they do when a default or the
// tenant changes.
func (d *differ) movedInline() map[string]bool {
	out := map[string]bool{}
	for id, x := range d.a.inline {
		if y := d.b.inline[id]; y == nil || fingerprint(inlineTree(x)) != fingerprint(inlineTree(y)) {
			out[id] = true
		}
	}
	for id := range d.b.inline {
		if d.a.inline[id] == nil {
			out[id] = true
		}
	}
	return out
}

// inlineSettings adds the settings of the upstreams behind two urls to the targets of a route, where both sides have one.
func (d *differ) inlineSettings(old, new *ir.Route, before, after map[string]any) {
	x, y := d.a.inline[old.Target.Upstream], d.b.inline[new.Target.Upstream]
	if (x == nil || y == nil) && old.Target.Upstream != new.Target.Upstream {
		return // a url comes, or goes
	}
	for _, side := range []struct {
		tree map[string]any
		u    *ir.Upstream
	}{{before, x}, {after, y}} {
		target, _ := side.tree["target"].(map[string]any)
		for k, v := range treeOf(side.u, inlineTree) {
			place(target, []string{k}, v)
		}
	}
}

// inlineTree is what an inline upstream says beyond its url, and beyond its tenant, which is the route's.
func inlineTree(u *ir.Upstream) map[string]any {
	t := upstreamTree(u)
	url := urlOf(u.ID, u.Tenant)
	if list, ok := t["targets"].([]any); ok && len(list) == 1 && list[0] == url {
		delete(t, "targets")
	}
	if url != u.ID {
		delete(t, "tenant")
	}
	return t
}

// afterRename lets a route of the old side name its upstream by the name it has on the new side.
func (d *differ) afterRename(t map[string]any) map[string]any {
	if target, ok := t["target"].(map[string]any); ok {
		if id, ok := target["upstream"].(string); ok && d.a.renamed[id] != "" {
			target["upstream"] = d.a.renamed[id]
		}
	}
	return t
}

// place sets a value at a path of maps. Where something stands already, both are kept, the later one under a key no
// author can write: a report must not hide a policy because another one has its name.
func place(m map[string]any, path []string, v any) {
	for len(path) > 1 {
		next, ok := m[path[0]].(map[string]any)
		if !ok {
			if m[path[0]] != nil {
				break
			}
			next = map[string]any{}
			m[path[0]] = next
		}
		m, path = next, path[1:]
	}
	key := strings.Join(path, ".")
	for m[key] != nil {
		key += " (again)"
	}
	if v == nil {
		v = map[string]any{} // present, without settings
	}
	m[key] = v
}

// byName turns a list of {name, value} into a map; names that repeat keep it a list.
func byName(list []any) any {
	out := make(map[string]any, len(list))
	for _, e := range list {
		m, _ := e.(map[string]any)
		name, _ := m["name"].(string)
		if _, twice := out[name]; twice || len(m) != 2 {
			return list
		}
		out[name] = m["value"]
	}
	return out
}

func renamed(m map[string]any, names map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		if n := names[k]; n != "" {
			k = n
		}
		out[k] = v
	}
	return out
}

// fields is the JSON of a struct as a map.
func fields(x any) map[string]any {
	raw, err := json.Marshal(x)
	if err != nil { // the structs of package ir are JSON once their plans are taken out
		panic("diff: marshal " + err.Error())
	}
	m, _ := decode(raw).(map[string]any)
	return m
}

// decode reads a plan. What is not JSON stays what it is, a string: it differs from anything else, and shows.
func decode(raw []byte) any {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return string(raw)
	}
	if _, err := d.Token(); err != io.EOF {
		return string(raw)
	}
	return v
}

// setNames are the lists whose order has no meaning, by the name of the field.
var setNames = map[string]bool{
	"trustedProxies": true, "from": true, "on": true, "tags": true, "methods": true, "headers": true, "query": true,
	"audience": true, "audiences": true, "issuers": true, "algorithms": true,
	"requiredRoles": true, "requiredScopes": true, "requiredPermissions": true, "roles": true, "scopes": true, "permissions": true,
	"allow": true, "deny": true, "allowList": true, "denyList": true, "allowed": true, "denied": true,
	"origins": true, "allowOrigins": true, "allowedOrigins": true, "allowMethods": true, "allowedMethods": true,
	"allowHeaders": true, "allowedHeaders": true, "exposeHeaders": true, "exposedHeaders": true,
}

// orderedLists are those whose order has a meaning although others of their name have none.
var orderedLists = map[string]bool{"compression.algorithms": true, "tenancy.from": true}

// normalise sorts the sets below a tree and drops what is there without saying anything: null, and empty lists.
func normalise(v any) { normaliseBelow("", v) }

func normaliseBelow(parent string, v any) {
	switch v := v.(type) {
	case map[string]any:
		for k, e := range v {
			list, isList := e.([]any)
			if e == nil || isList && len(list) == 0 {
				delete(v, k)
				continue
			}
			normaliseBelow(k, e)
			if isList && setNames[k] && !orderedLists[parent+"."+k] {
				slices.SortFunc(list, func(x, y any) int { return strings.Compare(fingerprint(x), fingerprint(y)) })
			}
		}
	case []any:
		for _, e := range v {
			normaliseBelow(parent, e)
		}
	}
}
