package main

import (
	"cmp"
	"encoding/json"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/secret"
	"github.com/suuupra/gateway/runtime/source"
	"github.com/suuupra/gateway/runtime/state/redisstate"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// status gathers what the parts of the station know about themselves, for the admin API.
type status struct {
	started   time.Time
	mode      string
	gateway   *runtime.Gateway
	activator *activate.Activator
	redis     *redisstate.Client // nil: no state is shared through it
	secrets   *secret.Store
	dry       *dryRuns // nil: none

	classes  drift.Classes
	watched  atomic.Pointer[watched] // nil: nothing is compared, as in dev mode
	override func() drift.Class      // how the class of overlays is

	mu        sync.Mutex
	kind      string // of the source
	source    source.Status
	drift     *drift.Report
	listeners []admin.Listener
	restart   []string // listeners that only a restart opens as the running bundle says
	draining  bool
}

func (s *status) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *status) listening(id string, a net.Addr) {
	s.set(func() { s.listeners = append(s.listeners, admin.Listener{ID: id, Address: a.String()}) })
}

func (s *status) drain() { s.set(func() { s.draining = true }) }

// archive is the running bundle, byte for byte.
func (s *status) archive() ([]byte, error) { return s.activator.Archive() }

// Admin implements admin.StatusProvider.
func (s *status) Admin() ir.Admin { return s.gateway.Running().Gateway.Admin }

// NotReady implements admin.StatusProvider.
func (s *status) NotReady() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	if s.gateway.Running().IsEmpty() {
		out = append(out, "no bundle has been activated yet")
	}
	if s.draining {
		out = append(out, "draining")
	}
	return out
}

// Status implements admin.StatusProvider.
func (s *status) Status() admin.Status {
	act := s.activator.Status()
	s.mu.Lock()
	defer s.mu.Unlock()
	out := admin.Status{
		StartedAt: s.started, Listeners: append([]admin.Listener{}, s.listeners...),
		Source: admin.Source{
			Kind: s.kind, Mode: s.mode, LastRequest: moment(s.source.LastRequest), LastDownload: moment(s.source.LastDownload),
			LastActivation: moment(act.ActivatedAt), LastError: s.failure(&act),
		},
	}
	if p := act.Pending; p != nil {
		out.Source.Pending = &admin.Pending{
			Version: uint64(p.Position.Version), Epoch: uint64(p.Position.Epoch), Digest: string(p.Digest), Reason: p.Why, Held: s.heldBy(p), Rules: rulesOf(p.Refusals),
		}
		if s.dry != nil {
			out.Source.Pending.DryRun = s.dry.report()
		}
	}
	if run := s.gateway.Running(); !run.IsEmpty() {
		out.Running = &admin.Running{
			Version: uint64(run.Info.Position.Version), Epoch: uint64(run.Info.Position.Epoch), Digest: string(run.Info.Digest),
			ContentDigest: string(run.Info.ContentDigest), Commit: run.Info.Commit, Environment: run.Info.Environment,
			ActivatedAt: act.ActivatedAt, ExpiresAt: moment(run.Info.ExpiresAt), Routes: run.Info.Routes, Overlays: run.Info.Overlays,
		}
	}
	if s.redis != nil {
		shared := s.redis.Status()
		out.SharedState = &shared
	}
	out.RestartNeeded, out.MissingSecrets = s.restart, s.secrets.Missing()
	out.Drift = s.driftStatus(s.drift)
	fleet := s.Fleet()
	out.Instance, out.Fleet = fleet.Instance, fleet.Instances
	out.LoadShedding = s.gateway.Shedding()
	return out
}

// rulesOf are the rules that hold a candidate, for people and their programs.
func rulesOf(refusals []gate.Refusal) []admin.Rule {
	var out []admin.Rule
	for i := range refusals {
		r := &refusals[i]
		rule := admin.Rule{Rule: r.Rule, Why: r.Why, Codes: r.Codes, Approvals: r.Have, Needed: r.Want, Opens: moment(r.Opens)}
		for j := range r.Risks {
			k := &r.Risks[j]
			rule.Risks = append(rule.Risks, admin.Risk{Code: k.Code, Severity: k.Severity, Object: k.Object, Pos: k.Pos, Message: k.Message})
		}
		out = append(out, rule)
	}
	return out
}

