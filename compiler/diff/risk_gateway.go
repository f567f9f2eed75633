package diff

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

func (d *differ) gatewayRisks(old, new *ir.Gateway, obj *Object) {
	for _, l := range []limit{
		{keys: []string{"limits", "maxHeaderBytes"}, what: "the limit on header bytes", old: old.Limits.HeaderBytes, new: new.Limits.HeaderBytes},
		{keys: []string{"limits", "maxHeaderFields"}, what: "the limit on header fields", old: old.Limits.HeaderFields, new: new.Limits.HeaderFields},
		{keys: []string{"limits", "maxUrlBytes"}, what: "the limit on the request target", old: old.Limits.URLBytes, new: new.Limits.URLBytes},
		{keys: []string{"limits", "maxBodyBytes"}, what: "the limit on request bodies", old: old.Limits.BodyBytes, new: new.Limits.BodyBytes},
		{keys: []string{"timeouts", "readHeader"}, what: "the time to send a header", old: old.Timeouts.ReadHeader, new: new.Timeouts.ReadHeader},
		{keys: []string{"timeouts", "bodyIdle"}, what: "the time a body may pause", old: old.Timeouts.BodyIdle, new: new.Timeouts.BodyIdle},
		{keys: []string{"timeouts", "keepAlive"}, what: "the time a connection may idle", old: old.Timeouts.KeepAlive, new: new.Timeouts.KeepAlive},
	} {
		d.loosened(obj, l)
	}
	if more := notCovered(new.TrustedProxies, old.TrustedProxies); len(more) > 0 {
		d.risk(TrustedProxiesWidened, obj, []string{"trustedProxies"}, "%s may now say who the client is", someOf(more))
	}
	d.listenerRisks(old, new, obj)
	d.gitOpsRisks(old.Rules(), new.Rules(), obj)
	d.sheddingRisks(old.LoadShedding, new.LoadShedding, obj)
	d.adminRisks(old.Admin, new.Admin, obj)
	d.tenancyRisks(old.Tenancy, new.Tenancy, obj)
	d.tracingRisks(old.Tracing.Endpoint, new.Tracing.Endpoint, obj)
}

// tracingRisks looks at the collector: spans hold the addresses of users and the paths they ask for.
func (d *differ) tracingRisks(old, new string, obj *Object) {
	keys := []string{"telemetry", "tracing", "endpoint"}
	if downgraded(old, new) {
		d.risk(TLSDowngrade, obj, keys, "spans leave unencrypted, by http instead of https")
	}
	if h := hostOfURL(new); h != "" && public(h) && h != hostOfURL(old) {
		d.risk(TargetExternal, obj, keys, "spans go to the public host %s", Show(h))
	}
}

// notCovered returns the prefixes, or addresses, of list that hold an address which no prefix of base holds. What is no
// prefix is covered only by itself.
func notCovered(list, base []string) []string {
	var prefixes []netip.Prefix
	for _, s := range base {
		if p, ok := prefix(s); ok {
			prefixes = append(prefixes, p)
		}
	}
	var out []string
	for _, s := range list {
		if slices.Contains(base, s) {
			continue
		}
		if p, ok := prefix(s); !ok || !covered(p, prefixes) {
			out = append(out, s)
		}
	}
	return out
}

func prefix(s string) (netip.Prefix, bool) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil || a.Zone() != "" {
			return netip.Prefix{}, false
		}
		return netip.PrefixFrom(a, a.BitLen()), true
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, false
	}
	return p.Masked(), true
}

// covered reports whether the union of base holds all of p: two halves cover a whole.
func covered(p netip.Prefix, base []netip.Prefix) bool {
	inside := base[:0:0]
	for _, b := range base {
		if b.Bits() <= p.Bits() && b.Contains(p.Addr()) {
			return true
		}
		if p.Overlaps(b) {
			inside = append(inside, b)
		}
	}
	if len(inside) == 0 {
		return false
	}
	low := netip.PrefixFrom(p.Addr(), p.Bits()+1)
	bytes := p.Addr().AsSlice()
	bytes[p.Bits()/8] |= 0x80 >> (p.Bits() % 8)
	a, _ := netip.AddrFromSlice(bytes) // of the same length
	return covered(low, inside) && covered(netip.PrefixFrom(a, p.Bits()+1), inside)
}
