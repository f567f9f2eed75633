package audit

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema/bundle"
)

// tampering verifies changed copies of one trail.
type tampering struct {
	testing.TB
	dir  string
	good files
	head Head
}

func newTampering(t *testing.T) *tampering {
	t.Helper()
	good, head := three(t)
	return &tampering{TB: t, dir: t.TempDir(), good: good, head: head}
}

// verify returns the fault of a changed trail, as "kind file:line record".
func (x *tampering) verify(f files, head bundle.Digest) string {
	x.Helper()
	f.put(x, x.dir)
	_, err := Verify([]string{x.dir}, Check{Trust: ours(x), Head: head})
	return spell(faultOf(x, err))
}

func spell(f *Fault) string {
	if f == nil {
		return ""
	}
	return fmt.Sprintf("%s %s:%d %d", f.Kind, filepath.Base(f.File), f.Line, f.Seq)
}

// lineSeq is the record on a line of the trail that three makes; 0: the line is none.
func (x *tampering) lineSeq(name string, line int) int64 {
	text := split(x.good[name])[line-1]
	e, err := parseEntry(bytes.TrimSuffix(text, []byte("\n")))
	if err != nil {
		return 0
	}
	return e.Seq
}

func (x *tampering) names() []string { return []string{nameOf(1), nameOf(2), nameOf(3)} }

func TestUntouched(t *testing.T) {
	x := newTampering(t)
	for _, head := range []bundle.Digest{"", x.head.Digest} {
		if got := x.verify(x.good, head); got != "" {
			t.Errorf("head %q: %s", head, got)
		}
	}
}

// TestDeletedLines: each line of each segment.
func TestDeletedLines(t *testing.T) {
	x := newTampering(t)
	for _, name := range x.names() {
		lines := split(x.good[name])
		for i := range lines {
			cut := join(slices.Delete(slices.Clone(lines), i, i+1))
			n, seq := i+1, x.lineSeq(name, i+1)
			want := fmt.Sprintf("sequence %s:%d %d", name, n, seq)
			switch {
			case i == 0:
				want = fmt.Sprintf("malformed %s:1 0", name)
			case name == nameOf(3) && n == len(lines):
				want = fmt.Sprintf("headAbsent %s:%d %d", name, n, seq)
			case seq == 0: // the footer
				want = fmt.Sprintf("truncated %s:%d %d", name, n, x.lineSeq(name, n-1)+1)
			}
			if got := x.verify(x.good.with(name, cut), x.head.Digest); got != want {
				t.Errorf("without line %d of %s: %q, want %q", n, name, got, want)
			}
		}
	}
}

// TestSwappedLines: each two neighbours.
func TestSwappedLines(t *testing.T) {
	x := newTampering(t)
	for _, name := range x.names() {
		lines := split(x.good[name])
		for i := range len(lines) - 1 {
			swapped := slices.Clone(lines)
			swapped[i], swapped[i+1] = swapped[i+1], swapped[i]
			n, seq := i+1, x.lineSeq(name, i+1)
			want := fmt.Sprintf("sequence %s:%d %d", name, n, seq)
			if i == 0 {
				want = fmt.Sprintf("malformed %s:1 0", name)
			}
			if got := x.verify(x.good.with(name, join(swapped)), ""); got != want {
				t.Errorf("lines %d and %d of %s: %q, want %q", n, n+1, name, got, want)
			}
		}
	}
}

// TestRepeatedLines: each line once more.
func TestRepeatedLines(t *testing.T) {
	x := newTampering(t)
	for _, name := range x.names() {
		lines := split(x.good[name])
		for i := range lines {
			twice := join(slices.Insert(slices.Clone(lines), i, lines[i]))
			n, seq := i+2, x.lineSeq(name, i+1)
			want := fmt.Sprintf("sequence %s:%d %d", name, n, seq+1)
			switch {
			case i == 0:
				want = fmt.Sprintf("malformed %s:2 %d", name, x.lineSeq(name, 2))
			case seq == 0:
				want = fmt.Sprintf("malformed %s:%d 0", name, n)
			}
			if got := x.verify(x.good.with(name, twice), ""); got != want {
				t.Errorf("line %d of %s: %q, want %q", i+1, name, got, want)
			}
		}
	}
}

// TestInsertedLines: a forged record before each line, made to fit the line before it.
func TestInsertedLines(t *testing.T) {
	x := newTampering(t)
	for _, name := range x.names() {
		lines := split(x.good[name])
		for i := 1; i <= len(lines); i++ {
			before := bytes.TrimSuffix(lines[i-1], []byte("\n"))
			if isFooter(before) {
				continue // TestRepeatedLines has lines behind a footer
			}
			seq := x.lineSeq(name, i) + 1
			if i == 1 {
				seq = x.lineSeq(name, 2)
			}
			forged, err := bundle.Canonical(Entry{Seq: seq, Environment: "prod", Instance: "gw-1", Record: reload(), Prev: bundle.DigestOf(before)})
			if err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("sequence %s:%d %d", name, i+2, seq+1)
			head := bundle.Digest("")
			switch {
			case i == len(lines): // nothing vouches for the end of a segment that is not signed, but a head that was published
				want, head = "", x.head.Digest
			case x.lineSeq(name, i+1) == 0: // before the footer
				want = fmt.Sprintf("sequence %s:%d %d", name, i+1, seq)
			}
			if got := x.verify(x.good.with(name, join(slices.Insert(slices.Clone(lines), i, forged))), head); got != want {
				t.Errorf("before line %d of %s: %q, want %q", i+1, name, got, want)
			}
		}
	}
}

