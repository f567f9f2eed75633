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
			for _, write := range []func(path string, data []byte) error{
				func(path string, _ []byte) error { return noneExist(path) }, // all or nothing
				func(path string, data []byte) error {
					if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
						return err
					}
					if err := writeNew(path, data, 0o644); err != nil {
						return err
					}
					_, err := fmt.Fprintln(cmd.OutOrStdout(), filepath.ToSlash(path))
					return err
				},
			} {
				if err := eachStarterFile(root, write); err != nil {
					return fmt.Errorf("write the starter repository: %w", err)
				}
			}
			fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: next: gwctl validate %s, then gwrun dev %s\n", root, root)
			return nil
		},
	}
}

// eachStarterFile calls f with where each file of the starter repository goes, and its content.
func eachStarterFile(root string, f func(path string, data []byte) error) error {
	return fs.WalkDir(starter, "starter", func(path string, d fs.DirEntry, err error) error {
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
		return f(filepath.Join(root, rel), data)
	})
}
