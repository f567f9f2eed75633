// Package rewrite brings the files of a config repository to a newer API version, and proves before anything is written that
// the repository compiles to the same bytes as before. How a single file changes is the business of schema/migrate; this
// package must not know a field.
package rewrite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
	"github.com/suuupra/gateway/schema/migrate"
)

// File is one file that changes.
type File struct {
	Path          string // slash-separated, relative to the root of the config repository
	From          string // the API version it is written for
	Before, After []byte
}

// Plan is everything that would change.
type Plan struct {
	To    string // the API version
	Files []File // sorted by path; empty if there is nothing to do

	before, after *load.Tree
}

// New plans to bring the files of a tree to an API version, which migrate.Versions names. Read returns the bytes of a file as they
// are on disk, which may differ from the tree's in their line ends. What cannot be rewritten is in diags.
func New(tree *load.Tree, to string, read func(path string) ([]byte, error), diags *diag.List) (*Plan, error) {
	after := *tree
	after.Files, after.Tests = slices.Clone(tree.Files), slices.Clone(tree.Tests)
	p := &Plan{To: to, before: tree, after: &after}
	for _, files := range [][]load.RawFile{after.Files, after.Tests} {
		for i := range files {
			if err := p.file(&files[i], read, diags); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(p.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return p, nil
}

func (p *Plan) file(f *load.RawFile, read func(path string) ([]byte, error), diags *diag.List) error {
	root := decode(f.Path, f.Data)
	if root == nil || migrate.Older(root) == "" {
		return nil // of the current version, or CUE, or wrong, as the compiler says
	}
	data, err := read(f.Path)
	if err != nil {
		return err
	}
	if !bytes.Equal(unix(data), unix(f.Data)) {
		return fmt.Errorf("%s has changed while it was read; try again", f.Path)
	}
	written := migrate.Rewrite(data, schema.File{Path: f.Path, Layer: f.Layer, Root: decode(f.Path, data)}, p.To, decode, diags)
	if written == nil || bytes.Equal(written, data) {
		return nil
	}
	p.Files = append(p.Files, File{Path: f.Path, From: migrate.Older(root), Before: data, After: written})
	f.Data, f.Digest = written, sha256.Sum256(written)
	return nil
}

func unix(data []byte) []byte { return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n")) }

// decode reads a file as the compiler does, or returns nil.
func decode(name string, data []byte) *schema.Node {
	var diags diag.List
	if path.Ext(name) == ".cue" {
		return nil
	}
	root := yamlpos.Decode(name, data, &diags)
	if diags.HasErrors() {
		return nil
	}
	return root
}

// DifferenceError says that the rewritten repository would not be the same.
type DifferenceError struct {
	Where  string // e.g. `environment "prod"`
	Detail string // what differs, or what is wrong, as text of several lines
}

func (e *DifferenceError) Error() string {
	return fmt.Sprintf("the migrated files would not say the same in %s; nothing was written\n%s", e.Where, strings.TrimRight(e.Detail, "\n"))
}

// Verify compiles the repository as it is and as it would be, and wants the same canonical bytes in the base and every environment,
// and the same request tests. A difference is a *DifferenceError. Before must be sound.
func (p *Plan) Verify(ctx context.Context, c *compiler.Compiler) error {
	before, err := c.Open(ctx, p.before)
	if err != nil {
		return err
	}
	after, err := c.Open(ctx, p.after)
	if err != nil {
		return err
	}
	for _, env := range append([]string{""}, before.Environments()...) {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := same(before.Compile(env), after.Compile(env)); err != nil {
			return err
		}
	}
	return sameTests(ctx, before, after)
}

func same(before, after *compiler.Output) error {
	where := "the base"
	if before.Environment != "" {
		where = fmt.Sprintf("environment %q", before.Environment)
	}
	if before.Program == nil {
		return fmt.Errorf("%s does not compile", where)
	}
	if after.Program == nil {
		return &DifferenceError{where, messages(&after.Diags)}
	}
	a, err := ir.Pack(before.Program)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	b, err := ir.Pack(after.Program)
	if err != nil {
		return fmt.Errorf("pack: %w", err)
	}
	if reflect.DeepEqual(a, b) {
		return nil
	}
	var text strings.Builder
	if err := diff.Programs(before.WithOrigins(), after.WithOrigins()).WriteText(&text, false); err != nil {
		return err
	}
	return &DifferenceError{where, text.String()}
}

func sameTests(ctx context.Context, before, after *compiler.Unit) error {
	a, _, err := before.Tests(ctx)
	if err != nil {
		return err
	}
	b, diags, err := after.Tests(ctx)
	if err != nil {
		return err
	}
	said := func(files []schema.File) map[string]any {
		out := map[string]any{}
		for _, f := range files {
			out[f.Path] = f.Root.Any()
		}
		return out
	}
	if diags.HasErrors() {
		return &DifferenceError{"the request tests", messages(&diags)}
	}
	was, is := said(a), said(b)
	for _, f := range a {
		if !reflect.DeepEqual(was[f.Path], is[f.Path]) {
			return &DifferenceError{"the request tests", f.Path}
		}
	}
	return nil
}

func messages(diags *diag.List) string {
	var b strings.Builder
	for _, d := range diags.Sorted() {
		fmt.Fprintf(&b, "%s: %s %s: %s\n", d.Pos, d.Severity, d.Code, d.Message)
	}
	return b.String()
}

// Uncommitted names the files of the plan whose content git does not have: what a rewriting would make hard to tell from somebody's
// unfinished work, and impossible to take back. Outside a git repository there are none.
func (p *Plan) Uncommitted(ctx context.Context, dir string) ([]string, error) {
	repo, err := load.OpenRepo(dir)
	if errors.Is(err, load.ErrNoRepository) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	commit, _, err := repo.Head(ctx)
	if err != nil {
		return nil, err
	}
	committed := &load.Tree{}
	if commit != "" {
		if committed, err = load.Git(ctx, dir, commit); err != nil {
			return nil, err
		}
	}
	var out []string
	for _, f := range p.Files {
		if c := committed.File(f.Path); c == nil || !bytes.Equal(unix(c.Data), unix(f.Before)) {
			out = append(out, f.Path)
		}
	}
	return out, nil
}
