package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/suuupra/gateway/schema/bundle"
)

// FaultKind is a sort of damage. The values are stable: they are in JSON output.
type FaultKind string

// The kinds.
const (
	Malformed  FaultKind = "malformed"  // a line is not what the format allows
	Sequence   FaultKind = "sequence"   // a record is missing, is there twice, or was moved or put in
	Changed    FaultKind = "changed"    // a line is not the one whose digest is named elsewhere
	Signature  FaultKind = "signature"  // a footer was changed, or signed by a key that may not
	Truncated  FaultKind = "truncated"  // the end of a segment is missing
	Misplaced  FaultKind = "misplaced"  // a segment, or its footer, is not the one that belongs here
	Missing    FaultKind = "missing"    // a segment is not there
	HeadAbsent FaultKind = "headAbsent" // the trail does not hold the record it must hold
)

// Fault is the first place at which a trail is not what its writer wrote. A command that meets one ends with exit code 6.
type Fault struct {
	Kind   FaultKind `json:"kind"`
	File   string    `json:"file"`
	Line   int       `json:"line,omitempty"` // from 1: the bad line, or where the missing one should be; absent: File is a folder
	Seq    int64     `json:"seq,omitempty"`  // the record that should be there; absent: it is about the segment
	Detail string    `json:"detail"`
}

// Error says where, and what is wrong.
func (f *Fault) Error() string {
	text := f.File + ": "
	if f.Line > 0 {
		text = fmt.Sprintf("%s:%d: ", f.File, f.Line)
	}
	if f.Seq > 0 {
		text += fmt.Sprintf("record %d: ", f.Seq)
	}
	return text + f.Detail
}

// judge checks the signature of a footer in an environment. It returns what was signed, and the key.
type judge func(line []byte, environment string) (payload []byte, key string, err error)

// segment is what a scan found.
type segment struct {
	opening
	file       string
	head       bundle.Digest // of the last line before the footer
	last       int64         // seq of the last record; First-1: there is none
	size       int64         // of the lines that are good, in bytes
	footer     bundle.Digest // empty: the segment has no footer
	key        string        // that signed the footer
	start, end Time          // of the first and the last record
	action     Action        // of the last record
}

func (s *segment) records() int64 { return s.last - s.First + 1 }

func (s *segment) fault(kind FaultKind, line int, seq int64, format string, args ...any) error {
	return &Fault{Kind: kind, File: s.file, Line: line, Seq: seq, Detail: fmt.Sprintf(format, args...)}
}

// scan reads a segment and holds each line to the one before.
type scan struct {
	segment
	lines *lines
	judge judge
	link  func() error                               // is called when the opening was read; nil: not
	each  func(e *Entry, digest bundle.Digest) error // is handed every record that fits; nil: not
}

// run reads to the end. What it found before an error is in s.segment.
func (s *scan) run() error {
	for {
		line, err := s.lines.next()
		switch {
		case errors.Is(err, io.EOF) && s.lines.number == 0:
			return s.fault(Malformed, 1, 0, "the file is empty")
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTorn):
			return s.fault(Truncated, s.lines.number, s.expected(), "%v: it was cut off, or the writer was killed and has not been started again", err)
		case errors.Is(err, errLong):
			return s.fault(Malformed, s.lines.number, s.expected(), "%v", err)
		case err != nil:
			return fmt.Errorf("read %s: %w", s.file, err)
		case s.lines.number == 1:
			err = s.begin(line)
		case s.footer != "":
			err = s.fault(Malformed, s.lines.number, 0, "follows the footer, which is the last line of a segment")
		case isFooter(line):
			err = s.finish(line)
		default:
			err = s.record(line)
		}
		if err != nil {
			return err
		}
		s.size = s.lines.size
	}
}

// isFooter tells an envelope from a record: canonical JSON has its members sorted, and no record has a member "payload".
func isFooter(line []byte) bool { return bytes.HasPrefix(line, []byte(`{"payload":`)) }

// expected is the record that has to come next.
func (s *scan) expected() int64 {
	if s.opening.Format == "" {
		return 0
	}
	return s.last + 1
}

func (s *scan) begin(line []byte) error {
	o, err := parseOpening(line)
	if err != nil {
		return s.fault(Malformed, 1, 0, "%v", err)
	}
	s.opening, s.last, s.head = *o, o.First-1, bundle.DigestOf(line)
	if s.link == nil {
		return nil
	}
	return s.link()
}

func (s *scan) record(line []byte) error {
	e, err := parseEntry(line)
	want := s.expected()
	switch {
	case err != nil:
		return s.fault(Malformed, s.lines.number, want, "is not a record: %v", err)
	case e.Seq > want:
		return s.fault(Sequence, s.lines.number, want, "is not here, record %d is: records were deleted or moved", e.Seq)
	case e.Seq < want:
		return s.fault(Sequence, s.lines.number, want, "is not here, record %d is once more: a record was put in or moved", e.Seq)
	}
	digest := bundle.DigestOf(line)
	if e.Prev != s.head {
		return s.broken(digest)
	}
	if e.Environment != s.Environment {
		return s.fault(Changed, s.lines.number, want, "is of environment %.100q, the segment is of %q", e.Environment, s.Environment)
	}
	if s.records() == 0 {
		s.start = e.Time
	}
	s.head, s.last, s.end, s.action = digest, e.Seq, e.Time, e.Action
	if s.each == nil {
		return nil
	}
	return s.each(e, digest)
}

// broken says which of two lines was changed that do not fit together. The line after them knows the true digest of the second.
func (s *scan) broken(second bundle.Digest) error {
	line, seq := s.lines.number, s.last+1
	if next, err := s.lines.next(); err == nil && named(next) != second {
		return s.fault(Changed, line, seq, "was changed: it does not fit the lines before and after it")
	}
	if seq == s.First {
		return s.fault(Changed, line-1, 0, "was changed: the next line names another digest for it")
	}
	return s.fault(Changed, line-1, seq-1, "was changed: the next line names another digest for it")
}

// named is the digest a line names as that of the line before it.
func named(line []byte) bundle.Digest {
	var l struct{ Prev, Head bundle.Digest }
	if payload, _, err := bundle.PeekAudit(line); err == nil {
		line = payload
	}
	if json.Unmarshal(line, &l) != nil {
		return ""
	}
	return l.Prev + l.Head // one of the two
}

// finish holds the footer to what was read.
func (s *scan) finish(line []byte) error {
	n := s.lines.number
	payload, key, err := s.judge(line, s.Environment)
	if err != nil {
		return s.fault(Signature, n, 0, "%v", err)
	}
	f, err := parseFooter(payload)
	switch {
	case err != nil:
		return s.fault(Malformed, n, 0, "%v", err)
	case f.Segment != s.Segment || f.First != s.First || f.Environment != s.Environment:
		return s.fault(Misplaced, n, 0, "is the footer of segment %d in %s, which begins with record %d", f.Segment, f.Environment, f.First)
	case f.Last > s.last:
		return s.fault(Sequence, n, s.last+1, "is not here: the footer says that the segment ends with record %d", f.Last)
	case f.Last < s.last:
		return s.fault(Sequence, n-int(s.last-f.Last), f.Last+1, "was put in: the footer says that the segment ends with record %d", f.Last)
	case f.Head != s.head:
		return s.fault(Changed, n-1, s.last, "was changed: the footer names another digest for it")
	}
	s.footer, s.key = bundle.DigestOf(line), key
	return nil
}
