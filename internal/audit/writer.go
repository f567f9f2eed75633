package audit

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/suuupra/gateway/schema/bundle"
)

// writer appends to the newest segment. It is used by one goroutine at a time.
type writer struct {
	o    *Options
	lock *os.File
	file *os.File // the newest segment

	number int64 // of the segment
	first  int64 // seq of its first record
	last   int64 // seq of the last record; first-1: the segment has none
	opened time.Time
	size   int64         // of the segment, in bytes that count
	dirty  bool          // behind size there may be bytes of a write that failed
	prev   bundle.Digest // of the last line before a footer
	record bundle.Digest // of the last record
	footer bundle.Digest // set: the segment has ended
}

// written is a record with its line.
type written struct {
	entry Entry
	text  []byte
}

// openWriter takes the lock and finds where the trail goes on. It returns the records that say what it found.
func openWriter(o *Options) (*writer, []Record, error) {
	judge, err := ownJudge(o)
	if err != nil {
		return nil, nil, err
	}
	if err := makeFolder(o.Dir); err != nil {
		return nil, nil, err
	}
	w := &writer{o: o}
	if w.lock, err = takeLock(filepath.Join(o.Dir, "lock")); err != nil {
		return nil, nil, fmt.Errorf("lock %s: %w", o.Dir, err)
	}
	found, err := w.resume(judge)
	if err != nil {
		return nil, nil, errors.Join(err, w.close())
	}
	return w, found, nil
}

// makeFolder makes the folder, or looks at who else may write to it: they could put another trail in the place of this one.
func makeFolder(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 {
		return fmt.Errorf("%s has mode %04o, so others may write to it; name a folder inside it, which is then made with mode 0700", dir, mode)
	}
	return nil
}

// ownJudge checks footers of the own key. Those of keys before it are for Verify, which is told of all of them.
func ownJudge(o *Options) (judge, error) {
	public := o.Key.Public()
	entry, err := bundle.TrustKeyOf(public, bundle.RoleAudit, o.Environment)
	if err != nil {
		return nil, err
	}
	file, err := bundle.TrustFile{Keys: []bundle.TrustKey{entry}}.Encode()
	if err != nil {
		return nil, err
	}
	trust, err := bundle.ParseTrust(file) // which looks at the name of the environment, too
	if err != nil {
		return nil, err
	}
	return func(line []byte, environment string) ([]byte, string, error) {
		payload, key, err := bundle.PeekAudit(line)
		if err != nil || key != public.ID() {
			return payload, key, err
		}
		return bundle.VerifyAudit(line, trust, environment)
	}, nil
}

// resume verifies the newest segment and goes on in it or behind it.
func (w *writer) resume(j judge) ([]Record, error) {
	start := Record{Actor: Actor{Kind: System}, Action: Start, Outcome: Success}
	files, err := segments(w.o.Dir)
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return []Record{start}, w.next(nil)
	}
	f := files[len(files)-1]
	s, tail, err := w.inspect(f, j)
	if err != nil {
		return nil, err
	}
	if s.Environment != w.o.Environment {
		return nil, fmt.Errorf("the trail in %s is of environment %q; give %q a folder of its own", w.o.Dir, s.Environment, w.o.Environment)
	}
	w.number, w.first, w.last, w.opened, w.size = s.Segment, s.First, s.last, s.Time.Time, s.size
	w.prev, w.footer = s.head, s.footer
	if s.action != Stop {
		start.Reason = "the writer before was killed"
	}
	if w.footer != "" {
		return []Record{start}, nil
	}
	if tail == nil {
		w.file, err = openToAppend(f.path)
		return []Record{start}, err
	}
	recovered := Record{
		Actor: Actor{Kind: System}, Action: Recover, Object: filepath.Base(f.path), Outcome: Success,
		Reason:  fmt.Sprintf("the segment ends in the middle of a line, of a record that nobody was told is written: its %d bytes stay where they are", tail.Bytes),
		Details: map[string]string{"bytes": strconv.FormatInt(tail.Bytes, 10), "digest": string(tail.Digest)},
	}
	return []Record{start, recovered}, w.next(&previous{Head: s.head, Torn: tail})
}

// inspect scans the newest segment. What a killed writer may leave at its end is no fault but a tail: a line that was begun, or blocks
// of zeros, which some file systems show in place of what had not reached the disk when the power failed.
func (w *writer) inspect(f source, j judge) (*segment, *torn, error) {
	file, size, err := openSegment(f.path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = file.Close() }() // only read
	s := &scan{segment: segment{file: f.path}, lines: newLines(file), judge: j}
	s.link = func() error {
		if s.Segment != f.number {
			return s.fault(Misplaced, 1, 0, "is segment %d, its name says %d", s.Segment, f.number)
		}
		return nil
	}
	err = s.run()
	if err == nil {
		return &s.segment, nil, nil
	}
	if fault := (*Fault)(nil); !errors.As(err, &fault) || s.Format == "" || s.footer != "" || fault.Kind != Truncated && !zeros(file, s.size) {
		return nil, nil, fmt.Errorf("the newest segment was changed: %w; keep the folder for those who find out why, and begin a trail in another one", err)
	}
	t := &torn{Bytes: size - s.size}
	t.Digest, err = digestOf(io.NewSectionReader(file, s.size, t.Bytes))
	return &s.segment, t, err
}

