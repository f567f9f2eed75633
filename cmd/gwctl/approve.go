package main

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/depot"
	"github.com/suuupra/gateway/internal/gate"
	"github.com/suuupra/gateway/schema/bundle"
)

type approveFlags struct {
	env, to, trust, key, reason, base string
	lifetime                          time.Duration
	anyTime, skipDryRun, dryRun       bool
}

func newApprove() *cobra.Command {
	var f approveFlags
	cmd := &cobra.Command{
		Use:   "approve DIGEST --env E --to DEST --trust trust.json --key approver.key --reason TEXT",
		Short: "Approve of a change that a gate holds", Args: cobra.ExactArgs(1),
		Long: `approve shows what a bundle at DEST changes, compared with what is published there, and the risks that carries, and signs a
statement that it may go live in spite of them. The statement names this bundle, the one it replaces and the risks, and is stored at
DEST beside them; it counts for no other change. Publishers and gateways verify it by the approver keys in their own trust.json.
With --dry-run nothing is signed.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.env, "env", "", "environment of the bundle")
	fl.StringVar(&f.to, "to", "", "where the bundle lies")
	fl.StringVar(&f.trust, "trust", "", "trust.json to verify the bundle against")
	fl.StringVar(&f.key, "key", "", "private approver key")
	fl.StringVar(&f.reason, "reason", "", "why, for those who read it later")
	fl.StringVar(&f.base, "base", "", "manifest that the bundle replaces, if it is not the published one: for a gateway that is behind")
	fl.DurationVar(&f.lifetime, "expires", 24*time.Hour, "how long the approval counts")
	fl.BoolVar(&f.anyTime, "any-time", false, "approve of going live outside the windows of the environment, too")
	fl.BoolVar(&f.skipDryRun, "skip-dry-run", false, "approve of what live requests have against it, and of not waiting for them")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only show the change")
	return cmd
}

func (f *approveFlags) check() error {
	for _, need := range []struct{ name, value, what string }{
		{"env", f.env, "the environment of the bundle"}, {"to", f.to, "where the bundle lies"}, {"trust", f.trust, "the trust.json to verify it against"},
	} {
		if need.value == "" {
			return usagef("--%s is required: %s", need.name, need.what)
		}
	}
	if !f.dryRun && (f.key == "" || f.reason == "") {
		return usagef("--key and --reason are required, or --dry-run")
	}
	if f.lifetime < time.Minute {
		return usagef("--expires is %s, must be at least a minute", f.lifetime)
	}
	return nil
}

func (f *approveFlags) run(cmd *cobra.Command, arg string) error {
	if err := f.check(); err != nil {
		return err
	}
	digest, err := bundle.ParseDigest(arg)
	if err != nil {
		return usagef("%q is no digest: apply prints that of the bundle it holds, sha256: and 64 digits", arg)
	}
	trust, err := readTrust(f.trust)
	if err != nil {
		return err
	}
	_, to, err := openDestination(f.to)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // nothing is buffered in it
	a, err := f.look(cmd, to, digest, trust)
	if err != nil || f.dryRun {
		return err
	}
	signer, err := readKey(f.key)
	if err != nil {
		return err
	}
	envelope, err := bundle.SignApproval(*a, signer)
	if err != nil {
		return err
	}
	if _, _, err := bundle.VerifyApproval(envelope, bundle.Check{Trust: trust, Environment: f.env, Now: time.Now()}); err != nil { // before gateways find out
		return err
	}
	if err := depot.Approve(cmd.Context(), to, envelope); err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "approved %s %s\n", f.env, digest)
	fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: by key %s, until %s, naming %s\n", signer.Public().ID(), a.ExpiresAt.UTC().Format(time.RFC3339), listed(a.Risks))
	return nil
}

// look shows what would be approved of, and returns the statement.
func (f *approveFlags) look(cmd *cobra.Command, d depot.Depot, digest bundle.Digest, trust *bundle.Trust) (*bundle.Approval, error) {
	candidate, err := f.bundle(cmd, d, digest, trust)
	if err != nil {
		return nil, err
	}
	base, err := f.published(cmd, d, trust)
	if err != nil {
		return nil, err
	}
	if base.digest == digest {
		return nil, &codeError{exitConflict, fmt.Errorf("%s is current already in %s", digest, f.env)}
	}
	change, report, err := base.change(candidate)
	if err != nil {
		return nil, err
	}
	if err := report.WriteText(cmd.OutOrStdout(), isTerminal(cmd.OutOrStdout())); err != nil {
		return nil, err
	}
	var risks []string
	for i := range change.Risks {
		risks = append(risks, change.Risks[i].Code)
	}
	if change.RoutesRemoved > 0 {
		risks = append(risks, gate.RoutesRemoved) // a tenth makes it a risk, an environment may ask earlier
	}
	if f.anyTime {
		risks = append(risks, gate.OutsideWindow)
	}
	if f.skipDryRun {
		risks = append(risks, gate.SkipDryRun)
	}
	slices.Sort(risks)
	now := time.Now()
	return &bundle.Approval{
		Name: candidate.Manifest.Name, Environment: f.env, Manifest: digest, Base: base.digest, Risks: slices.Compact(risks), Reason: f.reason, By: whoami(),
		IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(f.lifetime)),
	}, nil
}

// bundle reads the candidate and verifies it.
func (f *approveFlags) bundle(cmd *cobra.Command, d depot.Depot, digest bundle.Digest, trust *bundle.Trust) (*bundle.Bundle, error) {
	got, err := depot.Fetch(cmd.Context(), d, depot.Request{Bundle: digest})
	if errors.Is(err, depot.ErrNotFound) {
		return nil, fmt.Errorf("%s holds no bundle %s: %w", f.to, digest.Short(), err)
	}
	if err != nil {
		return nil, err
	}
	v, err := bundle.Verify(got.Raw, bundle.Check{Trust: trust, Environment: f.env, Now: time.Now()})
	if err != nil {
		return nil, err
	}
	return v.Bundle, nil
}

// published is what the candidate would replace.
func (f *approveFlags) published(cmd *cobra.Command, d depot.Depot, trust *bundle.Trust) (*published, error) {
	if f.base == "" {
		p, err := current(cmd.Context(), d, f.env, trust)
		if err == nil && p.program == nil {
			err = &codeError{exitConflict, fmt.Errorf("nothing is published for %s at %s, so that nothing holds a first bundle", f.env, f.to)}
		}
		return p, err
	}
	digest, err := bundle.ParseDigest(f.base)
	if err != nil {
		return nil, usagef("--base %q is no digest", f.base)
	}
	b, err := f.bundle(cmd, d, digest, trust)
	if err != nil {
		return nil, err
	}
	p := &published{digest: digest}
	p.program, err = unpackBundle(b)
	return p, err
}

// whoami is who signs, as far as the machine knows; the signature says it for certain.
func whoami() string {
	name := "unknown"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return cmp.Or(os.Getenv("GWCTL_USER"), name)
}

func listed(risks []string) string {
	if len(risks) == 0 {
		return "no risk"
	}
	return fmt.Sprint(risks)
}
