package depot

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/suuupra/gateway/internal/gitsend"
	"github.com/suuupra/gateway/schema/bundle"
)

func (g *gitDepot) Prepare(context.Context) error {
	g.put("oci-layout", []byte(bundle.LayoutFile))
	return nil
}

func (g *gitDepot) put(name string, data []byte) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.puts[name] = data
}

// Put keeps a blob for the next commit.
func (g *gitDepot) Put(_ context.Context, ref bundle.Ref, data []byte) error {
	g.put(blobName(ref.Digest), data)
	return nil
}

// Commit pushes one commit. If the branch moved, but not this channel, it tries again on top of the new tip.
func (g *gitDepot) Commit(ctx context.Context, c Commit) error {
	ctx, cancel := context.WithTimeout(ctx, requestTimeout)
	defer cancel()
	g.mu.Lock()
	defer g.mu.Unlock()
	var last plumbing.Hash
	var refused *gitsend.Refused
	for range commitAttempts {
		tip, err := g.sync(ctx, "")
		if err != nil && !errors.Is(err, ErrNotFound) {
			return g.explain("fetch", err)
		}
		if refused != nil && tip == last { // nobody was faster: it has another reason, such as a protected branch
			return g.explain("push", refused)
		}
		last = tip
		commit, objects, err := g.next(ctx, tip, c)
		if err != nil {
			return err
		}
		err = g.push(ctx, tip, commit, objects)
		if errors.As(err, &refused) || errors.Is(err, ErrConflict) {
			continue
		}
		if err != nil {
			return g.explain("push", err)
		}
		clear(g.puts)
		return nil
	}
	return ErrConflict
}

// next builds the commit that follows tip. It returns its id and the new objects, in a store of their own.
func (g *gitDepot) next(ctx context.Context, tip plumbing.Hash, c Commit) (plumbing.Hash, *memory.Storage, error) {
	var index *bundle.Index
	var old *indexView
	root := &folderTree{}
	if !tip.IsZero() {
		var err error
		old, err = g.view(tip)
		switch {
		case err == nil:
			index = old.index
		case !errors.Is(err, ErrNotFound): // a branch without a layout in it gets one
			return plumbing.ZeroHash, nil, err
		}
		if root, err = g.load(tip); err != nil {
			return plumbing.ZeroHash, nil, g.explain("read commit", err)
		}
	}
	data, err := advance(index, c)
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	objects := memory.NewStorage()
	g.puts[indexName] = data
	for _, a := range c.artifacts() {
		g.puts[blobName(a.Descriptor.Digest)] = a.Manifest
	}
	for name, data := range g.puts {
		blob, err := store(objects, plumbing.BlobObject, data)
		if err != nil {
			return plumbing.ZeroHash, nil, err
		}
		root.set(strings.Split(name, "/"), blob)
	}
	if err := g.prune(ctx, root, data, old); err != nil {
		return plumbing.ZeroHash, nil, err
	}
	tree, err := root.write(objects)
	if err != nil {
		return plumbing.ZeroHash, nil, err
	}
	who := object.Signature{Name: "gwctl", Email: "gwctl@localhost", When: time.Now().UTC()}
	commit := &object.Commit{Author: who, Committer: who, Message: c.Message + "\n", TreeHash: tree}
	if !tip.IsZero() {
		commit.ParentHashes = []plumbing.Hash{tip}
	}
	id, err := encode(objects, commit)
	return id, objects, err
}

// prune drops the blobs nothing in the index needs: a reader fetches the whole tree.
func (g *gitDepot) prune(ctx context.Context, root *folderTree, index []byte, old *indexView) error {
	x, err := bundle.ParseIndex(index)
	if err != nil {
		return err
	}
	needed := map[string]bool{}
	for _, d := range x.Manifests {
		image, ok := g.puts[blobName(d.Digest)]
		if !ok && old != nil {
			if image, err = old.Image(ctx, d.Ref()); err != nil {
				return err
			}
		}
		refs, err := bundle.ImageBlobs(image)
		if err != nil {
			return err
		}
		for _, ref := range append(refs, d.Ref()) {
			needed[ref.Digest.Hex()] = true
		}
	}
	for name := range root.folders["blobs"].folders["sha256"].files {
		if !needed[name] {
			delete(root.folders["blobs"].folders["sha256"].files, name)
		}
	}
	return nil
}

