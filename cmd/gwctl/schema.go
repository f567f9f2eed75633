package main

import (
	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/schema/v1"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON Schema of config files, for editors", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(v1.JSONSchema())
			return err
		},
	}
}
