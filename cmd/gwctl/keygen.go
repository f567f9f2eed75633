package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/schema/bundle"
)

func newKeygen() *cobra.Command {
	var out, env, alg string
	cmd := &cobra.Command{
		Use: "keygen --out DIR [--env E]", Short: "Make a release key, a channel key and the trust.json that names them", Args: cobra.NoArgs,
		Long: `keygen writes release.key and channel.key (private, mode 0600) and trust.json (public) to a directory. It never overwrites a file.
Keep the private keys out of every repository. gwrun is given trust.json with --trust and never takes one from a bundle.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("--out is required: the directory to write the keys to")
			}
			var envs []string
			if env != "" {
				envs = []string{env}
			}
			for _, known := range []bundle.Algorithm{bundle.Ed25519, bundle.ES256} {
				if strings.EqualFold(alg, string(known)) {
					return keygen(cmd, out, known, envs)
				}
			}
			return usagef("--algorithm is %q, must be %s or %s", alg, bundle.Ed25519, bundle.ES256)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory to write to")
	cmd.Flags().StringVar(&env, "env", "", "environment the keys are valid for (default: every one)")
	cmd.Flags().StringVar(&alg, "algorithm", string(bundle.Ed25519), "Ed25519, or ES256 where a KMS demands it")
	return cmd
}

func keygen(cmd *cobra.Command, dir string, alg bundle.Algorithm, envs []string) error {
	var trust bundle.TrustFile
	var files []keyFile
	for _, role := range []bundle.Role{bundle.RoleRelease, bundle.RoleChannel} {
		key, err := bundle.GenerateKey(alg)
		if err != nil {
			return fmt.Errorf("make %s key: %w", role, err)
		}
		pem, err := key.PEM()
		if err != nil {
			return fmt.Errorf("encode %s key: %w", role, err)
		}
		entry, err := bundle.TrustKeyOf(key.Public(), role, envs...)
		if err != nil {
			return fmt.Errorf("describe %s key: %w", role, err)
		}
		trust.Keys = append(trust.Keys, entry)
		files = append(files, keyFile{filepath.Join(dir, string(role)+".key"), pem, 0o600})
	}
	raw, err := trust.Encode()
	if err != nil {
		return err
	}
	if _, err := bundle.ParseTrust(raw); err != nil { // before gwrun finds out
		return usage(err)
	}
	if err := writeKeys(dir, append(files, keyFile{filepath.Join(dir, "trust.json"), raw, 0o644})); err != nil {
		return err
	}
	for _, k := range trust.Keys {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s key %s\n", k.Roles[0], k.ID)
	}
	if around := gitAround(dir); around != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s lies in the git repository %s: see that the private keys are never committed\n", dir, around)
	}
	return nil
}

// gitAround returns the work tree a directory lies in, or "".
func gitAround(dir string) string {
	at, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		if _, err := os.Lstat(filepath.Join(at, ".git")); err == nil {
			return at
		}
		up := filepath.Dir(at)
		if up == at {
			return ""
		}
		at = up
	}
}

type keyFile struct {
	path string
	data []byte
	mode os.FileMode
}

// writeKeys writes all of them or, where one exists, none.
func writeKeys(dir string, files []keyFile) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for _, f := range files {
		if err := noneExist(f.path); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := writeNew(f.path, f.data, f.mode); err != nil {
			return err
		}
	}
	return nil
}