// push sends the objects and moves the branch from one commit to another, or returns ErrConflict if it has moved.
func (g *gitDepot) push(ctx context.Context, from, to plumbing.Hash, objects *memory.Storage) error {
	session, err := g.client.NewReceivePackSession(g.endpoint, g.auth)
	if err != nil {
		return err
	}
	defer session.Close()
	p := gitsend.Push{Branch: g.branch, From: from, To: to, Objects: objects}
	for id := range objects.Objects {
		p.New = append(p.New, id)
	}
	if err := p.Send(ctx, session); !errors.Is(err, gitsend.ErrMoved) {
		return err
	}
	return ErrConflict
}

// folderTree is a tree being edited.
type folderTree struct {
	files   map[string]object.TreeEntry
	folders map[string]*folderTree
}

func (t *folderTree) set(path []string, blob plumbing.Hash) {
	if len(path) == 1 {
		if t.files == nil {
			t.files = map[string]object.TreeEntry{}
		}
		t.files[path[0]] = object.TreeEntry{Name: path[0], Mode: filemode.Regular, Hash: blob}
		return
	}
	if t.folders == nil {
		t.folders = map[string]*folderTree{}
	}
	if t.folders[path[0]] == nil {
		t.folders[path[0]] = &folderTree{}
	}
	delete(t.files, path[0])
	t.folders[path[0]].set(path[1:], blob)
}

// load reads the tree of a commit. Only blobs/sha256 is opened; other entries of the root stay as they are.
func (g *gitDepot) load(tip plumbing.Hash) (*folderTree, error) {
	commit, err := object.GetCommit(g.store, tip)
	if err != nil {
		return nil, err
	}
	return g.open(commit.TreeHash, "blobs", "sha256")
}

func (g *gitDepot) open(id plumbing.Hash, path ...string) (*folderTree, error) {
	tree, err := object.GetTree(g.store, id)
	if err != nil {
		return nil, err
	}
	t := &folderTree{files: map[string]object.TreeEntry{}, folders: map[string]*folderTree{}}
	for _, e := range tree.Entries {
		if len(path) > 0 && e.Name == path[0] && e.Mode == filemode.Dir {
			if t.folders[e.Name], err = g.open(e.Hash, path[1:]...); err != nil {
				return nil, err
			}
			continue
		}
		t.files[e.Name] = e
	}
	return t, nil
}

// write stores the tree and those below it.
func (t *folderTree) write(s *memory.Storage) (plumbing.Hash, error) {
	tree := &object.Tree{}
	for _, e := range t.files {
		tree.Entries = append(tree.Entries, e)
	}
	for name, sub := range t.folders {
		id, err := sub.write(s)
		if err != nil {
			return plumbing.ZeroHash, err
		}
		tree.Entries = append(tree.Entries, object.TreeEntry{Name: name, Mode: filemode.Dir, Hash: id})
	}
	sort.Sort(object.TreeEntrySorter(tree.Entries))
	return encode(s, tree)
}

func encode(s *memory.Storage, o interface {
	Encode(plumbing.EncodedObject) error
},
) (plumbing.Hash, error) {
	out := s.NewEncodedObject()
	if err := o.Encode(out); err != nil {
		return plumbing.ZeroHash, fmt.Errorf("write object: %w", err)
	}
	return s.SetEncodedObject(out)
}

func store(s *memory.Storage, kind plumbing.ObjectType, data []byte) (plumbing.Hash, error) {
	out := s.NewEncodedObject()
	out.SetType(kind)
	w, err := out.Writer()
	if err == nil {
		_, err = w.Write(data)
	}
	if err != nil {
		return plumbing.ZeroHash, fmt.Errorf("write object: %w", err)
	}
	return s.SetEncodedObject(out)
}
