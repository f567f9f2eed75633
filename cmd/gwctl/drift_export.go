package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/suuupra/gateway/compiler/load"
	"github.com/suuupra/gateway/internal/gitcommit"
	"github.com/suuupra/gateway/internal/overlay"
	"github.com/suuupra/gateway/runtime/admin"
	"github.com/suuupra/gateway/schema/bundle"
	"github.com/suuupra/gateway/schema/ir"
)

type exportFlags struct {
	repo            repositoryFlags
	gateway, branch string
	only            []string
}

func newDriftExport() *cobra.Command {
	var f exportFlags
	cmd := &cobra.Command{
		Use: "export [PATH] --gateway URL --branch NAME", Short: "Make a commit of the overlays of a gateway, on a new branch", Args: cobra.MaximumNArgs(1),
		Long: `export puts the patches of the overlays that are active into environments/ENV/ of the repository at PATH, as a commit on a new branch
that begins at the commit the gateway runs. It makes sure that the branch compiles to what runs with the overlays. Nothing that is checked
out changes, and nothing is pushed. Once the branch is merged and published, the overlays have done their work: they show as done, and
end by themselves.`,
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, pathArg(args)) },
	}
	cmd.Flags().StringVar(&f.gateway, "gateway", "", "URL of the gateway's admin API (credentials: gwctl login, GWCTL_TOKEN or GWRUN_ADMIN_TOKEN)")
	cmd.Flags().StringVar(&f.branch, "branch", "", "name of the new branch")
	cmd.Flags().StringArrayVar(&f.only, "overlay", nil, "export this overlay alone; may be repeated")
	cmd.Flags().BoolVar(&f.repo.noCache, "no-cache", false, "do not use or write the cache of decoded files and verdicts")
	return cmd
}

func (f *exportFlags) run(cmd *cobra.Command, dir string) error {
	if f.gateway == "" || f.branch == "" {
		return usagef("--gateway and --branch are required: whose overlays, and the branch to make")
	}
	running, err := runningManifest(cmd.Context(), f.gateway)
	if err != nil {
		return err
	}
	list, err := f.overlays(cmd)
	if err != nil {
		return err
	}
	m := &running.Manifest
	_, program, err := f.repo.again(cmd, dir, m)
	if err != nil {
		return err
	}
	repo, err := load.OpenRepo(dir)
	if err != nil {
		return err
	}
	store, folder := repo.Git()
	files := map[string][]byte{}
	for _, o := range list {
		files[path.Join(folder, "environments", m.Environment, "overlay-"+o.ID+extensionOf(o.Patch))] = []byte(o.Patch)
	}
	commit, err := gitcommit.Add(store, m.Source.Commit, files, message(m, list), time.Now())
	if errors.Is(err, gitcommit.ErrExists) {
		return &codeError{exitConflict, err}
	}
	if err != nil {
		return err
	}
	if err := f.proves(cmd, dir, commit, program, list); err != nil {
		return err
	}
	if err := gitcommit.Branch(store, f.branch, commit); err != nil {
		if errors.Is(err, gitcommit.ErrExists) {
			err = &codeError{exitConflict, err}
		}
		return err
	}
	fmt.Fprintf(cmd.OutOrStdout(), "%s %s\n", f.branch, commit)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: %s is new\n", file)
	}
	fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: it compiles to what runs; look at it with git show %s, and push it for review\n", f.branch)
	return nil
}

// extensionOf is how a file with a patch ends.
func extensionOf(patch string) string {
	if json.Valid([]byte(patch)) {
		return ".json"
	}
	return ".yaml"
}

// overlays are those to export, as they were signed.
func (f *exportFlags) overlays(cmd *cobra.Command) ([]*bundle.Overlay, error) {
	list, err := fetchOverlays(cmd.Context(), f.gateway)
	if err != nil {
		return nil, err
	}
	for _, id := range f.only {
		i := slices.IndexFunc(list, func(o admin.Overlay) bool { return o.ID == id })
		if i < 0 || list[i].State != overlay.Active {
			return nil, usagef("there is no active overlay %q at %s", id, redacted(f.gateway))
		}
	}
	var out []*bundle.Overlay
	for i := range list {
		if list[i].State != overlay.Active || len(f.only) > 0 && !slices.Contains(f.only, list[i].ID) {
			continue
		}
		o, err := fetchOverlay(cmd.Context(), f.gateway, list[i].ID)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	if len(out) == 0 {
		return nil, &codeError{exitConflict, fmt.Errorf("%s has no active overlays: there is nothing to export", redacted(f.gateway))}
	}
	return out, nil
}

// fetchOverlay reads an overlay as it was signed.
func fetchOverlay(ctx context.Context, gateway, id string) (*bundle.Overlay, error) {
	body, err := askGateway(ctx, gateway, "/admin/overlays/"+id, 2*bundle.MaxOverlay)
	if err != nil {
		return nil, err
	}
	var shown admin.Overlay
	if err := json.Unmarshal(body, &shown); err != nil {
		return nil, fmt.Errorf("read the gateway's overlay: %w", err)
	}
	o, err := bundle.PeekOverlay(shown.Envelope)
	if err == nil && o.ID != id {
		err = fmt.Errorf("the gateway at %s shows overlay %s for %s", redacted(gateway), o.ID, id)
	}
	return o, err
}

// proves makes sure that a commit compiles to what the overlays make of what is published: to what runs.
func (f *exportFlags) proves(cmd *cobra.Command, dir, commit string, program *ir.Program, list []*bundle.Overlay) error {
	want, outcomes := overlay.Lay(program, list, nil)
	for _, o := range outcomes {
		if o.State == overlay.Aside {
			return &codeError{exitConflict, fmt.Errorf("overlay %s: %s", o.ID, o.Why)}
		}
	}
	f.repo.rev = commit
	exported, err := f.repo.open(cmd.Context(), dir)
	if err != nil {
		return err
	}
	got, err := exported.compile(cmd.ErrOrStderr(), program.Environment)
	if err != nil {
		fmt.Fprintf(cmd.ErrOrStderr(), "gwctl: as files of environments/%s the patches do not compile: put what they say into the files that are named, by hand\n", program.Environment)
		return err
	}
	changes, err := overlay.Between(want, got) // an upstream that nobody uses any more is no difference
	if err == nil && len(changes) > 0 {
		err = fmt.Errorf("as a file of environments/%s the patch would make of %s/%s something else than what runs, as another layer or a later commit says so, too; write it there by hand",
			program.Environment, changes[0].Kind, changes[0].ID)
	}
	if err != nil {
		return &codeError{exitConflict, err}
	}
	return nil
}

// message says why there is such a commit.
func message(m *bundle.Manifest, list []*bundle.Overlay) string {
	var b strings.Builder
	ids := make([]string, len(list))
	for i := range list {
		ids[i] = list[i].ID
	}
	fmt.Fprintf(&b, "%s: what overlays %s changed\n", m.Environment, strings.Join(ids, ", "))
	for i := range list {
		o := list[i]
		fmt.Fprintf(&b, "\n%s: %s\nLaid by %s at %s\n", o.ID, cell(o.Reason), cell(o.By), o.IssuedAt.UTC().Format(time.RFC3339))
	}
	return b.String()
}
