package diff

import (
	"slices"

	"github.com/suuupra/gateway/schema/grant"
	"github.com/suuupra/gateway/schema/ir"
)

// tenancyRisks looks for tenants that may own more than before, and for less that tells the requests of one from those of another.
func (d *differ) tenancyRisks(old, new *ir.Tenancy, obj *Object) {
	if new == nil {
		new = &ir.Tenancy{}
	}
	if old == nil {
		old = &ir.Tenancy{}
	}
	for i := range new.Grants {
		was := ir.Grant{}
		if j := slices.IndexFunc(old.Grants, func(g ir.Grant) bool { return g.Tenant == new.Grants[i].Tenant }); j >= 0 {
			was = old.Grants[j]
		}
		d.grantRisks(&was, &new.Grants[i], obj)
	}
	if len(old.From) > 0 {
		d.detectionRisks(old, new, obj)
	}
}

func (d *differ) grantRisks(old, new *ir.Grant, obj *Object) {
	for _, part := range []struct {
		field, may string
		old, new   []string
		within     func(is, was string) bool
	}{
		{"hosts", "take requests for", old.Hosts, new.Hosts, grant.HostWithin},
		{"pathPrefixes", "take paths under", old.PathPrefixes, new.PathPrefixes, grant.PathWithin},
		{"policyKinds", "write policies of kind", old.PolicyKinds, new.PolicyKinds, equal},
		{"upstreams", "send requests to the base's upstream", old.Upstreams, new.Upstreams, equal},
		{"secrets", "have secrets used:", old.Secrets, new.Secrets, equal},
	} {
		more := slices.DeleteFunc(slices.Clone(part.new), func(is string) bool {
			return slices.ContainsFunc(part.old, func(was string) bool { return part.within(is, was) })
		})
		if len(more) > 0 {
			d.risk(TenantWidened, obj, []string{"tenancy", "grants", new.Tenant, part.field}, "tenant %s may %s %s", Show(new.Tenant), part.may, someOf(more))
		}
	}
	if new.PrivateAddresses && !old.PrivateAddresses {
		d.risk(TenantWidened, obj, []string{"tenancy", "grants", new.Tenant, "allowPrivateAddresses"},
			"tenant %s may send requests into the gateway's own network", Show(new.Tenant))
	}
}

func equal(a, b string) bool { return a == b }

// detectionRisks looks at how tenants are found, where they were found before.
func (d *differ) detectionRisks(old, new *ir.Tenancy, obj *Object) {
	loosened := func(field, format string, args ...any) {
		d.risk(TenantWidened, obj, []string{"tenancy", field}, format, args...)
	}
	if len(new.From) == 0 {
		loosened("from", "requests on routes that no tenant owns are nobody's")
		return
	}
	if !slices.Equal(old.From, new.From) {
		loosened("from", "the tenant of a request is looked for in other places, or in another order")
	}
	if new.Open && !old.Open {
		loosened("open", "any name is a tenant's, not only those that are known")
	}
	if new.PassUnknown && !old.PassUnknown {
		loosened("unknown", "a request for a tenant that there is not is not refused any more")
	}
	if old.Agree && !new.Agree {
		loosened("agree", "a request may speak of one tenant in one place, and of another one elsewhere")
	}
}
