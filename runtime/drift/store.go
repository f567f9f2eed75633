package drift

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// maxPacks is how many fetches a clone takes before it is made anew; without a git program nothing ever repacks it.
const maxPacks = 64

// headRef keeps what was fetched last: the next fetch builds on it.
const headRef = plumbing.ReferenceName("refs/drift/head")

// store is the objects of a repository, opened for one check.
type store struct {
	storer.EncodedObjectStorer
	dir  string // what a compiler may open
	refs storer.ReferenceStorer
	cut  map[plumbing.Hash]bool // commits whose parents are not there, by intention
}

func (s *store) shallow() bool { return len(s.cut) > 0 }

func (s *store) has(id plumbing.Hash) bool { return !id.IsZero() && s.HasEncodedObject(id) == nil }

func newStore(dir string, objects storer.EncodedObjectStorer, refs storer.ReferenceStorer, shallow storer.ShallowStorer) (*store, error) {
	s := &store{EncodedObjectStorer: objects, refs: refs, dir: dir, cut: map[plumbing.Hash]bool{}}
	ends, err := shallow.Shallow()
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	for _, id := range ends {
		s.cut[id] = true
	}
	return s, nil
}

// openDirectory opens a repository somebody else keeps: a bare one, a work tree, or a linked work tree.
func openDirectory(dir string) (*store, error) {
	repo, err := git.PlainOpenWithOptions(dir, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("%s is not the top of a git repository", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return newStore(dir, repo.Storer, repo.Storer, repo.Storer)
}

// clone is the bare clone the watcher keeps. Opening it is cheap and keeps nothing in memory between two checks.
type clone struct{ dir string }

func (c *clone) storage() *filesystem.Storage {
	return filesystem.NewStorageWithOptions(osfs.New(c.dir, osfs.WithBoundOS()), cache.NewObjectLRU(8*cache.MiByte), filesystem.Options{})
}

func (c *clone) open() (*store, *filesystem.Storage, error) {
	if _, err := os.Stat(filepath.Join(c.dir, "HEAD")); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			return nil, nil, fmt.Errorf("make clone: %w", err)
		}
		if _, err := git.PlainInit(c.dir, true); err != nil {
			return nil, nil, fmt.Errorf("make clone: %w", err)
		}
	} else if err != nil {
		return nil, nil, fmt.Errorf("open clone: %w", err)
	}
	st := c.storage()
	s, err := newStore(c.dir, st, st, st)
	return s, st, err
}

// discard removes the clone: it is a copy, and can be had again.
func (c *clone) discard() error {
	if err := os.RemoveAll(c.dir); err != nil {
		return fmt.Errorf("discard clone: %w", err)
	}
	return nil
}

// tidy removes what an interrupted fetch has left, and a clone that has grown too much.
func (c *clone) tidy(l limits) error {
	for _, pattern := range []string{incoming + "*", "objects/pack/tmp_*"} {
		found, _ := filepath.Glob(filepath.Join(c.dir, pattern)) // the pattern is valid
		for _, name := range found {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("tidy clone: %w", err)
			}
		}
	}
	packs, _ := filepath.Glob(filepath.Join(c.dir, "objects", "pack", "*.pack"))
	size := int64(0)
	for _, name := range packs {
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	if len(packs) > l.packs || size > 2*l.pack {
		return c.discard()
	}
	return nil
}
