package main

import (
	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/diff"
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
place bundles are published to (folder, oci://, git+https://, https://), or the URL of a running gateway. Defaults never differ. It
exits 2 if anything does.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if format != "text" && format != "json" && format != "markdown" {
				return usagef("--format is %q, must be text, json or markdown", format)
			}
			s := side{cmd: cmd, repo: &repo, env: env}
			before, after, err := s.both(args[0], args[1])
			if err != nil {
				return err
			}
			return printDiff(cmd, diff.Programs(before, after), format)
		},
	}
	cmd.Flags().StringVar(&env, "env", "", "environment to compare (default: that of the bundle or gateway, if one side is one; else the base)")
	cmd.Flags().StringVar(&format, "format", "text", "text, json or markdown")
	cmd.Flags().BoolVar(&repo.noCache, "no-cache", false, "do not use or write the cache of decoded files")
	return cmd
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
