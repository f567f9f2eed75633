// Package load finds and reads the authored files of a config repository: from a directory, or straight from the tree of
// a git revision, without a checkout. Both walks obey the same rules, so that what validates on a laptop is what a commit
// holds.
//
// A file that no later stage would read is an error, never silently skipped: a route nobody loads protects nobody.
// Whatever is wrong with the content of the repository is a diagnostic; an error is only returned when the disk or the
// object store fails. It must not parse what it reads, write anything, or run git.
package load

import (
	"context"
	"crypto/sha256"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// The limits of one repository; yamlpos.MaxBytes limits each file.
const (
	MaxFiles = 50_000
	MaxTotal = 256 << 20 // bytes
)

// RawFile is one authored file.
type RawFile struct {
	Path   string // slash-separated, relative to the root of the config repository
	Data   []byte
	Digest [sha256.Size]byte // of Data
	Layer  schema.Layer
}

// Tree is everything people wrote, unparsed.
type Tree struct {
	Files        []RawFile // config, sorted by Path
	Tests        []RawFile // everything under tests/, sorted by Path; no part of the config
	Environments []string  // names of the environments that hold a file, sorted
	Tenants      []string  // names of the tenants that hold a file, in tenants/ or in an environment, sorted
	Origin       Origin
	Diags        diag.List // what is wrong with the repository itself
}

// File returns the config or test file at path, or nil.
func (t *Tree) File(path string) *RawFile {
	for _, files := range [][]RawFile{t.Files, t.Tests} {
		for i := range files {
			if files[i].Path == path {
				return &files[i]
			}
		}
	}
	return nil
}

// WithOverlay is the tree with a file on top of all others of an environment: the patch of an overlay, which lies in no repository.
func (t *Tree) WithOverlay(environment, path string, data []byte) *Tree {
	out := *t
	out.Files = append(slices.Clone(t.Files), RawFile{
		Path: path, Data: data, Digest: sha256.Sum256(data), Layer: schema.Layer{Environment: environment, Overlay: true},
	})
	return &out
}

// Origin says which commit a Tree is, or is based on. It is zero outside git.
type Origin struct {
	Commit  string   // full hash; empty before the first commit
	Tree    string   // hash of the tree at the root of the config repository, which may be a subdirectory
	Dirty   bool     // a config file differs from Commit, is new, or is missing
	Changed []string // the first such files, sorted; or why git could not be asked
}

// maxChanged bounds Origin.Changed.
const maxChanged = 20

// Dir reads the config repository in a directory. What differs from the commit git has checked out makes it dirty; a
// file that differs only in its line ends is read as git has it.
func Dir(ctx context.Context, dir string) (*Tree, error) {
	src, err := openDisk(dir)
	if err != nil {
		return nil, fmt.Errorf("read config: %w", err)
	}
	defer src.Close()
	w := walker{ctx: ctx, src: src, diags: &diag.List{}}
	if err := w.walk(); err != nil {
		return nil, fmt.Errorf("read config in %s: %w", dir, err)
	}
	tree := w.result()
	tree.Origin = origin(ctx, dir, w.ignoreFile, tree)
	return tree, nil
}

// Git reads the config repository in dir as it is at a git revision: a branch, a remote-tracking branch, a tag, a
// full or short hash, HEAD, each optionally followed by ~n or ^n. An unknown one is an *UnknownRevisionError.
func Git(ctx context.Context, dir, rev string) (*Tree, error) {
	return Folder(ctx, dir, "", rev)
}

// Folder is Git for a config repository that is a folder, given by its slash path from dir, which may be a bare repository.
func Folder(ctx context.Context, dir, folder, rev string) (*Tree, error) {
	repo, err := OpenRepo(dir)
	if err != nil {
		return nil, err
	}
	repo.sub = strings.Trim(path.Join(repo.sub, folder), "/")
	commit, err := repo.Resolve(rev)
	if err != nil {
		return nil, err
	}
	src, err := repo.source(commit)
	if err != nil {
		return nil, fmt.Errorf("read revision %s: %w", rev, err)
	}
	w := walker{ctx: ctx, src: src, diags: &diag.List{}}
	if err := w.walk(); err != nil {
		return nil, fmt.Errorf("read revision %s: %w", rev, err)
	}
	tree := w.result()
	tree.Origin = Origin{Commit: commit, Tree: src.rootHash()}
	return tree, nil
}

// absolute resolves links in dir, so that it can be compared with the root of a worktree.
func absolute(dir string) (string, error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(abs)
}
