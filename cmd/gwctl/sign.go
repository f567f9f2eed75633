package main

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/schema/bundle"
)

func newSign() *cobra.Command {
	var (
		key, channelKey, trustFile string
		epoch, version             int64
		lifetime                   time.Duration
	)
	cmd := &cobra.Command{
		Use: "sign site.gwb --key release.key", Short: "Add a signature to a bundle file", Args: cobra.ExactArgs(1),
		Long: `sign adds a release signature to a .gwb file, where trust.json asks for more than one. With --channel-key it also puts
a channel into the file, so that gwrun can run it without a server: --channel-version must rise with each new file.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" && channelKey == "" {
				return usagef("--key or --channel-key is required")
			}
			if epoch < 1 || version < 1 || lifetime < time.Second {
				return usagef("--channel-epoch and --channel-version must be at least 1, --expires at least 1s")
			}
			data, err := bounded.ReadFile(args[0], bundle.MaxArchive)
			if err != nil {
				return fmt.Errorf("read bundle: %w", err)
			}
			raw, err := bundle.DecodeArchive(data)
			if err != nil {
				return fmt.Errorf("%s: %w", args[0], err)
			}
			if raw.Manifest, err = addSignature(raw.Manifest, key); err != nil {
				return err
			}
			if channelKey != "" {
				if raw.Channel, err = addChannel(raw, channelKey, epoch, version, lifetime); err != nil {
					return err
				}
			}
			if trustFile != "" {
				trust, err := readTrust(trustFile)
				if err != nil {
					return err
				}
				if _, err := bundle.Verify(raw, bundle.Check{Trust: trust, Now: time.Now()}); err != nil {
					return err
				}
			}
			signed, err := bundle.EncodeArchive(raw)
			if err != nil {
				return err
			}
			return replaceFile(args[0], signed)
		},
	}
	cmd.Flags().StringVar(&key, "key", "", "private release key")
	cmd.Flags().StringVar(&channelKey, "channel-key", "", "private channel key: also put a channel into the file")
	cmd.Flags().Int64Var(&epoch, "channel-epoch", 1, "epoch of that channel")
	cmd.Flags().Int64Var(&version, "channel-version", 1, "version of that channel")
	cmd.Flags().DurationVar(&lifetime, "expires", publish.DefaultLifetime, "how long that channel is valid")
	cmd.Flags().StringVar(&trustFile, "trust", "", "trust.json to check the result against before it is written")
	return cmd
}

func addSignature(manifest []byte, keyFile string) ([]byte, error) {
	if keyFile == "" {
		return manifest, nil
	}
	signer, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	return bundle.Cosign(manifest, signer)
}

// addChannel makes the channel document of a bundle that travels as a file.
func addChannel(raw *bundle.Raw, keyFile string, epoch, version int64, lifetime time.Duration) ([]byte, error) {
	signer, err := readKey(keyFile)
	if err != nil {
		return nil, err
	}
	v, err := bundle.Peek(&bundle.Raw{Manifest: raw.Manifest, Blobs: raw.Blobs})
	if err != nil {
		return nil, err
	}
	m, now := &v.Bundle.Manifest, time.Now()
	return bundle.SignChannel(bundle.Channel{
		Name: m.Name, Environment: m.Environment, Epoch: epoch, Version: version, Manifest: v.Bundle.Ref(),
		IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(lifetime)),
	}, signer)
}
