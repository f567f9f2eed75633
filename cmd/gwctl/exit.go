package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/publish"
	"github.com/suuupra/gateway/schema/bundle"
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
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &silent):
		return silent.code
	case errors.As(err, &coded):
		return coded.code
	case errors.As(err, &refusal):
		return exitTrust
	case errors.Is(err, publish.ErrConflict):
		return exitConflict
	}
	return exitInternal
}

// usageArgs turns a complaint about the number of arguments, or an unknown command, into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if check == nil {
			return nil
		}
		if err := check(cmd, args); err != nil {
			return usage(err)
		}
		return nil
	}
}
