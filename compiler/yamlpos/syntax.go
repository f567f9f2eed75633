package yamlpos

import (
	"bytes"
	"errors"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema/diag"
)

// maxProbed bounds the text in which a syntax error is located by parsing prefixes. Larger files get the parser's line.
const maxProbed = 256 << 10

// advice says what to do about one complaint of yaml.v3.
type advice struct{ problem, message, hint string }

var advices = []advice{
	{"mapping values are not allowed in this context", "a second \": \" on a line does not start a field here", "quote the value if the colon belongs to it, or check the indentation"},
	{"did not find expected key", "expected a field of the map above", "check the indentation: fields of one map start in the same column"},
	{"did not find expected '-' indicator", "expected the next item of the list above, \"- \"", "check the indentation: items of one list start in the same column"},
	{"could not find expected ':'", "a field needs a colon and a blank after its name", "write \"name: value\", or quote the text"},
	{"did not find expected ',' or ']'", "a list that starts with [ is not closed, or misses a comma", "close it with ], or separate its items by commas"},
	{"did not find expected ',' or '}'", "a map that starts with { is not closed, or misses a comma", "close it with }, or separate its fields by commas"},
	{"did not find expected node content", "expected a value", "quote a value that begins with a special character"},
	{"found character that cannot start any token", "a value cannot begin with this character", "quote the value"},
	{"found unexpected end of stream", "a quoted value is not closed", "add the closing quote"},
	{"found unexpected document indicator", "a quoted value is not closed before the end of the document", "add the closing quote"},
	{"found unknown escape character", "unknown escape in a double-quoted value", `write \\ for a backslash, or use single quotes`},
	{"did not find expected hexdecimal number", "an escape needs hexadecimal digits", `write \\ for a backslash, or use single quotes`},
	{"found invalid Unicode character escape code", "an escape names half of a surrogate pair or no character at all", `write the character itself, or \U and its eight hexadecimal digits`},
	{"block sequence entries are not allowed in this context", "an item of a list, \"- \", cannot start here", "start it on a line of its own"},
	{"did not find expected alphabetic or numeric character", "* and & start an alias or an anchor here and need a name", `quote the value, e.g. "*"`},
	{"exceeded max depth", "values are nested too deep", "values may be nested 64 deep"},
	{"found undefined tag handle", "the tag is not allowed, values are plain data", "remove the tag, or quote a value that begins with !"},
	{"did not find expected <document start>", "expected the end of the file", "a file holds one document; check the indentation of this line"},
	{"expected comment or line break", "text after | or > must start on the next line", "break the line"},
}

var lineOf = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxError turns what yaml.v3 says into a diagnostic. yaml.v3 names the line where the enclosing construct starts, or
// the one before, or none; the exact place is where the shortest prefix of the text that fails the same way ends.
func (s *source) syntaxError(err error) diag.Diagnostic {
	var after errAfterEnd
	if errors.As(err, &after) {
		return diag.Diagnostic{
			Code: "GW1108", Pos: s.pos(after.line, after.column), Width: 1,
			Message: "text after the end of the document, a file holds one", Hint: "remove it, or move it into a file of its own",
		}
	}
	problem := lineOf.ReplaceAllString(err.Error(), "")
	line, column := s.locate(problem, err)
	d := diag.Diagnostic{Code: "GW1100", Pos: s.pos(line, column), Width: 1, Message: problem}
	for _, a := range advices {
		if strings.Contains(problem, a.problem) {
			d.Hint = a.hint
			if a.message != "" {
				d.Message = a.message
			}
			break
		}
	}
	switch {
	case strings.HasPrefix(problem, "unknown anchor"):
		name := strings.TrimSuffix(strings.TrimPrefix(problem, "unknown anchor '"), "' referenced")
		d.Code, d.Message = "GW1115", "the alias *"+name+" names no anchor above it"
		d.Hint = "define it before it is used: &" + name
		if at := bytes.Index(s.line(line), []byte("*"+name)); at >= 0 {
			d.Pos, d.Width = s.pos(line, utf8.RuneCount(s.line(line)[:at])+1), utf8.RuneCountInString(name)+1
		}
	case strings.Contains(problem, "exceeded max depth"):
		d.Code = "GW1112"
	case strings.Contains(problem, "found undefined tag handle"):
		d.Code = "GW1109"
		if at := bytes.LastIndex(s.line(line), []byte(" !")); at >= 0 {
			d.Pos = s.pos(line, utf8.RuneCount(s.line(line)[:at])+2)
		}
	case s.tabIndented(line) && (strings.Contains(problem, "cannot start any token") || strings.Contains(problem, "tab character")):
		d.Code, d.Message, d.Hint = "GW1116", "a tab is used for indentation, YAML allows only blanks", "replace the tab by two blanks"
		d.Pos = s.pos(line, bytes.IndexByte(s.line(line), '\t')+1)
	}
	return d
}

