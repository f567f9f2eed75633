package diff

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// mechanism is one way in which a route asks for a credential: where it stands below the route, and its name.
type mechanism struct {
	name string
	keys []string
}

// Guarded reports whether a route asks for a credential.
func Guarded(r *ir.Route) bool { return len(mechanisms(r)) > 0 }

// mechanisms lists what asks for a credential on a route, in the order of their names.
func mechanisms(r *ir.Route) []mechanism {
	var out []mechanism
	for i := range r.Policies {
		kind := r.Policies[i].Kind
		plan := decode(r.Policies[i].Plan)
		if classOf(kind) != authenticate || off(plan) {
			continue
		}
		keys := append([]string{"policy"}, policyKeys(kind)...)
		m, _ := plan.(map[string]any)
		top := plain(kind)
		parts := 0
		for _, name := range slices.Sorted(maps.Keys(m)) {
			if (top == "auth" || top == "authentication") && isMap(m[name]) && classes[plain(name)] == authenticate {
				parts++
				if !off(m[name]) {
					out = append(out, mechanism{name: name, keys: child(keys, spell(name))})
				}
			}
		}
		if parts == 0 {
			name := kind[strings.LastIndexByte(kind, '.')+1:]
			out = append(out, mechanism{name: name, keys: keys})
		}
	}
	slices.SortStableFunc(out, func(x, y mechanism) int { return strings.Compare(x.name, y.name) })
	return out
}

// off reports whether a plan says of itself that it does nothing.
func off(plan any) bool {
	m, _ := plan.(map[string]any)
	return m["enabled"] == false
}

func isMap(v any) bool {
	_, ok := v.(map[string]any)
	return ok
}

func policyKeys(kind string) []string {
	keys := strings.Split(kind, ".")
	for i := range keys {
		keys[i] = spell(keys[i])
	}
	return keys
}

// policyRisks compares the policies of a route that stays.
func (d *differ) policyRisks(x delta) {
	gone := d.authRisks(x)
	now := map[string]any{}
	for i := range x.new.Policies {
		now[x.new.Policies[i].Kind] = decode(x.new.Policies[i].Plan)
	}
	for i := range x.old.Policies {
		kind := x.old.Policies[i].Kind
		was := decode(x.old.Policies[i].Plan)
		if kind == bodyLimitKind || off(was) {
			continue
		}
		keys := append([]string{"policy"}, policyKeys(kind)...)
		plan, still := now[kind]
		if !still || off(plan) {
			d.policyGone(x.obj, kind, keys)
			continue
		}
		w := weigher{d: d, obj: x.obj, class: classOf(kind), gone: gone}
		w.value(keys, was, plan)
	}
}

// policyGone notes a policy that is removed or switched off. What asked for a credential is authRisks' concern.
func (d *differ) policyGone(obj *Object, kind string, keys []string) {
	switch classOf(kind) {
	case guard:
		d.risk(AuthWeakened, obj, keys, "the protection %s is gone", Show(kind))
	case bound:
		d.risk(LimitRemoved, obj, keys, "the limit %s is gone", Show(kind))
	case spend:
		d.risk(LimitRemoved, obj, keys, "the bound on spending %s is gone", Show(kind)).Severity = Cost
	}
}

// authRisks compares how a route asks for credentials, and returns the paths of what is gone. All mechanisms of a route
// must pass, so one less is weaker even if another one stays.
func (d *differ) authRisks(x delta) map[string]bool {
	was, now := mechanisms(x.old), mechanisms(x.new)
	gone := map[string]bool{}
	var names, left, at []string
	for _, m := range now {
		left = append(left, m.name)
	}
	for _, m := range was {
		if !slices.ContainsFunc(now, func(n mechanism) bool { return plain(n.name) == plain(m.name) }) {
			gone[joinKeys(m.keys)] = true
			names = append(names, m.name)
			if at == nil {
				at = m.keys
			}
		}
	}
	switch {
	case len(names) == 0:
	case len(left) == 0:
		d.risk(AuthRemoved, x.obj, at, "%s needs no credential any more, it needed %s", requests(&x.new.Match), someOf(names))
	default:
		d.risk(AuthWeakened, x.obj, at, "%s is not asked for any more, %s is", someOf(names), someOf(left))
	}
	return gone
}

