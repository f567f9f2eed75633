// Package state keeps what a gateway must remember across a restart: the exact bytes of the last good bundles and the
// newest channel version it activated. It trusts nothing it reads back: callers verify every bundle again. It must not
// look into a bundle.
package state

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// Keep is how many generations stay on disk.
const Keep = 3

const (
	stateFile = "state.json"
	lockFile  = "lock"
	tmpPrefix = ".tmp-"
	stateMax  = 64 << 10

	overlaysFile = "overlays.json"
	overlaysMax  = bundle.MaxOverlays*bundle.MaxOverlay*2 + 64<<10 // as envelopes lie in it, in base64
)

// ErrLocked says that another gateway uses the directory.
var ErrLocked = errors.New("another gateway uses this state directory; give each its own")

// State is the small file beside the bundles.
type State struct {
	// Position is the newest channel that was activated: nothing older may follow (rollback protection).
	Position    bundle.Position `json:"position"`
	Environment string          `json:"environment,omitempty"` // whose positions these are: each environment counts its own
	ETag        string          `json:"etag,omitempty"`        // of the last activated version, for https sources
	ActivatedAt time.Time       `json:"activatedAt"`
}

// Generation is one kept bundle.
type Generation struct {
	Epoch, Version int64
	file           string
}

// Store is a directory that belongs to one gateway, from Open to Close.
type Store struct {
	dir  string
	lock *os.File
	// step is called before each persistence step; tests kill the process there.
	step func(name string)
}

// Open makes the directory if need be, and takes it for this process: it fails with ErrLocked while another one holds it.
// The lock ends with the process, however that ends. The directory's mode is 0700: bundles hold the whole configuration.
func Open(dir string) (*Store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("open state directory: %w", err)
	}
	lock, err := takeLock(filepath.Join(dir, lockFile))
	if err != nil {
		return nil, fmt.Errorf("open state directory %s: %w", dir, err)
	}
	s := &Store{dir: dir, lock: lock, step: func(string) {}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open state directory: %w", err), s.Close())
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tmpPrefix) { // what a crash left half written
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	return s, nil
}

// Close gives the directory to the next gateway. It is idempotent.
func (s *Store) Close() error {
	if s.lock == nil {
		return nil
	}
	err := s.lock.Close()
	s.lock = nil
	if err != nil {
		return fmt.Errorf("close state directory: %w", err)
	}
	return nil
}

// OnStep sets a hook that is called before each step of Save, with the step's name: crash tests end the process there.
func (s *Store) OnStep(step func(name string)) { s.step = step }

// Load returns the state, or the zero State if there is none that can be read: the bundles themselves then tell how far
// this gateway had come.
func (s *Store) Load() (State, error) {
	var st State
	raw, err := readBounded(filepath.Join(s.dir, stateFile), stateMax)
	if errors.Is(err, fs.ErrNotExist) {
		return st, nil
	}
	if err != nil {
		return st, fmt.Errorf("read state: %w", err)
	}
	if err := json.Unmarshal(raw, &st); err != nil {
		return State{}, fmt.Errorf("decode state: %w", err)
	}
	return st, nil
}

// nameOf is the file of a generation; the zero padding makes names sort as versions do.
func nameOf(epoch, version int64) string { return fmt.Sprintf("%010d-%019d.gwb", epoch, version) }

// GenerationAt names the bundle that was kept for a channel position.
func GenerationAt(p bundle.Position) Generation {
	return Generation{Epoch: p.Epoch, Version: p.Version, file: nameOf(p.Epoch, p.Version)}
}

var namePattern = regexp.MustCompile(`^(\d{10})-(\d{19})\.gwb$`)

// Generations lists the kept bundles, newest first.
func (s *Store) Generations() ([]Generation, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("list bundles: %w", err)
	}
	var out []Generation
	for _, e := range entries {
		m := namePattern.FindStringSubmatch(e.Name())
		if m == nil || !e.Type().IsRegular() {
			continue
		}
		var g Generation
		if _, err := fmt.Sscanf(m[1]+" "+m[2], "%d %d", &g.Epoch, &g.Version); err != nil {
			continue
		}
		g.file = e.Name()
		out = append(out, g)
	}
	slices.SortFunc(out, func(a, b Generation) int { return cmp.Compare(b.file, a.file) })
	return out, nil
}

