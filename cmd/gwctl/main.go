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
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/cuerun"
	"github.com/suuupra/gateway/internal/build"
)

func main() { os.Exit(Main()) }

// Main runs gwctl on the arguments of the process and returns its exit code. Scripts under test call it too.
func Main() int {
	cuerun.Child() // does not return in a process that was started to evaluate user CUE
	compileChild() // nor in one that was started to compile for serve
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the first signal ends what is being done, the second the process
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// run executes one command line.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root, out := newRoot(), &output{Writer: stdout}
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	silent := (*silentError)(nil)
	switch {
	case out.err != nil && (err == nil || errors.As(err, &silent)):
		err = out.err
	case ctx.Err() != nil && exitCode(err) == exitInternal:
		err = errors.New("interrupted")
	}
	if err != nil && !errors.As(err, &silent) {
		fmt.Fprintf(stderr, "gwctl: %v\n", err)
		if exitCode(err) == exitUsage {
			topic := strings.TrimPrefix(strings.TrimPrefix(cmd.CommandPath(), "gwctl"), " help")
			fmt.Fprintf(stderr, "gwctl: run 'gwctl help%s' for usage\n", topic)
		}
	}
	return exitCode(err)
}

// output is standard output. It remembers that something was lost: what a full disk swallowed must not exit 0.
type output struct {
	io.Writer
	err error
}

// Write passes on, and keeps the first error.
func (o *output) Write(p []byte) (int, error) {
	n, err := o.Writer.Write(p)
	if o.err == nil {
		o.err = err
	}
	return n, err
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
		newInit(), newValidate(), newMigrate(), newTranslate(), newBuild(), newSign(), newSignURL(), newVerify(), newInspect(), newDiff(), newApply(), newApprove(), newRollback(), newLogin(), newLogout(), newServe(),
		newStatus(), newDrift(), newOverlay(), newTest(), newExplain(), newKeygen(), newKeys(), newAudit(), newSchema(), newVersion(), newMan(),
	)
	root.InitDefaultCompletionCmd()
	root.SetHelpCommand(newHelp())
	root.Args = noSuchCommand
	root.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	root.PersistentPreRunE = func(cmd *cobra.Command, _ []string) error { return noEmptyFlags(cmd) }
	strict(root)
	return root
}

// newHelp is cobra's help command, but a topic it does not know is an error.
func newHelp() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Print what a command does and its flags",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return noSuchCommand(c, rest)
			}
			c.InitDefaultHelpFlag() // so that it is listed
			c.InitDefaultVersionFlag()
			return c.Help()
		},
	}
}
