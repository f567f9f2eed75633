package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/gating"
	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/schema/bundle"
)

type applyFlags struct {
	repo                     repositoryFlags
	env, key, channelKey, to string
	trust                    string
	gateways                 []string
	allowDirty, dryRun, wait bool
	liftHold                 bool
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
would change and exits 2 if anything would. With --wait it returns when every --gateway runs the new version.

A change is judged by the rules of what is published (gateway.gitops). One that a rule holds is brought to DEST, so that people can
look at it and approve of it (gwctl approve), but the channel does not move; apply then exits 4 and says which rule, what it is about
and how to approve. The same while a rollback holds the environment, until --lift-hold is given.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, pathArg(args)) },
	}
	f.repo.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.env, "env", "", "environment to publish")
	fl.StringVar(&f.key, "key", "", "private release key")
	fl.StringVar(&f.channelKey, "channel-key", "", "private channel key")
	fl.StringVar(&f.to, "to", "", "where to publish")
	fl.StringVar(&f.trust, "trust", "", "trust.json to check the destination and the result against, before anything is written")
	fl.StringSliceVar(&f.gateways, "gateway", nil, "URL of a gateway to wait for; may be repeated (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN)")
	fl.BoolVar(&f.allowDirty, "allow-dirty", false, "publish files that are not those of a commit; the manifest says so")
	fl.BoolVar(&f.dryRun, "dry-run", false, "publish nothing; print the difference to what is published")
	fl.BoolVar(&f.liftHold, "lift-hold", false, "publish although a rollback holds the environment, and end its hold")
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
	location, to, err := openDestination(f.to)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // nothing is buffered in it
	b, err := buildBundle(cmd, &f.repo, path, f.env, f.allowDirty || f.dryRun)
	if err != nil {
		return err
	}
	var trust *bundle.Trust
	if f.trust != "" {
		if trust, err = readTrust(f.trust); err != nil {
			return err
		}
	}
	if f.dryRun {
		return f.preview(cmd, to, b, trust)
	}
	settings, err := f.settings(trust)
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
	now, err := f.pass(cmd, to, b, trust)
	if err != nil {
		return err
	}
	settings.Base = &now.position
	if !f.liftHold {
		settings.Hold = now.hold // what is current is only renewed
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

func (f *applyFlags) settings(trust *bundle.Trust) (publish.Settings, error) {
	signer, err := readKey(f.channelKey)
	if err != nil {
		return publish.Settings{}, err
	}
	return publish.Settings{Signers: []bundle.Signer{signer}, Trust: trust, Lifetime: f.lifetime, Epoch: f.epoch, Now: time.Now()}, nil
}

// pass asks the gates. It returns what was judged, so that nothing else is published over. What they hold is brought to the destination
// all the same, for people to look at.
func (f *applyFlags) pass(cmd *cobra.Command, to depot.Writer, b *bundle.Bundle, trust *bundle.Trust) (*published, error) {
	now, v, _, err := f.judge(cmd, to, b, trust)
	if err != nil {
		return nil, err
	}
	if now.hold != nil && now.digest != b.Digest() && !f.liftHold {
		return nil, &codeError{exitRefused, fmt.Errorf("%s is held since a rollback%s: %s; nothing was published. If that is over, apply with --lift-hold", f.env, by(now.hold), now.hold.Reason)}
	}
	if v.Open() {
		return now, nil
	}
	if err := publish.Propose(cmd.Context(), to, b); err != nil {
		return nil, err
	}
	return nil, refused(cmd, v, f.env, f.to, b.Digest(), trust != nil)
}

func by(h *bundle.Hold) string {
	if h.By == "" {
		return ""
	}
	return " by " + h.By
}

// judge compares a bundle with what is published, and asks the gates about it.
func (f *applyFlags) judge(cmd *cobra.Command, to depot.Depot, b *bundle.Bundle, trust *bundle.Trust) (*published, gate.Verdict, *diff.Report, error) {
	reading := trust
	if f.epoch > 0 { // the key of the present channel was lost: nobody can verify it any more
		reading = nil
	}
	now, err := current(cmd.Context(), to, f.env, reading)
	if err != nil {
		return nil, gate.Verdict{}, nil, err
	}
	change, report, err := now.change(b)
	if err != nil {
		return nil, gate.Verdict{}, nil, err
	}
	v, err := now.judge(cmd.Context(), to, f.env, change, trust)
	return now, v, report, err
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

// preview prints the difference between what is published and what would be, and what would hold it.
func (f *applyFlags) preview(cmd *cobra.Command, to depot.Depot, b *bundle.Bundle, trust *bundle.Trust) error {
	now, v, report, err := f.judge(cmd, to, b, trust)
	if err != nil {
		return err
	}
	if now.program == nil {
		fmt.Fprintln(cmd.ErrOrStderr(), "gwctl: nothing is published there yet")
	}
	if err := report.WriteText(cmd.OutOrStdout(), isTerminal(cmd.OutOrStdout())); err != nil {
		return err
	}
	if !v.Open() {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s would hold this:\n", count(len(v.Refusals), "rule"))
		gating.Write(cmd.ErrOrStderr(), v.Refusals)
	}
	if !report.Empty() {
		return &silentError{exitDifferences}
	}
	return nil
}
