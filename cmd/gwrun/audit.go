package main

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/suuupra/gateway/cmd/internal/auditing"
	"github.com/suuupra/gateway/internal/audit"
	"github.com/suuupra/gateway/runtime/activate"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/runtime/telemetry"
)

var (
	vectorAuditSeq = &policy.Vector{
		Name: "gw_audit_seq", Gauge: true, Help: "Number of the last record in the audit trail.",
	}
	vectorAuditFailures = &policy.Vector{
		Name: "gw_audit_failures_total", Help: "Attempts to write to the audit trail, or to sign a segment of it, that failed.",
	}
	vectorAuditLost = &policy.Vector{
		Name: "gw_audit_sink_lost_total", Labels: []string{"sink"},
		Help: "Records that a destination of the audit trail did not take in time, by the kind of destination; they are in the trail.",
	}
	auditVectors = []*policy.Vector{vectorAuditSeq, vectorAuditFailures, vectorAuditLost}
)

// auditDetails are the details that records of a gateway have.
var auditDetails = []string{"approvers", "commit", "error", "permission", "version"}

// waiting is how many events of activation are kept while the disk is busy.
const waiting = 64

// trail is the audit trail of this gateway.
type trail struct {
	*audit.Trail
	log     *slog.Logger
	metrics *telemetry.Metrics
	events  chan audit.Record // of what nobody asked for through the admin API
	done    sync.WaitGroup
}

// openTrail opens the trail that the settings name; nil: they name none.
func openTrail(c *config, log *slog.Logger, metrics *telemetry.Metrics) (*trail, error) {
	if c.Audit == "" {
		return nil, nil
	}
	if c.AuditKey == "" {
		return nil, usagef("--audit needs --audit-key: the private key that signs the segments (gwctl keygen --role audit)")
	}
	t := &trail{log: log, metrics: metrics, events: make(chan audit.Record, waiting)}
	var err error
	t.Trail, err = auditing.Open(auditing.Options{
		Dir: c.Audit, KeyFile: c.AuditKey, Sinks: c.AuditSinks, Environment: c.Env, Instance: instance(), Details: auditDetails, Log: log,
		Lost:      func(kind string, n int) { metrics.Series(vectorAuditLost, kind).Add(float64(n)) },
		OnFailure: func(error) { metrics.Series(vectorAuditFailures).Add(1) },
	})
	if errors.As(err, new(*auditing.SinkError)) {
		err = &codeError{exitUsage, err}
	}
	if err != nil {
		return nil, err
	}
	t.counted()
	metrics.Series(vectorAuditFailures).Add(0) // an alert needs it from the beginning
	t.done.Go(t.work)
	return t, nil
}

// counted publishes how long the trail is: one that is shorter later was cut.
func (t *trail) counted() { t.metrics.Series(vectorAuditSeq).Set(float64(t.Head().Seq)) }

func (t *trail) append(ctx context.Context, r audit.Record) error {
	err := t.Append(ctx, r)
	t.counted()
	return err
}

// close writes what is left, and signs.
func (t *trail) close() error {
	if t == nil {
		return nil
	}
	close(t.events)
	t.done.Wait()
	return t.Close()
}

// told is for the activator, which must not wait for a disk.
func (t *trail) told() func(activate.Event) {
	if t == nil {
		return nil
	}
	return func(e activate.Event) { t.queue(recordOf(&e)) }
}

// queue has a record written soon.
func (t *trail) queue(r audit.Record) {
	select {
	case t.events <- r:
	default:
		t.log.Error("an event could not be recorded: the disk of the audit trail is too slow", slog.String("action", string(r.Action)), slog.String("object", r.Object))
	}
}

func recordOf(e *activate.Event) audit.Record {
	r := audit.Record{
		Actor: audit.Actor{Kind: audit.System}, Action: audit.Activation, Object: "bundle", Outcome: audit.Success,
		Before: e.Before, After: e.Digest, Details: map[string]string{},
	}
	set := func(name, value string) {
		if value != "" {
			r.Details[name] = value
		}
	}
	if !e.Position.IsZero() {
		set("version", e.Position.String())
	}
	set("commit", e.Commit)
	set("approvers", strings.Join(e.Approvers, " "))
	switch {
	case e.Waits != "":
		r.Action, r.Outcome, r.Reason = audit.Refusal, audit.Refused, e.Waits
	case e.Reason != "":
		r.Action, r.Outcome, r.Reason = audit.Refusal, audit.Refused, e.Reason
		set("error", e.Error)
	}
	return r
}

func (t *trail) work() {
	for r := range t.events {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := t.append(ctx, r); err != nil { // it serves, or not: the record does not decide
			t.log.Error("an event could not be recorded", slog.String("action", string(r.Action)), slog.Any("error", err))
		}
		cancel()
	}
}

// administered is for the admin API; nil without a trail.
func (t *trail) administered() admin.Auditor {
	if t == nil {
		return nil
	}
	kinds := map[string]audit.ActorKind{"user": audit.User, "oidc": audit.User, "token": audit.Token, "local": audit.Token}
	outcomes := map[admin.Outcome]audit.Outcome{admin.Begun: audit.Begun, admin.Success: audit.Success, admin.Refused: audit.Refused, admin.Failed: audit.Failed}
	return func(ctx context.Context, e admin.Event) error {
		if e.Action == "login" && e.Outcome == admin.Begun {
			return nil // whoever guesses would write as often as they like; what becomes of it is recorded
		}
		kind, ok := kinds[string(e.Actor.Kind)]
		if !ok {
			kind = audit.Anonymous
		}
		address := ""
		if e.Actor.Address.IsValid() {
			address = e.Actor.Address.String()
		}
		return t.append(ctx, audit.Record{
			Actor: audit.Actor{Kind: kind, ID: e.Actor.Name, Address: address}, Action: audit.Action(e.Action), Object: e.Object,
			Outcome: outcomes[e.Outcome], Reason: e.Reason, Before: e.Before, After: e.After, Details: e.Details,
		})
	}
}
