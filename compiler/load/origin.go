package load

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/suuupra/gateway/schema/diag"
)

// origin compares what was read from dir with the commit that is checked out there, blob by blob. Files that differ only
// in CRLF are replaced by what git holds, so that a checkout on Windows compiles to the same bytes.
func origin(ctx context.Context, dir string, ignoreFile []byte, tree *Tree) Origin {
	repo, err := OpenRepo(dir)
	if errors.Is(err, ErrNoRepository) {
		return Origin{}
	} else if err != nil {
		return Origin{Dirty: true, Changed: []string{err.Error()}}
	}
	commit, _, err := repo.Head(ctx)
	if err != nil || commit == "" {
		return Origin{Dirty: true, Changed: []string{"there is no commit yet"}}
	}
	o := Origin{Commit: commit}
	w := walker{ctx: ctx, diags: &diag.List{}, listOnly: true}
	src, err := repo.source(commit)
	if err != nil {
		return Origin{Commit: commit, Dirty: true, Changed: []string{err.Error()}}
	}
	w.src, o.Tree = src, src.rootHash()
	if err := w.walk(); err != nil {
		return Origin{Commit: commit, Tree: o.Tree, Dirty: true, Changed: []string{err.Error()}}
	}
	var changed []string
	if !bytes.Equal(w.ignoreFile, ignoreFile) {
		changed = append(changed, ".gwignore")
	}
	for i := range tree.Files {
		f := &tree.Files[i]
		hash, known := w.hashes[f.Path]
		delete(w.hashes, f.Path)
		if !known || !repo.same(f, hash) {
			changed = append(changed, f.Path)
		}
	}
	for p := range w.hashes {
		changed = append(changed, p)
	}
	slices.Sort(changed)
	o.Dirty = len(changed) > 0
	o.Changed = changed[:min(len(changed), maxChanged)]
	return o
}

// same reports whether f is the blob, and gives it the blob's bytes if they differ in line ends only.
func (r *Repo) same(f *RawFile, hash plumbing.Hash) bool {
	if plumbing.ComputeHash(plumbing.BlobObject, f.Data) == hash {
		return true
	}
	unix := bytes.ReplaceAll(f.Data, []byte("\r\n"), []byte("\n"))
	if len(unix) == len(f.Data) || plumbing.ComputeHash(plumbing.BlobObject, unix) != hash {
		return false
	}
	f.Data, f.Digest = unix, sha256.Sum256(unix)
	return true
}
