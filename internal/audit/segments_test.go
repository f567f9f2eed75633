package audit

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/bundle"
)

// TestSegments drops, swaps, repeats and replays whole segments, and forges footers.
func TestSegments(t *testing.T) {
	x := newTampering(t)
	first, second := nameOf(1), nameOf(2)
	third := nameOf(3)
	start2, start3 := x.lineSeq(second, 2), x.lineSeq(third, 2)
	others, _ := three(t) // another trail of the same gateway
	footerOf := func(data []byte) []byte { l := split(data); return l[len(l)-1] }
	body := func(data []byte) [][]byte { l := split(data); return slices.Clone(l[:len(l)-1]) }
	forge := func(name, seed, env string, edit func(*footer)) []byte {
		payload, _, err := bundle.PeekAudit(bytes.TrimSuffix(footerOf(x.good[name]), []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseFooter(payload)
		if err != nil {
			t.Fatal(err)
		}
		f.Environment = env
		if edit != nil {
			edit(f)
		}
		if payload, err = bundle.Canonical(f); err != nil {
			t.Fatal(err)
		}
		line, err := bundle.SignAudit(payload, seedKey(t, seed))
		if err != nil {
			t.Fatal(err)
		}
		return join(append(body(x.good[name]), line))
	}
	n1 := bytes.Count(x.good[first], []byte("\n"))
	for _, c := range []struct {
		name string
		f    files
		want string
	}{
		{"without the first", x.good.with(first, nil), fmt.Sprintf("missing %s:1 1", second)},
		{"without the second", x.good.with(second, nil), fmt.Sprintf("missing %s:1 %d", third, start2)},
		{"without the third", x.good.with(third, nil), fmt.Sprintf("headAbsent %s:%d %d", second, bytes.Count(x.good[second], []byte("\n"))+1, start3)},
		{"the first alone", files{first: x.good[first]}, fmt.Sprintf("headAbsent %s:%d %d", first, n1+1, start2)},
		{"none", files{}, fmt.Sprintf("missing %s:0 1", filepath.Base(x.dir))},
		{"first and second swapped", x.good.with(first, x.good[second]).with(second, x.good[first]), fmt.Sprintf("misplaced %s:1 0", first)},
		{"second and third swapped", x.good.with(third, x.good[second]).with(second, x.good[third]), fmt.Sprintf("misplaced %s:1 0", second)},
		{"the first in place of the second", x.good.with(second, x.good[first]), fmt.Sprintf("misplaced %s:1 0", second)},
		{"the first again as the fourth", x.good.with(nameOf(4), x.good[first]), fmt.Sprintf("truncated %s:%d %d", third, bytes.Count(x.good[third], []byte("\n"))+1, x.head.Seq+1)},
		{"the second of another trail", x.good.with(second, others[second]), fmt.Sprintf("misplaced %s:1 0", second)},
		{"the third of another trail", x.good.with(third, others[third]), fmt.Sprintf("misplaced %s:1 0", third)},
		{"the footer of the second under the first", x.good.with(first, join(append(body(x.good[first]), footerOf(x.good[second])))), fmt.Sprintf("misplaced %s:%d 0", first, n1)},
		{"a footer by a stranger", x.good.with(first, forge(first, "stranger", "prod", nil)), fmt.Sprintf("signature %s:%d 0", first, n1)},
		{"a footer for another environment", x.good.with(first, forge(first, "audit", "dev", nil)), fmt.Sprintf("misplaced %s:%d 0", first, n1)},
		{"a footer signed again", x.good.with(first, forge(first, "audit", "prod", func(f *footer) { f.Time = TimeOf(f.Time.Add(1e9)) })), fmt.Sprintf("misplaced %s:1 0", second)},
		{"a footer that counts less", x.good.with(first, forge(first, "audit", "prod", func(f *footer) { f.Last--; f.Count-- })), fmt.Sprintf("sequence %s:%d %d", first, n1-1, start2-1)},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := x.verify(c.f, x.head.Digest); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
		})
	}
}

