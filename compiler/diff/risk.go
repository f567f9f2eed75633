package diff

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"github.com/suuupra/gateway/schema/diag"
)

// Severity says what a risk endangers.
type Severity string

// The severities, gravest first. A notice is something a reviewer should have seen.
const (
	Security     Severity = "security"
	Availability Severity = "availability"
	Cost         Severity = "cost"
	Notice       Severity = "notice"
)

// Code names a risk. Codes are stable: gates and approvals refer to them.
type Code string

// The codes, with what each stands for. Codes explains them in a sentence.
const (
	AuthRemoved             Code = "AUTH_REMOVED"
	AuthWeakened            Code = "AUTH_WEAKENED"
	PublicRouteAdded        Code = "PUBLIC_ROUTE_ADDED"
	RouteRemoved            Code = "ROUTE_REMOVED"
	RoutesRemovedMany       Code = "ROUTES_REMOVED_MANY"
	EmptyConfig             Code = "EMPTY_CONFIG"
	HostWidened             Code = "HOST_WIDENED"
	PathWidened             Code = "PATH_WIDENED"
	MethodsWidened          Code = "METHODS_WIDENED"
	MatchWidened            Code = "MATCH_WIDENED"
	LimitRaised             Code = "LIMIT_RAISED"
	LimitRemoved            Code = "LIMIT_REMOVED"
	TargetExternal          Code = "TARGET_EXTERNAL"
	TLSDowngrade            Code = "TLS_DOWNGRADE"
	TrustedProxiesWidened   Code = "TRUSTED_PROXIES_WIDENED"
	AdminEnabled            Code = "ADMIN_ENABLED"
	AdminWidened            Code = "ADMIN_WIDENED"
	GatesLoosened           Code = "GATES_LOOSENED"
	NoAuthLeft              Code = "NO_AUTH_LEFT"
	PrivateAddressesAllowed Code = "PRIVATE_ADDRESSES_ALLOWED"
	TLSWeakened             Code = "TLS_WEAKENED"
	RetryWidened            Code = "RETRY_WIDENED"
	ResilienceRemoved       Code = "RESILIENCE_REMOVED"
	PriorityRaised          Code = "PRIORITY_RAISED"
	TenantWidened           Code = "TENANT_WIDENED"
)

// Class is the manual's entry for one code.
type Class struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"` // of LIMIT_RAISED and LIMIT_REMOVED: cost, where the limit bounds spending
	Meaning  string   `json:"meaning"`
}

// Codes explains every code, gravest first.
func Codes() []Class {
	return []Class{
		{AuthRemoved, Security, "requests that needed a credential need none any more"},
		{AuthWeakened, Security, "a protection is gone, or accepts what it refused before"},
		{HostWidened, Security, "a route takes requests for more hosts"},
		{PathWidened, Security, "a route takes requests for more paths"},
		{MethodsWidened, Security, "a route takes more methods"},
		{MatchWidened, Security, "a route no longer asks for a header field or a query parameter, or for its value"},
		{TargetExternal, Security, "requests or traces go to a public host they did not go to before"},
		{TLSDowngrade, Security, "a connection that was encrypted is not any more"},
		{TLSWeakened, Security, "an encrypted connection is verified less, believes others, or takes an older version of TLS"},
		{TrustedProxiesWidened, Security, "more addresses may say who the client is"},
		{AdminEnabled, Security, "a part of the admin API is switched on"},
		{AdminWidened, Security, "somebody may do more in the admin API, or somebody else may"},
		{PrivateAddressesAllowed, Security, "an upstream may dial private and loopback addresses"},
		{TenantWidened, Security, "a tenant may own more, or less tells the requests of one tenant from those of another"},
		{GatesLoosened, Security, "less is asked of changes before they go live"},
		{NoAuthLeft, Security, "no route asks for a credential any more"},
		{EmptyConfig, Availability, "no route is left"},
		{RoutesRemovedMany, Availability, "more than a tenth of the routes is removed"},
		{RouteRemoved, Availability, "requests a route took are answered by another route, or 404"},
		{LimitRaised, Availability, "a limit or a timeout is looser"},
		{LimitRemoved, Availability, "a limit or a timeout is gone"},
		{RetryWidened, Availability, "more requests are repeated, or more often: an upstream in trouble gets more of them"},
		{ResilienceRemoved, Availability, "health checks, outlier ejection, a circuit breaker or load shedding are gone"},
		{PriorityRaised, Availability, "requests of a route are refused later than before when the gateway sheds load, at the cost of the others"},
		{PublicRouteAdded, Notice, "a new route asks for no credential"},
	}
}

// Risk is one reason to look twice.
type Risk struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Kind     Kind     `json:"kind,omitempty"` // empty: the program as a whole
	ID       string   `json:"id,omitempty"`
	Path     string   `json:"path,omitempty"`
	Pos      diag.Pos `json:"pos,omitzero"`     // of the value as it is now; of what was, if it is gone
	Message  string   `json:"message"`          // one sentence, lower case, no final period
	Factor   string   `json:"factor,omitempty"` // of LIMIT_RAISED: new divided by old, e.g. "2.5"
}

