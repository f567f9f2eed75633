package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// writeNew never overwrites: a lost key can't be made again.
func writeNew(path string, data []byte, mode os.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if errors.Is(err, fs.ErrExist) {
		return existsError(path)
	}
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Close())
}

func existsError(path string) error {
	return fmt.Errorf("%s exists; choose another directory, or move it away first", path)
}

// noneExist looks before several files are written, so that a refusal leaves none of them behind.
func noneExist(paths ...string) error {
	for _, p := range paths {
		if _, err := os.Lstat(p); err == nil {
			return existsError(p)
		}
	}
	return nil
}

// replaceFile makes data the content of a file. It writes beside it and renames, so that a crash or a full disk leaves the
// old bytes or the new ones. What is behind a link is replaced, not the link; a device or a pipe is written to.
func replaceFile(path string, data []byte) error {
	mode := os.FileMode(0o644)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return fmt.Errorf("write %s: it is a directory", path)
	case err == nil && !info.Mode().IsRegular():
		return os.WriteFile(path, data, mode)
	case err == nil:
		mode = info.Mode().Perm()
		if path, err = filepath.EvalSymlinks(path); err != nil {
			return fmt.Errorf("write: %w", err)
		}
	}
	beside := filepath.Join(filepath.Dir(path), ".gwctl-"+rand.Text())
	f, err := os.OpenFile(beside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if cause := (*fs.PathError)(nil); errors.As(err, &cause) {
		return fmt.Errorf("write %s: %w", path, cause.Err)
	}
	defer func() { _ = os.Remove(beside) }() // gone already after the rename
	_, err = f.Write(data)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(beside, path)
}
