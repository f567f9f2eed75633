// Package gitcommit makes commits without a work tree: what somebody has checked out, and not committed, stays as it is.
//
// It must not push, and it moves no branch there is.
package gitcommit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// ErrExists says that a file or a branch is there already, ErrNoCommit that the parent is not in the repository.
var (
	ErrExists   = errors.New("it exists already")
	ErrNoCommit = errors.New("there is no such commit in the repository")
)

// File is a file to add, by its path from the root of the repository.
type File struct {
	Path string
	Data []byte
}

// Add makes a commit that has some files more than its parent. None of them may be there. No branch points to it yet.
func Add(repo *git.Repository, parent string, files []File, message string, at time.Time) (string, error) {
	commit, err := repo.CommitObject(plumbing.NewHash(parent))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return "", fmt.Errorf("%s: %w", parent, ErrNoCommit)
	}
	if err != nil {
		return "", fmt.Errorf("read commit %s: %w", parent, err)
	}
	tree := commit.TreeHash
	for _, f := range files {
		if !clean(f.Path) {
			return "", fmt.Errorf("%q is no path of a file in a repository", f.Path)
		}
		blob, err := write(repo, plumbing.BlobObject, f.Data)
		if err != nil {
			return "", err
		}
		if tree, err = put(repo, tree, strings.Split(f.Path, "/"), blob); err != nil {
			return "", fmt.Errorf("add %s: %w", f.Path, err)
		}
	}
	who := author(repo, at)
	next := &object.Commit{Author: who, Committer: who, Message: message, TreeHash: tree, ParentHashes: []plumbing.Hash{commit.Hash}}
	out := repo.Storer.NewEncodedObject()
	if err := next.Encode(out); err != nil {
		return "", fmt.Errorf("encode commit: %w", err)
	}
	id, err := repo.Storer.SetEncodedObject(out)
	return id.String(), err
}

// clean reports whether a path is one that a checkout takes nowhere else.
func clean(path string) bool {
	return !slices.ContainsFunc(strings.Split(path, "/"), func(name string) bool {
		return name == "" || name == "." || name == ".." || strings.EqualFold(name, ".git") || strings.ContainsAny(name, "\\\x00")
	})
}

// Branch makes a branch at a commit. There must be none of that name.
func Branch(repo *git.Repository, name, commit string) error {
	ref := plumbing.NewBranchReferenceName(name)
	if err := ref.Validate(); err != nil {
		return fmt.Errorf("branch %q: %w", name, err)
	}
	if _, err := repo.Reference(ref, false); err == nil {
		return fmt.Errorf("branch %q: %w", name, ErrExists)
	}
	return repo.Storer.SetReference(plumbing.NewHashReference(ref, plumbing.NewHash(commit)))
}

// put returns a tree with one more file.
func put(repo *git.Repository, id plumbing.Hash, path []string, blob plumbing.Hash) (plumbing.Hash, error) {
	tree := &object.Tree{}
	if !id.IsZero() {
		var err error
		if tree, err = repo.TreeObject(id); err != nil {
			return plumbing.ZeroHash, err
		}
	}
	entries := slices.Clone(tree.Entries)
	i := slices.IndexFunc(entries, func(e object.TreeEntry) bool { return e.Name == path[0] })
	next := object.TreeEntry{Name: path[0], Mode: filemode.Regular, Hash: blob}
	if len(path) > 1 {
		var below plumbing.Hash
		if i >= 0 {
			if entries[i].Mode != filemode.Dir {
				return plumbing.ZeroHash, fmt.Errorf("%s is no folder", path[0])
			}
			below = entries[i].Hash
		}
		sub, err := put(repo, below, path[1:], blob)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		next = object.TreeEntry{Name: path[0], Mode: filemode.Dir, Hash: sub}
	} else if i >= 0 {
		return plumbing.ZeroHash, ErrExists
	}
	if i >= 0 {
		entries[i] = next
	} else {
		entries = append(entries, next)
	}
	sort.Sort(object.TreeEntrySorter(entries))
	out := repo.Storer.NewEncodedObject()
	if err := (&object.Tree{Entries: entries}).Encode(out); err != nil {
		return plumbing.ZeroHash, err
	}
	return repo.Storer.SetEncodedObject(out)
}

func write(repo *git.Repository, kind plumbing.ObjectType, data []byte) (plumbing.Hash, error) {
	out := repo.Storer.NewEncodedObject()
	out.SetType(kind)
	w, err := out.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil && !errors.Is(err, io.EOF) {
		return plumbing.ZeroHash, err
	}
	return repo.Storer.SetEncodedObject(out)
}

// author is who commits in this repository, as git is set up.
func author(repo *git.Repository, at time.Time) object.Signature {
	who := object.Signature{Name: "gwctl", Email: "gwctl@localhost", When: at}
	c, err := repo.ConfigScoped(config.GlobalScope)
	if err != nil {
		return who // a git configuration that cannot be read is git's to complain about
	}
	who.Name, who.Email = cmp.Or(c.Author.Name, c.User.Name, who.Name), cmp.Or(c.Author.Email, c.User.Email, who.Email)
	return who
}
