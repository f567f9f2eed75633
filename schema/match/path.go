package match

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// Limits of a path pattern. They bound the depth of the router's search, whatever a request looks like.
const (
	maxPattern  = 2048 // bytes
	MaxCaptures = 32   // captures in one pattern
)

// Path is a path pattern: segments, and whether everything under them is meant too.
//
// "/a" and "/a/" are different: the second has a last, empty segment. "/a/*" matches "/a", "/a/" and "/a/b". A capture
// stands for one whole segment that is not empty.
type Path struct {
	Segments []Segment
	Subtree  bool // ends in "/*"
}

// Segment is one piece of a path pattern between slashes.
type Segment struct {
	Capture bool
	Text    string // the literal, or the name of the capture
}

// String renders the pattern as it is authored.
func (p Path) String() string {
	var b strings.Builder
	for _, s := range p.Segments {
		b.WriteByte('/')
		if s.Capture {
			b.WriteString("{" + s.Text + "}")
		} else {
			b.WriteString(s.Text)
		}
	}
	if p.Subtree {
		b.WriteString("/*")
	}
	return b.String()
}

// Matches reports whether a normalised path satisfies the pattern.
func (p Path) Matches(path string) bool {
	segs := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(segs) < len(p.Segments) || !p.Subtree && len(segs) > len(p.Segments) {
		return false
	}
	for i, want := range p.Segments {
		if !want.takes(segs[i]) {
			return false
		}
	}
	return true
}

func (s Segment) takes(seg string) bool {
	if s.Capture {
		return seg != ""
	}
	return seg == s.Text
}

// ParsePath checks a path pattern. Literals are written in the form NormalizePath gives to requests, so that a pattern
// reads as the path it matches; anything else is an error that says how to write it. The error is a *PatternError.
func ParsePath(s string) (Path, error) {
	p, at, problem, hint := parsePath(s)
	if problem != "" {
		return Path{}, &PatternError{Field: "path", Code: CodePath, Value: s, Offset: at, Problem: problem, Hint: hint}
	}
	return p, nil
}

func parsePath(s string) (p Path, at int, problem, hint string) {
	switch {
	case s == "":
		return p, 0, "a matcher needs path or pathRegex", `write "/*" to match every path`
	case s == "*":
		return p, 0, "a path starts with a slash", `write "/*" to match every path`
	case s[0] != '/':
		return p, 0, "a path starts with a slash", "write " + quote("/"+s)
	case len(s) > maxPattern:
		return p, maxPattern, fmt.Sprintf("a path has at most %d bytes", maxPattern), ""
	}
	literal := s
	if literal, p.Subtree = strings.CutSuffix(s, "/*"); literal == "" {
		return p, 0, "", ""
	}
	p.Segments = make([]Segment, 0, strings.Count(literal, "/"))
	captures := 0
	for start := 1; start <= len(literal); {
		end := len(literal)
		if i := strings.IndexByte(literal[start:], '/'); i >= 0 {
			end = start + i
		}
		text := literal[start:end]
		if strings.ContainsAny(text, "{}") {
			name, off, problem, hint := parseCapture(text)
			if problem == "" && slices.Contains(p.Segments, Segment{Capture: true, Text: name}) {
				off, problem, hint = 0, fmt.Sprintf("the capture {%s} stands twice", name), "give each capture a name of its own"
			}
			if captures++; problem == "" && captures > MaxCaptures {
				off, problem, hint = 0, fmt.Sprintf("a path has at most %d captures", MaxCaptures), `use "/*" for the rest`
			}
			if problem != "" {
				return p, start + off, problem, hint
			}
			p.Segments = append(p.Segments, Segment{Capture: true, Text: name})
		} else {
			if off, problem, hint := checkLiteral(text); problem != "" {
				return p, start + off, problem, hint
			}
			p.Segments = append(p.Segments, Segment{Text: text})
		}
		start = end + 1
	}
	if i := strings.Index(s, "//"); i >= 0 {
		return p, i, "an empty segment matches nothing: runs of slashes are merged", "write one slash"
	}
	// What is left to catch is a literal that a request would be rewritten away from.
	if !isNormal(literalForm(p)) {
		return p, 0, "is not in the normalised form that requests are matched in", suggestPath(s)
	}
	return p, 0, "", ""
}

func parseCapture(text string) (name string, at int, problem, hint string) {
	open, closed := strings.IndexByte(text, '{'), strings.IndexByte(text, '}')
	switch {
	case open < 0 || closed < open:
		return "", max(closed, 0), "unbalanced braces: a capture is written {name}", `a brace in a request's path is "%7B" or "%7D"`
	case open > 0 || closed != len(text)-1:
		return "", open, "a capture is one whole segment", "match the whole segment, or use pathRegex"
	}
	name = text[1:closed]
	for i := 0; i < len(name); i++ {
		if c := name[i]; c != '_' && !isAlnum(c) || i == 0 && '0' <= c && c <= '9' {
			hint := ""
			if strings.HasSuffix(name, "...") || strings.HasSuffix(name, "*") {
				hint = `write "/*" at the end to match everything under a path`
			} else if strings.Contains(name, ":") {
				hint = "a capture takes any value; use pathRegex to restrict it"
			}
			return "", 1 + i, "the name of a capture holds letters, digits and underscores, and does not start with a digit", hint
		}
	}
	if name == "" {
		return "", 0, "a capture needs a name", `write "{id}"`
	}
	return name, 0, "", ""
}

// checkLiteral finds what would never match, or would mislead the reader, in a literal segment.
func checkLiteral(text string) (at int, problem, hint string) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '*' && strings.HasPrefix(text[i:], "**"):
			return i, `"**" is not known: a subtree is "/*" at the end`, `write "/*" at the end`
		case c == '*':
			return i, `"*" stands only for a subtree, as "/*" at the end`, "use {name} for one segment, or pathRegex"
		case c == '?':
			return i, "a path has no query", "move it to query"
		case c == '#':
			return i, "a path has no fragment: clients never send one", ""
		case c == '%':
			if _, ok := unescape(text[i:]); !ok {
				return i, `"%" needs two hex digits`, `a percent sign in a request's path is "%25"`
			}
		}
	}
	if isDots(text) {
		return 0, "dot segments are resolved before a path is matched", ""
	}
	return 0, "", ""
}

// literalForm puts a valid segment in place of each capture.
func literalForm(p Path) string {
	var b strings.Builder
	for _, s := range p.Segments {
		b.WriteByte('/')
		if s.Capture {
			b.WriteByte('x')
		} else {
			b.WriteString(s.Text)
		}
	}
	return b.String()
}

// suggestPath says how to write a pattern whose literals are not in normalised form.
func suggestPath(s string) string {
	segs := strings.Split(s, "/")
	for i, seg := range segs {
		if seg == "" || seg == "*" || seg[0] == '{' {
			continue
		}
		var raw []byte
		for j := 0; j < len(seg); j++ {
			if seg[j] >= utf8.RuneSelf || seg[j] == ' ' {
				raw = appendEscape(raw, seg[j])
			} else {
				raw = append(raw, seg[j])
			}
		}
		norm, reason := NormalizePath("/" + string(raw))
		if reason != pathAccepted {
			return "requests with such a path are answered 400 (" + string(reason) + ")"
		}
		segs[i] = norm[1:]
	}
	return "write " + quote(strings.Join(segs, "/"))
}

func quote(s string) string { return `"` + s + `"` }
