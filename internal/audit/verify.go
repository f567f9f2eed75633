package audit

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// Check says what a trail is held to.
type Check struct {
	Trust *bundle.Trust // who may sign footers
	// Head is the digest of a record that the trail must hold, such as the last one that metrics published; empty: none is asked for.
	// Without it nobody can see that the end of the trail was cut off.
	Head bundle.Digest
	// From is the head of the segment before the first one, for a trail whose older segments are kept elsewhere.
	From bundle.Digest
	// Wait is how long an incomplete last line is waited for: the writer of a live trail may be at it.
	Wait time.Duration
}

// Report is what a trail holds, up to its first fault.
type Report struct {
	Segments int           `json:"segments"`
	Records  int64         `json:"records"`
	First    int64         `json:"first"` // seq of the first record
	Last     int64         `json:"last"`  // seq of the last record
	Start    *Time         `json:"start,omitempty"`
	End      *Time         `json:"end,omitempty"`  // absent after a fault
	Head     bundle.Digest `json:"head,omitempty"` // of the last record; absent after a fault
	Signed   int64         `json:"signed"`         // seq of the last record that a signature covers; 0: none
	Keys     []string      `json:"keys"`           // that signed, sorted
	Torn     []TornLine    `json:"torn"`           // what writers that were killed left behind
	Before   int64         `json:"before"`         // records before the first one, which were not looked at
}

// TornLine is the end of a segment whose writer was killed in the middle of a line. Nobody was told that its record was written, and
// the next segment names its digest.
type TornLine struct {
	File  string `json:"file"`
	Bytes int64  `json:"bytes"`
}

// source is a file of a trail. Its number is that of its name, or of its opening if it was named on its own.
type source struct {
	path   string
	number int64
}

// Verify reads the segments in a folder, or in files, in order. It returns what it found, and the first fault as a *Fault; other errors
// are of reading. A folder must hold the trail from its beginning, or from where check.From says.
func Verify(paths []string, check Check) (*Report, error) {
	report, err := verify(paths, check)
	if fault := (*Fault)(nil); errors.As(err, &fault) {
		report.end(fault)
	}
	return report, err
}

// end takes back what was counted before it turned out to be bad.
func (r *Report) end(f *Fault) {
	if f.Seq > 0 && f.Seq <= r.Last {
		r.Records -= r.Last - f.Seq + 1
		r.Last = f.Seq - 1
	}
	r.Head, r.End = "", nil // of a trail that nobody should rely on
}

func verify(paths []string, check Check) (*Report, error) {
	v := &verifier{check: check, report: &Report{Keys: []string{}, Torn: []TornLine{}}, found: check.Head == ""}
	files, whole, err := sources(paths)
	if err != nil {
		return v.report, err
	}
	v.whole = whole
	for i, f := range files {
		var tail *torn
		newest := i+1 == len(files)
		if !newest {
			tail = tornEnd(f, files[i+1])
		}
		if err := v.segment(f, tail, newest); err != nil {
			return v.report, err
		}
	}
	if !v.found {
		last := v.previous
		return v.report, last.fault(HeadAbsent, v.lines+1, v.report.Last+1, "the trail ends here, and none of its records has the digest %s: records were cut off, or the trail is another one", check.Head)
	}
	return v.report, nil
}

type verifier struct {
	check    Check
	report   *Report
	whole    bool     // the trail must be there from its beginning
	found    bool     // check.Head was met
	previous *segment // nil before the first
	lines    int      // of the previous segment
}

// segment verifies one file, which ends in a tail if the segment after it says so.
func (v *verifier) segment(f source, tail *torn, newest bool) error {
	file, size, err := openSegment(f.path)
	if err != nil {
		return err
	}
	defer func() { _ = file.Close() }() // only read
	var r io.Reader = file
	if tail != nil {
		if size < tail.Bytes {
			return (&segment{file: f.path}).fault(Truncated, 1, 0, "has %d bytes, and the next segment says that its torn end alone has %d", size, tail.Bytes)
		}
		r = io.NewSectionReader(file, 0, size-tail.Bytes)
	}
	l := newLines(r)
	if newest {
		l.more = patience(v.check.Wait)
	}
	s := &scan{segment: segment{file: f.path}, lines: l, judge: v.judge, each: v.record}
	s.link = func() error { return v.link(&s.segment, f) }
	err = s.run()
	v.count(&s.segment)
	if err != nil {
		return err
	}
	v.previous, v.lines = &s.segment, l.number
	switch {
	case tail != nil:
		return v.tail(&s.segment, file, tail)
	case s.footer == "" && !newest:
		return s.fault(Truncated, l.number+1, s.last+1, "the end of the segment is missing: it has no footer, and another segment follows")
	}
	return nil
}

