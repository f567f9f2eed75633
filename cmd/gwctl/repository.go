package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// repositoryFlags are the flags of every command that compiles.
type repositoryFlags struct {
	rev     string
	noCache bool
}

func (f *repositoryFlags) register(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.rev, "rev", "", "compile this git revision instead of the files on disk")
	cmd.Flags().BoolVar(&f.noCache, "no-cache", false, "do not use or write the cache of decoded files and verdicts")
}

// repository is a config repository, read and decoded.
type repository struct {
	tree *load.Tree
	unit *compiler.Unit
	args string // that make gwctl validate judge the same files
}

// pathArg is the optional PATH argument.
func pathArg(args []string) string {
	if len(args) == 0 {
		return "."
	}
	return args[0]
}

func (f *repositoryFlags) open(ctx context.Context, path string) (*repository, error) {
	bar := startProgress(os.Stderr, "reading "+path)
	defer bar.done()
	tree, err := toolchain.Load(ctx, path, f.rev)
	if err != nil {
		return nil, err
	}
	bar.step(fmt.Sprintf("decoding %d files", len(tree.Files)))
	unit, err := toolchain.New(toolchain.Options{Cache: !f.noCache}).Open(ctx, tree)
	if err != nil {
		return nil, err
	}
	r := &repository{tree: tree, unit: unit}
	if path != "." {
		r.args += " " + path
	}
	if f.rev != "" {
		r.args += " --rev " + f.rev
	}
	return r, nil
}

// validate judges a repository. Nothing is decoded if the same content was judged before.
func (f *repositoryFlags) validate(ctx context.Context, path, environment string) (*repository, []diag.Diagnostic, error) {
	tree, err := toolchain.Load(ctx, path, f.rev)
	if err != nil {
		return nil, nil, err
	}
	diags, err := toolchain.New(toolchain.Options{Cache: !f.noCache}).Validate(ctx, tree, environment)
	return &repository{tree: tree}, diags, err
}

// source finds the bytes of a file for the renderers.
func (r *repository) source(path string) []byte {
	if f := r.tree.File(path); f != nil {
		return f.Data
	}
	return nil
}

// compile compiles one environment. What is wrong with it is printed, and ends the command with exit code 3. Warnings are
// counted: they are the subject of validate, and of no command that compiles for another purpose.
func (r *repository) compile(w io.Writer, environment string) (*ir.Program, error) {
	bar := startProgress(w, "compiling "+environment)
	out := r.unit.Compile(environment)
	bar.done()
	if out.Diags.HasErrors() {
		if err := diag.Text(w, r.report(out.Diags.Sorted())); err != nil {
			return nil, err
		}
		return nil, &silentError{exitInvalid}
	}
	if n := out.Diags.Len(); n > 0 {
		args := r.args
		if environment != "" {
			args += " --env " + environment
		}
		fmt.Fprintf(w, "gwctl: %s; see gwctl validate%s\n", count(n, "warning"), args)
	}
	return out.WithOrigins(), nil
}

// requireEnvironment turns a forgotten --env into a usage error that names the choices.
func (r *repository) requireEnvironment(env string) error {
	if env != "" {
		return nil
	}
	known := r.unit.Environments()
	if len(known) == 0 {
		return usagef("--env is required, and this repository has no environments yet: add environments/<env>/")
	}
	return usagef("--env is required: one of %v", known)
}

// requireClean refuses to sign what no commit vouches for.
func (r *repository) requireClean(allowDirty bool) error {
	o := r.tree.Origin
	switch {
	case allowDirty:
		return nil
	case o.Commit == "":
		return &codeError{exitRefused, fmt.Errorf("the repository is not a git commit; commit it, or use --allow-dirty")}
	case o.Dirty:
		return &codeError{exitRefused, fmt.Errorf("the repository differs from commit %.12s (%s); commit the change, or use --allow-dirty", o.Commit, strings.Join(o.Changed, ", "))}
	}
	return nil
}

// isTerminal reports whether a person is looking.
func isTerminal(w io.Writer) bool {
	if o, ok := w.(*output); ok {
		w = o.Writer
	}
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
