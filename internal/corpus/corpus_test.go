package corpus_test

import (
	"testing"
	"time"
)

func at(when time.Time) time.Time {
	if when.IsZero() {
		return begin
	}
	return when
}

// TestBase has the unmodified repository pass: a line that stops everything proves nothing.
func TestBase(t *testing.T) {
	l := newLine(t)
	d, _ := l.compile(t, l.repository)
	if s := l.test(t, d); s.at != "" {
		t.Errorf("stopped: %s", s)
	}
	g := l.gateway(t, begin)
	if s := g.offer(l.keys.publish(t, l.bundle, nextVersion, begin)); s.at != traffic {
		t.Errorf("the base again: %s", s)
	}
}

// TestChanges takes each change to the station that stops it.
func TestChanges(t *testing.T) {
	l := newLine(t)
	for _, c := range classes {
		for _, b := range c.changes {
			t.Run(c.name+"/"+b.name, func(t *testing.T) {
				t.Parallel()
				r := l.repository.on(t, b.edit)
				got, behind := l.walk(t, r, at(b.when))
				if want := (stop{b.at, b.by}); got != want {
					t.Errorf("stopped at %s\nwant %s", got, want)
				}
				if behind.String() != b.behind {
					t.Errorf("behind the tests: %q\nwant %q", behind, b.behind)
				}
			})
		}
	}
}

// TestNeighbours takes the harmless change beside a bad one to traffic.
func TestNeighbours(t *testing.T) {
	l := newLine(t)
	for _, c := range classes {
		for _, b := range c.changes {
			if b.fine == nil {
				continue
			}
			t.Run(c.name+"/"+b.name, func(t *testing.T) {
				t.Parallel()
				if got, _ := l.walk(t, l.repository.on(t, b.fine), begin); got.at != traffic {
					t.Errorf("stopped at %s", got)
				}
			})
		}
	}
}