func (s *source) tabIndented(line int) bool {
	text := s.line(line)
	indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
	return bytes.IndexByte(indent, '\t') >= 0
}

// locate finds the line and column of a problem.
func (s *source) locate(problem string, err error) (line, column int) {
	if line, column, ok := s.unclosed(problem); ok {
		return line, column
	}
	if len(s.text) > maxProbed {
		line = 1
		if m := lineOf.FindStringSubmatch(err.Error()); m != nil && m[1] != "" {
			line, _ = strconv.Atoi(m[1])
		}
		return min(max(line, 1), len(s.lines)), 1
	}
	fails := func(text []byte) bool {
		_, err := parse(text)
		return err != nil && lineOf.ReplaceAllString(err.Error(), "") == problem
	}
	last := sort.SearchInts(s.lines, len(s.text)+1) // lines that lie within the text
	line = min(1+sort.Search(last, func(i int) bool { return fails(s.text[:s.lineEnd(i+1)]) }), last)
	start := s.lines[line-1]
	text := s.line(line)
	width := sort.Search(len(text), func(i int) bool { return fails(s.text[:start+i]) })
	indent := len(text) - len(bytes.TrimLeft(text, " \t"))
	at := min(max(width-1, indent, 0), len(text))
	return line, utf8.RuneCount(text[:at]) + 1
}

// lineEnd returns the offset after a line and its line break.
func (s *source) lineEnd(n int) int {
	if n < len(s.lines) {
		return min(s.lines[n], len(s.text))
	}
	return len(s.text)
}

// unclosed finds the bracket or quote that is still open where the parser gave up, if that is what it complains about.
func (s *source) unclosed(problem string) (line, column int, ok bool) {
	if !strings.Contains(problem, "',' or ") && !strings.Contains(problem, "expected node content") &&
		!strings.Contains(problem, "unexpected end of stream") {
		return 0, 0, false
	}
	var open []int
	var quote byte
	quoteAt := 0
	for i := 0; i < len(s.text); i++ {
		c := s.text[i]
		switch {
		case quote == '"' && c == '\\':
			i++
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case (c == '"' || c == '\'') && (i == 0 || bytes.IndexByte([]byte(" \t\n[{,:"), s.text[i-1]) >= 0):
			quote, quoteAt = c, i
		case c == '#' && (i == 0 || bytes.IndexByte([]byte(" \t\n"), s.text[i-1]) >= 0):
			for i+1 < len(s.text) && s.text[i+1] != '\n' {
				i++
			}
		case c == '[' || c == '{':
			if len(open) > 0 || i == 0 || bytes.IndexByte([]byte(" \t\n"), s.text[i-1]) >= 0 {
				open = append(open, i)
			}
		case (c == ']' || c == '}') && len(open) > 0:
			open = open[:len(open)-1]
		}
	}
	switch {
	case quote != 0:
		line, column = s.lineColumn(quoteAt)
	case len(open) > 0:
		line, column = s.lineColumn(open[len(open)-1])
	default:
		return 0, 0, false
	}
	return line, column, true
}

// lineColumn is the place of a byte.
func (s *source) lineColumn(offset int) (line, column int) {
	line = sort.SearchInts(s.lines, offset+1)
	return line, utf8.RuneCount(s.text[s.lines[line-1]:offset]) + 1
}
