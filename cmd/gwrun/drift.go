package main

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/runtime/telemetry"
	"github.com/suuupra/gateway/schema/bundle"
)

// watched is what looks for drift, beside the comparison with the repository.
type watched struct {
	env   string
	trust *drift.TrustWatcher
	fleet *drift.Fleet
}

// startDrift looks for drift of every class, until ctx ends.
func (s *station) startDrift(ctx context.Context, background *sync.WaitGroup) error {
	trust, err := s.watchTrust()
	if err != nil {
		return err
	}
	w := &watched{env: s.c.Env, trust: trust, fleet: s.watchFleet()}
	s.status.watched.Store(w)
	if err := s.metrics.ObserveDrift(time.Now, s.status.driftFacts); err != nil {
		return err
	}
	if err := s.startSource(ctx, background); err != nil {
		return err
	}
	background.Go(func() { w.trust.Run(ctx) })
	background.Go(func() { w.fleet.Run(ctx) })
	return nil
}

// startSource compares what runs with the repository, if one is named.
func (s *station) startSource(ctx context.Context, background *sync.WaitGroup) error {
	if s.c.Repo == "" {
		s.status.classes.Set(time.Now(), drift.Class{Class: drift.ClassSource, Detail: "no repository to compare with; name one with --repo"})
		return nil
	}
	repository, subdirectory := drift.SplitSubdirectory(s.c.Repo)
	ref := s.c.RepoRef
	if ref == "HEAD" {
		ref = ""
	}
	w, err := drift.New(drift.Options{
		Repository: repository, Subdirectory: subdirectory, Ref: ref, WorkDir: s.c.State, Interval: s.c.DriftPoll,
		Token: os.Getenv("GWRUN_GIT_TOKEN"), Compile: compileCommit, Log: s.log, Metrics: s.metrics,
		Running: func() drift.Running {
			run := s.gateway.Running()
			return drift.Running{Commit: run.Info.Commit, ContentDigest: string(run.Info.ContentDigest), Environment: run.Info.Environment, Dirty: run.Info.Dirty}
		},
		Report: func(r drift.Report) {
			s.status.classes.Set(time.Now(), r.Class())
			s.status.set(func() { s.status.drift = &r })
		},
	})
	if err != nil {
		return &codeError{exitInvalid, fmt.Errorf("--repo: %w", err)}
	}
	first := w.Last()
	s.status.classes.Set(time.Now(), first.Class())
	s.drift = w
	background.Go(func() {
		w.Run(ctx)
		if err := w.Close(); err != nil {
			s.log.Warn("the clone kept for drift could not be removed", slog.Any("error", err))
		}
	})
	return nil
}

// watchTrust judges what runs by the trust file as it is on disk.
func (s *station) watchTrust() (*drift.TrustWatcher, error) {
	read := func() ([]byte, error) { return bounded.ReadFile(s.c.Trust, bundle.MaxTrust) }
	started, err := read()
	if err != nil {
		return nil, fmt.Errorf("read trust file: %w", err)
	}
	return drift.NewTrustWatcher(drift.TrustOptions{
		File: s.c.Trust, Started: started, Environment: s.c.Env, Read: read, Archive: s.activator.Archive, Now: time.Now, Log: s.log,
		Running: func() bundle.Position { return s.gateway.Running().Info.Position },
		Report:  func(r *drift.TrustReport) { s.status.classes.Set(time.Now(), r.Class(time.Now())) },
	}), nil
}

// watchFleet tells the other gateways of the environment what this one runs, and sees what they do.
func (s *station) watchFleet() *drift.Fleet {
	o := drift.FleetOptions{
		Own: s.status.own, Grace: 2 * s.c.Poll, Now: time.Now, Log: s.log,
		Report: func(r drift.FleetReport) {
			s.status.classes.Set(time.Now(), r.Class())
			s.follow(&r)
		},
	}
	if s.redis != nil {
		o.Board = s.redis
	}
	f := drift.NewFleet(o)
	first := f.Last()
	s.status.classes.Set(time.Now(), first.Class())
	return f
}

// follow looks at the source at once when another gateway runs something newer: a webhook comes to one gateway of a fleet. Each version is
// a reason to look once, whoever says that there is one.
func (s *station) follow(r *drift.FleetReport) {
	run := s.gateway.Running().Info.Position
	for i := range r.Instances {
		at := bundle.Position{Epoch: r.Instances[i].Epoch, Version: r.Instances[i].Version}
		if at.Compare(run) > 0 && at.Compare(s.heard) > 0 {
			s.heard = at
			s.reload()
		}
	}
}

