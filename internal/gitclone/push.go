package gitclone

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/suuupra/gateway/internal/gitsend"
)

const pushTimeout = 2 * time.Minute

// Draft is a commit on top of a head that lies in the clone and nowhere else yet.
type Draft struct {
	Commit  string // hexadecimal
	on      Head
	objects []plumbing.Hash // what it is made of, beside what the head has
}

// Author signs commits.
type Author struct{ Name, Email string }

// Draft writes a commit that follows a head, with edits below a folder ("" is the root): path from there to content, nil to take a file
// away. A folder that holds nothing any more goes with its last file. It is in the clone, for a compiler to look at.
func (c *Clone) Draft(on Head, folder string, edits map[string][]byte, message string, by Author, when time.Time) (*Draft, error) {
	if c.remote == nil {
		return nil, errors.New("commits are not written into a repository on this machine: name its URL")
	}
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	parent, err := object.GetCommit(s.objects, plumbing.NewHash(on.Commit))
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", on.Commit, err)
	}
	d := &Draft{on: on}
	e := editor{s: s, draft: d}
	below := map[string][]byte{}
	for path, data := range edits {
		below[strings.TrimPrefix(folder+"/"+path, "/")] = data
	}
	tree, err := e.edit(parent.TreeHash, below)
	if err != nil {
		return nil, fmt.Errorf("write a commit: %w", err)
	}
	if tree.IsZero() { // a commit needs a tree, be it an empty one
		if tree, err = e.put(&object.Tree{}); err != nil {
			return nil, fmt.Errorf("write a commit: %w", err)
		}
	}
	who := object.Signature{Name: by.Name, Email: by.Email, When: when.UTC()}
	id, err := e.put(&object.Commit{Author: who, Committer: who, Message: message, TreeHash: tree, ParentHashes: []plumbing.Hash{parent.Hash}})
	if err != nil {
		return nil, fmt.Errorf("write a commit: %w", err)
	}
	d.Commit = id.String()
	return d, nil
}

// Push makes a draft the head of its branch, if that still stands where the draft begins: else it returns gitsend.ErrMoved, and a
// server's own reasons as *gitsend.Refused.
func (c *Clone) Push(ctx context.Context, d *Draft) error {
	branch := plumbing.ReferenceName(d.on.Ref)
	if !branch.IsBranch() {
		return fmt.Errorf("push: %s is no branch", branch)
	}
	s, err := c.open()
	if err != nil {
		return err
	}
	defer c.remote.Rest()
	err = c.remote.Send(ctx, pushTimeout, gitsend.Push{
		Branch: branch, From: plumbing.NewHash(d.on.Commit), To: plumbing.NewHash(d.Commit), Objects: s.objects, New: d.objects,
	})
	if err != nil {
		return c.redact(fmt.Errorf("push to %s: %w", branch.Short(), err))
	}
	return nil
}

// editor writes the objects of a draft.
type editor struct {
	s     *store
	draft *Draft
}

// edit returns a tree with edits made to it; the zero hash if nothing is left in it.
func (e *editor) edit(id plumbing.Hash, edits map[string][]byte) (plumbing.Hash, error) {
	entries := map[string]object.TreeEntry{}
	if !id.IsZero() {
		t, err := object.GetTree(e.s.objects, id)
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
	out := e.s.objects.NewEncodedObject()
	out.SetType(plumbing.BlobObject)
	w, err := out.Writer()
	if err != nil {
		return plumbing.ZeroHash, err
	}
	if _, err := w.Write(data); err != nil {
		return plumbing.ZeroHash, err
	}
	if err := w.Close(); err != nil {
		return plumbing.ZeroHash, err
	}
	return e.keep(out)
}

func (e *editor) put(o interface {
	Encode(plumbing.EncodedObject) error
},
) (plumbing.Hash, error) {
	out := e.s.objects.NewEncodedObject()
	if err := o.Encode(out); err != nil {
		return plumbing.ZeroHash, err
	}
	return e.keep(out)
}

// keep stores an object. One that is there already may be so only since a draft that nobody took: it is sent again.
func (e *editor) keep(out plumbing.EncodedObject) (plumbing.Hash, error) {
	id := out.Hash()
	if !slices.Contains(e.draft.objects, id) {
		e.draft.objects = append(e.draft.objects, id)
	}
	if e.s.has(id) {
		return id, nil
	}
	return e.s.objects.SetEncodedObject(out)
}

// IsBranch reports whether a head is that of a branch, which can be moved; HEAD is none, as it does not say which.
func (h Head) IsBranch() bool { return plumbing.ReferenceName(h.Ref).IsBranch() }

func split(folder string) []string {
	if folder == "" {
		return nil
	}
	return strings.Split(folder, "/")
}