// Upstreams implements admin.Upstreams.
func (s *status) Upstreams(after string, limit int) []upstream.Status {
	list := slices.Clone(s.gateway.Running().Upstreams())
	slices.SortFunc(list, func(a, b *upstream.Upstream) int { return cmp.Compare(a.Spec().ID, b.Spec().ID) })
	var out []upstream.Status
	for _, u := range list {
		if u.Spec().ID > after && len(out) < limit {
			out = append(out, u.Status())
		}
	}
	return out
}

// Upstream implements admin.Upstreams.
func (s *status) Upstream(id string) (admin.UpstreamStatus, bool) {
	run := s.gateway.Running()
	i := slices.IndexFunc(run.Upstreams(), func(u *upstream.Upstream) bool { return u.Spec().ID == id })
	if i < 0 {
		return admin.UpstreamStatus{}, false
	}
	out := admin.UpstreamStatus{Status: run.Upstreams()[i].Status(), Breakers: []admin.Breaker{}}
	for _, r := range run.Routes() {
		guarded, ok := r.Target.(interface {
			Breaker() (breaker.Status, bool)
		})
		if !ok || r.Plan.Target.Upstream != id {
			continue
		}
		if b, ok := guarded.Breaker(); ok {
			out.Breakers = append(out.Breakers, admin.Breaker{Route: r.Info.ID, Status: b})
		}
	}
	return out, true
}

// failure is what is wrong now: a refused bundle weighs more than a source that is away.
func (s *status) failure(act *activate.Status) *admin.Failure {
	if f := act.Failure; f != nil {
		return &admin.Failure{Code: f.Reason, Message: f.Message, Since: f.Since}
	}
	if s.source.Err != nil {
		return &admin.Failure{Code: "source_" + string(s.source.Stage), Message: s.source.Err.Error(), Since: s.source.Since}
	}
	return nil
}

// After implements admin.Routes.
func (s *status) After(id string, limit int) []ir.Route {
	var out []ir.Route
	for _, r := range s.gateway.Running().Routes() { // sorted by id
		if r.Info.ID > id && len(out) < limit {
			out = append(out, r.Plan)
		}
	}
	return out
}

// Route implements admin.Routes.
func (s *status) Route(id string) (ir.Route, bool) {
	for _, r := range s.gateway.Running().Routes() {
		if r.Info.ID == id {
			return r.Plan, true
		}
	}
	return ir.Route{}, false
}

// tenants are those that have routes now, sorted.
func (s *status) tenants() []string {
	there := map[string]bool{}
	for _, tenant := range s.gateway.Running().Gateway.Tenants() {
		there[tenant] = true
	}
	for _, r := range s.gateway.Running().Routes() {
		if r.Plan.Tenant != "" {
			there[r.Plan.Tenant] = true
		}
	}
	return slices.Sorted(maps.Keys(there))
}

// Secrets implements admin.Secrets: what the running bundle refers to.
func (s *status) Secrets() []admin.SecretReference {
	used := map[string][]string{}
	run := s.gateway.Running()
	for _, r := range run.Routes() {
		for _, p := range r.Plan.Policies {
			references("routes/"+r.Info.ID, p.Plan, used)
		}
	}
	for _, u := range run.Upstreams() {
		note := func(ref string) {
			if ref != "" {
				used[ref] = append(used[ref], "upstreams/"+u.Spec().ID)
			}
		}
		if t := u.Spec().TLS; t != nil {
			note(t.CA)
			note(t.Cert)
			note(t.Key)
		}
		if d := u.Spec().Discovery; d != nil && d.Consul != nil {
			note(d.Consul.Token)
		}
	}
	for _, l := range run.Gateway.Listeners {
		if l.TLS != nil {
			for _, c := range l.TLS.Certificates {
				used[c.Cert] = append(used[c.Cert], "listeners/"+l.ID)
				used[c.Key] = append(used[c.Key], "listeners/"+l.ID)
			}
		}
	}
	out := []admin.SecretReference{}
	for _, ref := range slices.Sorted(maps.Keys(used)) {
		backend, name, _ := strings.Cut(ref, ":")
		slices.Sort(used[ref])
		out = append(out, admin.SecretReference{Name: name, Backend: backend, UsedBy: slices.Compact(used[ref])})
	}
	return out
}

// references notes each field secretRef in a plan.
func references(by string, plan json.RawMessage, used map[string][]string) {
	var v any
	if json.Unmarshal(plan, &v) != nil {
		return // it was decoded strictly before
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for name, e := range v {
				if ref, ok := e.(string); ok && name == "secretRef" {
					used[ref] = append(used[ref], by)
				}
				walk(e)
			}
		}
	}
	walk(v)
}

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
