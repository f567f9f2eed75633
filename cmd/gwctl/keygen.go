package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/schema/bundle"
)

func newKeygen() *cobra.Command {
	var out, env, alg string
	cmd := &cobra.Command{
		Use: "keygen --out DIR [--env E]", Short: "Make a release key, a channel key and the trust.json that names them", Args: cobra.NoArgs,
		Long: `keygen writes release.key and channel.key (private, mode 0600) and trust.json (public) to a directory.
Keep the private keys out of every repository. gwrun is given trust.json with --trust and never takes one from a bundle.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("--out is required: the directory to write the keys to")
			}
			var envs []string
			if env != "" {
				envs = []string{env}
			}
			return keygen(cmd, out, bundle.Algorithm(alg), envs)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory to write to")
	cmd.Flags().StringVar(&env, "env", "", "environment the keys are valid for (default: every one)")
	cmd.Flags().StringVar(&alg, "algorithm", string(bundle.Ed25519), "ed25519, or es256 where a KMS demands it")
	return cmd
}

func keygen(cmd *cobra.Command, dir string, alg bundle.Algorithm, envs []string) error {
	if alg != bundle.Ed25519 && alg != bundle.ES256 {
		return usagef("--algorithm is %q, must be %s or %s", alg, bundle.Ed25519, bundle.ES256)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	var trust bundle.TrustFile
	for _, role := range []bundle.Role{bundle.RoleRelease, bundle.RoleChannel} {
		key, err := bundle.GenerateKey(alg)
		if err != nil {
			return fmt.Errorf("make %s key: %w", role, err)
		}
		pem, err := key.PEM()
		if err != nil {
			return fmt.Errorf("encode %s key: %w", role, err)
		}
		if err := writeNew(filepath.Join(dir, string(role)+".key"), pem, 0o600); err != nil {
			return err
		}
		entry, err := bundle.TrustKeyOf(key.Public(), role, envs...)
		if err != nil {
			return fmt.Errorf("describe %s key: %w", role, err)
		}
		trust.Keys = append(trust.Keys, entry)
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s key %s\n", role, key.Public().ID())
	}
	raw, err := trust.Encode()
	if err != nil {
		return err
	}
	return writeNew(filepath.Join(dir, "trust.json"), raw, 0o644)
}
