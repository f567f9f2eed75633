package audit

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/suuupra/gateway/schema/bundle"
)

func seeds(f *testing.F) [][]byte {
	f.Helper()
	var out [][]byte
	for _, n := range []int64{1, 2} {
		data, err := os.ReadFile(filepath.Join("testdata", "trail", nameOf(n)))
		if err != nil {
			f.Fatal(err)
		}
		out = append(out, data)
	}
	return out
}

// FuzzLine: a line that is read, as whatever, is written again as the same bytes.
func FuzzLine(f *testing.F) {
	for _, data := range seeds(f) {
		for _, line := range split(data) {
			f.Add(bytes.TrimSuffix(line, []byte("\n")))
		}
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		same := func(v any) {
			if again, err := bundle.Canonical(v); err != nil || !bytes.Equal(again, line) {
				t.Errorf("%q was read, and is written as %q (%v)", line, again, err)
			}
		}
		if e, err := parseEntry(line); err == nil {
			same(e)
		}
		if o, err := parseOpening(line); err == nil {
			same(o)
		}
		if p, err := parseFooter(line); err == nil {
			same(p)
		}
		_ = named(line)
	})
}

// FuzzSegment: a segment that verifies is the one that was written, but for what nobody has signed yet.
func FuzzSegment(f *testing.F) {
	for _, data := range seeds(f) {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	good := seeds(f)[0]
	trust := ours(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		s := &scan{segment: segment{file: "x"}, lines: newLines(bytes.NewReader(data)), judge: func(line []byte, env string) ([]byte, string, error) {
			return bundle.VerifyAudit(line, trust, env)
		}}
		if err := s.run(); err != nil {
			return
		}
		if s.footer != "" && s.Segment == 1 && !bytes.Equal(data, good) {
			t.Errorf("a forged segment was taken:\n%s", data)
		}
	})
}

// FuzzClean: a text of anybody becomes one that prints, once and for all.
func FuzzClean(f *testing.F) {
	f.Add("x\n{\"seq\":9}\x1b[2J\u202e\xff")
	f.Fuzz(func(t *testing.T, s string) {
		r := reload()
		r.Reason = s
		if err := r.prepare(nil); err != nil {
			t.Fatal(err)
		}
		if clean(r.Reason, 2*maxText) != r.Reason {
			t.Errorf("%q is cleaned to %q, which is not clean", s, r.Reason)
		}
		line, err := bundle.Canonical(Entry{Seq: 1, Record: r})
		if err != nil {
			t.Fatal(err)
		}
		l := newLines(io.MultiReader(bytes.NewReader(line), bytes.NewReader([]byte("\n"))))
		got, err := l.next()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parseEntry(got); err != nil {
			t.Errorf("%q: %v", got, err)
		}
	})
}
