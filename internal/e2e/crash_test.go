package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/suuupra/gateway/internal/testkit"
)

// Killed at any moment of a storm of applies, be it between two steps of writing to its state directory, a gateway starts
// again on a good bundle without its source, and never goes back behind what an earlier start had.
func TestKilledInAStorm(t *testing.T) {
	t.Parallel()
	s := newScene(t)
	_, to := s.folder()
	_, gone := s.folder()
	state := t.TempDir()
	s.apply(to)
	g := s.gwrun("--bundle", to, "--state", state)
	g.serves(1)
	testkit.Eventually(t, "the first bundle is kept", func() bool { _, err := os.Stat(filepath.Join(state, "state.json")); return err == nil })
	g.Kill()

	const rounds, applies = 15, 2
	floor, version := 1, 1
	for round := range rounds {
		storm := make(chan error, 1)
		g := s.gwrun("--bundle", to, "--state", state)
		step := stateStep(t, state, 1+round)
		from := version + 1
		go func() { storm <- s.storm(to, from, applies) }()
		version += applies
		var moment <-chan time.Time
		if round%2 == 1 {
			moment = time.After(rand.N(250 * time.Millisecond)) // any moment; the others are steps of persistence
		}
		select {
		case <-step:
		case <-moment:
		case err := <-storm: // fewer steps than that
			storm <- err
		}
		g.Kill()
		if err := <-storm; err != nil {
			t.Fatal(err)
		}

		g = s.gwrun("--bundle", gone, "--state", state)
		served := g.served()
		t.Logf("round %d: started again on version %d of %d", round, served, version)
		if served < floor || served > version {
			t.Fatalf("round %d: version %d is served, want one from %d to %d", round, served, floor, version)
		}
		for _, complaint := range []string{"damaged", "cannot be used", "older bundle"} {
			if strings.Contains(g.Output(), complaint) {
				t.Errorf("round %d: the state was not whole: it says %q", round, complaint)
			}
		}
		floor = served
		g.Kill()
	}
	g = s.gwrun("--bundle", to, "--state", state)
	g.serves(version)
	testkit.Eventually(t, "no half-written file is left", func() bool {
		left, err := filepath.Glob(filepath.Join(state, ".tmp-*"))
		return err == nil && len(left) == 0
	})
}

// storm applies versions one after the other, from files that no commit holds.
func (s *scene) storm(to string, from, n int) error {
	for v := from; v < from+n; v++ {
		if err := os.WriteFile(filepath.Join(s.dir, "routes", "app.yaml"), []byte(s.routes(v)), 0o600); err != nil {
			return err
		}
		if r := s.gwctl(s.applyArgs(to, "--allow-dirty")...); r.code != 0 {
			return fmt.Errorf("apply of version %d: exit code %d\n%s", v, r.code, r.err)
		}
	}
	return nil
}

// stateStep returns a channel that is closed when something has happened n times to the files of a directory.
func stateStep(t *testing.T, dir string, n int) <-chan struct{} {
	t.Helper()
	w, err := fsnotify.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(dir); err != nil {
		t.Fatal(err)
	}
	reached, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for range w.Events {
			if n--; n == 0 {
				close(reached)
			}
		}
	}()
	t.Cleanup(func() {
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		<-ended
	})
	return reached
}
