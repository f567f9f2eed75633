package main

import (
	"encoding/json"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/runtime/admin"
)

func newStatus() *cobra.Command {
	var (
		gateways []string
		format   string
	)
	cmd := &cobra.Command{
		Use: "status --gateway URL", Short: "Show what gateways run: version, digest, commit, last error", Args: cobra.NoArgs,
		Long: `status asks each gateway's admin API (token: GWRUN_ADMIN_TOKEN) what it runs. It exits 1 if one can't be asked, 4 if
one refuses the token.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(gateways) == 0 {
				return usagef("--gateway is required: the URL of a gateway")
			}
			if format != "text" && format != "json" {
				return usagef("--format is %q, must be text or json", format)
			}
			if err := gatewayURLs(gateways); err != nil {
				return err
			}
			type answer struct {
				Gateway string        `json:"gateway"`
				Status  *admin.Status `json:"status,omitempty"`
				Error   string        `json:"error,omitempty"`
			}
			var answers []answer
			var failed error
			for _, g := range gateways {
				st, err := fetchStatus(cmd.Context(), g)
				a := answer{Gateway: redacted(g), Status: st}
				if err != nil {
					failed, a.Error = err, err.Error()
				}
				answers = append(answers, a)
				if format == "text" {
					fmt.Fprintln(cmd.OutOrStdout(), statusLine(g, st, err))
				}
			}
			if format == "json" {
				enc := json.NewEncoder(cmd.OutOrStdout())
				enc.SetIndent("", "  ")
				if err := enc.Encode(answers); err != nil {
					return err
				}
			}
			if failed != nil {
				return &silentError{exitCode(failed)}
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&gateways, "gateway", nil, "URL of a gateway's admin API; may be repeated")
	cmd.Flags().StringVar(&format, "format", "text", "text or json")
	return cmd
}
