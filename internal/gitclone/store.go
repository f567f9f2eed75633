package gitclone

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// maxPacks is how many fetches a clone takes before it is made anew; without a git program nothing ever repacks it.
const maxPacks = 64

// maxLoose is the same for objects that no pack holds.
const maxLoose = 20_000

// headRef keeps what was fetched last: the next fetch builds on it.
const headRef = plumbing.ReferenceName("refs/publisher/head")

// damaged is a failure of the clone, as opposed to one of the server or the way to it: the clone can be had again.
type damaged struct{ err error }

func (e *damaged) Error() string { return e.err.Error() }
func (e *damaged) Unwrap() error { return e.err }

// store is the objects of a repository, opened for one use: a storage lists its packs once.
type store struct {
	objects storer.EncodedObjectStorer
	refs    storer.ReferenceStorer
	cut     map[plumbing.Hash]bool // commits whose parents are not there, by intention
	files   *filesystem.Storage    // nil for a repository somebody else keeps
}

func (c *Clone) open() (*store, error) {
	if c.remote == nil {
		repo, err := git.PlainOpenWithOptions(c.dir, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
		if errors.Is(err, git.ErrRepositoryNotExists) {
			return nil, fmt.Errorf("%s is not the top of a git repository", c.dir)
		}
		if err != nil {
			return nil, fmt.Errorf("open %s: %w", c.dir, err)
		}
		return newStore(&store{objects: repo.Storer, refs: repo.Storer}, repo.Storer)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "HEAD")); errors.Is(err, os.ErrNotExist) {
		if err := os.MkdirAll(c.dir, 0o700); err != nil {
			return nil, fmt.Errorf("make the clone: %w", err)
		}
		if _, err := git.PlainInit(c.dir, true); err != nil {
			return nil, &damaged{fmt.Errorf("make the clone: %w", err)}
		}
	} else if err != nil {
		return nil, fmt.Errorf("open the clone: %w", err)
	}
	files := filesystem.NewStorageWithOptions(osfs.New(c.dir, osfs.WithBoundOS()), cache.NewObjectLRU(8*cache.MiByte), filesystem.Options{})
	return newStore(&store{objects: files, refs: files, files: files}, files)
}

func newStore(s *store, shallow storer.ShallowStorer) (*store, error) {
	ends, err := shallow.Shallow()
	if err != nil {
		return nil, &damaged{fmt.Errorf("open the clone: %w", err)}
	}
	s.cut = map[plumbing.Hash]bool{}
	for _, id := range ends {
		s.cut[id] = true
	}
	return s, nil
}

func (s *store) has(id plumbing.Hash) bool {
	return !id.IsZero() && s.objects.HasEncodedObject(id) == nil
}

func (s *store) shallow() bool { return len(s.cut) > 0 }

// fetched is what the last fetch was for.
func (s *store) fetched() plumbing.Hash {
	ref, err := s.refs.Reference(headRef)
	if err != nil {
		return plumbing.ZeroHash
	}
	return ref.Hash()
}

// head follows tags to the commit they stand for.
func (s *store) head(t gitwatch.Tip) (Head, error) {
	id := t.ID
	for range 5 { // a tag may stand for a tag
		tag, err := object.GetTag(s.objects, id)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		if err != nil {
			return Head{}, &damaged{fmt.Errorf("read tag %s: %w", id, err)}
		}
		id = tag.Target
	}
	if _, err := object.GetCommit(s.objects, id); err != nil {
		return Head{}, &damaged{fmt.Errorf("read commit %s: %w", id, err)}
	}
	return Head{t.Name.String(), id.String()}, nil
}

// tidy removes what an interrupted fetch has left, and a clone that has grown too much.
func (c *Clone) tidy() error {
	for _, pattern := range []string{incoming + "*", "objects/pack/tmp_*"} {
		found, _ := filepath.Glob(filepath.Join(c.dir, pattern)) // the pattern is valid
		for _, name := range found {
			if err := os.Remove(name); err != nil {
				return fmt.Errorf("tidy the clone: %w", err)
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
	// Drafts and their objects lie loose, and nothing packs them either.
	loose, _ := filepath.Glob(filepath.Join(c.dir, "objects", "??", "*"))
	if len(packs) > c.limits.packs || len(loose) > maxLoose || size > 2*c.limits.pack {
		return c.Discard()
	}
	return nil
}
