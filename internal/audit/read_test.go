package audit

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadDamaged: every record that can be read is read, and each line that cannot be is named.
func TestReadDamaged(t *testing.T) {
	f := unclosed(t, 4)
	lines := split(f[nameOf(1)])
	lines[2] = []byte("\x1b[2J\n")
	lines[3] = bytes.Repeat([]byte("x"), 3*maxLine)
	dir := t.TempDir()
	files{nameOf(1): join(lines)}.put(t, dir)
	var got []int64
	var bad []string
	if err := Read(dir, func(e *Entry, f *Fault) error {
		if f != nil {
			bad = append(bad, strings.TrimPrefix(f.Error(), dir+"/"))
			return nil
		}
		got = append(got, e.Seq)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	want := []string{
		nameOf(1) + `:3: is not a line of a trail: invalid character '\x1b' looking for beginning of value`,
		nameOf(1) + ":4: is not a line of a trail: the line is longer than any record",
	}
	if strings.Join(bad, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(bad, "\n"), strings.Join(want, "\n"))
	}
	if len(got) != 3 || got[0] != 1 || got[1] != 4 || got[2] != 5 {
		t.Errorf("records %v", got)
	}
}

func TestReadStops(t *testing.T) {
	dir := t.TempDir()
	unclosed(t, 3).put(t, dir)
	stop := errors.New("stop")
	if err := Read(dir, func(*Entry, *Fault) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}

// TestFollow sees the last records, and then each one as it comes, over the end of segments and a writer that is killed.
func TestFollow(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "trail")
	o := options(t, dir)
	o.MaxBytes = rotation
	trail := open(t, o)
	for trail.Head().Seq < 6 {
		add(t, trail, reload())
	}
	seen := make(chan int64, 100)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- Follow(ctx, dir, 2, func(e *Entry, f *Fault) error {
			if f == nil {
				seen <- e.Seq
			}
			return nil
		})
	}()
	expect := func(from, to int64) {
		t.Helper()
		for want := from; want <= to; want++ {
			if got := <-seen; got != want {
				t.Fatalf("record %d, want %d", got, want)
			}
		}
	}
	expect(5, 6)
	for trail.Head().Seq < 12 {
		add(t, trail, reload())
	}
	expect(7, 12)
	shut(t, trail)
	expect(13, 13)
	shut(t, open(t, o))
	expect(14, 15)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestFollowTornLine: half a line is waited for while its writer may be at it, and not after the next has begun a segment.
func TestFollowTornLine(t *testing.T) {
	dir := t.TempDir()
	f := unclosed(t, 1)
	f.with(nameOf(1), append(bytes.Clone(f[nameOf(1)]), `{"action":`...)).put(t, dir)
	seen := make(chan Action, 10)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		done <- Follow(ctx, dir, 0, func(e *Entry, f *Fault) error {
			if f == nil {
				seen <- e.Action
			}
			return nil
		})
	}()
	shut(t, open(t, options(t, dir)))
	for _, want := range []Action{Start, Recover, Stop} {
		if got := <-seen; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestFollowNothing(t *testing.T) {
	dir := t.TempDir()
	if err := Follow(t.Context(), dir, 1, nil); err == nil || err.Error() != dir+" holds no audit trail" {
		t.Error(err)
	}
	if err := Follow(t.Context(), filepath.Join(dir, "absent"), 1, nil); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// TestDocs holds docs/audit.md to the code.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "audit.md"))
	if err != nil {
		t.Fatal(err)
	}
	text := string(page)
	var words []string
	for _, a := range Actions() {
		words = append(words, string(a))
	}
	for _, k := range []FaultKind{Malformed, Sequence, Changed, Signature, Truncated, Misplaced, Missing, HeadAbsent} {
		words = append(words, string(k))
	}
	for _, w := range append(words, string(Success), string(Refused), string(Failed), string(User), string(Token), string(Key), string(System), string(Anonymous)) {
		if !strings.Contains(text, "`"+w+"`") {
			t.Errorf("%s is not explained", w)
		}
	}
	trail, err := os.ReadFile(filepath.Join("testdata", "trail", nameOf(2)))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range append(split(trail), []byte(Format)) {
		if !strings.Contains(text, strings.TrimSpace(string(line))) {
			t.Errorf("this line is not shown: %s", line)
		}
	}
}
