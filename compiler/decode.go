package compiler

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/migrate"
	"github.com/suuupra/gateway/schema/v1"
)

// CUE evaluates the CUE files of a repository, in a child process with limits. It returns a root for each file it could
// evaluate; what is wrong with the others is in the diagnostics. An error means that evaluation could not be tried.
type CUE interface {
	Evaluate(ctx context.Context, files []load.RawFile, diags *diag.List) (map[string]*schema.Node, error)
}

// decode turns bytes into positioned nodes, files in parallel, and judges each file's envelope.
func (c *Compiler) decode(ctx context.Context, tree *load.Tree, diags *diag.List) (*schema.Config, error) {
	type result struct {
		root  *schema.Node
		diags diag.List
	}
	results := make([]result, len(tree.Files))
	var cue []load.RawFile
	work := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range work {
				results[i].root = c.decodeFile(&tree.Files[i], &results[i].diags)
			}
		})
	}
	for i := range tree.Files {
		if ext(tree.Files[i].Path) == ".cue" {
			cue = append(cue, tree.Files[i])
			continue
		}
		work <- i
	}
	close(work)
	wg.Wait()

	roots, err := c.evaluate(ctx, cue, diags)
	if err != nil {
		return nil, err
	}
	cfg := &schema.Config{Files: make([]schema.File, 0, len(tree.Files))}
	for i := range tree.Files {
		f := &tree.Files[i]
		if root, ok := roots[f.Path]; ok {
			judge(root, &results[i].diags)
			results[i].root = root
		}
		diags.Merge(results[i].diags)
		if results[i].root != nil {
			cfg.Files = append(cfg.Files, schema.File{Path: f.Path, Layer: f.Layer, Root: results[i].root})
		}
	}
	// The tree is sorted already; whoever made it, the order of files must not decide anything.
	slices.SortFunc(cfg.Files, func(a, b schema.File) int { return cmp.Compare(a.Path, b.Path) })
	return cfg, nil
}

func (c *Compiler) decodeFile(f *load.RawFile, diags *diag.List) *schema.Node {
	if root, ok := c.opts.Cache.file(f.Path, f.Digest); ok {
		return root
	}
	root := yamlpos.Decode(f.Path, f.Data, diags)
	if root == nil {
		return nil
	}
	if !diags.HasErrors() {
		judge(root, diags)
	}
	if diags.Len() == 0 {
		c.opts.Cache.keepFile(f.Path, f.Digest, root)
	}
	return root
}

// judge judges the envelope of a file. One of another version is judged once it is of the current one.
func judge(root *schema.Node, diags *diag.List) {
	if migrate.Current(root) {
		v1.Validate("File", root, "", diags)
	}
}

func (c *Compiler) evaluate(ctx context.Context, files []load.RawFile, diags *diag.List) (map[string]*schema.Node, error) {
	if len(files) == 0 {
		return nil, nil
	}
	if c.opts.CUE == nil {
		for _, f := range files {
			diags.Errorf("GW1090", diag.Pos{File: f.Path}, "", "this program does not evaluate CUE files")
		}
		return nil, nil
	}
	roots, err := c.opts.CUE.Evaluate(ctx, files, diags)
	if err != nil {
		return nil, fmt.Errorf("evaluate CUE: %w", err)
	}
	return roots, nil
}

// migrateAll brings every file to the current API version, and judges the envelopes of those it has converted.
func migrateAll(cfg *schema.Config, diags *diag.List) *schema.Config {
	out := &schema.Config{Files: slices.Clone(cfg.Files)}
	for i := range out.Files {
		f := &out.Files[i]
		if migrate.Current(f.Root) {
			continue // decode has judged it
		}
		*f = migrate.Migrate(*f, diags)
		judge(f.Root, diags)
	}
	migrate.Warn(cfg.Files, diags)
	return out
}
