package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	udiff "github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler/rewrite"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/migrate"
)

type migrateFlags struct {
	repo               repositoryFlags
	check, write, diff bool
	to, format         string
	allowDirty         bool
}

func newMigrate() *cobra.Command {
	var f migrateFlags
	cmd := &cobra.Command{
		Use:   "migrate [PATH] [--check|--diff|--write] [--to VERSION] [--format text|json] [--allow-dirty]",
		Short: "Bring config files to a newer API version", Args: cobra.MaximumNArgs(1),
		Long: `migrate rewrites files that are written for an older API version. --check, which is what it does without a flag, names
them; --diff shows what would change; both exit 2 if anything would. --write changes them: names, values and places, while
comments, blank lines, quotes and line ends stay. Nothing is written unless all that is there compiles, and compiles to the
same bytes afterwards, in every environment. --write refuses files with changes that are not committed, so that git diff shows
the migration alone and git can take it back; --allow-dirty writes all the same. Tests under tests/ are migrated too.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.do(cmd, pathArg(args)) },
	}
	cmd.Flags().BoolVar(&f.check, "check", false, "name the files that would change, and exit 2 if there are any (the default)")
	cmd.Flags().BoolVar(&f.diff, "diff", false, "show what would change as a unified diff, and exit 2 if anything would")
	cmd.Flags().BoolVar(&f.write, "write", false, "change the files")
	cmd.Flags().StringVar(&f.to, "to", migrate.Versions()[0], "API version to bring files to; files of a newer one stay as they are")
	cmd.Flags().StringVar(&f.format, "format", "text", "text or json")
	cmd.Flags().BoolVar(&f.allowDirty, "allow-dirty", false, "with --write: change files whose content is not committed, too")
	cmd.Flags().BoolVar(&f.repo.noCache, "no-cache", false, "do not use or write the cache of decoded files")
	return cmd
}

// usage finds what is wrong with the flags.
func (f *migrateFlags) usage() error {
	modes := 0
	for _, on := range []bool{f.check, f.diff, f.write} {
		if on {
			modes++
		}
	}
	known := migrate.Versions()
	if i := slices.IndexFunc(known, func(v string) bool { return strings.HasSuffix(v, "/"+f.to) }); i >= 0 {
		f.to = known[i] // v1 is short for gateway.suuupra.dev/v1
	}
	switch {
	case modes > 1:
		return usagef("--check, --diff and --write exclude each other")
	case f.allowDirty && !f.write:
		return usagef("--allow-dirty goes with --write")
	case f.format != "text" && f.format != "json":
		return usagef("--format is %q, must be text or json", f.format)
	case !slices.Contains(known, f.to):
		return usagef("--to is %q, must be one of %s", f.to, strings.Join(known, ", "))
	}
	return nil
}

func (f *migrateFlags) do(cmd *cobra.Command, path string) error {
	if err := f.usage(); err != nil {
		return err
	}
	r, err := f.repo.open(cmd.Context(), path)
	if err != nil {
		return err
	}
	if err := f.sound(cmd, r); err != nil {
		return err
	}
	folder, err := rewrite.OpenFolder(path)
	if err != nil {
		return err
	}
	defer folder.Close()
	var diags diag.List
	plan, err := rewrite.New(r.tree, f.to, folder.Read, &diags)
	if err != nil {
		return err
	}
	if diags.HasErrors() {
		return refuseInvalid(cmd, r, diags.Sorted())
	}
	if err := f.verify(cmd, plan); err != nil {
		return err
	}
	if f.write {
		if err := f.clean(cmd.Context(), plan, path); err != nil {
			return err
		}
		if err := folder.Write(plan); err != nil {
			return err
		}
	}
	return f.report(cmd, r, plan)
}

// sound refuses a repository with errors: what does not compile cannot be compared with what becomes of it.
func (f *migrateFlags) sound(cmd *cobra.Command, r *repository) error {
	all := r.unit.Validate("")
	_, tests, err := r.unit.Tests(cmd.Context())
	if err != nil {
		return err
	}
	all = append(all, tests.Sorted()...)
	errs := slices.DeleteFunc(all, func(d diag.Diagnostic) bool { return d.Severity != diag.Error })
	if len(errs) > 0 {
		return refuseInvalid(cmd, r, errs)
	}
	return nil
}

func refuseInvalid(cmd *cobra.Command, r *repository, diags []diag.Diagnostic) error {
	if err := diag.Text(cmd.ErrOrStderr(), r.report(diags)); err != nil {
		return err
	}
	fmt.Fprintln(cmd.ErrOrStderr(), "gwctl: nothing was migrated")
	return &silentError{exitInvalid}
}

func (f *migrateFlags) verify(cmd *cobra.Command, plan *rewrite.Plan) error {
	if len(plan.Files) == 0 {
		return nil
	}
	bar := startProgress(cmd.ErrOrStderr(), "comparing "+count(len(plan.Files), "file"))
	defer bar.done()
	return plan.Verify(cmd.Context(), toolchain.New(toolchain.Options{Cache: !f.repo.noCache}))
}

// clean refuses to mix a migration with somebody's unfinished work.
func (f *migrateFlags) clean(ctx context.Context, plan *rewrite.Plan, path string) error {
	if f.allowDirty || len(plan.Files) == 0 {
		return nil
	}
	dirty, err := plan.Uncommitted(ctx, path)
	if err != nil {
		return &codeError{exitRefused, fmt.Errorf("cannot tell whether the files are committed: %w; use --allow-dirty to write all the same", err)}
	}
	if len(dirty) > 0 {
		more := ""
		if n := len(dirty); n > 5 {
			dirty, more = dirty[:5], fmt.Sprintf(" and %d more", n-5)
		}
		return &codeError{exitRefused, errors.New("not committed: " + strings.Join(dirty, ", ") + more +
			"; commit first, so that git shows the migration alone and can take it back, or use --allow-dirty")}
	}
	return nil
}

// migrated is one file in the JSON report.
type migrated struct {
	Path string `json:"path"`
	From string `json:"from"`
	Diff string `json:"diff,omitempty"`
}

func (f *migrateFlags) report(cmd *cobra.Command, r *repository, plan *rewrite.Plan) error {
	w := cmd.OutOrStdout()
	var err error
	if f.format == "json" {
		err = f.reportJSON(w, plan)
	} else {
		err = f.reportText(w, plan)
	}
	if err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	n := len(plan.Files)
	switch {
	case n == 0:
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: nothing to migrate: no file is older than %s\n", f.to)
		return nil
	case f.write:
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: migrated %s to %s\n", count(n, "file"), f.to)
		return nil
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s to migrate to %s; run gwctl migrate%s --write\n", count(n, "file"), f.to, r.args)
	return &silentError{exitDifferences}
}

func (f *migrateFlags) reportText(w io.Writer, plan *rewrite.Plan) error {
	for _, file := range plan.Files {
		text := fmt.Appendf(nil, "%s: %s\n", file.Path, file.From)
		if f.diff {
			text = unified(file)
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

func (f *migrateFlags) reportJSON(w io.Writer, plan *rewrite.Plan) error {
	out := struct {
		FormatVersion int        `json:"formatVersion"`
		To            string     `json:"to"`
		Written       bool       `json:"written"`
		Files         []migrated `json:"files"`
	}{1, f.to, f.write && len(plan.Files) > 0, []migrated{}}
	for _, file := range plan.Files {
		m := migrated{Path: file.Path, From: file.From}
		if f.diff {
			m.Diff = string(unified(file))
		}
		out.Files = append(out.Files, m)
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(out)
}

// unified is the change of one file, as patch and git apply take it.
func unified(file rewrite.File) []byte {
	return udiff.Diff("a/"+file.Path, file.Before, "b/"+file.Path, file.After)
}
