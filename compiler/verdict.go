package compiler

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/schema/diag"
)

// Validate compiles the base and every environment of a tree, or only the environment named, and returns what they have to
// say. With a cache, a tree that was judged before is not decoded again. It fails only when decoding could not be done at
// all.
func (c *Compiler) Validate(ctx context.Context, tree *load.Tree, environment string) ([]diag.Diagnostic, error) {
	key := c.verdictKey(tree, environment)
	if diags, ok := c.opts.Cache.verdict(key); ok {
		return diags, nil
	}
	u, err := c.Open(ctx, tree)
	if err != nil {
		return nil, err
	}
	diags := u.Validate(environment)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if len(diags) == 0 || !evaluates(tree) {
		c.opts.Cache.keepVerdict(key, diags)
	}
	return diags, nil
}

// evaluates reports whether user CUE is run: its limits are of time, so what went wrong once need not go wrong again.
func evaluates(tree *load.Tree) bool {
	return slices.ContainsFunc(tree.Files, func(f load.RawFile) bool { return ext(f.Path) == ".cue" })
}

// verdictKey names everything a verdict depends on: this compiler, which environments are asked for, each file's path and
// content, and what loading had to say, which is where .gwignore, links and strays show. It is empty without a cache.
func (c *Compiler) verdictKey(tree *load.Tree, environment string) string {
	if c.opts.Cache == nil {
		return ""
	}
	loaded, err := json.Marshal(tree.Diags.Sorted())
	if err != nil {
		return ""
	}
	parts := [][]byte{[]byte("verdict"), []byte(environment), loaded}
	list := func(names []string) {
		parts = append(parts, []byte(strconv.Itoa(len(names))))
		for _, n := range names {
			parts = append(parts, []byte(n))
		}
	}
	list(c.vocabulary())
	list(tree.Environments)
	files := make([]*load.RawFile, len(tree.Files))
	for i := range tree.Files {
		files[i] = &tree.Files[i]
	}
	slices.SortFunc(files, func(a, b *load.RawFile) int {
		return cmp.Or(cmp.Compare(a.Path, b.Path), bytes.Compare(a.Digest[:], b.Digest[:]))
	})
	for _, f := range files {
		parts = append(parts, []byte(f.Path), []byte(f.Layer.Tenant), []byte(f.Layer.Environment), f.Digest[:])
	}
	return c.opts.Cache.key(parts...)
}

// vocabulary names what this compiler was assembled from; the version of each part is in the cache's salt.
func (c *Compiler) vocabulary() []string {
	var out []string
	for _, k := range c.opts.Kinds {
		out = append(out, "policy/"+k.Name)
	}
	for _, k := range c.opts.Targets {
		out = append(out, "target/"+k.Name)
	}
	return append(out, fmt.Sprintf("cue %t, dial %t", c.opts.CUE != nil, c.opts.Dial != nil))
}

// verdict returns what a whole repository had to say.
func (c *Cache) verdict(key string) ([]diag.Diagnostic, bool) {
	if c == nil || key == "" {
		return nil, false
	}
	data, ok := c.read(key)
	if !ok {
		return nil, false
	}
	var out []diag.Diagnostic
	return out, json.Unmarshal(data, &out) == nil
}

// keepVerdict stores what can be read back as it is.
func (c *Cache) keepVerdict(key string, diags []diag.Diagnostic) {
	if c == nil || key == "" {
		return
	}
	data, err := json.Marshal(diags)
	var back []diag.Diagnostic
	if err != nil || json.Unmarshal(data, &back) != nil || !reflect.DeepEqual(diags, back) {
		return
	}
	c.write(key, data)
}
