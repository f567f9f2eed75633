package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// testFlags are the flags of gwctl test.
type testFlags struct {
	repo                     repositoryFlags
	env, run, format         string
	coverage, mutate, strict bool
	minCoverage              int
}

func newTest() *cobra.Command {
	var f testFlags
	cmd := &cobra.Command{
		Use:   "test [PATH] [--env E] [--rev REV] [--run REGEXP] [--format text|json|junit] [--coverage] [--mutate]",
		Short: "Run the request tests of a config repository", Args: cobra.MaximumNArgs(1),
		Long: `test compiles the repository and runs the requests in tests/ against it, with the code that serves traffic and without a
network: the clock, the servers, token issuers, API keys, secrets and shared state are stand-ins. See docs/testing.md.

Without --env a test is run in every environment of the repository, or in those it names. It exits 3 if a test fails or is
malformed. --coverage lists the routes and policies that no test reaches. --mutate weakens one protection after the other
(takes a policy out, drops a required role, lifts a limit) and lists the weakenings that no test notices; they are no failure
unless --strict says so.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.do(cmd, pathArg(args)) },
	}
	f.repo.register(cmd)
	fl := cmd.Flags()
	fl.StringVar(&f.env, "env", "", "test only this environment")
	fl.StringVar(&f.run, "run", "", "run only the tests whose name or file matches this regular expression (RE2)")
	fl.StringVar(&f.format, "format", "text", "text, json or junit")
	fl.BoolVar(&f.coverage, "coverage", false, "list what no test reaches")
	fl.IntVar(&f.minCoverage, "min-coverage", 0, "exit 3 if the tests cover less than this many percent (implies --coverage)")
	fl.BoolVar(&f.mutate, "mutate", false, "list the weakenings of the configuration that no test notices")
	fl.BoolVar(&f.strict, "strict", false, "with --mutate: exit 3 if there are any")
	return cmd
}

// reportFormats are the ways to print a report.
var reportFormats = map[string]func(*simulate.Report, io.Writer) error{
	"text": (*simulate.Report).Text, "json": (*simulate.Report).JSON, "junit": (*simulate.Report).JUnit,
}

// check finds what is wrong with the flags.
func (f *testFlags) check() (*regexp.Regexp, error) {
	switch {
	case reportFormats[f.format] == nil:
		return nil, usagef("--format is %q, must be one of %s", f.format, strings.Join(slices.Sorted(maps.Keys(reportFormats)), ", "))
	case f.minCoverage < 0 || f.minCoverage > 100:
		return nil, usagef("--min-coverage is %d, must be from 0 to 100", f.minCoverage)
	case f.strict && !f.mutate:
		return nil, usagef("--strict goes with --mutate")
	}
	f.coverage = f.coverage || f.minCoverage > 0
	only, err := regexp.Compile(f.run)
	if err != nil {
		return nil, usagef("--run is %q, which is no regular expression: %w", f.run, err)
	}
	return only, nil
}

func (f *testFlags) do(cmd *cobra.Command, path string) error {
	only, err := f.check()
	if err != nil {
		return err
	}
	r, err := f.repo.open(cmd.Context(), path)
	if err != nil {
		return err
	}
	cases, err := f.cases(cmd, r, only)
	if err != nil || len(cases) == 0 {
		return err
	}
	programs, err := f.programs(cmd, r)
	if err != nil {
		return err
	}
	report, err := f.runAll(cmd.Context(), programs, cases)
	if err != nil {
		return err
	}
	if err := reportFormats[f.format](report, cmd.OutOrStdout()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return f.judge(cmd.ErrOrStderr(), report)
}

// cases reads the tests. What is wrong with them is printed, and ends the command with exit code 3.
func (f *testFlags) cases(cmd *cobra.Command, r *repository, only *regexp.Regexp) ([]*simulate.Case, error) {
	files, diags, err := r.unit.Tests(cmd.Context())
	if err != nil {
		return nil, err
	}
	if diags.Len() > 0 {
		report := r.report(diags.Sorted())
		report.Files = len(r.tree.Tests)
		if err := diag.Text(cmd.ErrOrStderr(), report); err != nil {
			return nil, err
		}
	}
	if diags.HasErrors() {
		return nil, &silentError{exitInvalid}
	}
	all, err := simulate.Cases(files)
	if err != nil {
		return nil, err
	}
	cases := slices.DeleteFunc(all, func(c *simulate.Case) bool { return !only.MatchString(c.Name) && !only.MatchString(c.File) })
	if len(cases) == 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: no tests to run: %s\n", cmp.Or(map[bool]string{true: "none matches --run " + f.run}[f.run != ""], "there are none under tests/"))
	}
	return cases, nil
}

// programs compiles what is tested: the environment that was asked for, else every one, else the base. The base of a repository with
// environments is served by nobody.
func (f *testFlags) programs(cmd *cobra.Command, r *repository) ([]*ir.Program, error) {
	envs := r.unit.Environments()
	if f.env != "" || len(envs) == 0 {
		envs = []string{f.env}
	}
	var out []*ir.Program
	for _, env := range envs {
		o := r.unit.Compile(env)
		if o.Diags.HasErrors() { // warnings are the business of validate
			if err := diag.Text(cmd.ErrOrStderr(), r.report(o.Diags.Sorted())); err != nil {
				return nil, err
			}
			return nil, &silentError{exitInvalid}
		}
		out = append(out, o.WithOrigins())
	}
	return out, nil
}

func (f *testFlags) runAll(ctx context.Context, programs []*ir.Program, cases []*simulate.Case) (*simulate.Report, error) {
	begun := time.Now()
	report := &simulate.Report{}
	for _, p := range programs {
		if err := f.runOne(ctx, report, p, cases); err != nil {
			return nil, fmt.Errorf("test %s: %w", cmp.Or(p.Environment, "the base"), err)
		}
	}
	if report.Took = time.Since(begun); report.Mutation != nil {
		report.Took -= report.Mutation.Took
	}
	return report, nil
}

func (f *testFlags) runOne(ctx context.Context, report *simulate.Report, p *ir.Program, cases []*simulate.Case) error {
	s, err := simulate.NewSuite(ctx, p, cases, simulate.Tools{Kinds: toolchain.Kinds(), Targets: toolchain.Targets()})
	if err != nil {
		return err
	}
	defer s.Close()
	results, err := s.Run(ctx)
	if err != nil {
		return err
	}
	report.Results = append(report.Results, results...)
	if f.coverage {
		c := s.Coverage(results)
		if report.Coverage == nil {
			report.Coverage = c
		} else {
			report.Coverage.Add(c)
		}
	}
	if !f.mutate || report.Failed() > 0 {
		report.Mutation = nil // tests that fail notice nothing
		return nil
	}
	m, err := s.Mutate(ctx, results)
	if err != nil {
		return err
	}
	if report.Mutation == nil {
		report.Mutation = m
	} else {
		report.Mutation.Add(m)
	}
	return nil
}

// judge is what the command exits with.
func (f *testFlags) judge(w io.Writer, report *simulate.Report) error {
	switch {
	case report.Failed() > 0:
		if f.mutate {
			fmt.Fprintln(w, "gwctl: no mutation: tests that fail can notice nothing")
		}
	case f.minCoverage > 0 && report.Coverage.Percent() < f.minCoverage:
		fmt.Fprintf(w, "gwctl: the tests cover %d%%, must be at least %d%%\n", report.Coverage.Percent(), f.minCoverage)
	case f.strict && len(report.Mutation.Survived()) > 0:
		fmt.Fprintf(w, "gwctl: %s, and --strict allows none\n", count(len(report.Mutation.Survived()), "unnoticed weakening"))
	default:
		return nil
	}
	return &silentError{exitInvalid}
}
