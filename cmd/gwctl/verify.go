package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/schema/bundle"
)

func newVerify() *cobra.Command {
	var trustFile, env, rebuild string
	cmd := &cobra.Command{
		Use: "verify BUNDLE --trust trust.json [--rebuild PATH]", Short: "Check the signatures and every byte of a bundle", Args: cobra.ExactArgs(1),
		Long: `verify checks a bundle (a .gwb file, a folder, an https:// or git+https:// address, an oci:// reference) against a
trust.json: channel, manifest, then every shard. With --rebuild it also compiles the commit the manifest names, from the git
repository at PATH, and compares: the same source must give the same bytes. A refusal is exit code 6.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if trustFile == "" {
				return usagef("--trust is required: the trust.json to verify with")
			}
			if info, err := os.Stat(rebuild); rebuild != "" && (err != nil || !info.IsDir()) {
				return usagef("--rebuild is %q, must be a directory in a git repository", rebuild)
			}
			trust, err := readTrust(trustFile)
			if err != nil {
				return err
			}
			raw, err := fetchBundle(cmd.Context(), args[0], env)
			if err != nil {
				return err
			}
			v, err := bundle.Verify(raw, bundle.Check{Trust: trust, Environment: env, Now: time.Now()})
			if err != nil {
				return err
			}
			if rebuild != "" {
				if err := verifyRebuild(cmd, v.Bundle, rebuild); err != nil {
					return err
				}
			}
			printVerdict(cmd, v) // last: nobody reads ok above a refusal
			if rebuild != "" {
				fmt.Fprintf(cmd.OutOrStdout(), "rebuilt from commit %s: the same bytes\n", v.Bundle.Manifest.Source.Commit)
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&trustFile, "trust", "", "trust.json: which keys may sign what")
	cmd.Flags().StringVar(&env, "env", "", "environment the bundle must be for")
	cmd.Flags().StringVar(&rebuild, "rebuild", "", "git repository to compile the bundle's commit from, for comparison")
	return cmd
}

func printVerdict(cmd *cobra.Command, v *bundle.Verdict) {
	m, w := &v.Bundle.Manifest, cmd.OutOrStdout()
	fmt.Fprintf(w, "ok %s\n", v.Bundle.Digest())
	fmt.Fprintf(w, "%s, environment %s, %s, commit %s\n", m.Name, m.Environment, count(m.Stats.Routes, "route"), commitText(m.Source))
	fmt.Fprintf(w, "signed by %v\n", v.Bundle.SignedBy())
	if v.Channel == nil {
		fmt.Fprintln(w, "no channel: freshness was not checked")
		return
	}
	fmt.Fprintf(w, "channel %d.%d, expires %s\n", v.Channel.Epoch, v.Channel.Version, v.Channel.ExpiresAt.UTC().Format(time.RFC3339))
}

// count is "1 route", "2 routes".
func count[N int | int64](n N, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func commitText(s bundle.Source) string {
	switch {
	case s.Commit == "":
		return "none"
	case s.Dirty:
		return s.Commit + " with changes"
	}
	return s.Commit
}

// verifyRebuild compiles the commit a manifest names and compares the bytes.
func verifyRebuild(cmd *cobra.Command, b *bundle.Bundle, path string) error {
	src := b.Manifest.Source
	if src.Commit == "" || src.Dirty {
		return bundle.Refuse(bundle.ManifestMismatch, "the bundle was built from files no commit holds, so it cannot be rebuilt")
	}
	flags := repositoryFlags{rev: src.Commit}
	repo, err := flags.open(cmd.Context(), path)
	if errors.As(err, new(*load.UnknownRevisionError)) {
		return usagef("the repository at %s does not have commit %s, which the bundle was built from; fetch it, or name another", path, src.Commit)
	}
	if err != nil {
		return err
	}
	p, err := repo.compile(cmd.ErrOrStderr(), b.Manifest.Environment)
	if err != nil {
		return err
	}
	again, err := compiler.Emit(p, repo.tree.Origin, build.Version)
	if err != nil {
		return err
	}
	if again.Digest() == b.Digest() {
		return nil
	}
	return bundle.Refuse(bundle.ManifestMismatch, "commit %s compiles to %s here, the bundle is %s: %s",
		src.Commit, again.Digest().Short(), b.Digest().Short(), rebuildDifference(b, again))
}

// rebuildDifference names what differs.
func rebuildDifference(was, now *bundle.Bundle) string {
	if was.Manifest.Compiler != now.Manifest.Compiler {
		return fmt.Sprintf("it was compiled by version %s, this is %s", was.Manifest.Compiler.Version, now.Manifest.Compiler.Version)
	}
	var differ []string
	for _, s := range was.Manifest.Shards {
		if !slices.Contains(now.Manifest.Shards, s) {
			differ = append(differ, s.Path)
		}
	}
	if len(differ) == 0 {
		return "the list of shards differs"
	}
	return strings.Join(differ, ", ") + " differ"
}
