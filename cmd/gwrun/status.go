package main

import (
	"cmp"
	"maps"
	"net"
	"slices"
	"sync"
	"time"

	"github.com/suuupra/gateway/runtime"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/breaker"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/source"
	"github.com/suuupra/gateway/runtime/upstream"
	"github.com/suuupra/gateway/schema/ir"
)

// status gathers what the parts of the station know about themselves, for the admin API.
type status struct {
	started   time.Time
	mode      string
	gateway   *runtime.Gateway
	activator *activate.Activator

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
		out.Source.Pending = &admin.Pending{Version: uint64(p.Position.Version), Digest: string(p.Digest), Reason: p.Why}
	}
	if run := s.gateway.Running(); !run.IsEmpty() {
		out.Running = &admin.Running{
			Version: uint64(run.Info.Position.Version), Epoch: uint64(run.Info.Position.Epoch), Digest: string(run.Info.Digest),
			ContentDigest: string(run.Info.ContentDigest), Commit: run.Info.Commit, Environment: run.Info.Environment,
			ActivatedAt: act.ActivatedAt, ExpiresAt: moment(run.Info.ExpiresAt), Routes: run.Info.Routes,
		}
	}
	out.RestartNeeded = s.restart
	out.Drift = driftStatus(s.drift)
	out.LoadShedding = s.gateway.Shedding()
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

// Secrets implements admin.Secrets: no kind of this version refers to one.
func (s *status) Secrets() []admin.SecretReference { return []admin.SecretReference{} }

func moment(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}

// driftStatus tells what was compared. Nothing, before the first comparison could be made.
func driftStatus(r *drift.Report) *admin.Drift {
	if r == nil {
		return nil
	}
	m := r.Metrics()
	out := &admin.Drift{CheckedAt: r.CheckedAt, Classes: []admin.DriftClass{}, Source: r}
	if r.CommitsBehind >= 0 {
		behind := r.CommitsBehind
		out.CommitsBehind = &behind
	}
	for _, class := range slices.Sorted(maps.Keys(m.Detected)) {
		out.Classes = append(out.Classes, admin.DriftClass{Class: class, Detected: m.Detected[class], Detail: string(r.State)})
	}
	return out
}
