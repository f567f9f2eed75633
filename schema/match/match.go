// Package match is the meaning of a route's matcher: which requests it takes, which of two matchers is more specific, and
// what can be proved about a set of them. The compiler, the router and `gwctl explain` share it, so that there is one
// answer to "which route takes this request?". The predicates here are written for clarity; package router is the fast
// form of the same rules, and a test holds both together.
//
// It must not do I/O, must not know positions in files or policies, and never decides by the order of routes.
//
// # Specificity
//
// Of the routes that a request satisfies, the first by this order takes it:
//
//  1. host: exact, then the longest wildcard suffix, then none
//  2. path, segment by segment from the left: literal, capture, end of the pattern, subtree "/*"; last, any pathRegex
//  3. a method list before none
//  4. more headers first
//  5. more query parameters first
//
// Two different regular expressions that are not known to overlap are told apart by their text, ascending.
package match

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/ir"
)

// Request is as much of a request as a matcher looks at.
type Request struct {
	Method   string    `json:"method"`
	Host     string    `json:"host"`               // as NormalizeHost returns it, "" if the request named none
	Path     string    `json:"path"`               // as NormalizePath returns it
	RawQuery string    `json:"rawQuery,omitempty"` // without "?"
	Headers  []ir.Pair `json:"headers,omitempty"`  // field lines in order; names in any case
}

// Matcher is a predicate over requests, checked and ready for use.
type Matcher struct {
	Host    Host
	Path    Path           // zero if Regex is set
	Regex   *regexp.Regexp // anchored at both ends; nil if Path is set
	Pattern string         // the authored path pattern or regular expression
	Methods []string
	Headers []ir.Pair // names in lower case
	Query   []ir.Pair
}

// PatternError says what is wrong with one field of a matcher.
type PatternError struct {
	Field   string    // "host", "path", "pathRegex", "methods", "headers" or "query"
	Code    diag.Code // the diagnostic to report
	Value   string    // what was written
	Offset  int       // byte in Value where the trouble starts
	Problem string    // what was found and what is allowed, in the words of a diagnostic
	Hint    string    // what to write instead, "" if nothing better is known
}

// Error implements error.
func (e *PatternError) Error() string {
	return fmt.Sprintf("%s %q: %s (at byte %d)", e.Field, e.Value, e.Problem, e.Offset)
}

// Codes of the diagnostics about matchers; package diag explains them.
const (
	CodeHost        diag.Code = "GW4001"
	CodePath        diag.Code = "GW4002"
	CodeRegex       diag.Code = "GW4003"
	CodeTie         diag.Code = "GW4004"
	CodeUnreachable diag.Code = "GW4005"
	CodeReserved    diag.Code = "GW4006"
	CodeSearch      diag.Code = "GW4007"
	CodeCondition   diag.Code = "GW4008"
	CodeFall        diag.Code = "GW4009"
)

// Compile checks a matcher. Every error is a *PatternError; the first in the order of the fields is returned.
func Compile(m *ir.Match) (*Matcher, error) {
	out := &Matcher{Methods: m.Methods, Headers: lowerNames(m.Headers), Query: m.Query}
	var err error
	if out.Host, err = ParseHost(m.Host); err != nil {
		return nil, err
	}
	switch {
	case m.Path != "" && m.PathRegex != "":
		return nil, &PatternError{Field: "pathRegex", Code: CodeRegex, Value: m.PathRegex, Problem: "a matcher has either path or pathRegex, not both"}
	case m.PathRegex != "":
		out.Pattern = m.PathRegex
		out.Regex, err = ParseRegex(m.PathRegex)
	default:
		out.Pattern = m.Path
		out.Path, err = ParsePath(m.Path)
	}
	if err != nil {
		return nil, err
	}
	if err := checkConditions(m); err != nil {
		return nil, err
	}
	return out, nil
}

// Matches reports whether a request satisfies the matcher.
func (m *Matcher) Matches(r *Request) bool {
	return m.MatchesExceptMethod(r) && m.takesMethod(r.Method)
}

// MatchesExceptMethod reports whether the method is all that could keep the matcher from taking a request. If no route
// matches and this holds for some, the answer is 405 with their methods in Allow.
func (m *Matcher) MatchesExceptMethod(r *Request) bool {
	return m.Host.Matches(r.Host) && m.matchesPath(r.Path) &&
		!slices.ContainsFunc(m.Headers, func(want ir.Pair) bool { return !headerMatches(r.Headers, want) }) &&
		!slices.ContainsFunc(m.Query, func(want ir.Pair) bool { return !QueryMatches(r.RawQuery, want) })
}

func (m *Matcher) matchesPath(path string) bool {
	if m.Regex != nil {
		return m.Regex.MatchString(path)
	}
	return m.Path.Matches(path)
}

// takesMethod compares exactly: methods are case-sensitive, and GET does not imply HEAD (RFC 9110 section 9.1).
func (m *Matcher) takesMethod(method string) bool {
	return len(m.Methods) == 0 || slices.Contains(m.Methods, method)
}
