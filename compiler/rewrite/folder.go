package rewrite

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/suuupra/gateway/compiler/yamlpos"
)

// maxLinks bounds a chain of links, as it does where files are loaded.
const maxLinks = 8

// Folder is a config repository on disk. Nothing outside it is read or written, whatever the links in it say.
type Folder struct{ root *os.Root }

// OpenFolder opens a config repository. The caller closes it.
func OpenFolder(dir string) (*Folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open repository: %w", err)
	}
	return &Folder{root}, nil
}

// Close releases the folder.
func (d *Folder) Close() error { return d.root.Close() }

// Read returns the bytes of a file of at most yamlpos.MaxBytes.
func (d *Folder) Read(name string) ([]byte, error) {
	data, err := d.read(name)
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		err = cause.Err // the path is said already, as its author knows it
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

func (d *Folder) read(name string) ([]byte, error) {
	f, err := d.root.Open(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, yamlpos.MaxBytes+1))
	if err == nil && len(data) > yamlpos.MaxBytes {
		err = fmt.Errorf("it has more than %d bytes", yamlpos.MaxBytes)
	}
	return data, err
}

// replacement is a file that is written and not yet in its place.
type replacement struct{ beside, place string }

// Write puts the files of a plan in place, each as a whole: a crash leaves its old bytes or the new ones. All of them are written
// beside their places first, so that a full disk leaves the repository as it was. A link stays a link: the file it leads to changes. A
// file that is not what the plan was made of is an error, and nothing is written.
func (d *Folder) Write(p *Plan) error {
	var all []replacement
	defer func() {
		for _, r := range all {
			_ = d.root.Remove(r.beside) // gone already after the rename
		}
	}()
	places := map[string]bool{}
	for _, f := range p.Files {
		now, err := d.Read(f.Path)
		if err != nil {
			return err
		}
		if !bytes.Equal(now, f.Before) {
			return fmt.Errorf("%s has changed while it was migrated; nothing was written", f.Path)
		}
		place, err := d.follow(f.Path)
		if err != nil {
			return err
		}
		if places[place] { // two links, one file, and one result
			continue
		}
		places[place] = true
		r := replacement{path.Join(path.Dir(place), ".gwctl-"+rand.Text()), place}
		all = append(all, r)
		if err := d.beside(r, f.After); err != nil {
			return fmt.Errorf("write %s: %w", f.Path, err)
		}
	}
	for i, r := range all {
		if err := d.root.Rename(r.beside, r.place); err != nil {
			return fmt.Errorf("write %s: %w; %d of %d files are in place", r.place, err, i, len(all))
		}
	}
	return nil
}

// beside writes a file with the mode of the one it will take the place of.
func (d *Folder) beside(r replacement, data []byte) error {
	info, err := d.root.Lstat(r.place)
	if err != nil {
		return err
	}
	f, err := d.root.OpenFile(r.beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Chmod(info.Mode().Perm()), f.Sync(), f.Close())
}

// follow finds the regular file that a path leads to within the folder.
func (d *Folder) follow(name string) (string, error) {
	for range maxLinks {
		info, err := d.root.Lstat(filepath.FromSlash(name))
		if err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
		if info.Mode().IsRegular() {
			return name, nil
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			return "", fmt.Errorf("write %s: it is not a regular file", name)
		}
		target, err := d.root.Readlink(filepath.FromSlash(name))
		if err != nil {
			return "", fmt.Errorf("write %s: %w", name, err)
		}
		if path.IsAbs(filepath.ToSlash(target)) {
			return "", fmt.Errorf("write %s: the link leaves the repository", name)
		}
		name = path.Join(path.Dir(name), filepath.ToSlash(target)) // one that leaves the folder fails above
	}
	return "", fmt.Errorf("write %s: it leads through more than %d links", name, maxLinks)
}
