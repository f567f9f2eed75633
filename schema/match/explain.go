package match

import (
	"fmt"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/ir"
)

// Step is one of the questions a matcher asks of a request, in the order of specificity.
type Step string

// The steps.
const (
	StepHost    Step = "host"
	StepPath    Step = "path"
	StepMethod  Step = "method"
	StepHeaders Step = "headers"
	StepQuery   Step = "query"
)

// Mismatch is a step at which a request failed a matcher.
type Mismatch struct {
	Step    Step
	Message string // in the words of an explanation; lower case, no final period
}

// Explain says why a request does not satisfy a matcher: one Mismatch for each step that failed, in order. It is empty
// exactly if m.Matches(r). The fewer there are, the nearer the miss.
func Explain(m *Matcher, r *Request) []Mismatch {
	var out []Mismatch
	add := func(step Step, format string, args ...any) {
		out = append(out, Mismatch{step, fmt.Sprintf(format, args...)})
	}
	if !m.Host.Matches(r.Host) {
		if r.Host == "" {
			add(StepHost, "the request names no host, want %s", m.Host)
		} else {
			add(StepHost, "host is %s, want %s", r.Host, m.Host)
		}
	}
	if !m.matchesPath(r.Path) {
		add(StepPath, "%s", m.pathMismatch(r.Path))
	}
	if !m.takesMethod(r.Method) {
		add(StepMethod, "method %s not in [%s]", r.Method, strings.Join(m.Methods, " "))
	}
	for _, want := range m.Headers {
		if !headerMatches(r.Headers, want) {
			add(StepHeaders, "header %s %s", want.Name, headerMismatch(headerValues(r.Headers, want.Name), want))
			break
		}
	}
	for _, want := range m.Query {
		if !QueryMatches(r.RawQuery, want) {
			add(StepQuery, "query parameter %s %s", want.Name, mismatch(queryValues(r.RawQuery, want.Name), want.Value))
			break
		}
	}
	return out
}

func (m *Matcher) pathMismatch(path string) string {
	if m.Regex != nil {
		return fmt.Sprintf("path %q does not match %q", path, m.Pattern)
	}
	segs := strings.Split(strings.TrimPrefix(path, "/"), "/")
	for i, want := range m.Path.Segments {
		switch {
		case i >= len(segs):
			return fmt.Sprintf("path ends after segment %d, want %s next", i, want)
		case !want.takes(segs[i]) && segs[i] == "":
			return fmt.Sprintf("path ends in a slash after segment %d, want %s next", i, want)
		case !want.takes(segs[i]):
			return fmt.Sprintf("segment %d is %q, want %s", i+1, segs[i], want)
		}
	}
	n := len(m.Path.Segments)
	if segs[n] == "" && n == len(segs)-1 {
		return fmt.Sprintf("path has a trailing slash, want %s", m.Path)
	}
	return fmt.Sprintf("path goes on with %q after segment %d, want its end", segs[n], n)
}

// String names what a segment asks for, as an explanation does.
func (s Segment) String() string {
	switch {
	case s.Capture:
		return "a value for {" + s.Text + "}"
	case s.Text == "":
		return "a trailing slash"
	}
	return fmt.Sprintf("%q", s.Text)
}

// credentialHeaders are those whose values never enter an explanation, which may end in a log or a terminal's history.
var credentialHeaders = []string{"authorization", "cookie", "proxy-authorization", "x-api-key"}

func headerMismatch(values []string, want ir.Pair) string {
	if len(values) > 0 && slices.Contains(credentialHeaders, want.Name) {
		return "has another value than wanted"
	}
	return mismatch(values, want.Value)
}

func mismatch(values []string, want string) string {
	switch {
	case len(values) == 0:
		return "absent"
	case len(values) > 1 && slices.Contains(values, want):
		return fmt.Sprintf("occurs %d times with different values, want only %q", len(values), want)
	case len(values) > 1:
		return fmt.Sprintf("occurs %d times, want %q", len(values), want)
	}
	return fmt.Sprintf("is %q, want %q", values[0], want)
}

func headerValues(headers []ir.Pair, name string) []string {
	var out []string
	for _, h := range headers {
		if strings.EqualFold(h.Name, name) {
			out = append(out, h.Value)
		}
	}
	return out
}

func queryValues(raw, name string) []string {
	var out []string
	for raw != "" {
		var pair string
		pair, raw, _ = strings.Cut(raw, "&")
		if n, value, _ := strings.Cut(pair, "="); pair != "" && decodesTo(n, name) {
			out = append(out, decodeForm(value))
		}
	}
	return out
}

func decodeForm(s string) string {
	var out []byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		if v, ok := unescape(s[i:]); ok {
			c = v
			i += 2
		} else if c == '+' {
			c = ' '
		}
		out = append(out, c)
	}
	return string(out)
}
