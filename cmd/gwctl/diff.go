package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/schema/ir"
)

func newDiff() *cobra.Command {
	var (
		repo        repositoryFlags
		env, format string
	)
	cmd := &cobra.Command{
		Use: "diff A B [--env E] [--format text|json|markdown]", Short: "Compare two configurations as they behave", Args: cobra.ExactArgs(2),
		Long: `diff compares two compiled configurations, object by object and field by field, with the place that set each value, and
marks what is risky. A and B are each a directory, a git revision of the repository in the current directory, a .gwb file, a
place bundles are published to (folder, oci://, git+https://, https://), or the URL of a running gateway. Defaults never differ.
The text says once what a line changes on several routes; json and markdown have an entry for each. It exits 2 if anything
differs. Without --env, two repositories are compared by their bases, and it says which environments differ otherwise.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" && format != "markdown" {
				return usagef("--format is %q, must be text, json or markdown", format)
			}
			s := side{cmd: cmd, repo: &repo, env: env}
			before, after, err := s.both(args[0], args[1])
			if err != nil {
				return err
			}
			base := diff.Programs(before, after)
			err = printDiff(cmd, base, format)
			if env == "" && len(s.opened) == 2 && (err == nil || errors.As(err, new(*silentError))) {
				if err := s.environments(base); err != nil {
					return err
				}
			}
			return err
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment to compare (default: that of the bundle or gateway, if one side is one; else the base)")
	cmd.Flags().StringVar(&format, "format", "text", "text, json or markdown")
	cmd.Flags().BoolVar(&repo.noCache, "no-cache", false, "do not use or write the cache of decoded files")
	return cmd
}

// environments says which environments differ otherwise than the base does: who looks at the base alone would miss what a patch weakens.
func (s *side) environments(base *diff.Report) error {
	var differs error
	before, after := s.opened[0], s.opened[1]
	for _, env := range slices.Compact(slices.Sorted(slices.Values(slices.Concat(before.unit.Environments(), after.unit.Environments())))) {
		was, now := &ir.Program{Environment: env}, &ir.Program{Environment: env}
		for _, one := range []struct {
			repo *repository
			into **ir.Program
		}{{before, &was}, {after, &now}} {
			if !slices.Contains(one.repo.unit.Environments(), env) {
				continue
			}
			out := one.repo.unit.Compile(env)
			if out.Diags.HasErrors() {
				fmt.Fprintf(s.cmd.ErrOrStderr(), "gwctl: environment %s does not compile; see gwctl validate --env %[1]s\n", env)
				return &silentError{exitInvalid}
			}
			*one.into = out.WithOrigins()
		}
		report := diff.Programs(was, now)
		if report.Empty() || report.Same(base) {
			continue
		}
		fmt.Fprintf(s.cmd.ErrOrStderr(), "gwctl: environment %s differs otherwise than the base, with %d security and %d other risks; see --env %[1]s\n",
			env, report.RisksOf(diff.Security), len(report.Risks)-report.RisksOf(diff.Security))
		differs = &silentError{exitDifferences}
	}
	return differs
}

// printDiff prints a report; differences end the command with exit code 2, whatever the format.
func printDiff(cmd *cobra.Command, report *diff.Report, format string) error {
	var err error
	switch w := cmd.OutOrStdout(); format {
	case "json":
		err = report.WriteJSON(w)
	case "markdown":
		err = report.WriteMarkdown(w)
	default:
		err = report.WriteText(w, isTerminal(w))
	}
	if err == nil && !report.Empty() {
		return &silentError{exitDifferences}
	}
	return err
}
