package compiler

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/v1"
)

// adminOf is who may use the admin API, defaults filled in. A role comes out with everything that it inherits, so that a gateway
// follows no reference from role to role.
func adminOf(a *v1.Admin) ir.Admin {
	if a == nil {
		return ir.Admin{}
	}
	out := ir.Admin{
		APIEnabled: a.APIEnabled, HotReloadEnabled: a.HotReloadEnabled,
		SecretsManagementEnabled: a.SecretsManagementEnabled, DashboardUIEnabled: a.DashboardUIEnabled,
	}
	for _, h := range a.Hosts {
		out.Hosts = append(out.Hosts, strings.ToLower(h))
	}
	slices.Sort(out.Hosts)
	for _, u := range a.Users {
		out.Users = append(out.Users, ir.AdminUser{Name: u.Name, PasswordHash: u.PasswordHash, Roles: sorted(u.Roles)})
	}
	for i := range a.Roles {
		permissions := map[string]bool{}
		collect(a.Roles, a.Roles[i].ID, permissions, map[string]bool{})
		out.Roles = append(out.Roles, ir.AdminRole{ID: a.Roles[i].ID, Permissions: slices.Sorted(maps.Keys(permissions))})
	}
	rules := ir.AdminSessions{
		Lifetime: int64(*a.Sessions.Lifetime), RefreshLifetime: int64(*a.Sessions.RefreshLifetime), MaxPerUser: *a.Sessions.MaxPerUser,
	}
	if rules != ir.DefaultAdminSessions() {
		out.Sessions = &rules
	}
	if o := a.Oidc; o != nil {
		out.OIDC = &ir.AdminOIDC{Issuer: o.Issuer, Audience: o.Audience, RolesClaim: o.RolesClaim, RoleMap: map[string][]string{}}
		for claim, roles := range o.RoleMap {
			out.OIDC.RoleMap[claim] = sorted(roles)
		}
	}
	return out
}

// collect adds what a role permits, by itself and by what it inherits. It ends also where roles inherit in a circle, which the checks
// report.
func collect(roles []v1.AdminRole, id string, into, seen map[string]bool) {
	if seen[id] {
		return
	}
	seen[id] = true
	if built, ok := ir.BuiltInRole(id); ok {
		for _, p := range built {
			into[p] = true
		}
		return
	}
	for i := range roles {
		if roles[i].ID != id {
			continue
		}
		for _, text := range roles[i].Permissions {
			for _, p := range ir.ExpandPermission(text) {
				into[p] = true
			}
		}
		for _, other := range roles[i].Inherits {
			collect(roles, other, into, seen)
		}
	}
}

// reservedUsers are actors that are no users: a record must leave no doubt who it was.
var reservedUsers = []string{"token", "local"}

// longestAccess bounds the lifetime of an access token.
const longestAccess = v1.Duration(time.Hour / time.Millisecond)

// adminSite is gateway.admin under judgement.
type adminSite struct {
	site
	known map[string]*schema.Node // roles: the id of each; of a built-in one nil
}

// admin judges who may use the admin API.
func (l *lowerer) admin(at site, a *v1.Admin) {
	if at.node == nil || a == nil {
		return
	}
	s := adminSite{at, map[string]*schema.Node{}}
	for _, id := range ir.BuiltInRoles() {
		s.known[id] = nil
	}
	roles := itemsOf(at.node.Get("roles"))
	for i, n := range roles {
		if id := n.Get("id"); slices.Contains(ir.BuiltInRoles(), id.Str) {
			s.add("GW3070", id, fmt.Sprintf("roles[%d].id", i), "give it another name; inherits: ["+id.Str+"] takes over what the built-in one permits",
				"role %q is built in and cannot be defined anew", id.Str)
		} else {
			s.known[id.Str] = id
		}
	}
	for i, n := range roles {
		s.references(n.Get("inherits"), fmt.Sprintf("roles[%d].inherits", i))
		s.permissions(n.Get("permissions"), fmt.Sprintf("roles[%d].permissions", i))
	}
	s.circles(roles)
	for i, n := range itemsOf(at.node.Get("users")) {
		if name := n.Get("name"); slices.Contains(reservedUsers, strings.ToLower(name.Str)) {
			s.add("GW3070", name, fmt.Sprintf("users[%d].name", i), "give the user another name", "user %q would be taken for somebody else in the records", name.Str)
		}
		s.references(n.Get("roles"), fmt.Sprintf("users[%d].roles", i))
	}
	s.sessions(a.Sessions)
	if a.Oidc != nil {
		for _, f := range at.node.At("oidc.roleMap").Fields {
			s.references(f.Value, "oidc.roleMap."+f.Name)
		}
		l.provider(s, a.Oidc.Issuer)
	}
}

func itemsOf(list *schema.Node) []*schema.Node {
	if list == nil {
		return nil
	}
	return list.Items
}