// weigher compares two plans of one kind, field by field, with the rules.
type weigher struct {
	d     *differ
	obj   *Object
	class class
	gone  map[string]bool // mechanisms that are reported already
}

func (w *weigher) value(keys []string, old, new any) {
	om, oldIsMap := old.(map[string]any)
	nm, newIsMap := new.(map[string]any)
	if !oldIsMap && !newIsMap {
		w.plainValue(keys, old, new)
		return
	}
	if w.gone[joinKeys(keys)] {
		return
	}
	if oldIsMap && newIsMap {
		w.rate(keys, om, nm)
	}
	names := maps.Clone(om)
	if names == nil {
		names = map[string]any{}
	}
	for k, v := range nm {
		names[k] = v
	}
	for _, k := range slices.Sorted(maps.Keys(names)) {
		at := child(keys, spell(k))
		s, ok := ruleFor(k, w.class)
		if !ok || s >= ceiling && (isMap(om[k]) || isMap(nm[k])) { // a single value's rule says nothing of a group
			w.value(at, om[k], nm[k])
			continue
		}
		if om == nil { // what is new demands more, not less
			continue
		}
		if w.judge(s, at, om[k], nm[k]); s == source {
			w.plainValue(at, om[k], nm[k])
		}
	}
}

// plainValue looks at what has no rule: a url that loses its encryption, and lists of parts.
func (w *weigher) plainValue(keys []string, old, new any) {
	was, _ := old.(string)
	now, _ := new.(string)
	if downgraded(was, now) {
		w.d.risk(TLSDowngrade, w.obj, keys, "%s is asked by http instead of https", Show(hostOfURL(now)))
	}
	ol, ok := old.([]any)
	nl, isList := new.([]any)
	if !ok || !isList && new != nil || !composite(ol) {
		return
	}
	om, oldIDs := byID(ol)
	nm, newIDs := byID(nl)
	switch {
	case oldIDs && newIDs:
		for _, id := range slices.Sorted(maps.Keys(om)) {
			if at := child(keys, "["+bare(id)+"]"); nm[id] == nil {
				w.partGone(at)
			} else {
				w.value(at, om[id], nm[id])
			}
		}
	case len(nl) < len(ol):
		w.partGone(keys)
	case len(nl) == len(ol):
		for i := range ol {
			w.value(child(keys, "["+strconv.Itoa(i)+"]"), ol[i], nl[i])
		}
	}
}

// partGone notes that one of several parts of a policy is missing.
func (w *weigher) partGone(keys []string) {
	switch w.class {
	case authenticate, guard:
		w.d.risk(AuthWeakened, w.obj, keys, "a part of the protection is gone")
	case bound:
		w.d.risk(LimitRemoved, w.obj, keys, "one of the limits is gone")
	case spend:
		w.d.risk(LimitRemoved, w.obj, keys, "one of the bounds on spending is gone").Severity = Cost
	}
}

// judge applies one rule.
func (w *weigher) judge(s sense, keys []string, old, new any) {
	name := keys[len(keys)-1]
	switch s {
	case demands:
		if lost := notCovered(texts(old), texts(new)); len(lost) > 0 {
			w.weaker(keys, "%s no longer holds %s", name, someOf(lost))
		}
	case accepts:
		w.accepts(keys, name, texts(old), texts(new))
	case source:
		if a, b := texts(old), texts(new); len(a) > 0 && len(b) > 0 && !slices.Equal(a, b) {
			w.weaker(keys, "%s is %s, another source than %s", name, someOf(b), someOf(a))
		}
	case exact:
		if a, b := texts(old), texts(new); len(a) > 0 && len(b) == 0 {
			w.weaker(keys, "%s is gone, it was %s", name, someOf(a))
		} else if len(a) > 0 && !slices.Equal(a, b) {
			w.weaker(keys, "%s is %s, it was %s", name, someOf(b), someOf(a))
		}
	case ceiling, floor:
		w.numbers(s, keys, name, old, new)
	case lock:
		// A lock that is not there is open, but for "enabled": what is written down is meant to work.
		if old == true && new != true && (new != nil || name != "enabled") {
			w.weaker(keys, "%s is switched off", name)
		}
	case door:
		if new == true && old != true {
			w.weaker(keys, "%s is switched on", name)
		}
	case strength:
		a, b := strengthOf(old), strengthOf(new)
		if a >= 0 && b >= 0 && b < a {
			w.weaker(keys, "%s is %s, it was %s", name, Show(new), Show(old))
		}
	}
}