// link holds a segment to the one before, as soon as its opening was read.
func (v *verifier) link(s *segment, f source) error {
	p := v.previous
	switch {
	case s.Segment != f.number:
		return s.fault(Misplaced, 1, 0, "is segment %d, its name says %d", s.Segment, f.number)
	case p == nil:
		return v.first(s)
	case s.Segment == p.Segment:
		return s.fault(Misplaced, 1, 0, "is segment %d, as is %s", s.Segment, p.file)
	case s.Segment != p.Segment+1:
		return s.fault(Missing, 1, p.last+1, "segment %d is not here, segment %d is", p.Segment+1, s.Segment)
	case s.Environment != p.Environment:
		return s.fault(Misplaced, 1, 0, "is of environment %q, the segment before of %q", s.Environment, p.Environment)
	case s.Previous.Footer != p.footer:
		return s.fault(Misplaced, 1, 0, "does not follow %s: it names another footer", p.file)
	case s.Previous.Head != p.head || s.First != p.last+1:
		return s.fault(Misplaced, 1, 0, "does not follow %s: it names record %d as its first and %s as the head before, that ends with record %d and %s",
			p.file, s.First, s.Previous.Head.Short(), p.last, p.head.Short())
	}
	return nil
}

func (v *verifier) first(s *segment) error {
	switch {
	case s.Segment == 1 && v.check.From != "":
		return s.fault(Misplaced, 1, 0, "is the beginning of the trail, and follows nothing")
	case s.Segment == 1:
		return nil
	case v.check.From == "" && v.whole:
		return s.fault(Missing, 1, 1, "the trail begins with segment %d; if older ones are kept elsewhere, name the head before this one with --from", s.Segment)
	case v.check.From != "" && v.check.From != s.Previous.Head:
		return s.fault(Misplaced, 1, 0, "follows a segment with another head, %s", s.Previous.Head)
	}
	v.report.Before = s.First - 1
	return nil
}

// tail checks what a killed writer left behind.
func (v *verifier) tail(s *segment, file io.ReaderAt, t *torn) error {
	digest, err := digestOf(io.NewSectionReader(file, s.size, t.Bytes))
	if err != nil {
		return fmt.Errorf("read %s: %w", s.file, err)
	}
	if s.footer != "" || digest != t.Digest {
		return s.fault(Changed, v.lines+1, s.last+1, "the torn end of the segment was changed: the next segment names another digest for its %d bytes", t.Bytes)
	}
	v.report.Torn = append(v.report.Torn, TornLine{File: s.file, Bytes: t.Bytes})
	return nil
}

func (v *verifier) judge(line []byte, environment string) ([]byte, string, error) {
	return bundle.VerifyAudit(line, v.check.Trust, environment)
}

func (v *verifier) record(_ *Entry, digest bundle.Digest) error {
	v.found = v.found || digest == v.check.Head
	v.report.Head = digest
	return nil
}

// count adds a segment, or what is good of it, to the report.
func (v *verifier) count(s *segment) {
	r := v.report
	if s.Format == "" {
		return
	}
	if r.Segments == 0 {
		r.First = s.First
	}
	r.Segments++
	r.Records += s.records()
	r.Last = s.last
	if s.records() > 0 {
		if r.Start == nil {
			r.Start = &s.start
		}
		r.End = &s.end
	}
	if s.footer != "" {
		r.Signed = s.last
		if at, known := slices.BinarySearch(r.Keys, s.key); !known {
			r.Keys = slices.Insert(r.Keys, at, s.key)
		}
	}
}

// sources lists the segments of a folder by their names, or sorts files by what they say they are.
func sources(paths []string) (files []source, whole bool, err error) {
	if len(paths) == 1 {
		info, err := os.Stat(paths[0])
		if err != nil {
			return nil, false, err
		}
		if info.IsDir() {
			files, err = segments(paths[0])
			if err == nil && len(files) == 0 {
				err = &Fault{Kind: Missing, File: paths[0], Seq: 1, Detail: "the folder holds no segment of an audit trail (" + nameOf(1) + " and so on)"}
			}
			return files, true, err
		}
	}
	for _, p := range paths {
		o, err := peekOpening(p)
		if err != nil {
			return nil, false, err
		}
		files = append(files, source{path: p, number: o.Segment})
	}
	slices.SortStableFunc(files, func(a, b source) int { return cmp.Compare(a.number, b.number) })
	return files, false, nil
}

// segments lists the segments in a folder, oldest first.
func segments(dir string) ([]source, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var files []source
	for _, e := range entries {
		if n, ok := numberOf(e.Name()); ok {
			files = append(files, source{path: filepath.Join(dir, e.Name()), number: n})
		}
	}
	slices.SortFunc(files, func(a, b source) int { return cmp.Compare(a.number, b.number) })
	return files, nil
}

// tornEnd is how a segment ends according to the one after it; nil: not torn. What cannot be read has its turn later.
func tornEnd(f, after source) *torn {
	o, err := peekOpening(after.path)
	if err != nil || o.Previous == nil || o.Segment != f.number+1 {
		return nil
	}
	return o.Previous.Torn
}

// peekOpening reads the first line of a file.
func peekOpening(path string) (*opening, error) {
	f, _, err := openSegment(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read
	s := &scan{segment: segment{file: path}, lines: newLines(f)}
	s.link = func() error { return io.EOF } // far enough
	if err := s.run(); !errors.Is(err, io.EOF) {
		return nil, err
	}
	return &s.opening, nil
}

// openSegment opens a file to read; a name may lead to a device that never ends.
func openSegment(path string) (*os.File, int64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, err
	}
	return f, info.Size(), nil
}

// patience waits a little each time it is called, and in all as long as it is told.
func patience(limit time.Duration) func() bool {
	const step = 20 * time.Millisecond
	return func() bool {
		if limit <= 0 {
			return false
		}
		time.Sleep(step)
		limit -= step
		return true
	}
}
