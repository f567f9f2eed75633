package v1

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// together judges what only two fields together can get wrong. The struct is known to have its required fields and no
// unknown ones; its values may still be of the wrong kind, and then there is nothing to say about them.
func (w *walker) together(def string, n *schema.Node, where *loc) bool {
	before := w.diags.Len()
	switch def {
	case "Matcher":
		w.oneOf(n, where, "a matcher needs path or pathRegex", "path", "pathRegex")
	case "Target":
		w.oneOf(n, where, "a target of type http needs url or upstream", "url", "upstream")
	case "Gateway":
		w.distinct("listeners", n.Get("listeners"), &loc{up: where, name: "listeners", index: -1}, "id", "address")
	case "Admin":
		w.distinct("users", n.Get("users"), &loc{up: where, name: "users", index: -1}, "name")
		w.distinct("roles", n.Get("roles"), &loc{up: where, name: "roles", index: -1}, "id")
	case "GitOps":
		for _, field := range []string{"gates", "windows", "webhooks"} {
			w.distinct(field, n.Get(field), &loc{up: where, name: field, index: -1}, "id")
		}
	case "Upstream":
		w.oneOf(n, where, where.object(def, n)+" needs targets or discovery", "targets", "discovery")
	case "Discovery":
		w.oneOf(n, where, "discovery needs dns, kubernetes or consul", "dns", "kubernetes", "consul")
	case "Health":
		w.oneOf(n, where, "health needs http, tcp or grpc", "http", "tcp", "grpc")
	case "HashPart":
		w.oneOf(n, where, where.short()+" needs header, cookie, query or ip", "header", "cookie", "query", "ip")
		w.onlyTrue(n, where, "ip")
	case "TenantSource":
		w.oneOf(n, where, where.short()+" needs host, pathPrefix, header, claim or apiKey", "host", "pathPrefix", "header", "claim", "apiKey")
		w.onlyTrue(n, where, "apiKey")
	case "LoadBalancing":
		w.boundPercent(n, where)
	}
	return w.diags.Len() == before
}

// oneOf wants exactly one of the fields.
func (w *walker) oneOf(n *schema.Node, where *loc, none string, fields ...string) {
	var first *schema.Field
	for i := range n.Fields {
		f := &n.Fields[i]
		switch {
		case !slices.Contains(fields, f.Name):
		case first == nil:
			first = f
		default:
			if f.Pos.Compare(first.Pos) < 0 {
				first, f = f, first
			}
			a, b := first.Name, f.Name
			if slices.Index(fields, b) < slices.Index(fields, a) {
				a, b = b, a
			}
			w.diags.Add(diag.Diagnostic{
				Code: "GW2034", Pos: f.Pos, Width: width(f.Name), Path: (&loc{up: where, name: f.Name, index: -1}).String(),
				Message: fmt.Sprintf("%s has both %s and %s, must have one of them", where.short(), a, b),
				Notes:   []diag.Note{{Pos: first.Pos, Message: first.Name + " is here"}},
			})
		}
	}
	if first == nil {
		w.diags.Add(at("GW2034", n, where, "%s", none))
	}
}

// onlyTrue refuses a part that is there and says no.
func (w *walker) onlyTrue(n *schema.Node, where *loc, field string) {
	if v := n.Get(field); v != nil && v.Kind == schema.Bool && !v.Bool {
		d := at("GW2102", v, &loc{up: where, name: field, index: -1}, "%s is false, must be true", field)
		d.Hint = "leave the part out"
		w.diags.Add(d)
	}
}

// boundPercent has a hole that no bound of a number can say: a server may not have less than the average.
func (w *walker) boundPercent(n *schema.Node, where *loc) {
	v := n.Get("boundPercent")
	if v != nil && v.Kind == schema.Int && v.Int > 0 && v.Int < 100 {
		d := at("GW2103", v, &loc{up: where, name: "boundPercent", index: -1}, "boundPercent is %d, must be 0, or from 100 to 10000", v.Int)
		d.Hint = "100 is the average load, 125 a quarter above it; 0 is no bound"
		w.diags.Add(d)
	}
}

// distinct refuses two items of a list that share what names them.
func (w *walker) distinct(what string, list *schema.Node, where *loc, fields ...string) {
	if list == nil || list.Kind != schema.List {
		return
	}
	for _, field := range fields {
		seen := map[string]*schema.Node{}
		for i, item := range list.Items {
			v := item.Get(field)
			if v.Text() == "" {
				continue
			}
			if first := seen[v.Str]; first != nil {
				d := at("GW2131", v, &loc{up: &loc{up: where, index: i}, name: field, index: -1}, "two %s have the %s %s", what, field, shown(v))
				d.Notes = []diag.Note{{Pos: first.Pos, Message: "the other one is here"}}
				w.diags.Add(d)
				continue
			}
			seen[v.Str] = v
		}
	}
}

// hopByHop are the fields of one connection (RFC 9110, section 7.6.1): the gateway answers for them, so that no route can
// depend on them.
func hopByHop() []string {
	return []string{"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
}

// headerNames refuses names a route cannot match on, and one name in two spellings.
func (w *walker) headerNames(n *schema.Node, where *loc) bool {
	before := w.diags.Len()
	seen := make(map[string]*schema.Field, len(n.Fields))
	for i := range n.Fields {
		f := &n.Fields[i]
		lower := strings.ToLower(f.Name)
		first := seen[lower]
		seen[lower] = f
		if first == nil && lower != "host" && !slices.Contains(hopByHop(), lower) {
			continue
		}
		d := diag.Diagnostic{Pos: f.Pos, Width: width(f.Name), Path: (&loc{up: where, name: f.Name, index: -1}).String()}
		switch {
		case first != nil:
			d.Code = "GW2106"
			d.Message = fmt.Sprintf("header %s is given twice, names do not differ by case", quoted(f.Name))
			d.Notes = []diag.Note{{Pos: first.Pos, Message: "the first one is here"}}
		case lower == "host":
			d.Code = "GW2127"
			d.Message = "a route cannot match on the header Host here"
			d.Hint = "use matcher.host"
		default:
			d.Code = "GW2127"
			d.Message = fmt.Sprintf("a route cannot match on the header %s, which belongs to one connection", quoted(f.Name))
		}
		w.diags.Add(d)
	}
	return w.diags.Len() == before
}
