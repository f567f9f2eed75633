package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/schema/diag"
)

// renderers are the formats of diagnostics.
var renderers = map[string]func(io.Writer, diag.Report) error{
	"text": diag.Text, "json": diag.JSON, "sarif": diag.SARIF, "junit": diag.JUnit, "github": diag.GitHub,
}

func newValidate() *cobra.Command {
	var (
		repo        repositoryFlags
		env, format string
	)
	cmd := &cobra.Command{
		Use: "validate [PATH] [--env E] [--rev REV] [--format text|json|sarif|junit|github]", Short: "Check a config repository", Args: cobra.MaximumNArgs(1),
		Long: `validate compiles the base and every environment, or only --env, and reports everything it finds wrong: all errors of
a stage, not the first. It exits 3 if there is an error, whatever the format. Codes are explained by gwctl explain GWnnnn.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			render, err := renderer(format)
			if err != nil {
				return err
			}
			r, diags, err := repo.validate(cmd.Context(), pathArg(args), env)
			if err != nil {
				return err
			}
			report := r.report(diags)
			if err := render(cmd.OutOrStdout(), report); err != nil {
				return fmt.Errorf("write report: %w", err)
			}
			if report.Errors() > 0 {
				return &silentError{exitInvalid}
			}
			return nil
		},
	}
	repo.register(cmd)
	cmd.Flags().StringVar(&env, "env", "", "check only this environment")
	formatFlag(cmd, &format)
	return cmd
}

func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "text", "text, json, sarif, junit or github")
}

func renderer(format string) (func(io.Writer, diag.Report) error, error) {
	r, ok := renderers[format]
	if !ok {
		return nil, usagef("--format is %q, must be one of %s", format, strings.Join(slices.Sorted(keysOf(renderers)), ", "))
	}
	return r, nil
}

// report makes a renderer's input from what the compiler had to say.
func (r *repository) report(diags []diag.Diagnostic) diag.Report {
	return diag.Report{Diagnostics: diags, Source: r.source, Version: build.Version, Files: len(r.tree.Files)}
}
