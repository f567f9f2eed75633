package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/publisher"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/compilechild"
	"github.com/suuupra/gateway/internal/gitclone"
	"github.com/suuupra/gateway/runtime/simulate"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// compileChild serves a compilation and ends, in a process that was started for it.
func compileChild() { compilechild.Main(os.Args, compileHere) }

// compiler compiles commits in child processes, which know neither keys nor tokens: what people wrote must not cost the publisher its
// memory or its life. The bundle comes back as a file, and is signed here.
func (c *serveConfig) compiler(clone *gitclone.Clone) func(context.Context, publisher.Job) (publisher.Compiled, error) {
	child := compilechild.Command{Timeout: c.CompileTimeout, Memory: c.CompileMemory}
	return func(ctx context.Context, job publisher.Job) (publisher.Compiled, error) {
		out := clone.Beside(job.Environment + ".gwb")
		defer func() { _ = os.Remove(out) }() // the next one overwrites it otherwise
		resp, err := child.Run(ctx, compilechild.Request{
			GitDir: job.GitDir, Commit: job.Commit, Subdirectory: job.Subdirectory, Environment: job.Environment, Out: out, Test: c.Test,
		})
		if err != nil {
			return publisher.Compiled{}, err
		}
		compiled := publisher.Compiled{Mistakes: resp.Diagnostics, Text: resp.Text}
		if resp.ContentDigest == "" {
			return compiled, nil
		}
		if compiled.Bundle, err = readCompiled(out); err != nil {
			return publisher.Compiled{}, fmt.Errorf("read what the child process compiled: %w", err)
		}
		if string(compiled.Bundle.Manifest.ContentDigest) != resp.ContentDigest {
			return publisher.Compiled{}, errors.New("the child process compiled something else than it says")
		}
		return compiled, nil
	}
}

func readCompiled(path string) (*bundle.Bundle, error) {
	data, err := bounded.ReadFile(path, bundle.MaxArchive)
	if err != nil {
		return nil, err
	}
	raw, err := bundle.DecodeArchive(data)
	if err != nil {
		return nil, err
	}
	v, err := bundle.Peek(raw) // nobody has signed it yet
	if err != nil {
		return nil, err
	}
	return v.Bundle, nil
}

// compileHere compiles one environment of a commit, and leaves the bundle where it was asked to; or all of them, for their mistakes.
func compileHere(ctx context.Context, req compilechild.Request) (compilechild.Response, error) {
	if err := limitProcessor(ctx); err != nil {
		return compilechild.Response{}, fmt.Errorf("limit the processor time: %w", err)
	}
	tree, err := load.Folder(ctx, req.GitDir, req.Subdirectory, req.Commit)
	if err != nil {
		return compilechild.Response{}, err
	}
	unit, err := toolchain.New(toolchain.Options{}).Open(ctx, tree)
	if err != nil {
		return compilechild.Response{}, err
	}
	if req.Every {
		return mistakesOf(unit.Validate(""), len(tree.Files))
	}
	out := unit.Compile(req.Environment)
	if out.Diags.HasErrors() {
		return refusedBy(out.Diags.Sorted(), len(tree.Files))
	}
	program := out.WithOrigins()
	resp := compilechild.Response{}
	if req.Test {
		if resp, err = testHere(ctx, unit, program, len(tree.Tests)); err != nil {
			return resp, fmt.Errorf("run the tests: %w", err)
		}
	}
	b, err := compiler.Emit(program, tree.Origin, build.Version)
	if err != nil {
		return resp, err
	}
	data, err := b.Encode(nil)
	if err != nil {
		return resp, err
	}
	resp.ContentDigest = string(b.Manifest.ContentDigest)
	if req.Out == "" {
		return resp, nil
	}
	return resp, os.WriteFile(req.Out, data, 0o600)
}

// refusedBy are mistakes, for people. They are not quoted with their lines: logs and status go further than a repository.
func refusedBy(diags []diag.Diagnostic, files int) (compilechild.Response, error) {
	report := diag.Report{Diagnostics: diags, Files: files}
	var text bytes.Buffer
	err := diag.Text(&text, report)
	return compilechild.Response{Diagnostics: report.Errors(), Text: text.String()}, err
}

// mistakesOf are the errors that stop a commit, by the files that take part in them.
func mistakesOf(diags []diag.Diagnostic, files int) (compilechild.Response, error) {
	errs := slices.DeleteFunc(diags, func(d diag.Diagnostic) bool { return d.Severity != diag.Error })
	if len(errs) == 0 {
		return compilechild.Response{}, nil
	}
	resp, err := refusedBy(errs, files)
	for _, d := range errs[:min(len(errs), compilechild.MaxMistakes)] {
		m := compilechild.Mistake{Text: fmt.Sprintf("%s: %s: %.1000s", d.Pos, d.Code, d.Message)}
		if d.Hint != "" {
			m.Text += fmt.Sprintf(" (%.300s)", d.Hint)
		}
		for _, pos := range append([]diag.Pos{d.Pos}, positions(d.Notes)...) {
			if pos.IsValid() && !slices.Contains(m.Files, pos.File) {
				m.Files = append(m.Files, pos.File)
			}
		}
		resp.Mistakes = append(resp.Mistakes, m)
	}
	return resp, err
}

func positions(notes []diag.Note) []diag.Pos {
	var out []diag.Pos
	for _, n := range notes[:min(len(notes), 8)] {
		out = append(out, n.Pos)
	}
	return out
}

// testHere runs the request tests against what was compiled. Tests that fail, or are malformed, are diagnostics.
func testHere(ctx context.Context, unit *compiler.Unit, program *ir.Program, files int) (compilechild.Response, error) {
	found, diags, err := unit.Tests(ctx)
	if err != nil {
		return compilechild.Response{}, err
	}
	if diags.HasErrors() {
		return refusedBy(diags.Sorted(), files)
	}
	cases, err := simulate.Cases(found)
	if err != nil || len(cases) == 0 {
		return compilechild.Response{}, err
	}
	suite, err := simulate.NewSuite(ctx, program, cases, simulate.Tools{Kinds: toolchain.Kinds(), Targets: toolchain.Targets()})
	if err != nil {
		return compilechild.Response{}, err
	}
	defer suite.Close()
	results, err := suite.Run(ctx)
	if err != nil {
		return compilechild.Response{}, err
	}
	report := simulate.Report{Results: results}
	if report.Failed() == 0 {
		return compilechild.Response{}, nil
	}
	var text bytes.Buffer
	err = report.Text(&text)
	return compilechild.Response{Diagnostics: report.Failed(), Text: text.String()}, err
}
