package facts

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/match"
)

// Names are what the templates of one route may name.
type Names struct {
	captures []string
	segments int // of the path before "/*"
	subtree  bool
}

// The names with a part of their own.
const (
	param = "params."
	claim = "claims."
	rest  = param + "rest"
)

// others are the names of facts that every request has.
var others = []string{"client.ip", "request.host", "request.id", "request.method", "request.path", "route.id", "tenant"}

// Of returns the names for a route with a path pattern. A route that matches by an expression, or a pattern that is none, has no
// captures.
func Of(pattern string) *Names {
	p, err := match.ParsePath(pattern)
	if err != nil {
		return &Names{}
	}
	n := &Names{segments: len(p.Segments), subtree: p.Subtree}
	for _, s := range p.Segments {
		if s.Capture {
			n.captures = append(n.captures, s.Text)
		}
	}
	return n
}

// claimPath is the form that the schema gives to paths of claims.
var claimPath = regexp.MustCompile(`^[a-zA-Z0-9_:/-]+(\.[a-zA-Z0-9_:/-]+)*$`)

const maxClaimPath = 256 // bytes; the schema's bound

// Check says what is wrong with a name, "" if nothing is, and what to write instead if that is known.
func (n *Names) Check(name string) (problem, hint string) {
	path, isClaim := ClaimPath(name)
	switch {
	case strings.HasPrefix(name, param):
		return n.CheckParam(name)
	case isClaim && len(path) <= maxClaimPath && claimPath.MatchString(path):
		return "", ""
	case isClaim:
		return fmt.Sprintf(`%q is no path of a claim: names of letters, digits, "_", "-", ":" and "/", with dots in between`, path), ""
	case slices.Contains(others, name):
		return "", ""
	}
	allowed := append(n.params(), others...)
	return fmt.Sprintf("%q is not known; there are %s, and claims.<path>", name, strings.Join(allowed, ", ")), didYouMean(name, allowed)
}

// CheckParam is Check where only captures may stand.
func (n *Names) CheckParam(name string) (problem, hint string) {
	known := n.params()
	switch {
	case name == rest && n.subtree && slices.Contains(n.captures, "rest"):
		return `"params.rest" could be the capture {rest} or what "/*" stands for`, "give the capture another name"
	case slices.Contains(known, name):
		return "", ""
	case len(known) == 0:
		return fmt.Sprintf("%q is not known: the route's matcher has no captures", name), `captures are written in path, such as "/users/{id}"`
	}
	return fmt.Sprintf("%q is not known here; the route's path has %s", name, strings.Join(known, ", ")), didYouMean(name, known)
}

// params are the names of the captures, and of what "/*" stands for.
func (n *Names) params() []string {
	var out []string
	for _, c := range n.captures {
		out = append(out, param+c)
	}
	if n.subtree && !slices.Contains(n.captures, "rest") {
		out = append(out, rest)
	}
	return out
}

func didYouMean(name string, known []string) string {
	if near := diag.Suggest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q", near)
	}
	return ""
}

// MayBeEmpty reports whether a name stands for what can be nothing in a path: what is under a "/*" that matches the prefix itself.
func (n *Names) MayBeEmpty(name string) bool { return name == rest && n.subtree }

// ClaimPath returns the path of the claim that a name stands for, if it stands for one.
func ClaimPath(name string) (string, bool) { return strings.CutPrefix(name, claim) }

// under returns what "/*" stands for in a path that the pattern matched, without the slash before it.
func (n *Names) under(path string) string {
	for range n.segments + 1 {
		_, after, more := strings.Cut(path, "/")
		if !more {
			return ""
		}
		path = after
	}
	return path
}