func (w *weigher) accepts(keys []string, name string, was, now []string) {
	if len(was) == 0 {
		return
	}
	if len(now) == 0 {
		w.weaker(keys, "%s is not checked any more, it had to be %s", name, someOf(was))
		return
	}
	if slices.Contains(was, "*") {
		return
	}
	if more := notCovered(now, was); len(more) > 0 {
		w.weaker(keys, "%s accepts %s, which it did not before", name, someOf(more))
	}
}

func (w *weigher) numbers(s sense, keys []string, name string, old, new any) {
	a, ok := number(old)
	b, still := number(new)
	switch {
	case !ok:
	case w.class == bound || w.class == spend:
		if !still {
			b = 0
		}
		w.d.loosened(w.obj, limit{keys: keys, what: name, old: a, new: b, cost: w.class == spend})
	case !still && withoutBound[keys[len(keys)-1]]:
		w.weaker(keys, "%s is gone, it was %d", name, a)
	case s == ceiling && still && b > a:
		w.weaker(keys, "%s is %d, it was %d", name, b, a)
	case s == floor && b < a:
		w.weaker(keys, "%s is %d, it was %d", name, b, a)
	}
}

// rate compares a limit that is an amount for an interval. More at once is looser, and so is the same amount more often.
func (w *weigher) rate(keys []string, old, new map[string]any) {
	amountKey, intervalKey := "", ""
	for _, k := range slices.Sorted(maps.Keys(old)) {
		if s, ok := ruleFor(k, w.class); ok && s == amount && amountKey == "" {
			amountKey = k
		} else if ok && s == interval && intervalKey == "" {
			intervalKey = k
		}
	}
	a, ok := number(old[amountKey])
	if amountKey == "" || !ok {
		return
	}
	b, still := number(new[amountKey])
	at := child(keys, spell(amountKey))
	if !still {
		w.d.loosened(w.obj, limit{keys: at, what: amountKey, old: a, new: 0, cost: w.class == spend})
		return
	}
	if b > a {
		w.d.loosened(w.obj, limit{keys: at, what: amountKey, old: a, new: b, cost: w.class == spend})
	}
	every, hasOld := number(old[intervalKey])
	now, hasNew := number(new[intervalKey])
	if !hasOld || !hasNew || every <= 0 || now <= 0 || now >= every || a <= 0 {
		return
	}
	// Compared as a fraction of floats: the amounts are a person's, far from where rounding would matter.
	if f := (float64(b) / float64(now)) / (float64(a) / float64(every)); f > 1 {
		r := w.d.risk(LimitRaised, w.obj, child(keys, spell(intervalKey)), "%s is shorter, which allows %s times the rate", intervalKey, short(f))
		r.Factor = short(f)
		if w.class == spend {
			r.Severity = Cost
		}
	}
}

// weaker notes that a policy protects less. In a policy that bounds it is the bound that gives way.
func (w *weigher) weaker(keys []string, format string, args ...any) {
	switch w.class {
	case bound, spend:
		r := w.d.risk(LimitRemoved, w.obj, keys, format, args...)
		if w.class == spend {
			r.Severity = Cost
		}
	default:
		w.d.risk(AuthWeakened, w.obj, keys, format, args...)
	}
}

func strengthOf(v any) int {
	s, _ := v.(string)
	return slices.IndexFunc(strengths, func(words []string) bool { return slices.Contains(words, strings.ToLower(s)) })
}

// texts makes a list of whatever stands for one: a list, a single value, or a map with its entries.
func texts(v any) []string {
	switch v := v.(type) {
	case nil:
		return nil
	case string:
		if v == "" {
			return nil
		}
		return []string{v}
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			if s, ok := e.(string); ok {
				out[i] = s
			} else {
				out[i] = fingerprint(e)
			}
		}
		return out
	case map[string]any:
		out := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, k+"="+fingerprint(v[k]))
		}
		return out
	}
	return []string{fingerprint(v)}
}

func number(v any) (int64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	i, err := n.Int64()
	return i, err == nil
}
