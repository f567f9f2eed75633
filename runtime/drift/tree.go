package drift

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Bounds of a tree. A handful of small trees that hold one another many times over describe billions of files, so what is
// counted is every entry looked at.
const (
	maxFiles  = 50_000 // in the subdirectory
	maxListed = 500    // in a report
	maxDepth  = 64
)

// folder finds the tree of a directory in a commit. A directory that is not there is the zero hash.
func (s *store) folder(commit plumbing.Hash, dir string) (plumbing.Hash, error) {
	c, err := object.GetCommit(s, commit)
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("read commit %s: %w", commit, err)
	}
	id := c.TreeHash
	if dir == "" {
		return id, nil
	}
	for name := range strings.SplitSeq(dir, "/") {
		t, err := object.GetTree(s, id)
		if err != nil {
			return plumbing.ZeroHash, fmt.Errorf("read tree %s: %w", id, err)
		}
		i := slices.IndexFunc(t.Entries, func(e object.TreeEntry) bool { return e.Name == name && e.Mode == filemode.Dir })
		if i < 0 {
			return plumbing.ZeroHash, nil
		}
		id = t.Entries[i].Hash
	}
	return id, nil
}

// errBudget ends a walk that has seen enough.
var errBudget = errors.New("too many files")

// treeDiff collects what differs between two trees. Equal subtrees are not opened.
type treeDiff struct {
	store  *store
	subdir string
	budget int

	files  []File
	others int
	cut    bool
}

// diffTrees compares the whole trees of two commits; dir is the folder whose config files are listed by name.
func diffTrees(ctx context.Context, s *store, from, to plumbing.Hash, dir string) (*treeDiff, error) {
	d := &treeDiff{store: s, subdir: dir, budget: maxFiles}
	old, err := s.folder(from, "")
	if err != nil {
		return nil, err
	}
	new, err := s.folder(to, "")
	if err != nil {
		return nil, err
	}
	if err := d.walk(ctx, old, new, "", 0); errors.Is(err, errBudget) {
		d.cut = true
	} else if err != nil {
		return nil, err
	}
	return d, nil
}

// walk compares two trees, of which one may be absent (zero).
func (d *treeDiff) walk(ctx context.Context, old, new plumbing.Hash, at string, depth int) error {
	if old == new {
		return nil
	}
	if depth > maxDepth || len(at) > 4096 {
		return errBudget
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	before, err := d.entries(old)
	if err != nil {
		return err
	}
	after, err := d.entries(new)
	if err != nil {
		return err
	}
	names := make([]string, 0, len(before)+len(after))
	for name := range before {
		names = append(names, name)
	}
	for name := range after {
		if _, both := before[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		a, b := before[name], after[name]
		if a.Hash == b.Hash && a.Mode == b.Mode {
			continue
		}
		if d.budget--; d.budget < 0 {
			return errBudget
		}
		if err := d.entry(ctx, a, b, path.Join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

func (d *treeDiff) entry(ctx context.Context, a, b object.TreeEntry, at string, depth int) error {
	var oldTree, newTree plumbing.Hash
	if a.Mode == filemode.Dir {
		oldTree = a.Hash
	}
	if b.Mode == filemode.Dir {
		newTree = b.Hash
	}
	wasFile, isFile := !a.Hash.IsZero() && oldTree.IsZero(), !b.Hash.IsZero() && newTree.IsZero()
	switch {
	case wasFile && isFile:
		d.add(at, "modified")
	case wasFile:
		d.add(at, "removed")
	case isFile:
		d.add(at, "added")
	}
	if oldTree.IsZero() && newTree.IsZero() {
		return nil
	}
	return d.walk(ctx, oldTree, newTree, at, depth+1)
}

func (d *treeDiff) entries(id plumbing.Hash) (map[string]object.TreeEntry, error) {
	if id.IsZero() {
		return nil, nil
	}
	t, err := object.GetTree(d.store, id)
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w", id, err)
	}
	out := make(map[string]object.TreeEntry, len(t.Entries))
	for _, e := range t.Entries {
		out[e.Name] = e
	}
	return out, nil
}

func (d *treeDiff) add(at, change string) {
	inside := d.subdir == "" || strings.HasPrefix(at, d.subdir+"/")
	if !inside || !configFile(at) {
		d.others++
		return
	}
	if len(d.files) >= maxListed {
		d.others++
		d.cut = true
		return
	}
	d.files = append(d.files, File{Path: strings.ToValidUTF8(at, "\uFFFD"), Change: change})
}

// configFile reports whether a file is one people write configuration in. What else a configuration reads, such as a
// certificate, is counted, and shows in the compiled content.
func configFile(name string) bool {
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json", ".cue":
		return true
	}
	return false
}

// countFiles counts the files below a tree, up to one more than the bound.
func (s *store) countFiles(ctx context.Context, tree plumbing.Hash) (int, error) {
	n, seen := 0, 0
	var walk func(id plumbing.Hash, depth int) error
	walk = func(id plumbing.Hash, depth int) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		t, err := object.GetTree(s, id)
		if err != nil {
			return fmt.Errorf("read tree %s: %w", id, err)
		}
		for _, e := range t.Entries {
			if seen++; seen > 2*maxFiles || n > maxFiles || depth > maxDepth {
				return errBudget
			}
			if e.Mode != filemode.Dir {
				n++
			} else if err := walk(e.Hash, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(tree, 0); errors.Is(err, errBudget) {
		return maxFiles + 1, nil
	} else if err != nil {
		return 0, err
	}
	return n, nil
}