func (s adminSite) add(code diag.Code, at *schema.Node, field, hint, format string, args ...any) {
	s.diags.Add(diag.Diagnostic{
		Severity: diag.Error, Code: code, Pos: at.Pos, Width: max(at.Width, 1), Path: join(s.path, field), Message: fmt.Sprintf(format, args...), Hint: hint,
	})
}

// references finds names of roles that are none.
func (s adminSite) references(list *schema.Node, field string) {
	for i, n := range itemsOf(list) {
		if _, ok := s.known[n.Str]; ok {
			continue
		}
		hint := "built in are " + strings.Join(ir.BuiltInRoles(), ", ") + "; others are defined in gateway.admin.roles"
		if near := diag.Suggest(n.Str, slices.Collect(maps.Keys(s.known))); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		s.add("GW3071", n, fmt.Sprintf("%s[%d]", field, i), hint, "there is no role %q", n.Str)
	}
}

// permissions finds those that stand for nothing.
func (s adminSite) permissions(list *schema.Node, field string) {
	for i, n := range itemsOf(list) {
		if len(ir.ExpandPermission(n.Str)) > 0 {
			continue
		}
		hint := "docs/admin.md lists the permissions"
		resource, _, _ := strings.Cut(n.Str, ":")
		if of := ir.ExpandPermission(resource + ":*"); len(of) > 0 && resource != "*" {
			hint = "of this resource there are " + strings.Join(of, ", ")
		} else if near := diag.Suggest(n.Str, ir.AdminPermissions()); near != "" {
			hint = fmt.Sprintf("did you mean %q?", near)
		}
		s.add("GW3073", n, fmt.Sprintf("%s[%d]", field, i), hint, "there is no permission %q", n.Str)
	}
}

// circles finds roles that inherit themselves, by way of others or not. Each circle is reported once, where it closes.
func (s adminSite) circles(roles []*schema.Node) {
	type edge struct {
		to    *schema.Node
		field string
	}
	edges := map[string][]edge{}
	for i, n := range roles {
		for j, to := range itemsOf(n.Get("inherits")) {
			edges[n.Get("id").Str] = append(edges[n.Get("id").Str], edge{to, fmt.Sprintf("roles[%d].inherits[%d]", i, j)})
		}
	}
	var path []edge // whose first is a role, and each further one what the one before inherits
	done := map[string]bool{}
	var visit func(e edge)
	visit = func(e edge) {
		if from := slices.IndexFunc(path, func(p edge) bool { return p.to.Str == e.to.Str }); from >= 0 {
			d := diag.Diagnostic{Severity: diag.Error, Code: "GW3072", Pos: e.to.Pos, Width: max(e.to.Width, 1), Path: join(s.path, e.field), Hint: "take one of them out of inherits"}
			names := []string{}
			for i, p := range path[from:] {
				if names = append(names, p.to.Str); i > 0 {
					d.Notes = append(d.Notes, diag.Note{Pos: p.to.Pos, Message: fmt.Sprintf("%s inherits %s here", path[from+i-1].to.Str, p.to.Str)})
				}
			}
			d.Message = fmt.Sprintf("role %q inherits itself: %s", e.to.Str, strings.Join(append(names, e.to.Str), " -> "))
			s.diags.Add(d)
			return
		}
		if done[e.to.Str] {
			return
		}
		path = append(path, e)
		for _, next := range edges[e.to.Str] {
			visit(next)
		}
		path = path[:len(path)-1]
		done[e.to.Str] = true
	}
	for _, n := range roles {
		visit(edge{to: n.Get("id")})
	}
}

// sessions judges how long people stay logged in.
func (s adminSite) sessions(r *v1.AdminSessions) {
	if *r.Lifetime > longestAccess {
		s.report(diag.Error, "GW2103", "sessions.lifetime", "refreshLifetime is how long people stay logged in; an access token is refreshed meanwhile", nil,
			"sessions.lifetime is longer than an hour, must be at most 1h")
	}
	if *r.Lifetime > *r.RefreshLifetime {
		s.contradicts("sessions.lifetime", "sessions.refreshLifetime", "a session has to last for at least one access token",
			"sessions.lifetime is longer than sessions.refreshLifetime, so an access token would outlive its session")
	}
}

// provider judges where the keys of the identity provider come from.
func (l *lowerer) provider(s adminSite, issuer string) {
	u, err := url.Parse(issuer)
	at := s.find("oidc.issuer")
	switch {
	case err != nil || u.Hostname() == "" || u.RawQuery != "":
		s.add("GW2104", at, "oidc.issuer", "", "oidc.issuer is %q, must be an https URL without a query", issuer)
		return
	case u.User != nil:
		s.add("GW2104", at, "oidc.issuer", `take the part before "@" out of it`, "oidc.issuer holds credentials")
		return
	}
	l.address("", u, at, s.path+".oidc.issuer")
	if strings.EqualFold(u.Scheme, "http") {
		s.report(diag.Warning, "GW3061", "oidc.issuer", "write https if the issuer speaks it", nil,
			fmt.Sprintf("keys come from %s in the clear: whoever stands in between can make tokens", u.Host))
	}
}
