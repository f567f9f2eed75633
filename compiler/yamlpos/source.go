package yamlpos

import (
	"bytes"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema/diag"
)

// source is the text of one file and the way from a line and column to a byte.
type source struct {
	path   string
	text   []byte // without byte order mark
	lines  []int  // offset of each line in text; line breaks are LF or CRLF only
	ascii  bool   // every column is one byte
	shrunk []shrink
	near   cursor
}

// shrink notes that text is shorter than the file from a place to the end of the line, because escapes of JSON before it
// were rewritten.
type shrink struct{ line, column, by int }

// cursor remembers the byte of one column, so that a long line with many values is walked once and not once per value.
type cursor struct{ line, column, offset int }

// newSource checks the text and prepares it for yaml.v3. It reports false if it must not be parsed.
func newSource(path string, data []byte, diags *diag.List) (*source, bool) {
	s, ok := checkText(path, data, diags)
	if ok && strings.HasSuffix(path, ".json") {
		s.rewriteEscapes()
	}
	return s, ok
}

// checkText checks the encoding and indexes the lines.
func checkText(path string, data []byte, diags *diag.List) (*source, bool) {
	s := &source{path: path, ascii: true}
	if len(data) > MaxBytes {
		diags.Add(diag.Diagnostic{
			Code: "GW1005", Pos: diag.Pos{File: path},
			Message: fmt.Sprintf("the file has %d bytes, at most %d are read", len(data), MaxBytes),
			Hint:    "split it: the objects of one kind may be spread over any number of files",
		})
		return nil, false
	}
	if name := foreignEncoding(data); name != "" {
		diags.Add(diag.Diagnostic{
			Code: "GW1020", Pos: s.pos(1, 1),
			Message: "the file is encoded as " + name + ", it must be UTF-8",
			Hint:    "save it as UTF-8",
		})
		return nil, false
	}
	s.text = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	s.lines = append(make([]int, 0, bytes.Count(s.text, []byte{'\n'})+1), 0)
	return s, s.scan(diags)
}

// foreignEncoding names an encoding other than UTF-8 that data is recognisably in, or "".
func foreignEncoding(data []byte) string {
	switch {
	case bytes.HasPrefix(data, []byte{0xff, 0xfe, 0, 0}), bytes.HasPrefix(data, []byte{0, 0, 0xfe, 0xff}):
		return "UTF-32"
	case bytes.HasPrefix(data, []byte{0xff, 0xfe}), bytes.HasPrefix(data, []byte{0xfe, 0xff}):
		return "UTF-16"
	case len(data) >= 4 && data[0] != 0 && data[1] == 0 && data[2] != 0 && data[3] == 0,
		len(data) >= 4 && data[0] == 0 && data[1] != 0 && data[2] == 0 && data[3] != 0:
		return "UTF-16 without a byte order mark"
	}
	return ""
}

// scan walks the text once: it finds the line starts and reports what no reviewer can see.
func (s *source) scan(diags *diag.List) bool {
	found := 0
	for i := 0; i < len(s.text); {
		c := s.text[i]
		switch {
		case c == '\n':
			s.lines = append(s.lines, i+1)
			i++
			continue
		case c >= 0x20 && c < 0x7f, c == '\t', c == '\r' && i+1 < len(s.text) && s.text[i+1] == '\n':
			i++
			continue
		}
		r, size := utf8.DecodeRune(s.text[i:])
		s.ascii = s.ascii && size == 1
		if d, bad := hidden(r, size); bad {
			if found++; found <= maxHidden {
				line := len(s.lines)
				start := s.lines[line-1]
				d.Pos, d.Width = s.pos(line, utf8.RuneCount(s.text[start:i])+1), 1
				if r == utf8.RuneError {
					d.Message = fmt.Sprintf("byte 0x%02x is not UTF-8", c)
				}
				diags.Add(d)
			}
		}
		i += size
	}
	return found == 0
}

// hidden describes what is wrong with a rune no author means to write. Size is the number of bytes it was read from.
func hidden(r rune, size int) (diag.Diagnostic, bool) {
	switch {
	case r == utf8.RuneError && size == 1:
		return diag.Diagnostic{Code: "GW1021", Hint: "save the file as UTF-8"}, true
	case r == 0x85 || r == 0x2028 || r == 0x2029 || r == '\r':
		return diag.Diagnostic{
			Code:    "GW1024",
			Message: fmt.Sprintf("%U is a line break to YAML but to few editors, so the file is not what it looks like", r),
			Hint:    `end lines with LF or CRLF; inside a value write it as an escape in double quotes`,
		}, true
	case isBidi(r):
		return diag.Diagnostic{
			Code:    "GW1023",
			Message: fmt.Sprintf("%U changes the order in which text is shown, so the file is not what it looks like", r),
			Hint:    "remove the character",
		}, true
	case r < 0x20 && r != '\t' && r != '\n', r >= 0x7f && r <= 0x9f, r == 0xfeff, r == 0xfffe, r == 0xffff:
		return diag.Diagnostic{
			Code: "GW1022", Message: fmt.Sprintf("the control character %U is not allowed", r), Hint: "remove it",
		}, true
	}
	return diag.Diagnostic{}, false
}

