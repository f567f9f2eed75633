package diag

// Explanation is the manual's entry for one code. docs/errors.md is generated from these, and `gwctl explain CODE` prints
// one; a test keeps code, entries and docs together.
type Explanation struct {
	Code  Code
	Title string // a few words, lower case
	Why   string // what the rule protects from
	Fix   string // how to mend it
	Bad   string // a minimal example that shows it, "" where a file cannot show it
	Good  string // the same example, mended
}

// Explanations returns every known code, grouped by area, in ascending order within each.
func Explanations() []Explanation {
	var out []Explanation
	for _, area := range [][]Explanation{syntaxCodes, kubernetesCodes, schemaCodes, referenceCodes, routeCodes, policyCodes, trustCodes, syncCodes} {
		out = append(out, area...)
	}
	return out
}
