package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/diff"
)

func newDrift() *cobra.Command {
	var (
		repo            repositoryFlags
		gateway, format string
	)
	cmd := &cobra.Command{
		Use: "drift [PATH] --gateway URL", Short: "Compare what a gateway runs with what the repository says", Args: cobra.MaximumNArgs(1),
		Long: `drift compiles the repository for the environment of a running gateway and prints the difference to what the gateway runs:
- is running, + is in the repository. A commit that changes nothing is no drift. It exits 2 if there is drift.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if gateway == "" {
				return usagef("--gateway is required: the URL of the gateway's admin API")
			}
			if format != "text" && format != "json" && format != "markdown" {
				return usagef("--format is %q, must be text, json or markdown", format)
			}
			raw, err := fetchRunning(cmd.Context(), gateway)
			if err != nil {
				return err
			}
			running, err := unpack(raw)
			if err != nil {
				return err
			}
			r, err := repo.open(cmd.Context(), pathArg(args))
			if err != nil {
				return err
			}
			wanted, err := r.compile(cmd.ErrOrStderr(), running.Environment)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s runs environment %s; compared with commit %.12s\n", redacted(gateway), running.Environment, r.tree.Origin.Commit)
			return printDiff(cmd, diff.Programs(running, wanted), format)
		},
	}
	cmd.AddCommand(newDriftExport())
	repo.register(cmd)
	cmd.Flags().StringVar(&gateway, "gateway", "", "URL of the gateway's admin API (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN)")
	cmd.Flags().StringVar(&format, "format", "text", "text, json or markdown")
	return cmd
}
