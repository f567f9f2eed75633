package live

import (
	"bytes"
	"context"
	"fmt"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/internal/gitclone"
)

// programs finds out whether what is published carries the files of a wish.
type programs struct {
	digest func(context.Context, string) (string, error)
	commit string // whose digest is known
	known  string
}

// carried returns the test for one file: does the published bundle hold what the wish says there? And whether the bundle is of the branch
// at all. The bundle's commit must be of the
// branch, and have the file as it is wished for; or the head, which has it, compiles to the very content that is published, as happens
// where a commit changes nothing that gateways would see.
func (p *programs) carried(ctx context.Context, b *branch, at *Publication, w *wish, o *outcome) (has func(string) bool, ofBranch bool, err error) {
	if at == nil || at.Commit == "" {
		return func(string) bool { return false }, false, nil
	}
	relation, err := b.clone.Relate(ctx, at.Commit, o.head.Commit)
	if err != nil {
		return nil, false, err
	}
	var published map[string][]byte
	if ofBranch = relation == gitclone.Same || relation == gitclone.Forward; ofBranch {
		if published, err = b.files(at.Commit); err != nil {
			return nil, false, err
		}
	}
	head, err := b.files(o.head.Commit)
	if err != nil {
		return nil, false, err
	}
	like := func(files map[string][]byte, name string) bool {
		data, there := files[name]
		return there && bytes.Equal(kubernetes.Body(data), kubernetes.Body(w.files[name]))
	}
	same := false
	for name := range w.files {
		if !like(published, name) && like(head, name) { // the digest costs a compilation, so that it is asked for last
			if same, err = p.same(ctx, o.head.Commit, at); err != nil {
				return nil, false, err
			}
			break
		}
	}
	return func(name string) bool { return like(published, name) || same && like(head, name) }, ofBranch, nil
}

// same reports whether a commit compiles to what is published.
func (p *programs) same(ctx context.Context, commit string, at *Publication) (bool, error) {
	if p.commit != commit {
		digest, err := p.digest(ctx, commit)
		if err != nil {
			return false, fmt.Errorf("compile commit %.7s: %w", commit, err)
		}
		p.commit, p.known = commit, digest
	}
	return p.known != "" && p.known == at.Content, nil
}
