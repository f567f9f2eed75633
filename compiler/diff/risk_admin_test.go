package diff

import "github.com/suuupra/gateway/schema/ir"

// admin sets what of the admin API is served, and to whom.
func admin(edits ...func(*ir.Admin)) func(*ir.Program) {
	return func(p *ir.Program) {
		a := ir.Admin{
			APIEnabled: true, Hosts: []string{"admin.example.com"},
			Users: []ir.AdminUser{{Name: "ann", PasswordHash: "env:ANN_HASH", Roles: []string{"keys"}}},
			Roles: []ir.AdminRole{{ID: "keys", Permissions: []string{"keys:create", "keys:read"}}},
			OIDC: &ir.AdminOIDC{
				Issuer: "https://id.example.com", Audience: "gateway", RolesClaim: "roles", RoleMap: map[string][]string{"ops": {"keys"}},
			},
		}
		for _, e := range edits {
			e(&a)
		}
		p.Gateway.Admin = a
	}
}

func adminCases() []riskCase {
	const users, oidc = "security gateway admin.users", "security gateway admin.oidc"
	return []riskCase{
		{"api", AdminEnabled, gateway(func(g *ir.Gateway) { g.Admin.APIEnabled = true }), "security gateway admin.apiEnabled", nil},
		{"secrets", AdminEnabled, gateway(func(g *ir.Gateway) { g.Admin = ir.Admin{APIEnabled: true, SecretsManagementEnabled: true} }), "security gateway admin.secretsManagementEnabled", gateway(func(g *ir.Gateway) { g.Admin.APIEnabled = true })},
		{"secrets without the api", AdminEnabled, gateway(func(g *ir.Gateway) { g.Admin.SecretsManagementEnabled = true }), "", nil},
		{"api switched off", AdminEnabled, unchanged, "", gateway(func(g *ir.Gateway) { g.Admin.APIEnabled = true })},

		{"user in a new api", AdminWidened, admin(func(a *ir.Admin) { a.OIDC = nil }), users, nil},
		{"user added", AdminWidened, admin(func(a *ir.Admin) {
			a.Users = append(a.Users, ir.AdminUser{Name: "eve", PasswordHash: "env:EVE", Roles: []string{"viewer"}})
		}), users, admin()},
		{"user without a permission added", AdminWidened, admin(func(a *ir.Admin) {
			a.Users = append(a.Users, ir.AdminUser{Name: "eve", PasswordHash: "env:EVE", Roles: []string{"none"}})
		}), "", admin()},
		{"user removed", AdminWidened, admin(func(a *ir.Admin) { a.Users = nil }), "", admin()},
		{"user with another role", AdminWidened, admin(func(a *ir.Admin) { a.Users[0].Roles = []string{"super-admin"} }), users, admin()},
		{"user with a role that permits no more", AdminWidened, admin(func(a *ir.Admin) { a.Users[0].Roles = []string{"keys"} }), "", admin(func(a *ir.Admin) { a.Users[0].Roles = []string{"operator"} })},
		{"role that permits less", AdminWidened, admin(func(a *ir.Admin) { a.Roles[0].Permissions = []string{"keys:read"} }), "", admin()},
		{"user with another password", AdminWidened, admin(func(a *ir.Admin) { a.Users[0].PasswordHash = "env:EVE_HASH" }), users, admin()},
		{"role that permits more, to users", AdminWidened, admin(func(a *ir.Admin) {
			a.Roles[0].Permissions = append(a.Roles[0].Permissions, "keys:delete")
			a.OIDC = nil
		}), users, admin()},
		{"role that permits more, to tokens", AdminWidened, admin(func(a *ir.Admin) {
			a.Roles[0].Permissions = append(a.Roles[0].Permissions, "keys:delete")
			a.Users = nil
		}), oidc, admin()},
		{"another issuer", AdminWidened, admin(func(a *ir.Admin) { a.OIDC.Issuer = "https://evil.example" }), oidc, admin()},
		{"another audience", AdminWidened, admin(func(a *ir.Admin) { a.OIDC.Audience = "api" }), oidc, admin()},
		{"another claim", AdminWidened, admin(func(a *ir.Admin) { a.OIDC.RolesClaim = "groups" }), oidc, admin()},
		{"another name in the claim", AdminWidened, admin(func(a *ir.Admin) { a.OIDC.RoleMap["everybody"] = []string{"viewer"} }), oidc, admin()},
		{"provider removed", AdminWidened, admin(func(a *ir.Admin) { a.OIDC = nil }), "", admin()},
		{"by any name", AdminWidened, admin(func(a *ir.Admin) { a.Hosts = nil }), "security gateway admin.hosts", admin()},
		{"by another name", AdminWidened, admin(func(a *ir.Admin) { a.Hosts = append(a.Hosts, "gw.example.com") }), "security gateway admin.hosts", admin()},
		{"by fewer names", AdminWidened, admin(), "", admin(func(a *ir.Admin) { a.Hosts = append(a.Hosts, "gw.example.com") })},
		{"longer sessions", LimitRaised, admin(func(a *ir.Admin) {
			a.Sessions = &ir.AdminSessions{Lifetime: 600_000, RefreshLifetime: 86_400_000, MaxPerUser: 5}
		}), "availability gateway admin.sessions.refreshLifetime 2", admin()},
	}
}
