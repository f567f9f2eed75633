package rewrite

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/suuupra/gateway/internal/facts"
	"github.com/suuupra/gateway/internal/template"
	"github.com/suuupra/gateway/runtime/policy"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/match"
	"github.com/suuupra/gateway/schema/v1"
)

func compile(c *policy.CompileContext, s *v1.Rewrite) *Plan {
	names := facts.Of(c.Match.Path)
	p := &Plan{
		Path: s.Path, StripPrefix: prefix(c, "stripPrefix", s.StripPrefix), AddPrefix: prefix(c, "addPrefix", s.AddPrefix),
		Query: query(c, names, s.Query),
	}
	if s.Path != "" {
		if _, err := parsePath(names, s.Path); err != nil {
			malformed(c, "path", err)
		}
		if s.StripPrefix != "" {
			c.Report(diag.Error, "GW3040", "stripPrefix", "keep one of them; ${params.rest} in path is what /* stands for",
				"rewrite has both path and stripPrefix, and nothing of the request's path is left to strip")
		}
	}
	if p.StripPrefix != "" && neverUnder(c.Match.Path, p.StripPrefix) {
		c.Report(diag.Warning, "GW3041", "stripPrefix", "write a prefix of the matcher's path",
			"no path that the route takes (%s) is under %s", c.Match.Path, p.StripPrefix)
	}
	if *p != (Plan{}) {
		return p
	}
	if s.StripPrefix == "" && s.AddPrefix == "" {
		c.Report(diag.Warning, "GW3041", "", "add path, stripPrefix, addPrefix or query", "rewrite changes nothing")
	}
	return nil
}

// prefix checks a prefix and returns it without the slash at its end; "" if there is nothing to do.
func prefix(c *policy.CompileContext, field, text string) string {
	if text == "" {
		return ""
	}
	err := normal(text)
	if strings.Contains(text, "${") {
		err = &pathError{"a prefix is plain text", "only path may hold ${...}"}
	}
	if err != nil {
		malformed(c, field, err)
		return ""
	}
	if text = strings.TrimSuffix(text, "/"); text == "" {
		c.Report(diag.Warning, "GW3041", field, "leave it out", "%s of / changes nothing", field)
	}
	return text
}

func query(c *policy.CompileContext, names *facts.Names, s *v1.QueryEdits) *Query {
	if s == nil || len(s.Remove)+len(s.Set) == 0 {
		return nil
	}
	for i, name := range s.Remove {
		if _, both := s.Set[name]; both {
			c.Report(diag.Warning, "GW3041", fmt.Sprintf("query.remove[%d]", i), "leave it out of remove",
				"the parameter %q is set too, in place of those that are there", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Set)) {
		field := "query.set." + name
		t, err := template.Parse(s.Set[name], names.Check)
		if err != nil {
			malformed(c, field, err)
			continue
		}
		for _, fact := range t.Names() {
			if path, ok := facts.ClaimPath(fact); ok && !c.Beside("auth.jwt") {
				c.Report(diag.Error, "GW3042", field, "add auth.jwt", "the claim %s is known only with auth.jwt beside rewrite", path)
			}
		}
	}
	return &Query{Remove: slices.Sorted(slices.Values(s.Remove)), Set: s.Set}
}

// malformed reports a text, with the hint of its error.
func malformed(c *policy.CompileContext, field string, err error) {
	hint := ""
	if bad, ok := errors.AsType[*template.Error](err); ok {
		hint = bad.Hint
	} else if bad, ok := errors.AsType[*pathError](err); ok {
		hint = bad.hint
	}
	c.Report(diag.Error, "GW2104", field, hint, "%s", err)
}

// pathError says why a path cannot go upstream.
type pathError struct{ problem, hint string }

// Error implements error.
func (e *pathError) Error() string { return e.problem }

// normal holds a path to the form in which requests are matched and forwarded.
func normal(path string) error {
	form, reason := match.NormalizePath(path)
	switch {
	case reason != "":
		return &pathError{fmt.Sprintf("%q is no path that the gateway forwards (%s)", path, reason), ""}
	case form != path:
		return &pathError{fmt.Sprintf("%q is not in the form in which paths are matched and forwarded", path), fmt.Sprintf("write %q", form)}
	}
	return nil
}

// parsePath reads the template of a path. It must be a good one with any captures, and where the "/*" of the route stands for nothing.
func parsePath(names *facts.Names, text string) (*template.Template, error) {
	t, err := template.Parse(text, names.CheckParam)
	if err != nil {
		return nil, err
	}
	sample := func(rest string) string {
		path, _ := t.Expand(func(name string) (string, bool) {
			if names.MayBeEmpty(name) {
				return rest, true
			}
			return "x", true
		})
		return path
	}
	if err := normal(sample("x")); err != nil {
		if len(t.Names()) > 0 {
			err = &pathError{fmt.Sprintf("with x for each ${...}: %s", err), ""}
		}
		return nil, err
	}
	if normal(sample("")) != nil {
		return nil, &pathError{
			fmt.Sprintf("where /* stands for nothing, the path would be %q, which the gateway does not forward", sample("")),
			"put ${params.rest} at the end, after a slash",
		}
	}
	return t, nil
}

// neverUnder reports whether no path that a pattern matches is the prefix or under it. A route that matches by an expression has no
// pattern, and may match anything.
func neverUnder(pattern, prefix string) bool {
	p, err := match.ParsePath(pattern)
	if err != nil {
		return false
	}
	i := 0
	for segment := range strings.SplitSeq(prefix[len("/"):], "/") {
		switch {
		case i == len(p.Segments):
			return !p.Subtree
		case !p.Segments[i].Capture && p.Segments[i].Text != segment:
			return true
		}
		i++
	}
	return false
}
