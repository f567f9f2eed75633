package diff

import (
	"slices"

	"github.com/suuupra/gateway/schema/ir"
)

// listenerRisks looks at the listeners that both sides have. One with another id at the same address is the same one.
func (d *differ) listenerRisks(old, new *ir.Gateway, obj *Object) {
	for i := range new.Listeners {
		now := &new.Listeners[i]
		j := slices.IndexFunc(old.Listeners, func(l ir.Listener) bool { return l.ID == now.ID })
		if j < 0 {
			j = slices.IndexFunc(old.Listeners, func(l ir.Listener) bool { return l.Address == now.Address })
		}
		at := func(fields ...string) []string {
			return append([]string{"listeners", "[" + bare(now.ID) + "]"}, fields...)
		}
		if j < 0 {
			if now.TLS == nil && onlyTLS(old.Listeners) {
				d.risk(TLSDowngrade, obj, at("address"), "a new listener takes plain text, the others spoke TLS")
			}
			d.proxyProtocol(nil, now.ProxyProtocol, obj, at("proxyProtocol", "from"))
			continue
		}
		was := &old.Listeners[j]
		switch {
		case was.TLS != nil && now.TLS == nil:
			d.risk(TLSDowngrade, obj, at("tls"), "the listener takes plain text, it spoke TLS")
		case was.TLS != nil && older(now.TLS.MinVersion, was.TLS.MinVersion):
			d.risk(TLSWeakened, obj, at("tls", "minVersion"), "TLS %s is accepted, it had to be %s", Show(now.TLS.MinVersion), Show(was.TLS.MinVersion))
		}
		d.loosened(obj, limit{
			keys: at("http2", "maxStreams"), what: "the number of streams of a connection",
			old: was.HTTP2.MaxStreams, new: now.HTTP2.MaxStreams,
		})
		d.proxyProtocol(was.ProxyProtocol, now.ProxyProtocol, obj, at("proxyProtocol", "from"))
	}
}

// onlyTLS reports whether there are listeners, and none takes plain text.
func onlyTLS(all []ir.Listener) bool {
	return len(all) > 0 && !slices.ContainsFunc(all, func(l ir.Listener) bool { return l.TLS == nil })
}

// proxyProtocol notes who may now say where a connection comes from.
func (d *differ) proxyProtocol(was, now []string, obj *Object, keys []string) {
	if more := notCovered(now, was); len(more) > 0 {
		d.risk(TrustedProxiesWidened, obj, keys, "%s may now say who the client is, by the PROXY protocol", someOf(more))
	}
}

// older compares two versions of TLS; one that is not said is the oldest.
func older(now, was string) bool { return now < was }

// sheddingRisks compares how early and how much load is shed.
func (d *differ) sheddingRisks(old, new *ir.LoadShedding, obj *Object) {
	switch {
	case old == nil:
		return
	case new == nil:
		d.risk(ResilienceRemoved, obj, []string{"loadShedding"}, "the gateway does not shed load any more")
		return
	}
	at := func(field string) []string { return []string{"loadShedding", field} }
	d.loosened(obj, limit{keys: at("targetDelay"), what: "the delay at which load is shed", old: old.TargetDelay, new: new.TargetDelay})
	d.loosened(obj, limit{keys: at("maxInFlight"), what: "the number of requests at a time", old: old.MaxInFlight, new: new.MaxInFlight})
	d.lowered(obj, at("maxPercent"), "the share of requests that may be refused", old.MaxPercent, new.MaxPercent)
}
