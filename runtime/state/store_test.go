package state_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/runtime/state"
	"github.com/suuupra/gateway/schema/bundle"
)

func open(t *testing.T, dir string) *state.Store {
	t.Helper()
	s, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func at(epoch, version int64) state.State {
	return state.State{
		Position:    bundle.Position{Epoch: epoch, Version: version, Digest: bundle.DigestOf(fmt.Append(nil, epoch, version))},
		Environment: "prod", ETag: fmt.Sprintf(`"%d.%d"`, epoch, version), ActivatedAt: time.Unix(1_700_000_000+version, 0).UTC(),
	}
}

func save(t *testing.T, s *state.Store, st state.State) {
	t.Helper()
	if err := s.Save([]byte("archive of "+st.Position.String()), st); err != nil {
		t.Fatal(err)
	}
}

// kept lists the generations as "epoch.version", newest first, after a look into each.
func kept(t *testing.T, s *state.Store) []string {
	t.Helper()
	gens, err := s.Generations()
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, g := range gens {
		name := fmt.Sprintf("%d.%d", g.Epoch, g.Version)
		data, err := s.Read(g)
		if err != nil || string(data) != "archive of "+name {
			t.Errorf("generation %s holds %q, %v", name, data, err)
		}
		out = append(out, name)
	}
	return out
}

func TestSaveAndLoad(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "state[1]*") // a name that is a pattern too
	s := open(t, dir)
	if st, err := s.Load(); err != nil || st != (state.State{}) {
		t.Fatalf("an empty directory gives %+v, %v", st, err)
	}
	for v := int64(1); v <= 5; v++ {
		save(t, s, at(1, v))
	}
	save(t, s, at(2, 1)) // an epoch counts more than any version
	if got := kept(t, s); !slices.Equal(got, []string{"2.1", "1.5", "1.4"}) {
		t.Errorf("kept %v, want the last three", got)
	}
	if st, err := s.Load(); err != nil || st != at(2, 1) {
		t.Errorf("loaded %+v, %v", st, err)
	}
	data, err := s.Read(state.GenerationAt(at(1, 5).Position))
	if err != nil || string(data) != "archive of 1.5" {
		t.Errorf("read %q, %v", data, err)
	}
	save(t, s, at(2, 1)) // again: the same file
	if got := kept(t, s); len(got) != state.Keep {
		t.Errorf("kept %v", got)
	}
	info, err := os.Stat(dir)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory's mode is %v, %v", info.Mode(), err)
	}
	for _, e := range entries(t, dir) {
		if info, err := os.Stat(filepath.Join(dir, e)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, %v; a bundle holds the whole configuration", e, info.Mode(), err)
		}
	}
}

func entries(t *testing.T, dir string) []string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range list {
		out = append(out, e.Name())
	}
	return out
}

// What another environment left behind has higher numbers, and must not push out what is saved now.
func TestHigherGenerationsGoFirst(t *testing.T) {
	s := open(t, t.TempDir())
	for v := int64(50); v < 53; v++ {
		save(t, s, at(1, v))
	}
	save(t, s, at(1, 3))
	if got := kept(t, s); !slices.Equal(got, []string{"1.3"}) {
		t.Errorf("kept %v, want what was just saved", got)
	}
	save(t, s, at(1, 4))
	if got := kept(t, s); !slices.Equal(got, []string{"1.4", "1.3"}) {
		t.Errorf("kept %v", got)
	}
}

