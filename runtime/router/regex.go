package router

import (
	"regexp"
	"slices"
	"strings"

	"github.com/suuupra/gateway/schema/match"
)

// regexTable holds the pathRegex routes of one host, filed under the whole segments of their literal prefix, so that a
// lookup runs only those which the path begins to fit.
type regexTable struct {
	byPrefix map[string][]regexRoute // "" or a prefix that ends in a slash
	longest  int                     // bytes of the longest prefix
}

type regexRoute struct {
	entry  uint32 // of two that match, the one with the larger number is more specific: see Build
	prefix string // of every path it matches
	expr   *regexp.Regexp
}

func newRegexTable() *regexTable { return &regexTable{byPrefix: map[string][]regexRoute{}} }

func (t *regexTable) add(pattern string, expr *regexp.Regexp, at uint32) {
	prefix := match.LiteralPrefix(pattern)
	filed := match.ExpressionPlace(prefix)
	t.byPrefix[filed] = append(t.byPrefix[filed], regexRoute{at, prefix, expr})
	t.longest = max(t.longest, len(filed))
}

// finish sorts every list from the most specific to the least.
func (t *regexTable) finish() {
	for _, list := range t.byPrefix {
		slices.Reverse(list)
	}
}

// worst returns how many expressions one path may have to be matched against.
func (t *regexTable) worst() int {
	places := make(map[string][]int, len(t.byPrefix))
	for place, list := range t.byPrefix {
		places[place] = make([]int, len(list))
	}
	n, _ := match.WorstExpressions(places)
	return n
}

// find returns the most specific entry whose expression matches and that take accepts, 0 if there is none.
func (t *regexTable) find(path string, s *search) uint32 {
	best := uint32(0)
	for i := 0; i <= len(path) && i <= t.longest; i++ {
		if i > 0 && path[i-1] != '/' {
			continue
		}
		for _, r := range t.byPrefix[path[:i]] {
			if r.entry < best {
				break
			}
			if strings.HasPrefix(path, r.prefix) && s.takes(r.entry, r.expr, path) {
				best = r.entry
				break
			}
		}
	}
	return best
}
