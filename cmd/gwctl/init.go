package main

import (
	"embed"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
)

// starter is the repository that init writes.
//
//go:embed all:starter
var starter embed.FS

func newInit() *cobra.Command {
	return &cobra.Command{
		Use: "init [PATH]", Short: "Write a small config repository to start from", Args: cobra.MaximumNArgs(1),
		Long: `init writes a config repository that validates: gateway settings, one route, one upstream, two environments. It never
overwrites a file.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			root := pathArg(args)
			err := fs.WalkDir(starter, "starter", func(path string, d fs.DirEntry, err error) error {
				if err != nil || d.IsDir() {
					return err
				}
				data, err := starter.ReadFile(path)
				if err != nil {
					return err
				}
				rel, err := filepath.Rel("starter", path)
				if err != nil {
					return err
				}
				to := filepath.Join(root, rel)
				if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
					return err
				}
				if err := writeNew(to, data, 0o644); err != nil {
					return err
				}
				fmt.Fprintln(cmd.OutOrStdout(), filepath.ToSlash(to))
				return nil
			})
			if err != nil {
				return fmt.Errorf("write the starter repository: %w", err)
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: next: gwctl validate %s, then gwrun dev %s\n", root, root)
			return nil
		},
	}
}
