package depot

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/suuupra/gateway/schema/bundle"
)

// folder is an OCI image layout on disk. Files are complete before they have their name: blobs first, and index.json,
// which makes them visible, last.
type folder struct{ path string }

const (
	indexName = "index.json"
	lockName  = ".lock"
)

func (f *folder) Close() error { return nil }

func (f *folder) Look(_ context.Context, _, last string) (View, error) {
	data, err := readFile(filepath.Join(f.path, indexName), bundle.MaxIndex)
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, fmt.Errorf("%s is neither a folder that bundles are published to nor a .gwb file", f.path)
	}
	if err != nil {
		return nil, fmt.Errorf("read bundles in %s: %w", f.path, err)
	}
	etag := string(bundle.DigestOf(data))
	if etag == last {
		return nil, ErrNotModified
	}
	v, err := newIndexView(data, etag, f.read)
	if err != nil {
		return nil, fmt.Errorf("read bundles in %s: %w", f.path, err)
	}
	return v, nil
}

func (f *folder) blobs() string { return filepath.Join(f.path, "blobs", "sha256") }

func (f *folder) blob(d bundle.Digest) string { return filepath.Join(f.blobs(), d.Hex()) }

func (f *folder) read(_ context.Context, ref bundle.Ref) ([]byte, error) {
	return readFile(f.blob(ref.Digest), ref.Size)
}

// readFile reads a plain file of at most limit bytes. Pipes and devices, which could block for ever, are refused.
func readFile(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), ErrNotFound)
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is not a plain file", filepath.Base(path))
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAll(file, limit)
}

// readAll reads at most limit bytes, and refuses more.
func readAll(r io.Reader, limit int64) ([]byte, error) {
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if n > limit {
		return nil, bundle.Refuse(bundle.TooLarge, "it is larger than the %d bytes it may have", limit)
	}
	return buf.Bytes(), nil
}

func (f *folder) Prepare(context.Context) error {
	entries, err := os.ReadDir(f.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("prepare %s: %w", f.path, err)
	}
	layout := filepath.Join(f.path, "oci-layout")
	if _, err := os.Stat(layout); len(entries) > 0 && errors.Is(err, fs.ErrNotExist) && !onlyHidden(entries) {
		return fmt.Errorf("prepare %s: the folder holds other files and no oci-layout; name an empty folder", f.path)
	}
	if err := os.MkdirAll(f.blobs(), 0o755); err != nil {
		return fmt.Errorf("prepare %s: %w", f.path, err)
	}
	if _, err := os.Stat(layout); err == nil {
		return nil
	}
	if err := writeFile(layout, []byte(bundle.LayoutFile)); err != nil {
		return fmt.Errorf("prepare %s: %w", f.path, err)
	}
	return nil
}

// onlyHidden reports whether a folder was prepared by somebody who got no further than its first files.
func onlyHidden(entries []os.DirEntry) bool {
	for _, e := range entries {
		if name := e.Name(); name[0] != '.' && name != "blobs" {
			return false
		}
	}
	return true
}

// Put writes a blob. A blob that is there is read once more: a damaged disk must not keep a good bundle from being
// published.
func (f *folder) Put(ctx context.Context, ref bundle.Ref, data []byte) error {
	if old, err := f.read(ctx, ref); err == nil && checkBlob(ref, old) == nil {
		return nil
	}
	if err := writeFile(f.blob(ref.Digest), data); err != nil {
		return fmt.Errorf("write blob %s: %w", ref.Digest.Short(), err)
	}
	return nil
}

func (f *folder) Commit(ctx context.Context, c Commit) error {
	put := func(ref bundle.Ref, data []byte) error { return f.Put(ctx, ref, data) }
	if err := putImages(c, put); err != nil {
		return err
	}
	unlock, err := lockFile(ctx, filepath.Join(f.path, lockName))
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.path, err)
	}
	defer unlock()
	var index *bundle.Index
	data, err := readFile(filepath.Join(f.path, indexName), bundle.MaxIndex)
	switch {
	case err == nil:
		if index, err = bundle.ParseIndex(data); err != nil {
			return fmt.Errorf("read %s: %w", indexName, err)
		}
	case !errors.Is(err, ErrNotFound):
		return fmt.Errorf("read %s: %w", indexName, err)
	}
	next, err := advance(index, c)
	if err != nil {
		return err
	}
	if err := syncFolder(f.blobs()); err != nil { // the names of the blobs, before what points at them
		return fmt.Errorf("write %s: %w", indexName, err)
	}
	if err := writeFile(filepath.Join(f.path, indexName), next); err != nil {
		return fmt.Errorf("write %s: %w", indexName, err)
	}
	if err := syncFolder(f.path); err != nil {
		return fmt.Errorf("write %s: %w", indexName, err)
	}
	return nil
}

// writeFile replaces a file at once or not at all: temporary name, sync, rename.
func writeFile(path string, data []byte) (err error) {
	tmp, err := os.CreateTemp(filepath.Dir(path), ".tmp-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp.Name())
		}
	}()
	_, err = tmp.Write(data)
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), path)
}

func syncFolder(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// archive is a .gwb file. It is read whole each time its size, time or inode changes.
type archive struct{ path string }

func (a *archive) Close() error { return nil }

func (a *archive) Look(_ context.Context, _, last string) (View, error) {
	before, err := os.Stat(a.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read %s: %w", a.path, ErrNotFound)
	}
	if err != nil {
		return nil, fmt.Errorf("read archive: %w", err)
	}
	etag := fileState(before)
	if etag == last {
		return nil, ErrNotModified
	}
	data, err := readFile(a.path, bundle.MaxArchive)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", a.path, err)
	}
	files, err := bundle.ArchiveFiles(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.path, err)
	}
	if after, err := os.Stat(a.path); err != nil || fileState(after) != etag {
		return nil, &Unavailable{Err: fmt.Errorf("read %s: it was changed while it was read", a.path)}
	}
	read := func(_ context.Context, ref bundle.Ref) ([]byte, error) {
		blob, ok := files["blobs/sha256/"+ref.Digest.Hex()]
		if !ok {
			return nil, ErrNotFound
		}
		return blob, nil
	}
	v, err := newIndexView(files[indexName], etag, read)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", a.path, err)
	}
	return v, nil
}
