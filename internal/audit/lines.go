package audit

import (
	"bufio"
	"errors"
	"io"
)

var (
	errTorn = errors.New("the line is not complete")
	errLong = errors.New("the line is longer than any record")
)

// lines reads lines of at most maxLine bytes, and counts.
type lines struct {
	r      *bufio.Reader
	number int   // of the line that was read last, from 1
	size   int64 // of all complete lines so far, in bytes
	// more, if set, waits at an incomplete last line, and reports whether it is worth reading on: a writer may be at it.
	more func() bool
	part []byte
}

func newLines(r io.Reader) *lines { return &lines{r: bufio.NewReaderSize(r, maxLine)} }

// next returns the next line without its line break; it is good until the next call. The error is io.EOF at the end, errTorn for a
// last line that was begun and not ended, errLong, or what reading brought.
func (l *lines) next() ([]byte, error) {
	l.part = l.part[:0]
	for {
		line, err := l.r.ReadSlice('\n')
		if len(l.part) > 0 || errors.Is(err, io.EOF) && len(line) > 0 {
			l.part = append(l.part, line...)
			line = l.part
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine:
			l.number++
			for errors.Is(err, bufio.ErrBufferFull) { // so that whoever reads on begins with the next line
				_, err = l.r.ReadSlice('\n')
			}
			return nil, errLong
		case err == nil:
			l.number++
			l.size += int64(len(line))
			return line[:len(line)-1], nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			if l.more != nil && l.more() {
				continue
			}
			l.number++
			return nil, errTorn
		default:
			return nil, err
		}
	}
}
