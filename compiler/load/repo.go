package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/suuupra/gateway/compiler/yamlpos"
)

// ErrNoRepository says that a directory lies in no git repository.
var ErrNoRepository = errors.New("not in a git repository")

// ErrShallow says that a commit is missing because the clone is shallow.
var ErrShallow = errors.New("the clone is shallow and does not hold it: fetch with --unshallow, or with a larger --depth")

// Repo is a git repository that holds a config repository, at its root or in a folder.
type Repo struct {
	git *git.Repository
	sub string // path of the config repository inside it, "" for the root
}

// OpenRepo opens the repository dir lies in. Worktrees, clones that borrow objects from another one, and bare
// repositories work too. It returns an error that is ErrNoRepository if there is none.
func OpenRepo(dir string) (*Repo, error) {
	abs, err := absolute(dir)
	if err != nil {
		return nil, fmt.Errorf("open git repository: %w", err)
	}
	plain, err := git.PlainOpenWithOptions(abs, &git.PlainOpenOptions{DetectDotGit: !isBare(abs), EnableDotGitCommonDir: true})
	if errors.Is(err, git.ErrRepositoryNotExists) {
		return nil, fmt.Errorf("%s: %w", dir, ErrNoRepository)
	} else if err != nil {
		return nil, fmt.Errorf("open git repository: %w", err)
	}
	dot, ok := plain.Storer.(*filesystem.Storage)
	if !ok {
		return nil, errors.New("open git repository: it is not on disk")
	}
	// Opened again for the sake of clones that borrow objects by absolute path: go-git looks for those below .git.
	storage := filesystem.NewStorageWithOptions(dot.Filesystem(), cache.NewObjectLRUDefault(),
		filesystem.Options{AlternatesFS: osfs.New(filepath.VolumeName(abs) + string(filepath.Separator))})
	repo, err := git.Open(storage, nil)
	if err != nil {
		return nil, fmt.Errorf("open git repository: %w", err)
	}
	sub := ""
	if wt, err := plain.Worktree(); err == nil {
		root, err := absolute(wt.Filesystem.Root())
		if err != nil {
			return nil, fmt.Errorf("open git repository: %w", err)
		}
		if sub, err = filepath.Rel(root, abs); err != nil {
			return nil, fmt.Errorf("open git repository: %w", err)
		}
		if sub = filepath.ToSlash(sub); sub == "." {
			sub = ""
		}
	}
	return &Repo{git: repo, sub: sub}, nil
}

// Git returns the repository, and the path of the config repository inside it, "" for the root.
func (r *Repo) Git() (*git.Repository, string) { return r.git, r.sub }

// isBare reports whether dir is a repository without a worktree.
func isBare(dir string) bool {
	for _, name := range []string{"HEAD", "objects", "refs"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return false
		}
	}
	return true
}

// Head returns the commit that is checked out and the branch, which is "" for a detached HEAD. Before the first commit
// both are "".
func (r *Repo) Head(ctx context.Context) (commit, branch string, err error) {
	if err := ctx.Err(); err != nil {
		return "", "", err
	}
	head, err := r.git.Head()
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return "", "", nil
	} else if err != nil {
		return "", "", fmt.Errorf("read HEAD: %w", err)
	}
	if head.Name().IsBranch() {
		branch = head.Name().Short()
	}
	return head.Hash().String(), branch, nil
}

// gitTree is the config repository at one commit.
type gitTree struct {
	repo *Repo
	root *object.Tree
	dirs map[string]*object.Tree
}

// source returns the config repository at a commit, given by its full hash.
func (r *Repo) source(commit string) (*gitTree, error) {
	c, err := r.git.CommitObject(plumbing.NewHash(commit))
	if err != nil {
		return nil, r.missing(err)
	}
	root, err := c.Tree()
	if err != nil {
		return nil, r.missing(err)
	}
	if r.sub != "" {
		if root, err = root.Tree(r.sub); errors.Is(err, object.ErrDirectoryNotFound) {
			return nil, fmt.Errorf("commit %s has no folder %q", commit, r.sub)
		} else if err != nil {
			return nil, r.missing(err)
		}
	}
	return &gitTree{repo: r, root: root, dirs: map[string]*object.Tree{".": root}}, nil
}

func (t *gitTree) rootHash() string { return t.root.Hash.String() }

func (t *gitTree) dir(p string) (*object.Tree, error) {
	if d := t.dirs[p]; d != nil {
		return d, nil
	}
	parent, err := t.dir(path.Dir(p))
	if err != nil {
		return nil, err
	}
	d, err := parent.Tree(path.Base(p))
	if err != nil {
		return nil, err
	}
	t.dirs[p] = d
	return d, nil
}

func (t *gitTree) list(dir string) ([]entry, error) {
	d, err := t.dir(dir)
	if err != nil {
		return nil, t.repo.missing(err)
	}
	if len(d.Entries) > MaxFiles {
		return nil, errTooMany
	}
	out := make([]entry, 0, len(d.Entries))
	for _, te := range d.Entries {
		e := entry{name: te.Name, hash: te.Hash}
		switch te.Mode {
		case filemode.Dir:
			e.kind = folder
		case filemode.Symlink:
			e.kind = link
		case filemode.Submodule:
			e.kind = submodule
		case filemode.Regular, filemode.Executable, filemode.Deprecated:
			e.kind = file
		default:
			e.kind = special
		}
		if strings.Contains(e.name, "/") || e.name == ".." || e.name == "." || e.name == "" {
			return nil, fmt.Errorf("the tree %s holds the name %q, which git never writes", d.Hash, e.name)
		}
		out = append(out, e)
	}
	slices.SortFunc(out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	return out, nil
}

func (t *gitTree) read(_ string, e entry) ([]byte, error) { return t.repo.blob(e.hash) }

// blob reads a blob of at most yamlpos.MaxBytes.
func (r *Repo) blob(hash plumbing.Hash) ([]byte, error) {
	b, err := r.git.BlobObject(hash)
	if err != nil {
		return nil, r.missing(err)
	}
	if b.Size > yamlpos.MaxBytes {
		return nil, errTooLarge
	}
	rd, err := b.Reader()
	if err != nil {
		return nil, r.missing(err)
	}
	defer rd.Close()
	return io.ReadAll(io.LimitReader(rd, yamlpos.MaxBytes))
}

func (t *gitTree) target(_ string, e entry) (string, error) {
	data, err := t.repo.blob(e.hash)
	if errors.Is(err, errTooLarge) {
		return "", nil
	}
	return string(data), err
}

// missing explains an object that is not there.
func (r *Repo) missing(err error) error {
	if !errors.Is(err, plumbing.ErrObjectNotFound) {
		return err
	}
	if shallow, serr := r.git.Storer.Shallow(); serr == nil && len(shallow) > 0 {
		return fmt.Errorf("%w: %w", ErrShallow, err)
	}
	return err
}
