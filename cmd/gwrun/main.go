// Command gwrun is the gateway: it pulls the bundle of its environment, verifies it, swaps it in without dropping a request,
// and compares what it runs with what the repository says.
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
	"github.com/suuupra/gateway/schema/bundle"
)

// The exit codes, as far as gwrun has them: those of gwctl.
const (
	exitInternal = 1
	exitInvalid  = 3
	exitTrust    = 6
	exitUsage    = 64
)

func main() { os.Exit(Main()) }

// Main runs gwrun on the arguments of the process and returns its exit code. Scripts under test call it too.
func Main() int {
	cuerun.Child() // does not return in a process that was started to evaluate user CUE
	compileChild() // nor in one that was started to compile for drift
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// Whoever reads the logs may go away: a write to them then fails, and must not end the gateway. (Ignoring the signal
	// would be passed on to child processes.)
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	fmt.Fprintf(stderr, "gwrun: %v\n", err)
	var coded *codeError
	var refusal *bundle.Error
	switch {
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &refusal):
		return exitTrust
	}
	return exitInternal
}

// codeError gives an error an exit code of its own.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return &codeError{exitUsage, fmt.Errorf(format, args...)}
}

func newRoot() *cobra.Command {
	var file string
	cmd := &cobra.Command{
		Use: "gwrun", Short: "Serve the current bundle of an environment", Version: build.Version,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usagef("unknown command %q; see gwrun help", args[0])
			}
			return nil
		},
		Long: `gwrun pulls the bundle of its environment, verifies every byte with the keys in trust.json, swaps it in without dropping a
request, and reports how what it runs differs from the repository.

Every setting is a field of gwrun.yaml (--config), a flag, and a GWRUN_ environment variable; a flag wins over the environment,
which wins over the file. The token for /admin is taken from GWRUN_ADMIN_TOKEN or the file, never from a flag.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := loadConfig(file, cmd.Flags(), os.LookupEnv)
			if err != nil {
				return err
			}
			return serve(cmd.Context(), c, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return &codeError{exitUsage, err} })
	cmd.Flags().StringVar(&file, "config", "", "gwrun.yaml")
	table.Register(cmd.Flags())
	cmd.AddCommand(newDev())
	return cmd
}
