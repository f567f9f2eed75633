package snapshot

import (
	"encoding/binary"
	"encoding/json"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// words keeps one copy of what many routes of a bundle have alike: hosts, methods, the names of kinds and upstreams, the plans of
// policies. The decoder makes a copy for each.
type words struct {
	texts    map[string]string
	lists    map[string][]string
	plans    map[string]json.RawMessage
	policies map[string][]ir.Policy
	key      []byte
}

// maxAlike is the length in bytes beyond which a plan, or all policies of a route, are taken to be one of a kind.
const maxAlike = 256

func newWords() words {
	return words{
		texts: map[string]string{}, lists: map[string][]string{}, plans: map[string]json.RawMessage{}, policies: map[string][]ir.Policy{},
	}
}

// route returns a route with the same content as p. It keeps nothing of the shard that p was decoded from but what is p's alone.
func (w *words) route(p *ir.Route) ir.Route {
	r := *p
	r.Tenant, r.Match.Host = w.text(r.Tenant), w.text(r.Match.Host)
	r.Match.Methods = w.list(r.Match.Methods)
	r.Target.Type, r.Target.Upstream, r.Target.Plan = w.text(r.Target.Type), w.text(r.Target.Upstream), w.plan(r.Target.Plan)
	r.Policies = w.chain(p.Policies)
	return r
}

func (w *words) text(s string) string {
	if s == "" {
		return ""
	}
	if had, ok := w.texts[s]; ok {
		return had
	}
	w.texts[s] = s
	return s
}

func (w *words) list(l []string) []string {
	if len(l) == 0 {
		return l
	}
	w.key = w.key[:0]
	for _, s := range l {
		w.part(s)
	}
	if had, ok := w.lists[string(w.key)]; ok {
		return had
	}
	own := make([]string, len(l))
	for i, s := range l {
		own[i] = w.text(s)
	}
	w.lists[string(w.key)] = own
	return own
}

// part appends to the key what cannot be taken for two parts, whatever it holds.
func (w *words) part(s string) { w.key = append(binary.AppendUvarint(w.key, uint64(len(s))), s...) }

func (w *words) chain(l []ir.Policy) []ir.Policy {
	if len(l) == 0 {
		return nil
	}
	w.key = w.key[:0]
	for _, p := range l {
		w.part(p.Kind)
		w.part(string(p.Plan))
	}
	if had, ok := w.policies[string(w.key)]; ok {
		return had
	}
	own := make([]ir.Policy, len(l))
	for i, p := range l {
		own[i] = ir.Policy{Kind: w.text(p.Kind), Plan: w.plan(p.Plan)}
	}
	if len(w.key) <= maxAlike {
		w.policies[string(w.key)] = own
	}
	return own
}

func (w *words) plan(p json.RawMessage) json.RawMessage {
	if len(p) == 0 || len(p) > maxAlike {
		return p
	}
	had, ok := w.plans[string(p)]
	if !ok {
		had = json.RawMessage(strings.Clone(string(p)))
		w.plans[string(had)] = had
	}
	return had
}
