package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// entries are all records of a folder.
func entries(t testing.TB, dir string) []*Entry {
	t.Helper()
	var out []*Entry
	err := Read(dir, func(e *Entry, f *Fault) error {
		if f != nil {
			t.Error(f)
			return nil
		}
		out = append(out, e)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// story is the actions of a folder, in order.
func story(t testing.TB, dir string) string {
	t.Helper()
	var words []string
	for _, e := range entries(t, dir) {
		words = append(words, string(e.Action))
	}
	return strings.Join(words, " ")
}

func TestRestart(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	for range 3 {
		trail := open(t, options(t, dir))
		add(t, trail, reload())
		shut(t, trail)
		shut(t, trail) // again
	}
	if got, want := story(t, dir), strings.TrimSpace(strings.Repeat("audit.start reload audit.stop ", 3)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	report, err := Verify([]string{dir}, Check{Trust: ours(t)})
	if err != nil || report.Segments != 3 || report.Records != 9 || report.Signed != 9 {
		t.Errorf("%+v, %v", report, err)
	}
	for _, path := range []string{dir, filepath.Join(dir, "lock"), filepath.Join(dir, nameOf(1))} {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s has mode %s", path, info.Mode())
		}
	}
}

func TestOneWriter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	trail := open(t, options(t, dir))
	want := "audit trail: lock " + dir + ": another process writes this audit trail"
	if _, err := Open(options(t, dir)); !errors.Is(err, ErrLocked) || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	shut(t, trail)
	shut(t, open(t, options(t, dir)))
}

func TestAppendAfterClose(t *testing.T) {
	trail := open(t, options(t, filepath.Join(t.TempDir(), "trail")))
	shut(t, trail)
	if err := trail.Append(t.Context(), reload()); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestAppendWithoutTime(t *testing.T) {
	trail := open(t, options(t, filepath.Join(t.TempDir(), "trail")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		if err := trail.Append(ctx, reload()); err != nil && !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	add(t, trail, reload())
}

// TestConcurrentAppends: every record is there once, and each writer's are in its order.
func TestConcurrentAppends(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	o := options(t, dir)
	o.MaxBytes = 10_000
	trail := open(t, o)
	const writers, each = 16, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := range each {
				r := reload()
				r.Object = fmt.Sprintf("%d.%d", w, n)
				if err := trail.Append(context.Background(), r); err != nil {
					t.Error(err)
				}
				if trail.Head().Seq < int64(n) {
					t.Error("the head lies before a record that was acknowledged")
				}
			}
		})
	}
	wg.Wait()
	head := trail.Head()
	if head.Seq != writers*each+1 {
		t.Errorf("head %d", head.Seq)
	}
	shut(t, trail)
	if _, err := Verify([]string{dir}, Check{Trust: ours(t), Head: head.Digest}); err != nil {
		t.Error(err)
	}
	next := make([]int, writers)
	for _, e := range entries(t, dir) {
		var w, n int
		if _, err := fmt.Sscanf(e.Object, "%d.%d", &w, &n); err != nil {
			continue
		}
		if n != next[w] {
			t.Errorf("record %d of writer %d comes where %d should", n, w, next[w])
		}
		next[w]++
	}
}

// TestCloseWhileAppending: a record is acknowledged and there, or refused.
func TestCloseWhileAppending(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	trail := open(t, options(t, dir))
	var mu sync.Mutex
	var wg sync.WaitGroup
	good := 0
	first := make(chan struct{})
	var once sync.Once
	for range 8 {
		wg.Go(func() {
			for {
				err := trail.Append(context.Background(), reload())
				if err != nil {
					if !errors.Is(err, ErrClosed) {
						t.Error(err)
					}
					return
				}
				once.Do(func() { close(first) })
				mu.Lock()
				good++
				mu.Unlock()
			}
		})
	}
	<-first
	shut(t, trail)
	wg.Wait()
	if got := strings.Count(story(t, dir), "reload"); got != good {
		t.Errorf("%d records, %d were acknowledged", got, good)
	}
}

// TestAge: a segment is signed once it is a day old, even if nothing more happens; one without records is left alone.
func TestAge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "trail")
		trail := open(t, options(t, dir))
		signed := func() int64 {
			t.Helper()
			synctest.Wait()
			report, err := Verify([]string{dir}, Check{Trust: ours(t)})
			if err != nil {
				t.Fatal(err)
			}
			return report.Signed
		}
		time.Sleep(24*time.Hour - time.Second)
		if got := signed(); got != 0 {
			t.Errorf("before a day: signed up to %d", got)
		}
		time.Sleep(time.Second)
		if got := signed(); got != 1 {
			t.Errorf("after a day: signed up to %d", got)
		}
		time.Sleep(72 * time.Hour)
		if got := len(read(t, dir)); got != 1 {
			t.Errorf("after days without a record: %d segments", got)
		}
		add(t, trail, reload())
		if got := signed(); got != 1 {
			t.Errorf("a new record: signed up to %d", got)
		}
		time.Sleep(24 * time.Hour)
		if got := signed(); got != 2 {
			t.Errorf("a day later: signed up to %d", got)
		}
		shut(t, trail)
	})
}

// collect is a sink.
type collect struct {
	lines  []string
	closed bool
}

func (c *collect) Send(e *Entry, line []byte) {
	c.lines = append(c.lines, fmt.Sprintf("%d %s", e.Seq, line))
}
func (c *collect) Close() error { c.closed = true; return nil }

// TestSinks: they see each record, as it is on disk, in order.
func TestSinks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	o, c := options(t, dir), &collect{}
	o.Sinks, o.MaxBytes = []Sink{c}, rotation
	trail := open(t, o)
	for range 8 {
		add(t, trail, reload())
	}
	shut(t, trail)
	var want []string
	for _, e := range entries(t, dir) {
		line, err := bundle.Canonical(e)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, fmt.Sprintf("%d %s", e.Seq, line))
	}
	if strings.Join(c.lines, "\n") != strings.Join(want, "\n") || !c.closed {
		t.Errorf("closed %t, got\n%s\nwant\n%s", c.closed, strings.Join(c.lines, "\n"), strings.Join(want, "\n"))
	}
}

// TestFailureIsTold: by the callback each time, in the log once, and again when it is over.
func TestFailureIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	o := options(t, dir)
	var log bytes.Buffer
	told := 0
	o.Log = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey || a.Key == "error" {
			return slog.Attr{}
		}
		return a
	}}))
	o.OnFailure = func(error) { told++ }
	o.MaxBytes = 1 // each record begins a segment
	trail := open(t, o)
	blocker := filepath.Join(dir, nameOf(2)+".tmp")
	if err := os.Mkdir(blocker, 0o700); err != nil { // root may write anywhere, but not to a folder
		t.Fatal(err)
	}
	for range 3 {
		if err := trail.Append(t.Context(), reload()); err == nil || !strings.Contains(err.Error(), "write audit record: open "+blocker) {
			t.Fatalf("Append: %v", err)
		}
	}
	if err := os.Remove(blocker); err != nil {
		t.Fatal(err)
	}
	add(t, trail, reload())
	shut(t, trail)
	want := "level=ERROR msg=\"the audit trail cannot be written\"\nlevel=INFO msg=\"the audit trail can be written again\"\n"
	if told != 3 || log.String() != want {
		t.Errorf("told %d times, log:\n%s\nwant:\n%s", told, log.String(), want)
	}
	if _, err := Verify([]string{dir}, Check{Trust: ours(t)}); err != nil {
		t.Error(err)
	}
}
