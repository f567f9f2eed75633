package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/schema/bundle"
)

func newKeygen() *cobra.Command {
	var out, env, alg, role, name, trust string
	cmd := &cobra.Command{
		Use: "keygen --out DIR [--env E]", Short: "Make a release key, a channel key and the trust.json that names them", Args: cobra.NoArgs,
		Long: `keygen writes release.key and channel.key (private, mode 0600) and trust.json (public) to a directory. It never overwrites a file.
Keep the private keys out of every repository. gwrun is given trust.json with --trust and never takes one from a bundle.

With --role it makes one key of that role (release, channel, approver, audit or overlay) and writes NAME.key, by default the role's; --trust adds its
public half to a trust.json there is, which every publisher and gateway then has to be given.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if out == "" {
				return usagef("--out is required: the directory to write the keys to")
			}
			var envs []string
			if env != "" {
				envs = []string{env}
			}
			if role == "" && (name != "" || trust != "") {
				return usagef("--name and --trust are for one key: name its --role")
			}
			if role != "" && !slices.Contains(bundle.Roles(), bundle.Role(role)) {
				return usagef("--role is %q, must be one of %v", role, bundle.Roles())
			}
			for _, known := range []bundle.Algorithm{bundle.Ed25519, bundle.ES256} {
				switch {
				case !strings.EqualFold(alg, string(known)):
				case role != "":
					return addKey(cmd, filepath.Join(out, cmp.Or(name, role)+".key"), trust, known, bundle.Role(role), envs)
				default:
					return keygen(cmd, out, known, envs)
				}
			}
			return usagef("--algorithm is %q, must be %s or %s", alg, bundle.Ed25519, bundle.ES256)
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "directory to write to")
	cmd.Flags().StringVar(&env, "env", "", "environment the keys are valid for (default: every one)")
	cmd.Flags().StringVar(&role, "role", "", "make one key, of this role: release, channel, approver, audit or overlay")
	cmd.Flags().StringVar(&name, "name", "", "with --role: name of the key file, without .key")
	cmd.Flags().StringVar(&trust, "trust", "", "with --role: trust.json to add the public key to")
	cmd.Flags().StringVar(&alg, "algorithm", string(bundle.Ed25519), "Ed25519, or ES256 where a KMS demands it")
	return cmd
}

func keygen(cmd *cobra.Command, dir string, alg bundle.Algorithm, envs []string) error {
	var trust bundle.TrustFile
	var files []keyFile
	for _, role := range []bundle.Role{bundle.RoleRelease, bundle.RoleChannel} {
		pem, entry, err := newKey(alg, role, envs)
		if err != nil {
			return err
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
	warnGit(cmd, dir)
	return nil
}

// newKey makes a key: its file, and how trust.json lists it.
func newKey(alg bundle.Algorithm, role bundle.Role, envs []string) (pem []byte, entry bundle.TrustKey, err error) {
	key, err := bundle.GenerateKey(alg)
	if err != nil {
		return nil, entry, fmt.Errorf("make %s key: %w", role, err)
	}
	if pem, err = key.PEM(); err != nil {
		return nil, entry, fmt.Errorf("encode %s key: %w", role, err)
	}
	if entry, err = bundle.TrustKeyOf(key.Public(), role, envs...); err != nil {
		return nil, entry, fmt.Errorf("describe %s key: %w", role, err)
	}
	return pem, entry, nil
}

// addKey makes one key, and adds it to a trust file if one is named: first the key, or a trust file would name one nobody has.
func addKey(cmd *cobra.Command, path, trust string, alg bundle.Algorithm, role bundle.Role, envs []string) error {
	pem, entry, err := newKey(alg, role, envs)
	if err != nil {
		return err
	}
	entry.Comment = strings.TrimSuffix(filepath.Base(path), ".key")
	var file []byte
	if trust != "" {
		if file, err = bounded.ReadFile(trust, bundle.MaxTrust); err != nil {
			return fmt.Errorf("read trust file: %w", err)
		}
		if file, err = bundle.AddTrustKey(file, entry); err != nil {
			return fmt.Errorf("%s: %w", trust, err)
		}
	}
	if err := writeKeys(filepath.Dir(path), []keyFile{{path, pem, 0o600}}); err != nil {
		return err
	}
	if trust != "" {
		if err := replaceFile(trust, file); err != nil {
			return err
		}
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s key %s\n", role, entry.ID)
	if trust == "" {
		line, err := json.Marshal(entry)
		if err != nil {
			return err
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s\n", line)
	}
	warnGit(cmd, filepath.Dir(path))
	return nil
}

func warnGit(cmd *cobra.Command, dir string) {
	if around := gitAround(dir); around != "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s lies in the git repository %s: see that the private keys are never committed\n", dir, around)
	}
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