// TestEditedBytes changes one byte after another, in a way of its class: a letter into a letter, a digit into a digit. The fault names
// the very line, whatever still reads as JSON; only of the last line, which nothing follows, it may be the head that tells.
func TestEditedBytes(t *testing.T) {
	x := newTampering(t)
	step := 3
	if raceEnabled || testing.Short() {
		step = 17
	}
	for _, name := range x.names() {
		x.good.put(t, x.dir)
		data, line := x.good[name], 1
		last := bytes.Count(data, []byte("\n"))
		for i := 0; i < len(data); i++ {
			at := line
			if data[i] == '\n' {
				line++
			}
			if i%step != 0 && data[i] != '\n' {
				continue
			}
			for _, to := range edits(data[i], i%5 == 0) {
				edited := bytes.Clone(data)
				edited[i] = to
				if err := os.WriteFile(filepath.Join(x.dir, name), edited, 0o600); err != nil {
					t.Fatal(err)
				}
				_, err := Verify([]string{x.dir}, Check{Trust: ours(t), Head: x.head.Digest})
				f := faultOf(t, err)
				switch {
				case f == nil:
					t.Fatalf("byte %d of %s, %q for %q: not found", i, name, to, data[i])
				case filepath.Base(f.File) != name:
					t.Fatalf("byte %d of %s, %q for %q: found in %s", i, name, to, data[i], spell(f))
				case name == nameOf(3) && at == last && (f.Kind == HeadAbsent || f.Kind == Changed && f.Line == at-1):
				case f.Line != at || x.lineSeq(name, at) > 0 && f.Seq != x.lineSeq(name, at):
					t.Fatalf("byte %d of %s, line %d, %q for %q: found in %s", i, name, at, to, data[i], spell(f))
				}
			}
		}
	}
}

// edits are what a byte is changed into: one of its own class, and now and then what breaks lines and texts.
func edits(b byte, harsh bool) []byte {
	var out []byte
	switch {
	case b >= '0' && b <= '8', b >= 'a' && b <= 'y', b >= 'A' && b <= 'Y':
		out = []byte{b + 1}
	case b == '9', b == 'z', b == 'Z':
		out = []byte{b - 1}
	default:
		out = []byte{b ^ 1}
	}
	if harsh && b != '\n' {
		out = append(out, 0, '\n', 0xff)
	}
	return out
}

// TestCutFiles cuts each segment after each byte, with and without the segments behind it.
func TestCutFiles(t *testing.T) {
	x := newTampering(t)
	step := 5
	if raceEnabled || testing.Short() {
		step = 41
	}
	for k, name := range x.names() {
		data := x.good[name]
		for size := 0; size < len(data); size++ {
			if size%step != 0 && size > 0 && data[size-1] != '\n' {
				continue
			}
			whole := size > 0 && data[size-1] == '\n'
			lines := bytes.Count(data[:size], []byte("\n"))
			behind := x.good.with(name, data[:size])
			alone := behind
			for _, later := range x.names()[k+1:] {
				alone = alone.with(later, nil)
			}
			next := int64(0) // the first record that is gone
			if lines > 0 {
				next = x.lineSeq(name, lines) + 1
				if lines == 1 {
					next = x.lineSeq(name, 2)
				}
			}
			for what, f := range map[string]files{"": behind, " and all behind it": alone} {
				want := fmt.Sprintf("truncated %s:%d %d", name, lines+1, next)
				switch {
				case size == 0:
					want = fmt.Sprintf("malformed %s:1 0", name)
				case whole && (len(f) == k+1):
					want = fmt.Sprintf("headAbsent %s:%d %d", name, lines+1, next)
				}
				if got := x.verify(f, x.head.Digest); got != want {
					t.Fatalf("%s cut after byte %d%s: %q, want %q", name, size, what, got, want)
				}
			}
		}
	}
}

// TestTruncationOfTheNewestSegment: without a head it cannot be seen, which the manual says.
func TestTruncationOfTheNewestSegment(t *testing.T) {
	x := newTampering(t)
	lines := split(x.good[nameOf(3)])
	short := x.good.with(nameOf(3), join(lines[:len(lines)-1]))
	if got := x.verify(short, ""); got != "" {
		t.Errorf("without a head: %q", got)
	}
	_, err := Verify([]string{x.dir}, Check{Trust: ours(t), Head: x.head.Digest})
	want := fmt.Sprintf("%s:%d: record %d: the trail ends here, and none of its records has the digest %s: records were cut off, or the trail is another one",
		filepath.Join(x.dir, nameOf(3)), len(lines), x.head.Seq, x.head.Digest)
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}
