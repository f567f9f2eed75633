// Package compiler turns a config repository into a program and a bundle, in one ordered list of stages. It is handed the
// kinds of policies and targets it may compile to; it must not import one, and it must not know the runtime.
//
// A stage reads the previous type and returns the next; none mutates its input. Each stage collects every error it can
// find, and the next one runs only if there was none.
package compiler

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// Stages are the names of the stages in their order; `--stop-after` takes one, and timings are reported by them. load is
// the business of package load, and sign needs a key: both stand around the compiler.
var Stages = []string{"load", "decode", "migrate", "resolve", "check", "lower", "link", "emit"}

// Options are the settings of a Compiler.
type Options struct {
	Kinds   []policy.Kind // in pipeline order
	Targets []policy.TargetKind
	// Dial says why an address must not be dialled, the same answer that a gateway gives when it dials: private admits the
	// ones that are not public. nil leaves addresses to the gateway alone.
	Dial    func(a netip.Addr, private bool) error
	CUE     CUE    // evaluates user CUE; nil makes a .cue file an error
	Cache   *Cache // of decoded files; nil switches it off
	OnStage func(stage, environment string, took time.Duration)
}

// Compiler compiles repositories. It is safe for concurrent use.
type Compiler struct{ opts Options }

// New returns a Compiler.
func New(opts Options) *Compiler {
	if opts.OnStage == nil {
		opts.OnStage = func(string, string, time.Duration) {}
	}
	return &Compiler{opts: opts}
}

// Unit is one repository at one revision, decoded: what its environments share. It is not safe for concurrent use.
type Unit struct {
	c      *Compiler
	tree   *load.Tree
	config *schema.Config
	memo   *memo
	diags  diag.List // of load, decode and migrate
}

// Open decodes a tree. It fails only when decoding could not be done at all; what is wrong with the content is in the
// unit's diagnostics.
func (c *Compiler) Open(ctx context.Context, tree *load.Tree) (*Unit, error) {
	u := &Unit{c: c, tree: tree, memo: newMemo()}
	u.diags.Merge(tree.Diags)
	start := time.Now()
	cfg, err := c.decode(ctx, tree, &u.diags)
	if err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	c.opts.OnStage("decode", "", time.Since(start))
	start = time.Now()
	u.config = migrateAll(cfg, &u.diags)
	c.opts.OnStage("migrate", "", time.Since(start))
	return u, nil
}

// Environments lists the environments of the repository, sorted.
func (u *Unit) Environments() []string { return u.tree.Environments }

// Origin says where the tree was read from.
func (u *Unit) Origin() load.Origin { return u.tree.Origin }

// Output is one environment, compiled. Program is nil if Diags holds an error.
type Output struct {
	Environment string
	Program     *ir.Program
	Diags       diag.List
	origins     *originTable
}

// Compile runs the stages from resolve to link for one environment, or for the base alone if environment is empty.
func (u *Unit) Compile(environment string) *Output {
	out := &Output{Environment: environment}
	out.Diags.Merge(u.diags)
	if environment != "" && !slices.Contains(u.tree.Environments, environment) {
		out.Diags.Add(u.unknownEnvironment(environment))
	}
	if out.Diags.HasErrors() {
		return out
	}
	var found diag.List
	timed := func(stage string, f func()) bool {
		start := time.Now()
		f()
		u.c.opts.OnStage(stage, environment, time.Since(start))
		return !found.HasErrors()
	}
	var (
		res *resolved
		low *lowered
	)
	ok := timed("resolve", func() { res = resolve(u.config, environment, u.c.opts.Kinds, u.memo, &found) }) &&
		timed("check", func() { check(res, u.memo, &found) }) &&
		timed("lower", func() { low = lower(res, u.memo, &u.c.opts, &found) }) &&
		timed("link", func() { out.Program = link(low, environment, &found) })
	if ok {
		out.origins = &low.origins
	} else {
		out.Program = nil
	}
	out.Diags.Merge(found)
	return out
}

// WithOrigins adds to the program where people set each value. It costs a string per field, so only those ask who need it.
func (o *Output) WithOrigins() *ir.Program {
	if o.Program != nil && o.Program.Origins == nil {
		o.Program.Origins = o.origins.flatten()
	}
	return o.Program
}

func (u *Unit) unknownEnvironment(name string) diag.Diagnostic {
	d := diag.Diagnostic{
		Code: "GW3030", Pos: diag.Pos{File: "environments/" + name},
		Message: fmt.Sprintf("there is no environment %q: environments/%s/ holds no file", name, name),
		Hint:    "the repository has no environments; leave out --env to work on the base",
	}
	if known := u.tree.Environments; len(known) > 0 {
		d.Hint = "known environments are " + strings.Join(known, ", ")
		if near := diag.Suggest(name, known); near != "" {
			d.Hint = fmt.Sprintf("did you mean %q; %s", near, d.Hint)
		}
	}
	return d
}

// said tells diagnostics apart.
type said struct {
	pos     diag.Pos
	code    diag.Code
	message string
}

// Validate compiles the base and every environment, or only the one named, and merges what they have to say: a mistake of
// the base is reported once, one that shows only in an environment names it.
func (u *Unit) Validate(environment string) []diag.Diagnostic {
	var all diag.List
	seen := map[said]bool{}
	add := func(o *Output) {
		for _, d := range o.Diags.Sorted() {
			key := said{d.Pos, d.Code, d.Message}
			if !seen[key] {
				seen[key] = true
				d.Env = o.Environment
				all.Add(d)
			}
		}
	}
	if environment != "" {
		add(u.Compile(environment))
		return all.Sorted()
	}
	add(u.Compile(""))
	for _, env := range u.tree.Environments {
		add(u.Compile(env))
	}
	return all.Sorted()
}

// link puts the objects in their order and drops upstreams that no route uses and nobody named. It asks about the whole what gateways
// ask about a bundle.
func link(low *lowered, environment string, diags *diag.List) *ir.Program {
	p := &ir.Program{Environment: environment, Gateway: low.gateway, Routes: low.routes}
	p.Upstreams = slices.SortedFunc(maps.Values(low.upstreams), func(a, b ir.Upstream) int { return cmp.Compare(a.ID, b.ID) })
	slices.SortFunc(p.Routes, func(a, b ir.Route) int { return cmp.Compare(a.ID, b.ID) })
	granted(p, diags)
	return p
}