// RisksOf counts the risks of one severity.
func (r *Report) RisksOf(s Severity) int {
	n := 0
	for i := range r.Risks {
		if r.Risks[i].Severity == s {
			n++
		}
	}
	return n
}

// risk notes a risk at a field of an object.
func (d *differ) risk(code Code, obj *Object, keys []string, format string, args ...any) *Risk {
	r := Risk{Code: code, Severity: severityOf(code), Path: joinKeys(keys), Message: fmt.Sprintf(format, args...)}
	if obj != nil {
		r.Kind, r.ID = obj.Kind, obj.ID
		r.Pos = d.place(obj, keys)
	}
	d.risks = append(d.risks, r)
	return &d.risks[len(d.risks)-1]
}

// place is where a reader should look: at the change itself, or at what the new side says about the field.
func (d *differ) place(obj *Object, keys []string) diag.Pos {
	path := joinKeys(keys)
	for i := range obj.Changes {
		if c := &obj.Changes[i]; c.Path == path {
			if c.Op == Removed || c.oldNear && !c.newNear { // the line is gone, and the default holds
				return c.OldPos
			}
			return c.NewPos
		}
	}
	if obj.Op == Removed {
		pos, _ := d.a.origin(obj.Kind, obj.idBefore(), keys, false)
		return pos
	}
	for i := range obj.Changes { // a policy that is gone as a whole has changes below its path only
		if c := &obj.Changes[i]; c.Op == Removed && len(keys) > 0 && len(c.keys) > len(keys) && slices.Equal(c.keys[:len(keys)], keys) {
			pos, _ := d.a.origin(obj.Kind, obj.idBefore(), keys, false)
			return pos
		}
	}
	pos, _ := d.b.origin(obj.Kind, obj.ID, keys, false)
	return pos
}

func severityOf(code Code) Severity {
	switch code {
	case EmptyConfig, RoutesRemovedMany, RouteRemoved, LimitRaised, LimitRemoved, RetryWidened, ResilienceRemoved, PriorityRaised:
		return Availability
	case PublicRouteAdded:
		return Notice
	}
	return Security
}

func rank(s Severity) int {
	return slices.Index([]Severity{Security, Availability, Cost, Notice}, s)
}

func sortRisks(risks []Risk) {
	slices.SortStableFunc(risks, func(x, y Risk) int {
		return cmp.Or(cmp.Compare(rank(x.Severity), rank(y.Severity)), cmp.Compare(x.Code, y.Code),
			cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.ID, y.ID), cmp.Compare(x.Path, y.Path), cmp.Compare(x.Message, y.Message))
	})
}

// programRisks looks at what no single object shows.
func (d *differ) programRisks() {
	before, after := len(d.a.routes), len(d.b.routes)
	if after > 0 && d.a.guarded() > 0 && d.b.guarded() == 0 {
		d.risk(NoAuthLeft, nil, nil, "no route asks for a credential any more, %d did", d.a.guarded())
	}
	removed := 0
	for i := range d.objects {
		if o := &d.objects[i]; o.Kind == Route && o.Op == Removed {
			removed++
		}
	}
	if before > 0 && after == 0 {
		d.risk(EmptyConfig, nil, nil, "no route is left of %d", before)
	}
	if removed*10 > before {
		d.risk(RoutesRemovedMany, nil, nil, "%d of %d routes are removed", removed, before)
	}
}

// limit is a bound that a change may loosen. Zero stands for no bound.
type limit struct {
	keys     []string
	what     string // "the timeout", as the message begins
	old, new int64
	cost     bool
}

// loosened notes a bound that is higher than before, or gone.
func (d *differ) loosened(obj *Object, l limit) {
	var r *Risk
	switch {
	case l.old == 0 || l.new == l.old:
		return
	case l.new == 0:
		r = d.risk(LimitRemoved, obj, l.keys, "%s was %d and is off", l.what, l.old)
	case l.new > l.old:
		r = d.raised(obj, l)
	default:
		return
	}
	if l.cost {
		r.Severity = Cost
	}
}

// raised notes a bound that is higher than before.
func (d *differ) raised(obj *Object, l limit) *Risk {
	if l.old == 0 {
		return d.risk(LimitRaised, obj, l.keys, "%s is %d instead of none", l.what, l.new)
	}
	f := factor(l.old, l.new)
	r := d.risk(LimitRaised, obj, l.keys, "%s is %s times what it was, %d instead of %d", l.what, f, l.new, l.old)
	r.Factor = f
	return r
}

// factor divides.
func factor(old, new int64) string { return short(float64(new) / float64(old)) }

// short rounds a factor to what a reader can use.
func short(f float64) string {
	if f < 100 {
		return strconv.FormatFloat(f, 'g', 3, 64)
	}
	return strconv.FormatFloat(f, 'f', 0, 64)
}
