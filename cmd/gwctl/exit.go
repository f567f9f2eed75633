package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
)

// The exit codes of every command.
const (
	exitOK          = 0
	exitInternal    = 1
	exitDifferences = 2
	exitInvalid     = 3
	exitRefused     = 4
	exitConflict    = 5
	exitTrust       = 6
	exitUsage       = 64
)

// codeError gives an error an exit code of its own.
type codeError struct {
	code int
	err  error
}

func (e *codeError) Error() string { return e.err.Error() }
func (e *codeError) Unwrap() error { return e.err }

// silentError ends a command whose output has said everything.
type silentError struct{ code int }

func (e *silentError) Error() string { return fmt.Sprintf("exit %d", e.code) }

func usage(err error) error { return &codeError{exitUsage, err} }

func usagef(format string, args ...any) error { return usage(fmt.Errorf(format, args...)) }

// exitCode finds the exit code of an error: its own, or the one its kind implies.
func exitCode(err error) int {
	var coded *codeError
	var silent *silentError
	var refusal *bundle.Error
	var revision *load.UnknownRevisionError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return silent.code
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &refusal):
		return exitTrust
	case errors.As(err, &revision):
		return exitUsage
	case errors.Is(err, publish.ErrConflict):
		return exitConflict
	}
	return exitInternal
}

// strict makes every mistake on a command line a usage error, in a command and all below it.
func strict(cmd *cobra.Command) {
	cmd.DisableFlagsInUseLine = true
	cmd.Args = usageArgs(cmd.Args)
	if !cmd.Runnable() { // such as completion, which needs a shell
		cmd.RunE = func(cmd *cobra.Command, args []string) error { return noSuchCommand(cmd, args) }
		cmd.Args = nil
	}
	for _, c := range cmd.Commands() {
		strict(c)
	}
}

// usageArgs turns a complaint about the arguments into a usage error. An empty argument is a variable somebody forgot to set,
// never a wish.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if i := slices.Index(args, ""); i >= 0 {
			return usagef("argument %d is empty; is a variable not set?", i+1)
		}
		if check == nil {
			return nil
		}
		var coded *codeError
		if err := check(cmd, args); err != nil && !errors.As(err, &coded) {
			return usagef("got %s, usage: %s", count(len(args), "argument"), cmd.UseLine())
		} else if err != nil {
			return err
		}
		return nil
	}
}

// noEmptyFlags refuses --flag "": an environment or revision that nobody named must not stand for any.
func noEmptyFlags(cmd *cobra.Command) error {
	var err error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		empty := f.Value.Type() == "string" && f.Value.String() == "" || f.Value.Type() == "stringSlice" && f.Value.String() == "[]"
		if empty && err == nil {
			err = usagef("--%s is empty; is a variable not set?", f.Name)
		}
	})
	return err
}

// noSuchCommand says which command there is not, and which may be meant.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	var names []string
	for _, c := range cmd.Commands() {
		names = append(names, c.Name())
	}
	switch {
	case len(args) > 0:
	case cmd.HasParent():
		return usagef("%s needs one of %s", cmd.Name(), strings.Join(names, ", "))
	default:
		return nil
	}
	hint := ""
	if near := diag.Suggest(args[0], names); near != "" {
		hint = fmt.Sprintf("; did you mean %q?", near)
	}
	return usagef("unknown command %q for %q%s", args[0], cmd.CommandPath(), hint)
}
