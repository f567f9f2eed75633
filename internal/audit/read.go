package audit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Read hands each every record in a folder, oldest first, and believes all of them: to verify is Verify's part. A line that is none of
// a trail is handed over as a *Fault, without a record, and reading goes on: a damaged trail is one that people have to look at.
func Read(dir string, each func(*Entry, *Fault) error) error {
	files, err := segments(dir)
	if err != nil {
		return err
	}
	for i, f := range files {
		r, err := newReader(f.path)
		if err != nil {
			return err
		}
		if i+1 == len(files) {
			r.lines.more = patience(time.Second)
		} else if t := tornEnd(f, files[i+1]); t != nil { // which a record tells of
			r.lines = newLines(io.NewSectionReader(r.file, 0, max(0, r.size-t.Bytes)))
		}
		err = r.drain(each)
		r.close()
		if err != nil {
			return err
		}
	}
	return nil
}

// pollInterval is how often Follow looks for new lines.
const pollInterval = 250 * time.Millisecond

// Follow hands each the last n records, as far as they are in the last two segments, and then every new one. It returns nil when ctx
// ends, and the error that each returns.
func Follow(ctx context.Context, dir string, n int, each func(*Entry, *Fault) error) error {
	files, err := segments(dir)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("%s holds no audit trail", dir)
	}
	f := &follower{ctx: ctx, dir: dir, at: files[max(0, len(files)-2)].number, newest: files[len(files)-1].number, keep: n, each: each}
	for {
		if err := f.segment(); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		f.at++
	}
}

// follower reads segment after segment. Up to the present it keeps the last few records only.
type follower struct {
	ctx    context.Context //nolint:containedctx // it lives as long as the call of Follow
	dir    string
	at     int64 // the segment being read
	newest int64 // when it began
	keep   int
	kept   []*Entry
	each   func(*Entry, *Fault) error
}

// segment reads a segment until there is a next one, whose writer had ended this one before.
func (f *follower) segment() error {
	r, err := newReader(filepath.Join(f.dir, nameOf(f.at)))
	if err != nil {
		return err
	}
	defer r.close()
	next := filepath.Join(f.dir, nameOf(f.at+1))
	r.lines.more = func() bool { // a writer that has begun another segment does not end a line in this one
		_, absent := os.Stat(next)
		return absent != nil && f.wait() == nil
	}
	for {
		_, absent := os.Stat(next)
		if err := r.drain(f.take); err != nil {
			return err
		}
		if f.at >= f.newest {
			if err := f.flush(); err != nil {
				return err
			}
		}
		if absent == nil {
			return nil
		}
		if err := f.wait(); err != nil {
			return err
		}
	}
}

func (f *follower) take(e *Entry, fault *Fault) error {
	if f.keep < 0 { // the past was handed over
		return f.each(e, fault)
	}
	if fault != nil || f.keep == 0 {
		return nil
	}
	if len(f.kept) == f.keep {
		f.kept = append(f.kept[:0], f.kept[1:]...)
	}
	f.kept = append(f.kept, e)
	return nil
}

// flush hands over the past, once.
func (f *follower) flush() error {
	f.keep = -1
	for _, e := range f.kept {
		if err := f.each(e, nil); err != nil {
			return err
		}
	}
	f.kept = nil
	return nil
}

func (f *follower) wait() error {
	select {
	case <-f.ctx.Done():
		return f.ctx.Err()
	case <-time.After(pollInterval):
		return nil
	}
}

// reader reads the records of one segment.
type reader struct {
	file  *os.File
	size  int64
	lines *lines
}

func newReader(path string) (*reader, error) {
	f, size, err := openSegment(path)
	if err != nil {
		return nil, err
	}
	return &reader{file: f, size: size, lines: newLines(f)}, nil
}

func (r *reader) close() { _ = r.file.Close() } // only read

// drain hands over every record up to the end of the file, as it is now.
func (r *reader) drain(each func(*Entry, *Fault) error) error {
	for {
		line, err := r.lines.next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case errors.Is(err, errTorn), errors.Is(err, errLong):
			err = each(nil, r.fault(err))
		case err != nil:
			return fmt.Errorf("read %s: %w", r.file.Name(), err)
		case r.lines.number == 1:
			if _, err = parseOpening(line); err != nil {
				err = each(nil, r.fault(err))
			}
		case isFooter(line):
		default:
			e, bad := parseEntry(line)
			if bad != nil {
				err = each(nil, r.fault(bad))
			} else {
				err = each(e, nil)
			}
		}
		if err != nil {
			return err
		}
	}
}

func (r *reader) fault(err error) *Fault {
	return &Fault{Kind: Malformed, File: r.file.Name(), Line: r.lines.number, Detail: "is not a line of a trail: " + err.Error()}
}
