package compiler

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/compiler/yamlpos"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/migrate"
	"github.com/suuupra/gateway/schema/v1"
)

// Tests decodes the request tests of the repository and judges their shape. They take no part in the configuration: what is wrong with
// them is in diags alone. It fails only when CUE could not be evaluated at all.
func (u *Unit) Tests(ctx context.Context) (files []schema.File, diags diag.List, err error) {
	var cue []load.RawFile
	for _, f := range u.tree.Tests {
		switch ext(f.Path) {
		case ".cue":
			cue = append(cue, f)
		case ".yaml", ".yml", ".json":
			if root := yamlpos.Decode(f.Path, f.Data, &diags); root != nil {
				files = append(files, schema.File{Path: f.Path, Root: root})
			}
		default:
			diags.Add(diag.Diagnostic{
				Code: "GW1002", Pos: diag.Pos{File: f.Path}, Message: "no loader takes this file",
				Hint: "rename it to end in .yaml, .yml, .json or .cue, or name it in .gwignore",
			})
		}
	}
	roots, err := u.c.evaluate(ctx, cue, &diags)
	if err != nil {
		return nil, diags, err
	}
	for _, f := range cue {
		if root := roots[f.Path]; root != nil {
			files = append(files, schema.File{Path: f.Path, Root: root})
		}
	}
	slices.SortFunc(files, func(a, b schema.File) int { return cmp.Compare(a.Path, b.Path) })
	migrate.Warn(files, &diags)
	for i := range files {
		var bad diag.List
		if !migrate.Current(files[i].Root) {
			files[i] = migrate.Migrate(files[i], &bad)
		}
		if migrate.Current(files[i].Root) {
			v1.ValidateTests(files[i].Root, &bad)
		}
		if !bad.HasErrors() { // else the shape is not known
			u.knowEnvironments(files[i].Root, &bad)
		}
		diags.Merge(bad)
	}
	return files, diags, nil
}

// knowEnvironments finds tests for an environment that there is not: nobody would ever run them.
func (u *Unit) knowEnvironments(root *schema.Node, diags *diag.List) {
	tests := root.Get("tests")
	if tests == nil {
		return
	}
	for i, test := range tests.Items {
		named := test.Get("environments")
		if named == nil {
			continue
		}
		for j, name := range named.Items {
			if slices.Contains(u.tree.Environments, name.Str) {
				continue
			}
			d := u.unknownEnvironment(name.Str)
			d.Pos, d.Width, d.Path = name.Pos, name.Width, fmt.Sprintf("tests[%d].environments[%d]", i, j)
			diags.Add(d)
		}
	}
}