// zeros reports whether the line at an offset holds a NUL, which no line of a trail does.
func zeros(file io.ReaderAt, offset int64) bool {
	line := make([]byte, maxLine)
	n, _ := file.ReadAt(line, offset) // short at the end of the file
	line, _, _ = bytes.Cut(line[:n], []byte("\n"))
	return bytes.IndexByte(line, 0) >= 0
}

// due is when expire has something to do.
func (w *writer) due() time.Duration {
	if w.footer != "" || w.last < w.first {
		return w.o.MaxAge
	}
	return min(max(0, time.Until(w.opened.Add(w.o.MaxAge))), w.o.MaxAge)
}

// expire ends a segment that is old enough, so that a signature covers its records.
func (w *writer) expire() error {
	if w.due() > 0 {
		return nil
	}
	return w.seal()
}

// append writes records as one, to disk. After an error none of them counts.
func (w *writer) append(records []Record) ([]written, error) {
	if w.footer == "" && w.last >= w.first && w.size >= w.o.MaxBytes {
		if err := w.seal(); err != nil {
			return nil, err
		}
	}
	if w.footer != "" {
		if err := w.next(&previous{Head: w.prev, Footer: w.footer}); err != nil {
			return nil, err
		}
	}
	now, seq, prev := TimeOf(time.Now()), w.last, w.prev
	out := make([]written, len(records))
	var text []byte
	for i, r := range records {
		seq++
		e := Entry{Seq: seq, Time: now, Environment: w.o.Environment, Instance: w.o.Instance, Record: r, Prev: prev}
		line, err := bundle.Canonical(&e)
		if err != nil {
			return nil, err
		}
		out[i] = written{entry: e, text: line}
		prev = bundle.DigestOf(line)
		text = append(append(text, line...), '\n')
	}
	if err := w.put(text); err != nil {
		return nil, err
	}
	w.last, w.prev, w.record = seq, prev, prev
	return out, nil
}

// seal ends the segment with its footer.
func (w *writer) seal() error {
	payload, err := bundle.Canonical(footer{
		Format: Format, Segment: w.number, First: w.first, Last: w.last, Count: w.last - w.first + 1,
		Environment: w.o.Environment, Time: TimeOf(time.Now()), Head: w.prev,
	})
	if err != nil {
		return err
	}
	line, err := bundle.SignAudit(payload, w.o.Key)
	if err != nil {
		return err
	}
	digest := bundle.DigestOf(line)
	if err := w.put(append(line, '\n')); err != nil {
		return err
	}
	w.footer = digest
	return nil
}

// put appends to the segment and waits for the disk. What an attempt leaves behind that failed is cut off before the next, so that a
// disk which is full for a while does no harm. A failed fsync may be forgotten by the kernel, which is why its bytes are never kept.
func (w *writer) put(text []byte) error {
	if w.dirty {
		if err := w.file.Truncate(w.size); err != nil {
			return fmt.Errorf("cut off what an attempt before has left: %w", err)
		}
		w.dirty = false
	}
	_, err := w.file.Write(text)
	if err == nil {
		err = w.file.Sync()
	}
	if err != nil {
		w.dirty = w.file.Truncate(w.size) != nil
		return err
	}
	w.size += int64(len(text))
	return nil
}

// next begins a segment. Its file gets its name once the first line is on disk, so there is none without.
func (w *writer) next(p *previous) error {
	o := opening{Format: Format, Segment: w.number + 1, First: w.last + 1, Environment: w.o.Environment, Time: TimeOf(time.Now()), Previous: p}
	line, err := bundle.Canonical(o)
	if err != nil {
		return err
	}
	digest, path := bundle.DigestOf(line), filepath.Join(w.o.Dir, nameOf(o.Segment))
	file, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_TRUNC|noFollow, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	if err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = os.Rename(path+".tmp", path)
	}
	if err == nil {
		err = syncFolder(w.o.Dir)
	}
	if err != nil {
		return errors.Join(err, file.Close())
	}
	if w.file != nil {
		_ = w.file.Close() // all of it is on disk
	}
	w.file, w.number, w.first, w.opened = file, o.Segment, o.First, o.Time.Time
	w.size, w.dirty, w.prev, w.footer = int64(len(line))+1, false, digest, ""
	return nil
}

// close gives the lock back.
func (w *writer) close() error {
	var err error
	if w.file != nil {
		err = w.file.Close()
	}
	return errors.Join(err, w.lock.Close())
}

func openToAppend(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_WRONLY|os.O_APPEND|noFollow, 0)
}

// syncFolder makes a new name last.
func syncFolder(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

func digestOf(r io.Reader) (bundle.Digest, error) {
	h := sha256.New()
	if _, err := io.Copy(h, r); err != nil {
		return "", err
	}
	return bundle.ParseDigest("sha256:" + hex.EncodeToString(h.Sum(nil)))
}
