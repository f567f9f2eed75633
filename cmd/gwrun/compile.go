package main

import (
	"bytes"
	"context"
	"os"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/compilechild"
	"github.com/suuupra/gateway/runtime/drift"
	"github.com/suuupra/gateway/schema/diag"
)

// compileChild serves a compilation and ends, in a process that was started for it.
func compileChild() { compilechild.Main(os.Args, compileHere) }

// compileCommit compiles a commit in a child process: what people wrote must not cost the gateway its memory or its life.
func compileCommit(ctx context.Context, gitDir, commit, subdirectory, environment string) (drift.Compiled, error) {
	var c compilechild.Command
	resp, err := c.Run(ctx, compilechild.Request{GitDir: gitDir, Commit: commit, Subdirectory: subdirectory, Environment: environment})
	if err != nil {
		return drift.Compiled{}, err
	}
	return drift.Compiled{ContentDigest: resp.ContentDigest, Diagnostics: resp.Diagnostics, Text: resp.Text}, nil
}

// compileHere compiles one environment of a commit to its content digest.
func compileHere(ctx context.Context, req compilechild.Request) (compilechild.Response, error) {
	tree, err := load.Folder(ctx, req.GitDir, req.Subdirectory, req.Commit)
	if err != nil {
		return compilechild.Response{}, err
	}
	unit, err := toolchain.New(toolchain.Options{}).Open(ctx, tree)
	if err != nil {
		return compilechild.Response{}, err
	}
	out := unit.Compile(req.Environment)
	if out.Diags.HasErrors() {
		report := diag.Report{Diagnostics: out.Diags.Sorted(), Files: len(tree.Files)}
		var text bytes.Buffer
		if err := diag.Text(&text, report); err != nil {
			return compilechild.Response{}, err
		}
		return compilechild.Response{Diagnostics: report.Errors(), Text: text.String()}, nil
	}
	b, err := compiler.Emit(out.Program, tree.Origin, build.Version)
	if err != nil {
		return compilechild.Response{}, err
	}
	return compilechild.Response{ContentDigest: string(b.Manifest.ContentDigest)}, nil
}
