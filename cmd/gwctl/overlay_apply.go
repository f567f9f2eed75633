package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/cmd/internal/bounded"
	"github.com/suuupra/gateway/cmd/internal/toolchain"
	"github.com/suuupra/gateway/compiler"
	"github.com/suuupra/gateway/compiler/diff"
	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/build"
	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

type overlayFlags struct {
	repo                               repositoryFlags
	env                                string
	gateway, key, reason, id, strategy string
	lifetime                           time.Duration
	replace, dryRun                    bool
}

func newOverlayApply() *cobra.Command {
	var f overlayFlags
	cmd := &cobra.Command{
		Use:   "apply FILE [PATH] --env E --gateway URL --key overlay.key --reason TEXT [--for 1h]",
		Short: "Lay a patch over what a gateway runs", Args: cobra.RangeArgs(1, 2),
		Long: `apply compiles the commit that the gateway runs, of the repository at PATH, with FILE on top: a file of the configuration language,
like those in environments/, whose routes, upstreams and policies patch those of the repository by their id, or are new. It shows the
change, signs what it comes to, and sends it to the gateway, which takes it if no rule of gateway.gitops holds such a change.

The overlay is called like FILE, or --id. It ends after --for, at the latest after seven days. What becomes of it if the repository
changes one of its objects, too, --conflict says: git-wins sets the overlay aside; live-wins keeps the overlay's object until it ends;
manual lets the new bundle wait until somebody removes the overlay; merge takes of each what only one of them changed, never of what
protects a route, and else git wins.

With --dry-run it only shows the change: exit code 2 if there is one.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "."
			if len(args) == 2 {
				path = args[1]
			}
			return f.run(cmd, args[0], path)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.gateway, "gateway", "", "URL of the gateway's admin API (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN)")
	fl.StringVar(&f.env, "env", "", "environment of the gateway: whatever it says of itself, nothing is signed for another one")
	fl.StringVar(&f.key, "key", "", "private overlay key (gwctl keygen --role overlay)")
	fl.StringVar(&f.reason, "reason", "", "why, for those who read it later")
	fl.StringVar(&f.id, "id", "", "what the overlay is called (default: the name of FILE)")
	fl.DurationVar(&f.lifetime, "for", time.Hour, "how long it lasts")
	fl.StringVar(&f.strategy, "conflict", string(bundle.GitWins), "if the repository changes one of its objects: "+strategies())
	fl.BoolVar(&f.replace, "replace", false, "replace the overlay of the same name")
	fl.BoolVar(&f.dryRun, "dry-run", false, "only show the change")
	fl.BoolVar(&f.repo.noCache, "no-cache", false, "do not use or write the cache of decoded files and verdicts")
	return cmd
}

func (f *overlayFlags) check(file string) error {
	switch {
	case f.gateway == "":
		return usagef("--gateway is required: the URL of the gateway's admin API")
	case f.env == "":
		return usagef("--env is required: the environment of the gateway")
	case !f.dryRun && (f.key == "" || f.reason == ""):
		return usagef("--key and --reason are required, or --dry-run")
	case f.lifetime < time.Minute || f.lifetime > bundle.MaxOverlayLifetime:
		return usagef("--for is %s, must be from a minute to %s; what stays longer belongs into the repository", f.lifetime, bundle.MaxOverlayLifetime)
	case !slices.Contains(bundle.Strategies(), bundle.Strategy(f.strategy)):
		return usagef("--conflict is %q, must be one of %s", f.strategy, strategies())
	}
	if f.id == "" {
		f.id = idOf(file)
	}
	if !bundle.IsOverlayID(f.id) {
		return usagef("an overlay cannot be called %q: 1 to 63 lower-case letters, digits and dashes; name it with --id", f.id)
	}
	if ext := filepath.Ext(file); ext != ".yaml" && ext != ".yml" && ext != ".json" {
		return usage(errOverlayKind)
	}
	_, err := gatewayURL(f.gateway)
	return err
}

func (f *overlayFlags) run(cmd *cobra.Command, file, path string) error {
	if err := f.check(file); err != nil {
		return err
	}
	ctx := cmd.Context()
	patch, err := bounded.ReadFile(file, bundle.MaxOverlayPatch)
	if err != nil {
		return fmt.Errorf("read the patch: %w", err)
	}
	var signer bundle.Signer
	if !f.dryRun {
		if signer, err = readKey(f.key); err != nil {
			return err
		}
	}
	running, err := runningManifest(ctx, f.gateway)
	if err != nil {
		return err
	}
	if m := &running.Manifest; m.Environment != f.env {
		return &codeError{exitConflict, fmt.Errorf("the gateway at %s runs environment %q, and not %q", redacted(f.gateway), m.Environment, f.env)}
	}
	before, after, err := f.compile(cmd, running, path, filepath.Base(file), patch)
	if err != nil {
		return err
	}
	changes, err := overlay.Between(before, after)
	if err != nil {
		return &codeError{exitInvalid, fmt.Errorf("%s: %w", file, err)}
	}
	if len(changes) == 0 {
		fmt.Fprintln(cmd.ErrOrStderr(), "gwctl: the patch changes nothing of what runs")
		return nil
	}
	if err := diff.Programs(before, after).WriteText(cmd.OutOrStdout(), isTerminal(cmd.OutOrStdout())); err != nil {
		return err
	}
	if f.dryRun {
		return &silentError{exitDifferences}
	}
	now := time.Now()
	envelope, err := bundle.SignOverlay(bundle.Overlay{
		ID: f.id, Name: running.Manifest.Name, Environment: running.Manifest.Environment, Base: running.Digest(), Strategy: bundle.Strategy(f.strategy),
		Reason: f.reason, By: whoami(), IssuedAt: bundle.TimeOf(now), ExpiresAt: bundle.TimeOf(now.Add(f.lifetime)), Patch: string(patch), Changes: changes,
	}, signer)
	if err != nil {
		return &codeError{exitInvalid, err}
	}
	o, err := f.send(ctx, envelope)
	if err != nil {
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "laid %s over %s until %s\n", o.ID, running.Digest().Short(), o.ExpiresAt.UTC().Format(time.RFC3339))
	return nil
}

// runningManifest is the bundle a gateway runs, without the overlays that are laid over it.
func runningManifest(ctx context.Context, gateway string) (*bundle.Bundle, error) {
	raw, err := fetchRunning(ctx, gateway)
	if err != nil {
		return nil, err
	}
	v, err := bundle.Peek(raw)
	if err != nil {
		return nil, err
	}
	return v.Bundle, nil
}

// compile compiles what runs, without and with the patch.
func (f *overlayFlags) compile(cmd *cobra.Command, running *bundle.Bundle, path, file string, patch []byte) (before, after *ir.Program, err error) {
	m := &running.Manifest
	repo, before, err := f.repo.again(cmd, path, m)
	if err != nil {
		return nil, nil, err
	}
	with, err := repo.with(cmd.Context(), f.repo.noCache, m.Environment, map[string][]byte{file: patch})
	if err != nil {
		return nil, nil, err
	}
	after, err = with.compile(cmd.ErrOrStderr(), m.Environment)
	return before, after, err
}

// again compiles what a gateway runs from its commit. It must come to the very same: what is signed, or committed, has to be what somebody
// who reviews it sees.
func (f *repositoryFlags) again(cmd *cobra.Command, path string, m *bundle.Manifest) (*repository, *ir.Program, error) {
	if m.Source.Commit == "" || m.Source.Dirty {
		return nil, nil, &codeError{exitConflict, errors.New("the bundle that runs was not compiled from a commit alone (--allow-dirty), so that nobody can compile it again")}
	}
	f.rev = m.Source.Commit
	repo, err := f.open(cmd.Context(), path)
	if unknown := (*load.UnknownRevisionError)(nil); errors.As(err, &unknown) {
		return nil, nil, &codeError{exitConflict, fmt.Errorf("the gateway runs commit %.12s, which the repository at %s does not have; fetch it first", m.Source.Commit, path)}
	}
	if err != nil {
		return nil, nil, err
	}
	program, err := repo.compile(cmd.ErrOrStderr(), m.Environment)
	if err != nil {
		return nil, nil, err
	}
	again, err := compiler.Emit(program, repo.tree.Origin, build.Version)
	if err != nil {
		return nil, nil, err
	}
	if again.Manifest.ContentDigest != m.ContentDigest {
		return nil, nil, &codeError{exitConflict, fmt.Errorf("commit %.12s compiles to something else here than what the gateway runs; it was compiled by gwctl %s, this is %s",
			m.Source.Commit, cell(m.Compiler.Version), build.Version)}
	}
	return repo, program, nil
}

// with is the repository with patches of overlays on top of an environment, by the names they are reported under.
func (r *repository) with(ctx context.Context, noCache bool, environment string, patches map[string][]byte) (*repository, error) {
	tree := r.tree
	for name, data := range patches {
		tree = tree.WithOverlay(environment, name, data)
	}
	unit, err := toolchain.New(toolchain.Options{Cache: !noCache}).Open(ctx, tree)
	if err != nil {
		return nil, err
	}
	return &repository{tree: tree, unit: unit, args: r.args}, nil
}

// send lays an overlay, or replaces the one of its name.
func (f *overlayFlags) send(ctx context.Context, envelope []byte) (*admin.Overlay, error) {
	body, err := json.Marshal(admin.NewOverlay{Envelope: envelope})
	if err != nil {
		return nil, err
	}
	call := gatewayCall{method: http.MethodPost, path: "/admin/overlays", body: body, limit: 1 << 20}
	if f.replace {
		there, err := findOverlay(ctx, f.gateway, f.id)
		if err != nil {
			return nil, err
		}
		call.method, call.path, call.ifMatch = http.MethodPut, "/admin/overlays/"+f.id, string(there.Version)
	}
	return orderOverlay(ctx, f.gateway, call)
}