// isBidi reports whether r is one of Unicode's bidirectional controls (CVE-2021-42574, "Trojan Source").
func isBidi(r rune) bool {
	return r == 0x61c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
}

// pos returns the place in the file that a line and column of text stand for.
func (s *source) pos(line, column int) diag.Pos {
	if len(s.shrunk) > 0 {
		i := sort.Search(len(s.shrunk), func(i int) bool {
			k := s.shrunk[i]
			return k.line > line || k.line == line && k.column >= column
		})
		if i > 0 && s.shrunk[i-1].line == line {
			column += s.shrunk[i-1].by
		}
	}
	return diag.Pos{File: s.path, Line: line, Col: column}
}

// line returns a line without its line break.
func (s *source) line(n int) []byte {
	if n < 1 || n > len(s.lines) || s.lines[n-1] > len(s.text) {
		return nil
	}
	rest := s.text[s.lines[n-1]:]
	if n < len(s.lines) && s.lines[n] <= len(s.text) {
		rest = rest[:s.lines[n]-s.lines[n-1]-1]
	}
	return bytes.TrimSuffix(rest, []byte{'\r'})
}

// from returns the rest of a line from a column on.
func (s *source) from(line, column int) []byte {
	text := s.line(line)
	if s.ascii {
		return text[min(max(column-1, 0), len(text)):]
	}
	if s.near.line != line {
		s.near = cursor{line, 1, 0}
	}
	for s.near.column < column && s.near.offset < len(text) {
		_, size := utf8.DecodeRune(text[s.near.offset:])
		s.near.column++
		s.near.offset += size
	}
	for s.near.column > column && s.near.offset > 0 {
		_, size := utf8.DecodeLastRune(text[:s.near.offset])
		s.near.column--
		s.near.offset -= size
	}
	return text[s.near.offset:]
}

// rewriteEscapes rewrites the escapes of JSON strings which yaml.v3 does not know: "\ud83d\ude00" as "\U0001f600", "\/" as "/".
func (s *source) rewriteEscapes() {
	if !bytes.Contains(s.text, []byte(`\u`)) && !bytes.Contains(s.text, []byte(`\/`)) {
		return
	}
	out := make([]byte, 0, len(s.text))
	lines := []int{0}
	column, cut := 1, 0 // where out stands in its line, and by how much that line has shrunk
	shrunk := func(by int) {
		cut += by
		s.shrunk = append(s.shrunk, shrink{len(lines), column, cut})
	}
	for i := 0; i < len(s.text); i++ {
		c := s.text[i]
		if c == '\\' && i+1 < len(s.text) && s.text[i+1] != '\n' {
			if r, ok := surrogatePair(s.text[i:]); ok {
				shrunk(2)
				out = fmt.Appendf(out, `\U%08x`, r)
				column += 10
				i += 11
				continue
			}
			i++
			if s.text[i] == '/' {
				shrunk(1)
			} else {
				out = append(out, c)
				column++
			}
			c = s.text[i]
		}
		out = append(out, c)
		if utf8.RuneStart(c) {
			column++
		}
		if c == '\n' {
			lines = append(lines, len(out))
			column, cut = 1, 0
		}
	}
	if len(s.shrunk) > 0 {
		s.text, s.lines = out, lines
	}
}

// surrogatePair reads `\udxxx\udxxx` at the start of text.
func surrogatePair(text []byte) (rune, bool) {
	if len(text) < 12 {
		return 0, false
	}
	high, ok1 := codeUnit(text)
	low, ok2 := codeUnit(text[6:])
	if !ok1 || !ok2 {
		return 0, false
	}
	if high < 0xd800 || high > 0xdbff || low < 0xdc00 || low > 0xdfff {
		return 0, false
	}
	return (high-0xd800)<<10 + (low - 0xdc00) + 0x10000, true
}

// codeUnit reads `\uxxxx` at the start of text.
func codeUnit(text []byte) (rune, bool) {
	if text[0] != '\\' || text[1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(v), err == nil
}

// Text checks the encoding of a file in another format as Decode does for YAML: size, UTF-8, no hidden characters. It
// returns the text without a byte order mark, or false if it must not be read; then diags says why.
func Text(path string, data []byte, diags *diag.List) ([]byte, bool) {
	s, ok := checkText(path, data, diags)
	if !ok {
		return nil, false
	}
	return s.text, true
}
