package ir

import (
	"slices"
	"strings"
)

// Admin says what of the admin API is served, and to whom. While APIEnabled is false every /admin path answers 404.
type Admin struct {
	APIEnabled               bool `json:"apiEnabled"`
	HotReloadEnabled         bool `json:"hotReloadEnabled"`         // POST /admin/reload asks for a poll
	SecretsManagementEnabled bool `json:"secretsManagementEnabled"` // GET /admin/secrets lists references, never values
	DashboardUIEnabled       bool `json:"dashboardUiEnabled"`       // GET /admin/ui
	// Hosts are the names, beside addresses and localhost, by which the API is asked for: exact, or "*." and a suffix. Empty: any.
	Hosts []string    `json:"hosts,omitempty"`
	Users []AdminUser `json:"users,omitempty"` // in the author's order; no two have one name
	Roles []AdminRole `json:"roles,omitempty"` // in the author's order; beside BuiltInRoles
	// Sessions is nil where nothing but DefaultAdminSessions is asked for.
	Sessions *AdminSessions `json:"sessions,omitempty"`
	OIDC     *AdminOIDC     `json:"oidc,omitempty"`
}

// AdminUser is somebody who logs in with a password.
type AdminUser struct {
	Name         string   `json:"name"`
	PasswordHash string   `json:"passwordHash"` // reference to the Argon2id hash, as a PHC string
	Roles        []string `json:"roles"`        // sorted
}

// AdminRole is a role with everything that it permits, what it inherits included.
type AdminRole struct {
	ID          string   `json:"id"`
	Permissions []string `json:"permissions,omitempty"` // sorted, without stars
}

// AdminSessions says how long people stay logged in.
type AdminSessions struct {
	Lifetime        int64 `json:"lifetime"`        // of an access token, in milliseconds
	RefreshLifetime int64 `json:"refreshLifetime"` // of a session, in milliseconds
	MaxPerUser      int64 `json:"maxPerUser"`
}

// DefaultAdminSessions holds where the configuration says nothing.
func DefaultAdminSessions() AdminSessions {
	return AdminSessions{Lifetime: 600_000, RefreshLifetime: 43_200_000, MaxPerUser: 5}
}

// SessionRules are those that hold.
func (a *Admin) SessionRules() AdminSessions {
	if a.Sessions == nil {
		return DefaultAdminSessions()
	}
	return *a.Sessions
}

// AdminOIDC is an identity provider whose tokens are taken in place of a login.
type AdminOIDC struct {
	Issuer     string              `json:"issuer"`
	Audience   string              `json:"audience"`
	RolesClaim string              `json:"rolesClaim"`
	RoleMap    map[string][]string `json:"roleMap"` // name in the claim -> roles, sorted
}

// adminActions is what can be done with each resource of the admin API. The list is closed.
var adminActions = map[string][]string{
	"approvals": {"create", "read"},
	"audit":     {"read"},
	"bundle":    {"read"},
	"dashboard": {"read"},
	"keys":      {"create", "delete", "read", "update"},
	"overlays":  {"create", "delete", "read", "update"},
	"policies":  {"read"},
	"reload":    {"create"},
	"routes":    {"read"},
	"secrets":   {"read"},
	"sessions":  {"delete", "read"},
	"status":    {"read"},
	"upstreams": {"read"},
	"users":     {"read"},
}

// AdminPermissions lists every permission there is, as resource:action, sorted.
func AdminPermissions() []string {
	var out []string
	for resource, actions := range adminActions {
		for _, action := range actions {
			out = append(out, resource+":"+action)
		}
	}
	slices.Sort(out)
	return out
}

// ExpandPermission returns the permissions that a text stands for, in which "*" stands for every resource or every action; nil if
// there are none.
func ExpandPermission(text string) []string {
	resource, action, _ := strings.Cut(text, ":")
	return slices.DeleteFunc(AdminPermissions(), func(p string) bool {
		r, a, _ := strings.Cut(p, ":")
		return resource != "*" && resource != r || action != "*" && action != a
	})
}

// The built-in roles. No configuration can redefine them.
const (
	RoleViewer     = "viewer"
	RoleOperator   = "operator"
	RoleSuperAdmin = "super-admin"
)

// confidential is what says who does what: of no concern to whoever only looks after traffic.
var confidential = []string{"audit:read", "sessions:read", "users:read"}

// BuiltInRole returns the permissions of a built-in role, sorted. A viewer looks at everything but at people; an operator looks at
// them too, polls the source, and administers API keys and overlays; a super-admin may do everything. An operator neither approves
// changes nor ends other people's sessions.
func BuiltInRole(id string) (permissions []string, ok bool) {
	switch id {
	case RoleViewer:
		return slices.DeleteFunc(ExpandPermission("*:read"), func(p string) bool { return slices.Contains(confidential, p) }), true
	case RoleOperator:
		return slices.Sorted(slices.Values(slices.Concat(
			ExpandPermission("*:read"), []string{"keys:create", "keys:delete", "keys:update", "overlays:create", "overlays:delete", "overlays:update", "reload:create"},
		))), true
	case RoleSuperAdmin:
		return AdminPermissions(), true
	}
	return nil, false
}

// BuiltInRoles are the names of the built-in roles, those first that may do least.
func BuiltInRoles() []string { return []string{RoleViewer, RoleOperator, RoleSuperAdmin} }

// Permits returns what somebody with some roles may do, sorted. A role that is not there permits nothing.
func (a *Admin) Permits(roles []string) []string {
	var out []string
	for _, id := range roles {
		if built, ok := BuiltInRole(id); ok {
			out = append(out, built...)
			continue
		}
		for i := range a.Roles {
			if a.Roles[i].ID == id {
				out = append(out, a.Roles[i].Permissions...)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
