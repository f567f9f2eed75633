package match

import (
	"cmp"
	"strings"
)

// Compare orders matchers by specificity: negative if a request that satisfies both goes to a. The result for two that no
// request satisfies is arbitrary but consistent. Zero means that they tie at every step.
func Compare(a, b *Matcher) int {
	if c := compareSteps(a, b); c != 0 {
		return c
	}
	if a.Regex != nil { // design leaves them tied; the text decides, so that every gateway decides alike
		return strings.Compare(a.Pattern, b.Pattern)
	}
	return 0
}

func compareSteps(a, b *Matcher) int {
	return cmp.Or(
		compareHosts(a.Host, b.Host),
		comparePaths(a, b),
		cmp.Compare(methodRank(a), methodRank(b)),
		cmp.Compare(len(b.Headers), len(a.Headers)),
		cmp.Compare(len(b.Query), len(a.Query)),
	)
}

// compareHosts puts exact names first, then wildcards by length of the suffix, then none.
func compareHosts(a, b Host) int {
	return cmp.Or(
		cmp.Compare(hostRank(a), hostRank(b)),
		cmp.Compare(len(b.Name), len(a.Name)),
		strings.Compare(a.Name, b.Name),
	)
}

func hostRank(h Host) int {
	switch {
	case h.Any():
		return 2
	case h.Wildcard:
		return 1
	}
	return 0
}

func comparePaths(a, b *Matcher) int {
	if a.Regex != nil || b.Regex != nil {
		return cmp.Compare(boolRank(a.Regex != nil), boolRank(b.Regex != nil))
	}
	for i := 0; ; i++ {
		ra, rb := segmentRank(a.Path, i), segmentRank(b.Path, i)
		if ra != rb || ra == rankEnd || ra == rankSubtree {
			return cmp.Compare(ra, rb)
		}
		if ra == rankLiteral {
			if c := strings.Compare(a.Path.Segments[i].Text, b.Path.Segments[i].Text); c != 0 {
				return c
			}
		}
	}
}

const (
	rankLiteral = iota
	rankCapture
	rankEnd
	rankSubtree
)

func segmentRank(p Path, i int) int {
	switch {
	case i < len(p.Segments) && p.Segments[i].Capture:
		return rankCapture
	case i < len(p.Segments):
		return rankLiteral
	case p.Subtree:
		return rankSubtree
	}
	return rankEnd
}

func methodRank(m *Matcher) int { return boolRank(len(m.Methods) == 0) }

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}
