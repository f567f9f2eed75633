package load

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/suuupra/gateway/compiler/yamlpos"
)

// disk is a directory. os.Root keeps every access inside it, whatever happens to the links in it meanwhile.
type disk struct{ root *os.Root }

func openDisk(dir string) (*disk, error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%s is not a directory", dir)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	return &disk{root}, nil
}

// Close releases the directory.
func (d *disk) Close() error { return d.root.Close() }

func (d *disk) list(dir string) ([]entry, error) {
	f, err := d.root.Open(filepath.FromSlash(dir))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	found, err := f.ReadDir(MaxFiles + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(found) > MaxFiles {
		return nil, errTooMany
	}
	out := make([]entry, 0, len(found))
	for _, de := range found {
		info, err := de.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue // gone between the two calls
		} else if err != nil {
			return nil, err
		}
		out = append(out, entry{name: de.Name(), kind: diskKind(info.Mode()), size: info.Size()})
	}
	slices.SortFunc(out, func(a, b entry) int { return cmp.Compare(a.name, b.name) })
	return out, nil
}

func diskKind(m fs.FileMode) kind {
	switch {
	case m.IsRegular():
		return file
	case m.IsDir():
		return folder
	case m&fs.ModeSymlink != 0:
		return link
	}
	return special
}

func (d *disk) read(p string, _ entry) ([]byte, error) {
	f, err := d.root.Open(filepath.FromSlash(p))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, yamlpos.MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > yamlpos.MaxBytes {
		return nil, errTooLarge
	}
	return data, nil
}

func (d *disk) target(p string, _ entry) (string, error) {
	t, err := d.root.Readlink(filepath.FromSlash(p))
	return filepath.ToSlash(t), err
}