func TestDamagedState(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	save(t, s, at(1, 7))
	path := filepath.Join(dir, "state.json")
	tests := []struct {
		name, want string
		damage     func() error
	}{
		{"empty", "decode state", func() error { return os.WriteFile(path, nil, 0o600) }},
		{"cut", "decode state", func() error { return os.WriteFile(path, []byte(`{"position":{"epoch":1,`), 0o600) }},
		{"zeros", "decode state", func() error { return os.WriteFile(path, make([]byte, 300), 0o600) }},
		{"wrong type", "decode state", func() error { return os.WriteFile(path, []byte(`{"position":{"epoch":"1"}}`), 0o600) }},
		{"too large", "larger than 65536 bytes", func() error { return os.WriteFile(path, bytes.Repeat([]byte(" "), 70<<10), 0o600) }},
		{"a directory", "not a regular file", func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) }},
		{"a link", "not a regular file", func() error {
			return errors.Join(os.Remove(path), os.Symlink(filepath.Join(t.TempDir(), "elsewhere"), path))
		}},
		{"a pipe", "not a regular file", func() error { return errors.Join(os.Remove(path), mkfifo(path)) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.damage(); err != nil {
				t.Fatal(err)
			}
			st, err := s.Load()
			if err == nil || !strings.Contains(err.Error(), tt.want) || st != (state.State{}) {
				t.Errorf("loaded %+v, %v; want an error with %q", st, err, tt.want)
			}
			if got := kept(t, s); !slices.Equal(got, []string{"1.7"}) {
				t.Errorf("generations are %v", got)
			}
		})
	}
	save(t, s, at(1, 8)) // over whatever is there
	if st, err := s.Load(); err != nil || st != at(1, 8) {
		t.Errorf("after the next save: %+v, %v", st, err)
	}
}

func TestStrayFiles(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, make := range map[string]func(path string) error{
		"notes.txt":                           plain,
		"0000000001-0000000000000000009.gwb~": plain,
		"1-9.gwb":                             plain,
		"0000000001-0000000000000000099.GWB":  plain,
		"9999999999-9999999999999999999.gwb":  plain, // beyond an int64
		"0000000001-0000000000000000098.gwb":  func(p string) error { return os.Symlink(outside, p) },
		"0000000001-0000000000000000097.gwb":  func(p string) error { return os.Mkdir(p, 0o700) },
		"0000000001-0000000000000000096.gwb":  mkfifo,
		".tmp-123":                            plain,
		".tmp-link":                           func(p string) error { return os.Symlink(outside, p) },
	} {
		if err := make(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := open(t, dir)
	for v := int64(1); v <= 4; v++ {
		save(t, s, at(1, v))
	}
	if got := kept(t, s); !slices.Equal(got, []string{"1.4", "1.3", "1.2"}) {
		t.Errorf("kept %v", got)
	}
	for _, g := range []state.Generation{ // asked for by name
		state.GenerationAt(bundle.Position{Epoch: 1, Version: 98}), state.GenerationAt(bundle.Position{Epoch: 1, Version: 97}),
		state.GenerationAt(bundle.Position{Epoch: 1, Version: 96}),
	} {
		if data, err := s.Read(g); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("read %q, %v", data, err)
		}
	}
	if _, err := s.Read(state.GenerationAt(bundle.Position{Epoch: 1, Version: 1})); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest is still there: %v", err)
	}
	names := entries(t, dir)
	if slices.ContainsFunc(names, func(n string) bool { return strings.HasPrefix(n, ".tmp-") }) || !slices.Contains(names, "notes.txt") {
		t.Errorf("left over: %v", names)
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "not ours" {
		t.Errorf("a file outside was touched: %q, %v", data, err)
	}
}

func plain(path string) error { return os.WriteFile(path, []byte("stray"), 0o600) }

func TestReplacedLinkIsNotFollowed(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("not ours"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "state.json")); err != nil {
		t.Fatal(err)
	}
	save(t, s, at(1, 1))
	if data, err := os.ReadFile(outside); err != nil || string(data) != "not ours" {
		t.Errorf("the link was written through: %q, %v", data, err)
	}
}

func TestOneGatewayPerDirectory(t *testing.T) {
	dir := t.TempDir()
	first, err := state.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := plain(filepath.Join(dir, ".tmp-being-written")); err != nil {
		t.Fatal(err)
	}
	if _, err := state.Open(dir); !errors.Is(err, state.ErrLocked) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("a second gateway got %v", err)
	}
	if !slices.Contains(entries(t, dir), ".tmp-being-written") {
		t.Error("the second gateway removed what the first one was writing")
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
	second := open(t, dir)
	save(t, second, at(1, 1))
}
