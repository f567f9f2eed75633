package v1

import "strings"

// closest returns the name the author may have meant, or "".
func closest(word string, names []string) string {
	lower := strings.ToLower(word)
	best, bestDist := "", 1+len(lower)/3
	if bestDist > 3 {
		bestDist = 3
	}
	for _, name := range names {
		other := strings.ToLower(name)
		if other == lower {
			return name
		}
		if d := distance(lower, other); d < bestDist || d == bestDist && best == "" {
			best, bestDist = name, d
		}
	}
	if best != "" || len(lower) < 3 {
		return best
	}
	for _, name := range names {
		other := strings.ToLower(name)
		if strings.HasPrefix(other, lower) || len(other) >= 3 && strings.HasPrefix(lower, other) {
			return name
		}
	}
	return ""
}

// distance counts insertions, deletions, replacements and swaps of neighbours between two short words.
func distance(a, b string) int {
	const longest = 64 // nobody misspells a longer name; the bound keeps the cost of hostile input small
	if len(a) > longest || len(b) > longest {
		return longest
	}
	prev2, prev, cur := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		cur[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			cur[j] = min(prev[j]+1, cur[j-1]+1, prev[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				cur[j] = min(cur[j], prev2[j-2]+1)
			}
		}
		prev2, prev, cur = prev, cur, prev2
	}
	return prev[len(b)]
}
