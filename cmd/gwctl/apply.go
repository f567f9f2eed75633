package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

type applyFlags struct {
	repo                     repositoryFlags
	env, key, channelKey, to string
	trust                    string
	gateways                 []string
	allowDirty, dryRun, wait bool
	lifetime, timeout        time.Duration
	epoch                    int64
}

func newApply() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use: "apply [PATH] --env E --key release.key --channel-key channel.key --to DEST", Short: "Compile, sign and publish one environment", Args: cobra.MaximumNArgs(1),
		Long: `apply compiles one environment, signs it, publishes it to DEST (file:///dir, git+https://host/repo#branch,
oci://host/repository, https://host/path) and moves the channel forward. Of two applies at the same time one wins; the other
exits 5. Files that no commit holds are refused with exit code 4, unless --allow-dirty is given. With --dry-run it prints what
would change and exits 2 if anything would. With --wait it returns when every --gateway runs the new version.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, pathArg(args)) },
	}
	f.repo.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.env, "env", "", "environment to publish")
	fl.StringVar(&f.key, "key", "", "private release key")
	fl.StringVar(&f.channelKey, "channel-key", "", "private channel key")
	fl.StringVar(&f.to, "to", "", "where to publish")
	fl.StringVar(&f.trust, "trust", "", "trust.json to check the destination and the result against, before anything is written")
	fl.StringSliceVar(&f.gateways, "gateway", nil, "URL of a gateway to wait for; may be repeated (token: GWRUN_ADMIN_TOKEN)")
	fl.BoolVar(&f.allowDirty, "allow-dirty", false, "publish files that are not those of a commit; the manifest says so")
	fl.BoolVar(&f.dryRun, "dry-run", false, "publish nothing; print the difference to what is published")
	fl.BoolVar(&f.wait, "wait", false, "return when every --gateway runs the new version")
	fl.DurationVar(&f.timeout, "wait-timeout", 2*time.Minute, "how long to wait")
	fl.DurationVar(&f.lifetime, "expires", publish.DefaultLifetime, "how long the channel is valid")
	fl.Int64Var(&f.epoch, "epoch", 0, "start this epoch, after a channel key was lost")
	return cmd
}

func (f *applyFlags) check() error {
	switch {
	case f.to == "":
		return usagef("--to is required: where to publish")
	case !f.dryRun && (f.key == "" || f.channelKey == ""):
		return usagef("--key and --channel-key are required")
	case f.wait && len(f.gateways) == 0:
		return usagef("--wait needs at least one --gateway URL")
	case f.lifetime < publish.MinLifetime:
		return usagef("--expires is %s, must be at least %s", f.lifetime, publish.MinLifetime)
	case f.epoch < 0:
		return usagef("--epoch is %d, must be at least 1", f.epoch)
	}
	return gatewayURLs(f.gateways)
}

func (f *applyFlags) run(cmd *cobra.Command, path string) error {
	if err := f.check(); err != nil {
		return err
	}
	location, err := depot.ParseLocation(f.to)
	if err != nil {
		return usage(err)
	}
	to, err := depot.OpenWriter(location, depotOptions())
	if err != nil {
		return usage(err)
	}
	defer func() { _ = to.Close() }() // nothing is buffered in it
	b, err := buildBundle(cmd, &f.repo, path, f.env, f.allowDirty || f.dryRun)
	if err != nil {
		return err
	}
	if f.dryRun {
		return f.preview(cmd, to, b)
	}
	settings, err := f.settings()
	if err != nil {
		return err
	}
	signer, err := readKey(f.key)
	if err != nil {
		return err
	}
	if err := b.Sign(signer); err != nil {
		return err
	}
	bar := startProgress(cmd.ErrOrStderr(), fmt.Sprintf("publishing %s to %s", count(b.Manifest.Stats.Routes, "route"), location))
	result, err := publish.Publish(cmd.Context(), to, b, settings)
	bar.done()
	if err != nil {
		return err
	}
	f.report(cmd, location, b, result)
	if f.wait {
		return waitFor(cmd, f.gateways, result.Position, f.timeout)
	}
	return nil
}

func (f *applyFlags) settings() (publish.Settings, error) {
	signer, err := readKey(f.channelKey)
	if err != nil {
		return publish.Settings{}, err
	}
	s := publish.Settings{Signers: []bundle.Signer{signer}, Lifetime: f.lifetime, Epoch: f.epoch, Now: time.Now()}
	if f.trust != "" {
		if s.Trust, err = readTrust(f.trust); err != nil {
			return publish.Settings{}, err
		}
	}
	return s, nil
}

func (f *applyFlags) report(cmd *cobra.Command, to depot.Location, b *bundle.Bundle, r publish.Result) {
	what := "published"
	switch {
	case !r.Published:
		what = "already current"
	case r.Renewed:
		what = "renewed"
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s %s %s\n", what, f.env, r.Position, b.Digest())
	fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s at %s; commit %s, %s, valid until %s\n", what, to, commitText(b.Manifest.Source),
		count(b.Manifest.Stats.Routes, "route"), r.Channel.ExpiresAt.UTC().Format(time.RFC3339))
}

// preview prints the difference between what is published and what would be.
func (f *applyFlags) preview(cmd *cobra.Command, to depot.Depot, b *bundle.Bundle) error {
	var before *ir.Program
	got, err := depot.Fetch(cmd.Context(), to, depot.Request{Environment: f.env})
	switch {
	case errors.Is(err, depot.ErrNotFound):
		fmt.Fprintln(cmd.ErrOrStderr(), "gwctl: nothing is published there yet")
	case err != nil:
		return err
	default:
		v, err := bundle.Peek(got.Raw)
		if err != nil {
			return err
		}
		if before, err = ir.Unpack(v.Bundle); err != nil {
			return err
		}
	}
	after, err := ir.Unpack(b)
	if err != nil {
		return err
	}
	report := diff.Programs(before, after)
	if err := report.WriteText(cmd.OutOrStdout(), isTerminal(cmd.OutOrStdout())); err != nil {
		return err
	}
	if !report.Empty() {
		return &silentError{exitDifferences}
	}
	return nil
}

// waitFor polls the gateways until each runs the position or a later one.
func waitFor(cmd *cobra.Command, urls []string, want bundle.Position, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
	defer cancel()
	last := make([]string, len(urls))
	bar := startProgress(cmd.ErrOrStderr(), "waiting for the gateways")
	defer bar.done()
	for tick := time.NewTicker(250 * time.Millisecond); ; {
		done := 0
		for i, u := range urls {
			st, err := fetchStatus(ctx, u)
			if err == nil || ctx.Err() == nil { // why it was not there, not that time is up
				last[i] = statusLine(u, st, err)
			}
			if err == nil && reached(st, want) {
				done++
			}
		}
		bar.step(fmt.Sprintf("%d of %d gateways run %s", done, len(urls), want))
		if done == len(urls) {
			tick.Stop()
			bar.done()
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: every gateway runs %s\n", want)
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
			bar.done()
			for _, l := range last {
				fmt.Fprintln(cmd.ErrOrStderr(), "gwctl: "+l)
			}
			return fmt.Errorf("waiting for %s ran out after %s", want, timeout)
		}
	}
}
