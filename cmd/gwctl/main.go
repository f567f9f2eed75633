// Command gwctl compiles, signs, compares and publishes config repositories. Data goes to standard output, everything
// else to standard error; the exit codes are those of package exit, whatever the output format.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/cuerun"
	"github.com/suuupra/gateway/internal/build"
)

func main() { os.Exit(Main()) }

// Main runs gwctl on the arguments of the process and returns its exit code. Scripts under test call it too.
func Main() int {
	cuerun.Child() // does not return in a process that was started to evaluate user CUE
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// run executes one command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	if silent := (*silentError)(nil); !errors.As(err, &silent) {
		fmt.Fprintf(stderr, "gwctl: %v\n", err)
		if exitCode(err) == exitUsage {
			fmt.Fprintln(stderr, "gwctl: run 'gwctl help' for usage")
		}
	}
	return exitCode(err)
}

// newRoot assembles the command tree: one constructor per file.
func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:           "gwctl",
		Short:         "Compile, sign, compare and publish gateway configuration",
		Version:       build.Version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Long: `gwctl compiles a git repository of CUE and YAML into one signed, reproducible bundle, and publishes it for gwrun.

Exit codes, the same in every format:
  0   ok, or no difference      4   refused by a gate or policy
  1   internal or I/O error     5   conflict or stale plan
  2   differences               6   signature or trust failure
  3   invalid config            64  usage`,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usage(err) })
	root.AddCommand(
		newInit(), newValidate(), newBuild(), newSign(), newVerify(), newInspect(), newDiff(), newApply(),
		newStatus(), newDrift(), newExplain(), newKeygen(), newSchema(), newVersion(), newMan(),
	)
	for _, c := range root.Commands() {
		c.Args = usageArgs(c.Args)
	}
	root.Args = usageArgs(cobra.NoArgs)
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	return root
}