// Read returns the bytes of a kept bundle, exactly as they were received.
func (s *Store) Read(g Generation) ([]byte, error) {
	raw, err := readBounded(filepath.Join(s.dir, g.file), bundle.MaxArchive)
	if err != nil {
		return nil, fmt.Errorf("read kept bundle: %w", err)
	}
	return raw, nil
}

// Save keeps a bundle that was activated and moves the state forward. A crash between any two steps leaves a directory
// from which Load and Generations recover a good bundle: the archive is complete before the state names it, and older
// generations go last.
func (s *Store) Save(archive []byte, st State) error {
	s.step("archive")
	if err := s.write(nameOf(st.Position.Epoch, st.Position.Version), archive); err != nil {
		return fmt.Errorf("keep bundle: %w", err)
	}
	raw, err := json.MarshalIndent(st, "", "  ")
	if err != nil {
		return fmt.Errorf("encode state: %w", err)
	}
	s.step("state")
	if err := s.write(stateFile, append(raw, '\n')); err != nil {
		return fmt.Errorf("write state: %w", err)
	}
	s.step("prune")
	if err := s.prune(st.Position); err != nil {
		return err
	}
	s.step("done")
	return nil
}

// KeepOverlays keeps the overlays, in a form that is theirs to choose.
func (s *Store) KeepOverlays(data []byte) error {
	if err := s.write(overlaysFile, data); err != nil {
		return fmt.Errorf("keep overlays: %w", err)
	}
	return nil
}

// Overlays returns what KeepOverlays kept; nil: nothing.
func (s *Store) Overlays() ([]byte, error) {
	raw, err := readBounded(filepath.Join(s.dir, overlaysFile), overlaysMax)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read overlays: %w", err)
	}
	return raw, nil
}

// prune keeps the newest generations up to a position. What is newer than the position just saved cannot be of use: positions
// only move forward, so it belongs to another environment or was never activated. It goes first.
func (s *Store) prune(at bundle.Position) error {
	gens, err := s.Generations()
	if err != nil {
		return err
	}
	kept := 0
	for _, g := range gens {
		if (bundle.Position{Epoch: g.Epoch, Version: g.Version}).Compare(at) <= 0 && kept < Keep {
			kept++
			continue
		}
		s.step("remove")
		if err := os.Remove(filepath.Join(s.dir, g.file)); err != nil {
			return fmt.Errorf("drop old bundle: %w", err)
		}
	}
	return nil
}

// write replaces a file so that a reader, or a machine that loses power, sees the old bytes or the new ones.
func (s *Store) write(name string, data []byte) error {
	f, err := os.CreateTemp(s.dir, tmpPrefix+"*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // gone already after the rename
	if _, err := f.Write(data); err != nil {
		return errors.Join(err, f.Close())
	}
	s.step("sync " + name)
	if err := f.Sync(); err != nil {
		return errors.Join(err, f.Close())
	}
	if err := f.Close(); err != nil {
		return err
	}
	s.step("rename " + name)
	if err := os.Rename(f.Name(), filepath.Join(s.dir, name)); err != nil {
		return err
	}
	s.step("sync directory " + name)
	d, err := os.Open(s.dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// readBounded reads a regular file of at most limit bytes; the limit holds even if the file grows while it is read. Links
// and pipes are not followed or waited for.
func readBounded(path string, limit int64) ([]byte, error) {
	name := filepath.Base(path)
	before, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !before.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", name)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	if after, err := f.Stat(); err != nil || !os.SameFile(before, after) {
		return nil, fmt.Errorf("%s was replaced while it was opened", name)
	}
	raw, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err == nil && int64(len(raw)) > limit {
		err = fmt.Errorf("%s is larger than %d bytes", name, limit)
	}
	return raw, err
}
