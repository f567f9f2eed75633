package tenancy

import "github.com/suuupra/gateway/runtime/policy"

// The refusals. They do not repeat what the request has said: whoever guesses learns nothing about which tenants there are but that
// this one is not.
var (
	unknown = &policy.Reject{
		Status: 403, Code: "tenant_unknown", Detail: "the request is for a tenant that this gateway does not have",
	}
	mismatch = &policy.Reject{
		Status: 403, Code: "tenant_mismatch", Detail: "the request speaks of one tenant in one place, and of another one elsewhere",
	}
)

// Matched sets the tenant of a request whose route is known, as far as it can be told before it is known who calls. host is as
// match.NormalizeHost returns it.
func (r *Resolver) Matched(x *policy.Exchange, host string) *policy.Reject {
	x.Tenant = x.Route.Tenant
	if r == nil {
		return nil
	}
	return r.settle(x, host, false)
}

// Identified sets the tenant of a request when it is known who calls. It has something to do if Late says so.
func (r *Resolver) Identified(x *policy.Exchange, host string) *policy.Reject {
	if reject := r.settle(x, host, true); reject != nil {
		return reject
	}
	if k := x.Key; k != nil && k.Tenant != "" && x.Tenant != "" && k.Tenant != x.Tenant {
		x.Cause = "the API key is another tenant's"
		return mismatch
	}
	return nil
}

// settle asks the sources in their order. The first that names a tenant decides; so one behind a source that cannot be asked yet does
// not, and the tenant stays open until it can. Where all have to agree, all are asked, and any of them may tell it.
//
// A tenant's own route is that tenant's. There only those are asked that tell of the caller, to see whether they agree: host and path
// are what the tenant was granted, and what a segment is called there is its own business.
func (r *Resolver) settle(x *policy.Exchange, host string, identified bool) *policy.Reject {
	owned := x.Route.Tenant != ""
	if owned && !r.agree {
		return nil
	}
	x.Tenant = x.Route.Tenant
	for i := range r.sources {
		s := &r.sources[i]
		switch {
		case s.late() && !identified && !r.agree:
			return nil
		case s.late() && !identified, owned && !s.ofCaller():
			continue
		}
		name, ok := s.of(x, host)
		switch {
		case ok && name == "":
		case !owned && (!ok || !r.isTenant(name)):
			if !r.pass {
				x.Tenant, x.Cause = "", "no such tenant"
				return unknown
			}
		case x.Tenant == "":
			if x.Tenant = name; !r.agree {
				return nil
			}
		case !ok || name != x.Tenant:
			x.Cause = "tenants differ"
			return mismatch
		}
	}
	return nil
}
