package main

import (
	"fmt"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/schema/v1"
)

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the versions of gwctl, the schema and the bundles it makes", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "gwctl %s\nschema %s\nmin runtime %s\ngo %s %s/%s\n",
				build.Version, v1.APIVersion, compiler.MinRuntime, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			return err
		},
	}
}
