package gitclone

import (
	"errors"
	"fmt"
	"io"
	"path"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/suuupra/gateway/internal/gitwatch"
)

// Bounds on what Files reads of one commit.
const (
	maxFiles     = 100_000
	maxFileBytes = 256 << 20 // of all files together
	maxDepth     = 64        // folders in folders
)

// Files returns the content of the plain files in and below a folder of a commit that keep takes, by their slash path from the folder;
// "" is the root. Links and submodules are no plain files. A folder that is not there holds nothing.
func (c *Clone) Files(commit, folder string, keep func(path string) bool) (map[string][]byte, error) {
	s, err := c.open()
	if err != nil {
		return nil, err
	}
	at, err := object.GetCommit(s.objects, plumbing.NewHash(commit))
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", commit, err)
	}
	root, err := s.folder(at.TreeHash, folder)
	if err != nil || root.IsZero() {
		return nil, err
	}
	r := reader{s: s, keep: keep, out: map[string][]byte{}, left: maxFileBytes}
	if err := r.tree(root, "", 0); err != nil {
		return nil, fmt.Errorf("read the files of commit %s: %w", commit, err)
	}
	return r.out, nil
}

// folder finds a folder below a tree; the zero hash if it is not there.
func (s *store) folder(id plumbing.Hash, folder string) (plumbing.Hash, error) {
	for _, name := range split(folder) {
		t, err := object.GetTree(s.objects, id)
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

type reader struct {
	s    *store
	keep func(string) bool
	out  map[string][]byte
	left int64
}

func (r *reader) tree(id plumbing.Hash, folder string, depth int) error {
	if depth > maxDepth {
		return errors.New("folders lie in folders too deep")
	}
	t, err := object.GetTree(r.s.objects, id)
	if err != nil {
		return fmt.Errorf("tree %s: %w", id, err)
	}
	for _, e := range t.Entries {
		name := path.Join(folder, e.Name)
		switch {
		case e.Mode == filemode.Dir:
			err = r.tree(e.Hash, name, depth+1)
		case e.Mode.IsRegular() && r.keep(name):
			err = r.file(e.Hash, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) file(id plumbing.Hash, name string) error {
	b, err := object.GetBlob(r.s.objects, id)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	if r.left -= b.Size; r.left < 0 || len(r.out) == maxFiles {
		return &gitwatch.TooLarge{What: fmt.Sprintf("more than %d files, or %d MiB of them", maxFiles, maxFileBytes>>20)}
	}
	in, err := b.Reader()
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	defer func() { _ = in.Close() }()
	data, err := io.ReadAll(io.LimitReader(in, b.Size))
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	r.out[name] = data
	return nil
}
