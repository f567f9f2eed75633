package diff

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema/diag"
)

// Values come from a repository, or from a bundle somebody sent, and a report of them is read in terminals and pull
// requests. What is printed here holds no control, format or bidirectional characters; anything unusual is quoted.

// maxShown bounds a value in a report for people, in runes.
const maxShown = 160

// Show renders a value, as encoding/json decodes it, for people: without needless quotes, and cut if it is long.
func Show(v any) string {
	s := render(v)
	if list, ok := v.([]any); ok && utf8.RuneCountInString(s) > maxShown {
		shown := make([]string, len(list))
		for i, e := range list {
			shown[i] = render(e)
		}
		s = "[" + some(shown) + "]"
	}
	if utf8.RuneCountInString(s) > maxShown {
		s = cut(s, 0)
	}
	return s
}

// showBoth renders two values so that the difference can be seen, however long they are.
func showBoth(old, new any) (string, string) {
	a, b := render(old), render(new)
	if utf8.RuneCountInString(a) <= maxShown && utf8.RuneCountInString(b) <= maxShown {
		return a, b
	}
	if old == nil || new == nil {
		return Show(old), Show(new)
	}
	if ol, ok := old.([]any); ok {
		if nl, ok := new.([]any); ok {
			return showLists(ol, nl)
		}
	}
	from := 0
	ra, rb := []rune(a), []rune(b)
	for from < min(len(ra), len(rb)) && ra[from] == rb[from] {
		from++
	}
	return cut(a, from), cut(b, from)
}

// showLists says of two long lists what each has that the other lacks.
func showLists(old, new []any) (string, string) {
	lacking := func(list, base []any) string {
		have := make(map[string]bool, len(base))
		for _, e := range base {
			have[render(e)] = true
		}
		var out []string
		for _, e := range list {
			if s := render(e); !have[s] {
				out = append(out, s)
			}
		}
		return some(out)
	}
	side := func(list []any, only string) string {
		if only == "" {
			return fmt.Sprintf("%d items", len(list))
		}
		return fmt.Sprintf("%d items, only here: %s", len(list), only)
	}
	return side(old, lacking(old, new)), side(new, lacking(new, old))
}

// cut keeps what stands around the rune at.
func cut(s string, at int) string {
	r := []rune(s)
	from := max(0, min(at-maxShown/4, len(r)-maxShown))
	end := min(len(r), from+maxShown)
	out := string(r[from:end])
	if from > 0 {
		out = "..." + out
	}
	if end < len(r) {
		out += "... (" + strconv.Itoa(len(r)) + " characters)"
	}
	return out
}

func render(v any) string {
	switch v := v.(type) {
	case nil:
		return "not set"
	case bool:
		return strconv.FormatBool(v)
	case json.Number:
		return bare(v.String())
	case string:
		if ambiguous(v) {
			return strconv.Quote(v)
		}
		return bare(v)
	case []any:
		out := make([]string, len(v))
		for i, e := range v {
			out[i] = render(e)
		}
		return "[" + strings.Join(out, ", ") + "]"
	case map[string]any:
		out := make([]string, 0, len(v))
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, bare(k)+": "+render(v[k]))
		}
		return "{" + strings.Join(out, ", ") + "}"
	}
	return strconv.Quote(fmt.Sprint(v))
}

// ambiguous reports whether a string would be taken for another kind of value without quotes.
func ambiguous(s string) bool {
	return s == "true" || s == "false" || s == "null" || json.Valid([]byte(s))
}

// bare writes a plain word as it is and quotes anything else.
func bare(s string) string {
	if s == "" {
		return `""`
	}
	for _, c := range []byte(s) {
		if !word(c) && !strings.ContainsRune("./:*{}+?=@~%$^()|!&;", rune(c)) || c >= utf8.RuneSelf {
			return strconv.Quote(s)
		}
	}
	return s
}

// someOf shows a few elements of a set and counts the others.
func someOf(list []string) string {
	out := make([]string, len(list))
	for i, s := range slices.Sorted(slices.Values(list)) {
		out[i] = Show(s)
	}
	return some(out)
}

func some(shown []string) string {
	const most = 4
	if len(shown) <= most {
		return strings.Join(shown, ", ")
	}
	return strings.Join(shown[:most], ", ") + fmt.Sprintf(" and %d more", len(shown)-most)
}

// position renders a place; a file name is as foreign as a value.
func position(p diag.Pos) string {
	if !p.IsValid() {
		return ""
	}
	p.File = bare(p.File)
	return p.String()
}

// Summary is the report in one line, e.g. "2 added, 1 removed, 3 changed; 1 security risk".
func (r *Report) Summary() string {
	if r.Empty() {
		return "no changes"
	}
	parts := []string{
		fmt.Sprintf("%d added", r.Count(Added)), fmt.Sprintf("%d removed", r.Count(Removed)), fmt.Sprintf("%d changed", r.Count(Changed)),
	}
	if n := r.Count(Renamed); n > 0 {
		parts = append(parts, fmt.Sprintf("%d renamed", n))
	}
	var risks []string
	for _, s := range []Severity{Security, Availability, Cost, Notice} {
		noun := string(s) + " risk"
		if s == Notice {
			noun = "notice"
		}
		if n := r.RisksOf(s); n > 0 {
			risks = append(risks, count(n, noun))
		}
	}
	if len(risks) == 0 {
		risks = []string{"no risks"}
	}
	return strings.Join(parts, ", ") + "; " + strings.Join(risks, ", ")
}
