package v1

import (
	"strings"

	"github.com/suuupra/gateway/schema/diag"
)

// closest returns the name the author may have meant, or "": one spelt alike, or one of which the word is the beginning
// (meth for methods) or the other way round (hosts for host).
func closest(word string, names []string) string {
	const longest = 64 // nobody misspells a longer name; the bound keeps the cost of hostile input small
	if len(word) > longest {
		return ""
	}
	if best := diag.Suggest(word, names); best != "" {
		return best
	}
	lower := strings.ToLower(word)
	for _, name := range names {
		other := strings.ToLower(name)
		if len(lower) >= 3 && strings.HasPrefix(other, lower) || len(other) >= 3 && strings.HasPrefix(lower, other) {
			return name
		}
	}
	return ""
}
