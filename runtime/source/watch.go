package source

import (
	"context"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/suuupra/gateway/internal/depot"
)

// Watch calls changed soon after the files of a local source change, until ctx ends. It is a hint on top of polling,
// which stays: network file systems and some containers announce nothing. For other sources it returns at once.
func (s *Source) Watch(ctx context.Context, changed func()) {
	if !s.Local() {
		return
	}
	dir, name := s.location.Path, ""
	if s.location.Kind == depot.Archive {
		dir, name = filepath.Dir(s.location.Path), filepath.Base(s.location.Path)
	}
	retry := time.NewTicker(time.Second)
	defer retry.Stop()
	for { // a folder may come later than the gateway, and may be replaced by another one
		if !watchFolder(ctx, dir, name, changed) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-retry.C:
		}
	}
}

// watchFolder reports whether to try again: false once ctx has ended.
func watchFolder(ctx context.Context, dir, name string, changed func()) bool {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return true
	}
	defer w.Close()
	if err := w.Add(dir); err != nil {
		return true
	}
	changed() // something may have happened before
	for {
		select {
		case <-ctx.Done():
			return false
		case e, ok := <-w.Events:
			if !ok {
				return true
			}
			if gone := e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename); gone && filepath.Clean(e.Name) == filepath.Clean(dir) {
				return true
			}
			if base := filepath.Base(e.Name); relevant(base, name) {
				changed()
			}
		case _, ok := <-w.Errors:
			if !ok {
				return true
			}
			changed() // events were lost
		}
	}
}

// relevant says which names announce a new state: that of the archive, or the index of a layout, or the link by which a
// volume is swapped as a whole.
func relevant(base, name string) bool {
	if name != "" {
		return base == name || base == "..data"
	}
	return base == "index.json" || base == "..data"
}
