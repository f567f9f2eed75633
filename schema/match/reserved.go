package match

import (
	"slices"
	"strings"
)

// The paths that the gateway answers itself, on every host, before any route is looked at.
const adminRoot = "/admin"

var reservedPaths = []string{"/health", "/livez", "/readyz", "/metrics", adminRoot}

// IsReserved reports whether the gateway itself answers a normalised path: /health, /livez, /readyz, /metrics, /admin and
// everything under /admin. Case counts, and "/health/" is not "/health".
func IsReserved(path string) bool {
	return slices.Contains(reservedPaths, path) || strings.HasPrefix(path, adminRoot+"/")
}

// Reserved returns the reserved path that a matcher claims, or "". A pattern claims one if its literal segments lie in
// reserved space, so that whoever wrote it meant that path: "/admin/{x}", "/health", "/health/*". One that merely matches
// it too, such as "/*" or "/{page}", claims nothing: the gateway answers first. A pathRegex claims a reserved path if it
// matches no other path. The host plays no part.
func Reserved(m *Matcher) string {
	if m.Regex != nil {
		return reservedByRegex(m.Pattern)
	}
	segs := m.Path.Segments
	if len(segs) == 0 || segs[0].Capture {
		return ""
	}
	first := "/" + segs[0].Text
	switch {
	case first == adminRoot && len(segs) == 1 && !m.Path.Subtree:
		return adminRoot
	case first == adminRoot:
		return adminRoot + "/**"
	case len(segs) == 1 && slices.Contains(reservedPaths, first):
		return first
	}
	return ""
}

func reservedByRegex(pattern string) string {
	prog, err := compileProgram(anchored(pattern))
	if err != nil {
		return ""
	}
	a := newAutomaton(prog)
	words := append(slices.Clone(reservedPaths), adminRoot+"/")
	if w, known := intersect([]*automaton{a}, unreservedPaths{words}, maxProductStates); w != "" || !known {
		return ""
	}
	w, _ := intersect([]*automaton{a}, anyPath{}, maxProductStates)
	return w
}
