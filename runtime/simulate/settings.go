package simulate

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/suuupra/gateway/runtime/httpmsg"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// settings collects effective values below one object of the program.
type settings struct {
	p    *ir.Program
	root string // of the origins, e.g. "routes/users-api"
	out  *[]Setting
}

// add notes a value, unless it is empty, with the place that set it.
func (s settings) add(field, value string) {
	if value != "" {
		*s.out = append(*s.out, Setting{Field: field, Value: value, Origin: origin(s.p, s.root+"/"+field)})
	}
}

func (s settings) number(field string, n int64) { s.add(field, strconv.FormatInt(n, 10)) }

func (s settings) time(field string, ms int64) { s.add(field, millis(ms)) }

// describe lists what holds for the requests a route takes.
func describe(p *ir.Program, r *ir.Route, kinds []policy.Kind, params []policy.Param) *Winner {
	root := "routes/" + r.ID
	w := &Winner{Route: r.ID, Params: params, Origin: origin(p, root)}
	s := settings{p, root, &w.Settings}
	s.add("matcher.host", r.Match.Host)
	s.add("matcher.path", r.Match.Path)
	s.add("matcher.pathRegex", r.Match.PathRegex)
	s.add("matcher.methods", strings.Join(r.Match.Methods, ", "))
	s.add("matcher.headers", pairsText(r.Match.Headers))
	s.add("matcher.query", pairsText(r.Match.Query))
	if i := slices.IndexFunc(p.Upstreams, func(u ir.Upstream) bool { return u.ID == r.Target.Upstream }); i >= 0 {
		u := &p.Upstreams[i]
		if strings.Contains(u.ID, "://") {
			s.add("target.url", u.ID+prefixOf(r.Target.Plan))
		} else {
			s.add("target.upstream", u.ID)
		}
		settings{p, "upstreams/" + u.ID, &w.Settings}.upstream(u)
	}
	s.forward(&r.Forward)
	for _, pol := range r.Policies {
		var plan map[string]any
		if json.Unmarshal(pol.Plan, &plan) == nil {
			s.policy("policy."+pol.Kind, asWritten(p, root+"/policy."+pol.Kind, plan))
		}
	}
	w.Pipeline = pipeline(p, r, kinds)
	return w
}

// policy notes the settings of one policy.
func (s settings) policy(prefix string, plan map[string]any) {
	for _, name := range slices.Sorted(keys(plan)) {
		raw, _ := json.Marshal(plan[name]) // it came from JSON
		s.add(prefix+"."+name, string(raw))
	}
}

// authored are the names that people may write for what is compiled under another one.
var authored = map[string]string{"audiences": "audience", "maxLifetimeMs": "maxLifetime"}

// asWritten gives a plan the names that its author wrote: the values are the same, and are looked for under those.
func asWritten(p *ir.Program, at string, plan map[string]any) map[string]any {
	for name, written := range authored {
		if v, ok := plan[name]; ok && origin(p, at+"."+name) == nil && origin(p, at+"."+written) != nil {
			delete(plan, name)
			plan[written] = v
		}
	}
	if limits, ok := plan["limits"].([]any); ok && len(limits) == 1 && origin(p, at+".limits") == nil { // one limit is written without a list
		if only, ok := limits[0].(map[string]any); ok {
			delete(plan, "limits")
			delete(only, "id")
			maps.Copy(plan, only)
		}
	}
	return plan
}

func keys(m map[string]any) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// pipeline lists the steps in the product's order.
func pipeline(p *ir.Program, r *ir.Route, kinds []policy.Kind) []Step {
	out := []Step{{Phase: "match", Does: "route " + r.ID}}
	for _, pol := range r.Policies { // the compiler put them in order
		phase := ""
		if i := slices.IndexFunc(kinds, func(k policy.Kind) bool { return k.Name == pol.Kind }); i >= 0 {
			phase = kinds[i].Phase.String()
		}
		out = append(out, Step{Phase: phase, Policy: pol.Kind, Does: string(pol.Plan)})
	}
	out = append(out, Step{Phase: policy.PhaseForward.String(), Does: "upstream " + r.Target.Upstream})
	if p.Gateway.AccessLog.Enabled {
		out = append(out, Step{Phase: "record", Does: "metrics, access log"})
	} else {
		out = append(out, Step{Phase: "record", Does: "metrics"})
	}
	return out
}

// origin finds the place that set a value, or nil if it is a default. A container's place does not stand for a field that
// nobody wrote.
func origin(p *ir.Program, address string) *diag.Pos {
	pos, ok := p.Origins[address]
	if !ok {
		return nil
	}
	return &pos
}

func millis(ms int64) string {
	if ms == 0 {
		return "off"
	}
	return (time.Duration(ms) * time.Millisecond).String()
}

func pairsText(list []ir.Pair) string {
	out := make([]string, len(list))
	for i, p := range list {
		out[i] = fmt.Sprintf("%s=%s", p.Name, p.Value)
	}
	return strings.Join(out, ", ")
}

// prefixOf reads the path prefix off the plan of an http target.
func prefixOf(plan json.RawMessage) string {
	var p struct {
		PathPrefix string `json:"pathPrefix"`
	}
	if len(plan) == 0 || json.Unmarshal(plan, &p) != nil {
		return ""
	}
	return p.PathPrefix
}

func headerOf(pairs []ir.Pair) *httpmsg.Header {
	h := &httpmsg.Header{}
	for _, p := range pairs {
		h.Add(p.Name, p.Value)
	}
	return h
}
