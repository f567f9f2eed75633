package secret

import (
	"crypto/sha256"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"runtime/debug"
	"slices"
	"time"
)

// pollEvery is the time between two looks at the watched files. Looking needs no help from the file system: mounts of
// Kubernetes swap a link two levels up, and network file systems announce nothing.
const pollEvery = time.Second

// settled is how old a file has to be before its metadata is believed to show the next change. Time stamps of file systems are
// as coarse as two seconds: a file may change again with the same one.
const settled = 5 * time.Second

// rereadAfter is when a file is read again whatever its metadata say: programs can set them back.
const rereadAfter = 30 * time.Second

// file is a watched file. Only the poller looks at it after the first watch began.
type file struct {
	info     fs.FileInfo // nil: could not be read
	readAt   time.Time
	content  [sha256.Size]byte // of what was read; zero: could not be read
	watchers []*watcher
}

type watcher struct{ changed func() }

// Watch calls changed after each change of what ref names, also when it comes to be missing, or back: at the latest two seconds
// after it (half a minute if its size and time stamp were kept), and never concurrently with itself. An environment variable never changes. A change between a Get and a Watch that
// follows it is not told: watch first. changed may be running still when stop returns, and must not block for long.
func (s *Store) Watch(ref string, changed func()) (stop func()) {
	path, err := pathOf(ref)
	if err != nil {
		return func() {}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return func() {}
	}
	f := s.files[path]
	if f == nil {
		f = &file{}
		f.look(path, time.Now())
		s.files[path] = f
	}
	s.begin.Do(func() { s.polling.Go(s.poll) })
	w := &watcher{changed}
	f.watchers = append(f.watchers, w)
	return func() { s.unwatch(path, w) }
}

func (s *Store) unwatch(path string, w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.files[path]
	if f == nil {
		return
	}
	f.watchers = slices.DeleteFunc(f.watchers, func(x *watcher) bool { return x == w })
	if len(f.watchers) == 0 {
		delete(s.files, path)
	}
}

// Close ends all watching, and waits for a callback that is running. It must not be called from one.
func (s *Store) Close() {
	s.mu.Lock()
	if !s.closed {
		s.closed = true
		close(s.stop)
	}
	s.mu.Unlock()
	s.polling.Wait()
}

// poll looks at the watched files until Close.
func (s *Store) poll() {
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		for path, f := range s.watched() {
			if !f.look(path, time.Now()) {
				continue
			}
			for _, w := range s.watchers(f) {
				s.tell(path, w)
			}
		}
	}
}

func (s *Store) watched() map[string]*file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.files)
}

func (s *Store) watchers(f *file) []*watcher {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(f.watchers)
}

// tell calls one watcher. One that panics must not end the watching for all others.
func (s *Store) tell(path string, w *watcher) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("a watcher of a secret panicked", slog.String("path", path), slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
		}
	}()
	w.changed()
}

// look reports whether the file differs from what it was when it was looked at last. The content is read only if the metadata
// leave a doubt.
func (f *file) look(path string, now time.Time) bool {
	info, err := os.Stat(path) // behind every link
	if err != nil {
		info = nil
	}
	if f.info != nil && info != nil && os.SameFile(f.info, info) && f.info.Size() == info.Size() &&
		f.info.ModTime().Equal(info.ModTime()) && f.readAt.Sub(info.ModTime()) > settled && now.Sub(f.readAt) < rereadAfter {
		return false
	}
	before := f.content
	f.info, f.readAt, f.content = info, now, [sha256.Size]byte{}
	if value, err := readFile(path); err == nil {
		f.content = sha256.Sum256(value)
	}
	return f.content != before
}
