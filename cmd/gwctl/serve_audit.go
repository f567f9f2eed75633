package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/suuupra/gateway/cmd/internal/auditing"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/audit"
)

// trails are the audit trails of a publisher, one for each environment: what it published, and what it did not.
type trails struct {
	log *slog.Logger
	all map[string]*audit.Trail // empty: none are kept
}

// openTrails opens the trails that the settings name, below their folder.
func openTrails(c *serveConfig, log *slog.Logger) (*trails, error) {
	t := &trails{log: log, all: map[string]*audit.Trail{}}
	if c.Audit == "" {
		return t, nil
	}
	if c.AuditKey == "" {
		return nil, usagef("--audit needs --audit-key: the private key that signs the segments (gwctl keygen --role audit)")
	}
	host, err := os.Hostname()
	if err != nil {
		host = "publisher"
	}
	for _, environment := range c.Environments {
		one, err := auditing.Open(auditing.Options{
			Dir: filepath.Join(c.Audit, environment), KeyFile: c.AuditKey, Sinks: c.AuditSinks, Environment: environment, Instance: host,
			Details: []string{"approvers", "commit", "version"}, Log: log, OnFailure: func(error) {}, // it is logged
		})
		if errors.As(err, new(*auditing.SinkError)) {
			err = usage(err)
		}
		if err != nil {
			t.close()
			return nil, err
		}
		t.all[environment] = one
	}
	return t, nil
}

// told records what became of a commit.
func (t *trails) told(e publisher.Event) {
	trail := t.all[e.Environment]
	if trail == nil {
		return
	}
	r := audit.Record{
		Actor: audit.Actor{Kind: audit.System}, Action: audit.Apply, Object: "bundle", Outcome: audit.Success, Reason: e.Why,
		Before: e.Before, After: e.Candidate, Details: map[string]string{"commit": e.Commit},
	}
	if e.State != publisher.Published {
		r.Action, r.Outcome, r.Reason = audit.Refusal, audit.Refused, cmp.Or(e.Why, string(e.State))
	}
	if e.Version != "" {
		r.Details["version"] = e.Version
	}
	if len(e.Approvers) > 0 {
		r.Details["approvers"] = strings.Join(e.Approvers, " ")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := trail.Append(ctx, r); err != nil { // it is published, or not: the record does not decide
		t.log.Error("what became of a commit could not be recorded", slog.String("environment", e.Environment), slog.Any("error", err))
	}
}

func (t *trails) close() {
	for environment, trail := range t.all {
		if err := trail.Close(); err != nil {
			t.log.Error("the audit trail could not be closed", slog.String("environment", environment), slog.Any("error", err))
		}
	}
}
