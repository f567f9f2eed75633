package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"github.com/suuupra/gateway/runtime/drift"
)

// startDrift compares what runs with the repository, if one is named.
func (s *station) startDrift(ctx context.Context, background *sync.WaitGroup) error {
	if s.c.Repo == "" {
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
		Report: func(r drift.Report) { s.status.set(func() { s.status.drift = &r }) },
	})
	if err != nil {
		return &codeError{exitInvalid, fmt.Errorf("--repo: %w", err)}
	}
	s.drift = w
	background.Go(func() {
		w.Run(ctx)
		if err := w.Close(); err != nil {
			s.log.Warn("the clone kept for drift could not be removed", slog.Any("error", err))
		}
	})
	return nil
}