// own is what this gateway says of itself.
func (s *status) own() drift.Instance {
	act, run, w := s.activator.Status(), s.gateway.Running(), s.watched.Load()
	s.mu.Lock()
	failure := s.failure(&act)
	s.mu.Unlock()
	out := drift.Instance{
		Instance: instance(), Environment: w.env, Gwrun: build.Version, StartedAt: s.started.UTC(), Mode: s.mode,
		Drift: s.classes.Detected(), At: time.Now().UTC(),
	}
	if !run.IsEmpty() {
		out.Version, out.Epoch = run.Info.Position.Version, run.Info.Position.Epoch
		out.Digest, out.Commit, out.ActivatedAt = string(run.Info.Digest), run.Info.Commit, moment(act.ActivatedAt)
	}
	if failure != nil {
		out.Error = failure.Code
	}
	if p := act.Pending; p != nil {
		out.Waiting = &drift.Waiting{Version: p.Position.Version, Epoch: p.Position.Epoch, Digest: string(p.Digest), Why: p.Why, Held: s.heldBy(p)}
	}
	return out
}

// heldBy are the kinds of rules that hold a candidate.
func (s *status) heldBy(p *activate.Pending) []string {
	held := map[string]bool{}
	still := []string{string(activate.Off), string(activate.DryRun)}
	if len(p.Refusals) == 0 || slices.Contains(still, s.mode) || slices.Contains(still, s.gateway.Running().Gateway.Rules().Sync) {
		held[drift.HeldBySync] = true
	}
	for i := range p.Refusals {
		held[kindOf(p.Refusals[i].Rule)] = true
	}
	return slices.Sorted(maps.Keys(held))
}

func kindOf(rule string) string {
	switch {
	case strings.HasPrefix(rule, "gate "):
		return drift.HeldByGate
	case rule == "windows":
		return drift.HeldByWindow
	case rule == "dryRun":
		return drift.HeldByDryRun
	case strings.HasPrefix(rule, "sync "):
		return drift.HeldBySync
	}
	return drift.HeldByOther
}

// overridden looks how the class of overlays is.
func (s *status) overridden() { s.classes.Set(time.Now(), s.override()) }

// driftFacts is drift as the metrics carry it.
func (s *status) driftFacts() telemetry.DriftFacts {
	s.overridden()
	out := telemetry.DriftFacts{ExpiresAt: s.gateway.Running().Info.ExpiresAt, Held: map[string]bool{}}
	for _, c := range s.classes.All() {
		if c.Known {
			out.Classes = append(out.Classes, telemetry.DriftClass{Class: c.Class, Detected: c.Detected, Since: c.Since})
		}
	}
	if r := s.watched.Load().fleet.Last(); r.Known {
		out.Fleet = &telemetry.FleetFacts{Instances: len(r.Instances), Digests: r.Digests}
	}
	for _, kind := range drift.HeldKinds {
		out.Held[kind] = false
	}
	if p := s.activator.Status().Pending; p != nil {
		out.Pending = true
		for _, kind := range s.heldBy(p) {
			out.Held[kind] = true
		}
	}
	return out
}

// driftStatus tells how what runs differs from what should. Nothing, where nobody looks for it.
func (s *status) driftStatus(source *drift.Report) *admin.Drift {
	w := s.watched.Load()
	if w == nil {
		return nil
	}
	s.overridden()
	out := &admin.Drift{Classes: []admin.DriftClass{}, Source: source, Trust: w.trust.Last()}
	if out.Trust != nil {
		out.CheckedAt = out.Trust.CheckedAt
	}
	if source != nil {
		if source.CheckedAt.After(out.CheckedAt) {
			out.CheckedAt = source.CheckedAt
		}
		if source.CommitsBehind >= 0 {
			behind := source.CommitsBehind
			out.CommitsBehind = &behind
		}
	}
	for _, c := range s.classes.All() {
		out.Classes = append(out.Classes, admin.DriftClass{
			Class: c.Class, Detected: c.Detected, Unknown: !c.Known, Since: moment(c.Since), Detail: c.Detail, Details: c.Details,
		})
	}
	return out
}

// Fleet implements admin.FleetProvider.
func (s *status) Fleet() admin.Fleet {
	out := admin.Fleet{Instance: instance(), Detail: "not compared in dev mode", Late: []string{}, Instances: []drift.Instance{}}
	w := s.watched.Load()
	if w == nil {
		return out
	}
	r := w.fleet.Last()
	out.Environment, out.Known, out.Detail, out.Digests, out.Refused = w.env, r.Known, r.Detail, r.Digests, r.Refused
	out.Late, out.Instances = append(out.Late, r.Late...), append(out.Instances, r.Instances...)
	return out
}