// TestRewrittenTail: whoever can write to the folder can make a new end that fits. Only a head from before tells.
func TestRewrittenTail(t *testing.T) {
	x := newTampering(t)
	lines := split(x.good[nameOf(3)])
	prev := bundle.DigestOf(bytes.TrimSuffix(lines[0], []byte("\n")))
	for i := 1; i < len(lines); i++ {
		e, err := parseEntry(bytes.TrimSuffix(lines[i], []byte("\n")))
		if err != nil {
			t.Fatal(err)
		}
		e.Actor.ID, e.Prev = "somebody else", prev
		if lines[i], err = bundle.Canonical(e); err != nil {
			t.Fatal(err)
		}
		prev = bundle.DigestOf(lines[i])
	}
	forged := x.good.with(nameOf(3), join(lines))
	if got := x.verify(forged, ""); got != "" {
		t.Errorf("without a head: %q", got)
	}
	if got := x.verify(forged, x.head.Digest); !strings.HasPrefix(got, "headAbsent ") {
		t.Errorf("with a head: %q", got)
	}
}

// TestKeysThatMaySign: a key counts for its role and environment only.
func TestKeysThatMaySign(t *testing.T) {
	x := newTampering(t)
	x.good.put(t, x.dir)
	n := bytes.Count(x.good[nameOf(1)], []byte("\n"))
	for _, c := range []struct {
		name   string
		grants []grant
		want   string
	}{
		{"the key", []grant{{"audit", bundle.RoleAudit, "*"}, {"new", bundle.RoleAudit, "prod"}}, ""},
		{"another key", []grant{{"new", bundle.RoleAudit, "prod"}}, "is signed by key"},
		{"another role", []grant{{"audit", bundle.RoleRelease, "prod"}}, `needs 1 signature(s) by audit keys for environment "prod" and has 0`},
		{"another environment", []grant{{"audit", bundle.RoleAudit, "dev"}}, `needs 1 signature(s) by audit keys for environment "prod" and has 0`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify([]string{x.dir}, Check{Trust: trust(t, c.grants...)})
			f := faultOf(t, err)
			if c.want == "" {
				if f != nil {
					t.Error(f)
				}
				return
			}
			if spell(f) != fmt.Sprintf("signature %s:%d 0", nameOf(1), n) || !strings.Contains(f.Detail, c.want) {
				t.Errorf("%v, want %q", f, c.want)
			}
		})
	}
	if _, err := Verify([]string{x.dir}, Check{}); err == nil || !strings.Contains(err.Error(), "there is no trust file") {
		t.Errorf("without trust: %v", err)
	}
}

// TestArchivedSegments: a trail whose beginning is kept elsewhere.
func TestArchivedSegments(t *testing.T) {
	x := newTampering(t)
	var head1 bundle.Digest
	if o, err := parseOpening(bytes.TrimSuffix(split(x.good[nameOf(2)])[0], []byte("\n"))); err != nil {
		t.Fatal(err)
	} else {
		head1 = o.Previous.Head
	}
	x.good.with(nameOf(1), nil).put(t, x.dir)
	whole := t.TempDir()
	x.good.put(t, whole)
	path := func(dir string, n int64) string { return filepath.Join(dir, nameOf(n)) }
	for _, c := range []struct {
		name   string
		paths  []string
		from   bundle.Digest
		want   string
		before int64
	}{
		{"a folder", []string{x.dir}, "", fmt.Sprintf("missing %s:1 1", nameOf(2)), 0},
		{"a folder, from the right head", []string{x.dir}, head1, "", x.lineSeq(nameOf(2), 2) - 1},
		{"a folder, from another head", []string{x.dir}, x.head.Digest, fmt.Sprintf("misplaced %s:1 0", nameOf(2)), 0},
		{"a whole folder from a head", []string{whole}, head1, fmt.Sprintf("misplaced %s:1 0", nameOf(1)), 0},
		{"files in any order", []string{path(whole, 3), path(whole, 1), path(whole, 2)}, "", "", 0},
		{"one file", []string{path(whole, 2)}, "", "", x.lineSeq(nameOf(2), 2) - 1},
		{"files with a gap", []string{path(whole, 1), path(whole, 3)}, "", fmt.Sprintf("missing %s:1 %d", nameOf(3), x.lineSeq(nameOf(2), 2)), 0},
		{"a file twice", []string{path(whole, 1), path(whole, 1)}, "", fmt.Sprintf("misplaced %s:1 0", nameOf(1)), 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			report, err := Verify(c.paths, Check{Trust: ours(t), From: c.from})
			if got := spell(faultOf(t, err)); got != c.want {
				t.Errorf("got  %q\nwant %q", got, c.want)
			}
			if err == nil && report.Before != c.before {
				t.Errorf("%d records before, want %d", report.Before, c.before)
			}
		})
	}
}
