package diag

import (
	"slices"
	"strings"
)

// maxSuggest bounds the words that are compared, in bytes: the work grows with the product of their lengths.
const maxSuggest = 128

// Suggest returns the candidate that a misspelt word most likely means, or "" if none is near: at most a third of its
// letters differ. Case and the separators "-", "_" and "." cost nothing.
func Suggest(word string, candidates []string) string {
	if len(word) > maxSuggest {
		return ""
	}
	best, bestCost := "", max(1, len(word)/3)+1
	folded := fold(word)
	for _, c := range slices.Sorted(slices.Values(candidates)) {
		if len(c) > maxSuggest {
			continue
		}
		if cost := distance(folded, fold(c), bestCost); cost < bestCost {
			best, bestCost = c, cost
		}
	}
	return best
}

// separators makes no copy of a word without any, and is safe for concurrent use.
var separators = strings.NewReplacer("-", "", "_", "", ".", "")

func fold(s string) string { return separators.Replace(strings.ToLower(s)) }

// distance counts insertions, deletions, substitutions and swaps of neighbours (optimal string alignment); it gives up at
// limit.
func distance(a, b string, limit int) int {
	if d := len(a) - len(b); d >= limit || -d >= limit {
		return limit
	}
	before, last, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
