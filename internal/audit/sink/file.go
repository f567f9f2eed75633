package sink

import (
	"bytes"
	"context"
	"io"
	"os"
	"slices"

	"github.com/suuupra/gateway/internal/audit"
)

// stream is standard output or standard error: a line for each record.
type stream struct{ w io.Writer }

func (s *stream) write(_ context.Context, _ *audit.Entry, line []byte) error {
	_, err := s.w.Write(append(slices.Clip(line), '\n')) // one call: lines of others do not come between
	return err
}

func (*stream) close() {}

// file is a file that others may rename, to rotate it.
type file struct {
	path string
	f    *os.File
	info os.FileInfo
	torn bool // the last line was not ended
}

func openFile(path string) (*file, error) {
	d := &file{path: path}
	return d, d.open()
}

func (d *file) open() error {
	f, err := os.OpenFile(d.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close() // nothing was written
		return err
	}
	d.close()
	d.f, d.info = f, info
	last := []byte{'\n'}
	if n := info.Size(); info.Mode().IsRegular() && n > 0 {
		_, err = f.ReadAt(last, n-1)
	}
	d.torn = last[0] != '\n'
	return err
}

func (d *file) write(_ context.Context, _ *audit.Entry, line []byte) error {
	if info, err := os.Stat(d.path); err != nil || !os.SameFile(info, d.info) {
		if err := d.open(); err != nil {
			return err
		}
	}
	var b bytes.Buffer
	if d.torn { // the disk was full in the middle of a line
		b.WriteByte('\n')
	}
	b.Write(line)
	b.WriteByte('\n')
	n, err := d.f.Write(b.Bytes())
	d.torn = err != nil && (n > 0 || d.torn)
	return err
}

func (d *file) close() {
	if d.f != nil {
		_ = d.f.Close() // what matters is in the trail
	}
}
