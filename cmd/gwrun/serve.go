package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/runtime/source"
	"github.com/suuupra/gateway/runtime/state"
	"github.com/suuupra/gateway/schema/bundle"
)

// newLogger writes to standard error: standard output belongs to the access log.
func newLogger(c *config, w io.Writer) *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(c.LogLevel)); err != nil {
		level = slog.LevelInfo
	}
	opts := &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Value.Kind() == slog.KindDuration { // a number without a unit says nothing
			a.Value = slog.StringValue(a.Value.Duration().String())
		}
		return a
	}}
	if c.LogFormat == "text" {
		return slog.New(slog.NewTextHandler(w, opts))
	}
	return slog.New(slog.NewJSONHandler(w, opts))
}

func (c *config) check() error {
	switch {
	case c.Bundle == "":
		return usagef("--bundle is required: where bundles come from (or try: gwrun dev)")
	case c.Trust == "":
		return usagef("--trust is required: the trust.json that says whose bundles may run here")
	case c.Env == "":
		return usagef("--env is required: the environment this gateway belongs to")
	}
	return nil
}

// serve is gwrun in production.
func serve(ctx context.Context, c *config, stdout, stderr io.Writer) error {
	if err := c.check(); err != nil {
		return err
	}
	log := newLogger(c, stderr)
	raw, err := bounded.ReadFile(c.Trust, bundle.MaxTrust)
	if err != nil {
		return fmt.Errorf("read trust file: %w", err)
	}
	trust, err := bundle.ParseTrust(raw)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Trust, err)
	}
	from, err := source.Open(c.Bundle, c.Env, source.Options{
		Credentials: depot.CredentialsFrom(os.Getenv, "GWRUN"), UserAgent: "gwrun/" + build.Version,
	})
	if err != nil {
		return &codeError{exitUsage, err}
	}
	defer func() { _ = from.Close() }() // nothing is buffered in it
	var store *state.Store
	if c.State != "" {
		if store, err = state.Open(c.State); err != nil {
			return err
		}
		defer func() {
			if err := store.Close(); err != nil {
				log.Warn("the state directory could not be closed", slog.Any("error", err))
			}
		}()
	} else {
		log.Warn("no --state directory: after a restart the gateway has nothing to serve until its source answers")
	}

	var poller *source.Poller
	s, err := newStation(c, log, stationOptions{trust: trust, store: store, reload: func() { poller.Poke() }, gates: newGatekeeper(c, log, trust, from), out: stdout})
	if err != nil {
		return err
	}
	if s.overlays != nil {
		s.overlays.Load(ctx)
	}
	restored, err := s.activator.Restore(ctx)
	if err != nil {
		log.Error("the kept bundles cannot be read", slog.Any("error", err))
	}
	poller = s.poller(ctx, from)
	return s.run(ctx, from, poller, restored)
}

// poller brings what the source has to the activator.
func (s *station) poller(ctx context.Context, from *source.Source) *source.Poller {
	pace := from.Pace()
	if !from.Local() {
		pace.Interval = s.c.Poll
	}
	s.status.set(func() { s.status.kind = from.String() })
	var stock func(bundle.Digest) ([]byte, bool)
	return source.NewPoller(source.Config{
		From: from, Pace: pace, Last: s.activator.ETag(),
		Handle: func(ctx context.Context, r *source.Received) error {
			if err := withRoom(func() error { return s.activator.Offer(ctx, r.Raw, r.ETag) }); err != nil {
				return err
			}
			s.settle()
			if s.drift != nil {
				s.drift.Trigger() // something else runs now
			}
			return nil
		},
		Check: func(channel, manifest []byte) error { // comes before the first blob is asked for
			stock = s.activator.Stock()
			return s.activator.Precheck(channel, manifest)
		},
		Have: func(d bundle.Digest) ([]byte, bool) {
			if stock == nil || from.Local() {
				return nil, false
			}
			return stock(d)
		},
		Report: func(st source.Status) {
			switch {
			case st.Err == nil:
				s.activator.Confirmed()
				s.reconsider(ctx)
			case st.Stage == source.StageVerify: // StageHandle is the activator's own refusal
				s.activator.Refused(st.Err)
			case st.Stage == source.StageFetch && st.Failures == 1:
				s.log.Warn("the source cannot be read", slog.Any("error", st.Err), slog.Bool("serving", !s.gateway.Running().IsEmpty()))
			}
			s.status.set(func() { s.status.source = st })
		},
	})
}

// reconsider asks the gates again about a candidate that waits.
func (s *station) reconsider(ctx context.Context) {
	if s.activator.Status().Pending == nil {
		return
	}
	err := withRoom(func() error { return s.activator.Reconsider(ctx) }) // it says itself what it thinks of the candidate
	s.settle()
	if err == nil && s.drift != nil && s.activator.Status().Pending == nil {
		s.drift.Trigger() // something else runs now
	}
}

// settle ends what was done for a candidate that waits no longer.
func (s *station) settle() {
	if s.gates != nil && s.activator.Status().Pending == nil {
		s.gates.forget()
	}
}

// run serves until ctx ends or a listener fails.
func (s *station) run(ctx context.Context, from *source.Source, poller *source.Poller, restored bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var background sync.WaitGroup
	err := s.listenOwn(ctx)
	if err == nil && (s.c.Listen != "" || restored) {
		err = s.listenData(ctx)
	}
	if err == nil {
		err = s.startDrift(ctx, &background)
	}
	if err == nil {
		background.Go(func() { poller.Run(ctx) })
		background.Go(func() { s.hooks.hints.Run(ctx) })
		background.Go(func() { from.Watch(ctx, poller.Poke) })
		background.Go(func() { s.watchExpiry(ctx) })
		if s.overlays != nil {
			background.Go(func() { s.overlays.Run(ctx) })
		}
		if s.c.Listen == "" && !restored {
			err = s.listenWhenActive(ctx)
		}
	}
	if err == nil {
		select {
		case <-ctx.Done():
			s.log.Info("stopping", slog.Duration("drain", s.c.DrainTimeout))
		case err = <-s.failed:
		}
	}
	cancel()
	background.Wait()
	return errors.Join(err, s.stop())
}

// listenWhenActive waits for the first bundle, which names the listeners.
func (s *station) listenWhenActive(ctx context.Context) error {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for s.gateway.Running().IsEmpty() {
		select {
		case <-ctx.Done():
			return nil
		case err := <-s.failed:
			return err
		case <-tick.C:
		}
	}
	return s.listenData(ctx)
}

// watchExpiry says loudly, once an hour, that the running channel has expired: nothing new can be activated from it.
func (s *station) watchExpiry(ctx context.Context) {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	var said time.Time
	for {
		info := s.gateway.Running().Info
		if now := time.Now(); !info.ExpiresAt.IsZero() && now.After(info.ExpiresAt) && now.Sub(said) >= time.Hour {
			said = now
			s.log.Error("the channel of the running bundle has expired; serving it, and activating nothing until a newer one is published",
				slog.String("version", info.Position.String()), slog.Time("expiredAt", info.ExpiresAt))
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
