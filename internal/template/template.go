// Package template is text with ${name} in it, read once and filled in for each request. "$${" stands for a literal "${"; any other
// dollar for itself. There is no logic and no nesting, so that what goes out can be read off the configuration; what the names stand
// for, and how a value is made fit for its place, is the caller's business.
package template

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Template is a text whose names are known to be good. It is immutable.
type Template struct {
	parts []part
	names []string
}

// part is literal text and the name that follows it, "" at the end of a text.
type part struct{ literal, name string }

// Error says what is wrong with a text.
type Error struct {
	Column  int    // in characters, from 1
	Problem string // what was found and what is allowed
	Hint    string // what to write instead, "" if nothing better is known
}

// Error implements error.
func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Problem) }

// literalHint is for those who meant no template.
const literalHint = `for a literal "${" write "$${"`

// Parse reads a text. allow is asked about every name, and says what is wrong with it, and perhaps what to write instead; a problem of
// "" means that the name is good. Every error is an *Error.
func Parse(text string, allow func(name string) (problem, hint string)) (*Template, error) {
	t := &Template{}
	var literal []byte
	for i := 0; i < len(text); {
		switch rest := text[i:]; {
		case strings.HasPrefix(rest, "$${"):
			literal = append(literal, "${"...)
			i += len("$${")
		case strings.HasPrefix(rest, "${"):
			name, problem, hint := cutName(rest)
			if problem == "" {
				problem, hint = allow(name)
			}
			if problem != "" {
				return nil, &Error{Column: utf8.RuneCountInString(text[:i]) + 1, Problem: problem, Hint: hint}
			}
			t.add(string(literal), name)
			literal = literal[:0]
			i += len("${") + len(name) + len("}")
		default:
			literal = append(literal, text[i])
			i++
		}
	}
	if len(literal) > 0 {
		t.parts = append(t.parts, part{literal: string(literal)})
	}
	return t, nil
}

// cutName reads the name at the start of a text that begins with "${".
func cutName(text string) (name, problem, hint string) {
	body, _, closed := strings.Cut(text[len("${"):], "}")
	switch {
	case strings.Contains(body, "${"):
		return "", `"${" stands within another "${", and templates do not nest`, literalHint
	case !closed:
		return "", `"${" is not closed by "}"`, literalHint
	case body == "":
		return "", `"${}" names nothing`, literalHint
	}
	return body, "", ""
}

func (t *Template) add(literal, name string) {
	t.parts = append(t.parts, part{literal, name})
	for _, n := range t.names {
		if n == name {
			return
		}
	}
	t.names = append(t.names, name)
}

// Names returns the names in the text, each once, in the order in which they come. The caller must not change them.
func (t *Template) Names() []string { return t.names }

// Append appends the text with the value of every name in its place. resolve says what a name stands for, or that it has no value; then
// Append stops, and reports false. Nothing is allocated but what dst grows by.
func (t *Template) Append(dst []byte, resolve func(name string) (value string, ok bool)) ([]byte, bool) {
	for i := range t.parts {
		p := &t.parts[i]
		dst = append(dst, p.literal...)
		if p.name == "" {
			continue
		}
		value, ok := resolve(p.name)
		if !ok {
			return dst, false
		}
		dst = append(dst, value...)
	}
	return dst, true
}

// Expand is Append to a string of its own. A text without names, or with nothing but one, is not copied.
func (t *Template) Expand(resolve func(name string) (value string, ok bool)) (string, bool) {
	switch {
	case len(t.parts) == 0:
		return "", true
	case len(t.parts) == 1 && t.parts[0].name == "":
		return t.parts[0].literal, true
	case len(t.parts) == 1 && t.parts[0].literal == "":
		return resolve(t.parts[0].name)
	}
	var stack [256]byte // most header fields and paths fit
	out, ok := t.Append(stack[:0], resolve)
	return string(out), ok
}
