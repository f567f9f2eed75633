package gitwatch

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
)

// scripted is a repository that answers as a test says, and notes when it was asked.
type scripted struct {
	start time.Time
	head  string

	mu    sync.Mutex
	asked []time.Duration
	err   error
}

func (s *scripted) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

func (s *scripted) rest() {}

func (s *scripted) look(context.Context) (refs, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, time.Since(s.start))
	return s, s.err
}

func (s *scripted) find(names []plumbing.ReferenceName) (string, string, error) {
	return names[0].String(), s.head, nil
}

// paced runs a watcher over a script in a bubble of time, where random is always the middle.
func paced(t *testing.T, interval time.Duration, during func(*scripted, *Watch)) {
	synctest.Test(t, func(t *testing.T) {
		s := &scripted{start: time.Now(), head: "a"}
		p := NewPool(nil)
		p.random = func() float64 { return 0.5 }
		ctx, cancel := context.WithCancel(t.Context())
		shared := p.watcher(key{address: "x"}, s, cancel)
		w := &Watch{watcher: shared, names: []plumbing.ReferenceName{"refs/heads/main"}, interval: interval, report: func(Head) {}}
		shared.join(w)
		p.running.Go(func() { shared.run(ctx) })
		during(s, w)
		p.Close()
	})
}

func wantAsked(t *testing.T, s *scripted, want ...time.Duration) {
	t.Helper()
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !slices.Equal(s.asked, want) {
		t.Errorf("asked at %v, want %v", s.asked, want)
	}
}

func TestPaceOfLooks(t *testing.T) {
	paced(t, 30*time.Second, func(s *scripted, w *Watch) {
		time.Sleep(95 * time.Second)
		wantAsked(t, s, 0, 30*time.Second, 60*time.Second, 90*time.Second)
		w.Poke()
		time.Sleep(10 * time.Second)
		wantAsked(t, s, 0, 30*time.Second, 60*time.Second, 90*time.Second, 95*time.Second)
		w.Poke()
		synctest.Wait()
		for range 1000 { // while the spacing lasts: one more, at its end
			w.Poke()
		}
		time.Sleep(5 * time.Second)
		wantAsked(t, s, 0, 30*time.Second, 60*time.Second, 90*time.Second, 95*time.Second, 105*time.Second, 106*time.Second)
	})
}

func TestBackOff(t *testing.T) {
	paced(t, 30*time.Second, func(s *scripted, w *Watch) {
		s.fail(errors.New("away"))
		time.Sleep(20 * time.Minute)
		wantAsked(t, s, 0, 1*time.Minute, 3*time.Minute, 7*time.Minute, 12*time.Minute, 17*time.Minute)
		if st := w.Status(); st.Failures != 6 || st.Next.Sub(s.start) != 22*time.Minute {
			t.Errorf("status %+v", st)
		}
		s.fail(nil)
		w.Poke() // somebody knows that it is back
		time.Sleep(59 * time.Second)
		wantAsked(t, s, 0, 1*time.Minute, 3*time.Minute, 7*time.Minute, 12*time.Minute, 17*time.Minute, 20*time.Minute, 20*time.Minute+30*time.Second)
	})
}

func TestRetryAfterIsKept(t *testing.T) {
	paced(t, 30*time.Second, func(s *scripted, w *Watch) {
		s.fail(&Later{429, 10 * time.Minute})
		time.Sleep(time.Second)
		w.Poke() // even so
		s.fail(nil)
		time.Sleep(9 * time.Minute)
		wantAsked(t, s, 0)
		time.Sleep(time.Minute)
		wantAsked(t, s, 0, 10*time.Minute)
	})
}

func TestPause(t *testing.T) {
	for _, c := range []struct {
		interval time.Duration
		failures int
		random   float64
		want     time.Duration
	}{
		{time.Minute, 0, 0.5, time.Minute},
		{time.Minute, 0, 0, 48 * time.Second},
		{time.Minute, 0, 1, 72 * time.Second},
		{time.Minute, 1, 0.5, 2 * time.Minute},
		{time.Minute, 3, 0.5, 5 * time.Minute},
		{time.Minute, 1 << 40, 0.5, 5 * time.Minute},
		{time.Hour, 5, 0.5, time.Hour}, // never more often than without failures
	} {
		if got := Pause(c.interval, c.failures, c.random); got != c.want {
			t.Errorf("%s after %d failures, %g: got %s, want %s", c.interval, c.failures, c.random, got, c.want)
		}
	}
}
