package diff

import (
	"maps"
	"slices"

	"github.com/suuupra/gateway/schema/ir"
)

// adminRisks looks at what of the admin API is served, and at who may use it. Without the API nothing of that has an effect.
func (d *differ) adminRisks(old, new ir.Admin, obj *Object) {
	if !new.APIEnabled {
		return
	}
	if !old.APIEnabled {
		old = ir.Admin{}
	}
	for _, s := range []struct {
		name     string
		old, new bool
		what     string
	}{
		{"apiEnabled", old.APIEnabled, new.APIEnabled, "the admin API is served"},
		{"hotReloadEnabled", old.HotReloadEnabled, new.HotReloadEnabled, "the admin API may ask for a reload"},
		{"secretsManagementEnabled", old.SecretsManagementEnabled, new.SecretsManagementEnabled, "the admin API lists references to secrets"},
		{"dashboardUiEnabled", old.DashboardUIEnabled, new.DashboardUIEnabled, "the dashboard is served"},
	} {
		if s.new && !s.old {
			d.risk(AdminEnabled, obj, []string{"admin", s.name}, "%s", s.what)
		}
	}
	d.userRisks(&old, &new, obj)
	d.providerRisks(&old, &new, obj)
	d.sessionRisks(&old, &new, obj)
	if old.APIEnabled && len(old.Hosts) > 0 {
		if more := without(new.Hosts, old.Hosts); len(new.Hosts) == 0 || len(more) > 0 {
			d.risk(AdminWidened, obj, []string{"admin", "hosts"}, "the admin API may be asked for by %s", orAny(more))
		}
	}
}

// userRisks looks at what each user may do, whichever roles that comes from.
func (d *differ) userRisks(old, new *ir.Admin, obj *Object) {
	was := map[string]ir.AdminUser{}
	for _, u := range old.Users {
		was[u.Name] = u
	}
	for _, u := range new.Users {
		before, there := was[u.Name]
		if more := without(new.Permits(u.Roles), old.Permits(before.Roles)); len(more) > 0 {
			d.risk(AdminWidened, obj, []string{"admin", "users"}, "user %s may now do %s in the admin API", Show(u.Name), someOf(more))
		}
		if there && before.PasswordHash != u.PasswordHash && len(new.Permits(u.Roles)) > 0 {
			d.risk(AdminWidened, obj, []string{"admin", "users"}, "user %s has another password", Show(u.Name))
		}
	}
}

// providerRisks looks at the identity provider. Another one, or tokens that are for somebody else, are as if there had been none.
func (d *differ) providerRisks(old, new *ir.Admin, obj *Object) {
	if new.OIDC == nil {
		return
	}
	was := ir.AdminOIDC{}
	if o := old.OIDC; o != nil && o.Issuer == new.OIDC.Issuer && o.Audience == new.OIDC.Audience && o.RolesClaim == new.OIDC.RolesClaim {
		was = *o
	}
	for _, claim := range slices.Sorted(maps.Keys(new.OIDC.RoleMap)) {
		if more := without(new.Permits(new.OIDC.RoleMap[claim]), old.Permits(was.RoleMap[claim])); len(more) > 0 {
			d.risk(AdminWidened, obj, []string{"admin", "oidc"}, "who has %s of %s may now do %s in the admin API", Show(claim), Show(new.OIDC.Issuer), someOf(more))
		}
	}
}

// sessionRisks looks at how long whoever got hold of a session may use it.
func (d *differ) sessionRisks(old, new *ir.Admin, obj *Object) {
	was, now := old.SessionRules(), new.SessionRules()
	for _, l := range []limit{
		{keys: []string{"admin", "sessions", "lifetime"}, what: "the lifetime of an access token", old: was.Lifetime, new: now.Lifetime},
		{keys: []string{"admin", "sessions", "refreshLifetime"}, what: "the lifetime of a session", old: was.RefreshLifetime, new: now.RefreshLifetime},
		{keys: []string{"admin", "sessions", "maxPerUser"}, what: "the number of sessions of a user", old: was.MaxPerUser, new: now.MaxPerUser},
	} {
		d.loosened(obj, l)
	}
}

func orAny(names []string) string {
	if len(names) == 0 {
		return "any name"
	}
	return someOf(names)
}
