package main

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// settle is how long a folder must be quiet before it is compiled: editors save in several steps.
const settle = 30 * time.Millisecond

// press makes bundles for dev mode: compiled from disk, signed with keys that nobody else has and that end with the process.
// They go through the same verification as any other.
type press struct {
	path, env        string
	release, channel *bundle.PrivateKey
	trust            *bundle.Trust
	compiler         *compiler.Compiler
	version          int64
	seen             string // what was last compiled, so that a save that changes nothing prints nothing
	wake             chan struct{}
}

func newPress(path, env string) (*press, error) {
	p := &press{path: path, env: env, compiler: toolchain.New(toolchain.Options{}), wake: make(chan struct{}, 1)}
	var file bundle.TrustFile
	for role, key := range map[bundle.Role]**bundle.PrivateKey{bundle.RoleRelease: &p.release, bundle.RoleChannel: &p.channel} {
		var err error
		if *key, err = bundle.GenerateKey(bundle.Ed25519); err != nil {
			return nil, fmt.Errorf("make throw-away key: %w", err)
		}
		entry, err := bundle.TrustKeyOf((*key).Public(), role)
		if err != nil {
			return nil, err
		}
		file.Keys = append(file.Keys, entry)
	}
	raw, err := file.Encode()
	if err != nil {
		return nil, err
	}
	p.trust, err = bundle.ParseTrust(raw)
	return p, err
}

// poke asks for a compilation now.
func (p *press) poke() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// follow compiles and offers the repository, then again after every change, until ctx ends.
func (p *press) follow(ctx context.Context, s *station, stderr io.Writer, live func(first bool, prog *ir.Program)) {
	go p.watch(ctx, stderr)
	first := true
	for {
		if prog, err := p.round(ctx, s, stderr); err != nil {
			fmt.Fprintf(stderr, "gwrun: %v\n", err)
		} else if prog != nil {
			live(first, prog)
			first = false
		}
		select {
		case <-ctx.Done():
			return
		case err := <-s.failed:
			fmt.Fprintf(stderr, "gwrun: %v\n", err)
			return
		case <-p.wake:
		}
	}
}

// round compiles what is on disk and offers it. It returns the program if it went live, nil if there was nothing new or the
// compiler had something to say, which it prints.
func (p *press) round(ctx context.Context, s *station, stderr io.Writer) (*ir.Program, error) {
	start := time.Now()
	tree, err := toolchain.Load(ctx, p.path, "")
	if err != nil {
		return nil, err
	}
	state := strings.Builder{}
	for _, f := range tree.Files {
		fmt.Fprintf(&state, "%s %x\n", f.Path, f.Digest)
	}
	for _, d := range tree.Diags.Sorted() {
		fmt.Fprintln(&state, d.Pos, d.Message)
	}
	if state.String() == p.seen {
		return nil, nil
	}
	p.seen = state.String()
	unit, err := p.compiler.Open(ctx, tree)
	if err != nil {
		return nil, err
	}
	env := p.env
	if env == "" && slices.Contains(unit.Environments(), "dev") {
		env = "dev"
	}
	out := unit.Compile(env)
	if out.Diags.Len() > 0 {
		report := diag.Report{Diagnostics: complaints(unit, out), Files: len(tree.Files), Source: func(path string) []byte {
			if f := tree.File(path); f != nil {
				return f.Data
			}
			return nil
		}}
		if err := diag.Text(stderr, report); err != nil {
			return nil, err
		}
	}
	if out.Diags.HasErrors() {
		fmt.Fprintln(stderr, "gwrun: not activated; the configuration from before goes on serving")
		return nil, nil
	}
	prog := out.WithOrigins()
	if env == "" {
		prog.Environment = "base"
	}
	prog.Gateway.AccessLog = ir.AccessLog{Enabled: true, Format: "text"}
	raw, err := p.sign(tree.Origin, prog)
	if err != nil {
		return nil, err
	}
	if err := s.activator.Offer(ctx, raw, ""); err != nil {
		return nil, err
	}
	reuse := s.gateway.Running().Reuse
	fmt.Fprintf(stderr, "gwrun: version %d is live, environment %s: %d routes (%d built, %d kept), %s after the save was seen\n",
		p.version, prog.Environment, len(prog.Routes), reuse.RoutesBuilt, reuse.RoutesKept, time.Since(start).Round(time.Millisecond))
	return prog, nil
}

// complaints are what the compiler said, as gwctl validate reports it: what the base does not show names its environment.
func complaints(unit *compiler.Unit, out *compiler.Output) []diag.Diagnostic {
	all := out.Diags.Sorted()
	if out.Environment == "" {
		return all
	}
	type mistake struct {
		pos     diag.Pos
		code    diag.Code
		message string
	}
	base := map[mistake]bool{}
	for _, d := range unit.Compile("").Diags.Sorted() {
		base[mistake{d.Pos, d.Code, d.Message}] = true
	}
	for i := range all {
		if d := &all[i]; !base[mistake{d.Pos, d.Code, d.Message}] {
			d.Env = out.Environment
		}
	}
	return all
}

// sign makes a bundle with a channel, as gwctl apply would.
func (p *press) sign(origin load.Origin, prog *ir.Program) (*bundle.Raw, error) {
	b, err := compiler.Emit(prog, origin, build.Version)
	if err != nil {
		return nil, err
	}
	if err := b.Sign(p.release); err != nil {
		return nil, err
	}
	p.version++
	now := time.Now()
	raw := b.Raw()
	raw.Channel, err = bundle.SignChannel(bundle.Channel{
		Name: b.Manifest.Name, Environment: b.Manifest.Environment, Epoch: 1, Version: p.version, Manifest: b.Ref(),
		IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.AddDate(1, 0, 0)),
	}, p.channel)
	return raw, err
}

// watch pokes after every change below the repository, and every two seconds in case the file system announces nothing.
func (p *press) watch(ctx context.Context, stderr io.Writer) {
	tick := time.NewTicker(2 * time.Second)
	defer tick.Stop()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		fmt.Fprintf(stderr, "gwrun: changes are looked for every two seconds: %v\n", err)
		w = &fsnotify.Watcher{}
	} else {
		defer func() { _ = w.Close() }() // it ends with the process
		addFolders(w, p.path)
	}
	quiet := time.NewTimer(time.Hour)
	quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-w.Events:
			if e.Has(fsnotify.Create) {
				addFolders(w, e.Name)
			}
			quiet.Reset(settle)
		case <-w.Errors: // an overflow: the next tick looks at everything
		case <-quiet.C:
			p.poke()
		case <-tick.C:
			p.poke()
		}
	}
}

// addFolders watches a folder and what is below it, but for git's own.
func addFolders(w *fsnotify.Watcher, root string) {
	_ = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // gone again, or a file: its folder is watched
		}
		if d.Name() == ".git" {
			return filepath.SkipDir
		}
		_ = w.Add(path) // the tick finds what cannot be watched
		return nil
	})
}
