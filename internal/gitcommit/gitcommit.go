// Package gitcommit makes commits without a work tree: what somebody has checked out, and not committed, stays as it is.
//
// It must not push, and it moves no branch there is.
package gitcommit

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// ErrExists says that a file or a branch is there already, ErrNoCommit that the parent is not in the repository.
var (
	ErrExists   = errors.New("it exists already")
	ErrNoCommit = errors.New("there is no such commit in the repository")
)

// Commit is a commit to make.
type Commit struct {
	Parent  string
	Edits   map[string][]byte // from a path, from the root, to the content; nil takes the file away
	Message string
	Author  object.Signature
}

// Write writes a commit that follows its parent. It returns its id, and every object that it has beside those of its parent. A folder that
// holds nothing any more goes with its last file. No branch points to the commit yet.
func Write(objects storer.EncodedObjectStorer, c *Commit) (id plumbing.Hash, made []plumbing.Hash, err error) {
	parent, err := object.GetCommit(objects, plumbing.NewHash(c.Parent))
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return plumbing.ZeroHash, nil, fmt.Errorf("%s: %w", c.Parent, ErrNoCommit)
	}
	if err != nil {
		return plumbing.ZeroHash, nil, fmt.Errorf("read commit %s: %w", c.Parent, err)
	}
	for path := range c.Edits {
		if !clean(path) {
			return plumbing.ZeroHash, nil, fmt.Errorf("%q is no path of a file in a repository", path)
		}
	}
	e := editor{objects: objects}
	tree, err := e.edit(parent.TreeHash, c.Edits)
	if err == nil && tree.IsZero() { // a commit needs a tree, be it an empty one
		tree, err = e.put(&object.Tree{})
	}
	if err == nil {
		id, err = e.put(&object.Commit{Author: c.Author, Committer: c.Author, Message: c.Message, TreeHash: tree, ParentHashes: []plumbing.Hash{parent.Hash}})
	}
	if err != nil {
		return plumbing.ZeroHash, nil, fmt.Errorf("write a commit: %w", err)
	}
	return id, e.made, nil
}

// Add makes a commit that has some files more than its parent, by whoever commits in this repository. None of the files may be there.
func Add(repo *git.Repository, parent string, files map[string][]byte, message string, at time.Time) (string, error) {
	if commit, err := repo.CommitObject(plumbing.NewHash(parent)); err == nil { // if not, Write says so
		tree, err := commit.Tree()
		if err != nil {
			return "", fmt.Errorf("read commit %s: %w", parent, err)
		}
		for path := range files {
			if in := taken(tree, path); in != "" {
				return "", fmt.Errorf("%s: %w", in, ErrExists)
			}
		}
	}
	id, _, err := Write(repo.Storer, &Commit{Parent: parent, Edits: files, Message: message, Author: author(repo, at)})
	if err != nil {
		return "", err
	}
	return id.String(), nil
}

// taken is what a new file would replace: a file or folder at its path, or a file where a folder has to be; "" if nothing.
func taken(tree *object.Tree, path string) string {
	for at, c := range path + "/" {
		if c != '/' {
			continue
		}
		if e, err := tree.FindEntry(path[:at]); err == nil && (at == len(path) || e.Mode != filemode.Dir) {
			return path[:at]
		}
	}
	return ""
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

// editor writes the objects of a commit.
type editor struct {
	objects storer.EncodedObjectStorer
	made    []plumbing.Hash
}

// edit returns a tree with edits made to it; the zero hash if nothing is left in it.
func (e *editor) edit(id plumbing.Hash, edits map[string][]byte) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	if !id.IsZero() {
		t, err := object.GetTree(e.objects, id)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("read tree %s: %w", id, err)
		}
		for _, entry := range t.Entries {
			entries[entry.Name] = entry
		}
	}
	folders := map[string]map[string][]byte{}
	for path, data := range edits {
		name, rest, deep := strings.Cut(path, "/")
		switch {
		case deep && folders[name] == nil:
			folders[name] = map[string][]byte{rest: data}
		case deep:
			folders[name][rest] = data
		case data == nil:
			delete(entries, name)
		default:
			blob, err := e.blob(data)
			if err != nil {
				return plumbing.ZeroHash, err
			}
			entries[name] = object.TreeEntry{Name: name, Mode: filemode.Regular, Hash: blob}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(folders)) {
		below := plumbing.ZeroHash // what is no folder is replaced by one
		if entries[name].Mode == filemode.Dir {
			below = entries[name].Hash
		}
		sub, err := e.edit(below, folders[name])
		if err != nil {
			return plumbing.ZeroHash, err
		}
		if delete(entries, name); !sub.IsZero() {
			entries[name] = object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: sub}
		}
	}
	if len(entries) == 0 {
		return plumbing.ZeroHash, nil
	}
	t := &object.Tree{Entries: slices.Collect(maps.Values(entries))}
	sort.Sort(object.TreeEntrySorter(t.Entries))
	return e.put(t)
}

func (e *editor) blob(data []byte) (plumbing.Hash, error) {
	out := e.objects.NewEncodedObject()
	out.SetType(plumbing.BlobObject)
	w, err := out.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	_, err = w.Write(data)
	if err := errors.Join(err, w.Close()); err != nil {
		return plumbing.ZeroHash, err
	}
	return e.keep(out)
}

func (e *editor) put(o interface {
	Encode(plumbing.EncodedObject) error
},
) (plumbing.Hash, error) {
	out := e.objects.NewEncodedObject()
	if err := o.Encode(out); err != nil {
		return plumbing.ZeroHash, err
	}
	return e.keep(out)
}

// keep stores an object. One that is there already may be so only since a commit that nobody took: it counts as made.
func (e *editor) keep(out plumbing.EncodedObject) (plumbing.Hash, error) {
	id := out.Hash()
	if !slices.Contains(e.made, id) {
		e.made = append(e.made, id)
	}
	if e.objects.HasEncodedObject(id) == nil {
		return id, nil
	}
	return e.objects.SetEncodedObject(out)
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
