package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/schema/bundle"
)

func newBuild() *cobra.Command {
	var (
		repo          repositoryFlags
		env, key, out string
		allowDirty    bool
	)
	cmd := &cobra.Command{
		Use: "build [PATH] --env E --key release.key --out site.gwb", Short: "Compile one environment into a signed bundle file", Args: cobra.MaximumNArgs(1),
		Long: `build compiles one environment and writes a .gwb file, signed by a release key. The same commit, compiler and
environment give the same bytes on any machine. It prints the digest of the bundle. Files that no commit holds are refused with
exit code 4, unless --allow-dirty is given. A file that is there already is replaced only by a complete one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if key == "" || out == "" {
				return usagef("--key and --out are required")
			}
			if out == "-" {
				return usagef("--out is \"-\", must be a file; standard output gets the digest")
			}
			signer, err := readKey(key)
			if err != nil {
				return err
			}
			b, err := buildBundle(cmd, &repo, pathArg(args), env, allowDirty)
			if err != nil {
				return err
			}
			if err := b.Sign(signer); err != nil {
				return err
			}
			data, err := b.Encode(nil)
			if err != nil {
				return err
			}
			if err := replaceFile(out, data); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), b.Digest())
			return err
		},
	}
	repo.register(cmd)
	cmd.Flags().StringVar(&env, "env", "", "environment to compile")
	cmd.Flags().StringVar(&key, "key", "", "private release key, see gwctl keygen")
	cmd.Flags().StringVar(&out, "out", "", "bundle file to write")
	cmd.Flags().BoolVar(&allowDirty, "allow-dirty", false, "build from files that are not those of a commit; the manifest says so")
	return cmd
}

// buildBundle compiles one environment of a repository into an unsigned bundle.
func buildBundle(cmd *cobra.Command, flags *repositoryFlags, path, env string, allowDirty bool) (*bundle.Bundle, error) {
	repo, err := flags.open(cmd.Context(), path)
	if err != nil {
		return nil, err
	}
	if err := repo.requireEnvironment(env); err != nil {
		return nil, err
	}
	p, err := repo.compile(cmd.ErrOrStderr(), env)
	if err != nil {
		return nil, err
	}
	if err := repo.requireClean(allowDirty); err != nil {
		return nil, err
	}
	return compiler.Emit(p, repo.tree.Origin, build.Version)
}

// maxKeyFile is more than any private key needs.
const maxKeyFile = 64 << 10

// readKey reads a private key file.
func readKey(path string) (*bundle.PrivateKey, error) {
	raw, err := bounded.ReadFile(path, maxKeyFile)
	if err != nil {
		return nil, fmt.Errorf("read key: %w", err)
	}
	key, err := bundle.ParsePrivateKey(raw)
	if err != nil {
		return nil, fmt.Errorf("read key %s: %w", path, err)
	}
	return key, nil
}

// readTrust reads trust.json.
func readTrust(path string) (*bundle.Trust, error) {
	raw, err := bounded.ReadFile(path, bundle.MaxTrust)
	if err != nil {
		return nil, fmt.Errorf("read trust file: %w", err)
	}
	trust, err := bundle.ParseTrust(raw)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return trust, nil
}
