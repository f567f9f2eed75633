package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/schema/bundle"
)

type rollbackFlags struct {
	env, channelKey, to, trust, reason string
	gateways                           []string
	wait                               bool
	lifetime, timeout                  time.Duration
}

func newRollback() *cobra.Command {
	var f rollbackFlags
	cmd := &cobra.Command{
		Use:   "rollback [DIGEST] --env E --to DEST --trust trust.json --channel-key channel.key --reason TEXT",
		Short: "Make a bundle current again that was published before", Args: cobra.MaximumNArgs(1),
		Long: `rollback publishes a new version of the channel that names an old bundle: without DIGEST the one that was current before this
one. Gates do not hold it: whoever goes back is in trouble. The environment is held afterwards: apply and serve publish nothing over
it until the hold is lifted with gwctl apply --lift-hold. While it is held, rollback wants a DIGEST and exits 5 without one, so that it
may be run again when its answer got lost.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.env, "env", "", "environment to roll back")
	fl.StringVar(&f.to, "to", "", "where it is published")
	fl.StringVar(&f.trust, "trust", "", "trust.json to verify the old bundle against")
	fl.StringVar(&f.channelKey, "channel-key", "", "private channel key")
	fl.StringVar(&f.reason, "reason", "", "why, for those who meet the hold")
	fl.StringSliceVar(&f.gateways, "gateway", nil, "URL of a gateway to wait for; may be repeated (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN)")
	fl.BoolVar(&f.wait, "wait", false, "return when every --gateway runs the old bundle")
	fl.DurationVar(&f.timeout, "wait-timeout", 2*time.Minute, "how long to wait")
	fl.DurationVar(&f.lifetime, "expires", publish.DefaultLifetime, "how long the channel is valid")
	return cmd
}

func (f *rollbackFlags) check() error {
	for _, need := range []struct{ name, value, what string }{
		{"env", f.env, "the environment to roll back"},
		{"to", f.to, "where it is published"},
		{"trust", f.trust, "the trust.json to verify the old bundle against"},
		{"channel-key", f.channelKey, "the private channel key"},
		{"reason", f.reason, "why, for those who meet the hold"},
	} {
		if need.value == "" {
			return usagef("--%s is required: %s", need.name, need.what)
		}
	}
	if f.wait && len(f.gateways) == 0 {
		return usagef("--wait needs at least one --gateway URL")
	}
	if f.lifetime < publish.MinLifetime {
		return usagef("--expires is %s, must be at least %s", f.lifetime, publish.MinLifetime)
	}
	return gatewayURLs(f.gateways)
}

func (f *rollbackFlags) run(cmd *cobra.Command, args []string) error {
	if err := f.check(); err != nil {
		return err
	}
	var digest bundle.Digest
	if len(args) == 1 {
		var err error
		if digest, err = bundle.ParseDigest(args[0]); err != nil {
			return usagef("%q is no digest: gwctl status and the log of gwctl apply show them, sha256: and 64 digits", args[0])
		}
	}
	trust, err := readTrust(f.trust)
	if err != nil {
		return err
	}
	signer, err := readKey(f.channelKey)
	if err != nil {
		return err
	}
	location, to, err := openDestination(f.to)
	if err != nil {
		return err
	}
	defer func() { _ = to.Close() }() // nothing is buffered in it
	r, err := publish.Rollback(cmd.Context(), to, f.env, digest, publish.Settings{
		Signers: []bundle.Signer{signer}, Trust: trust, Lifetime: f.lifetime, Now: time.Now(), Hold: &bundle.Hold{Reason: f.reason, By: whoami()},
	})
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "rolled back %s %s %s\n", f.env, r.Position, r.Channel.Manifest.Digest)
	fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s replaces %s at %s; held until gwctl apply --lift-hold\n", r.Position, r.Previous, location)
	if f.wait {
		return waitFor(cmd, f.gateways, r.Position, f.timeout)
	}
	return nil
}
