package migrate

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/diag"
)

func TestSnake(t *testing.T) {
	for name, want := range map[string]string{
		"id": "id", "jwksUri": "jwks_uri", "http2": "http2", "consecutive5xx": "consecutive5xx", "maxUrlBytes": "max_url_bytes",
		"requiredRoles": "required_roles", "http2Only": "http2_only", "dashboardUiEnabled": "dashboard_ui_enabled",
	} {
		if got := snake(name); got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
	}
}

// TestSpellingsDiffer wants each object to have each name once, and none that v1beta1 has for itself.
func TestSpellingsDiffer(t *testing.T) {
	for name, s := range definitions() {
		seen := map[string]string{}
		for _, f := range s.fields {
			if other := seen[f.old]; other != "" {
				t.Errorf("%s: %s and %s are both %s", name, other, f.name, f.old)
			}
			seen[f.old] = f.name
		}
		for _, p := range s.policyTypes() {
			if s.holdsPolicies() && (p.shape.byOld(fieldType) != nil || p.shape.byOld(deleteMark) != nil || p.shape.byName(markedType) != nil) {
				t.Errorf("the policy %s has a field that is called as v1beta1 calls one of its own", p.old)
			}
		}
	}
	set := definitions()[defRoutePolicy]
	for _, o := range objects() {
		for _, name := range []string{fieldVersion, fieldKind} {
			if o.shape.byOld(name) != nil {
				t.Errorf("%s has a field %s", o.kind, name)
			}
		}
		if o.kind != defRoute {
			continue
		}
		for _, f := range set.fields {
			if !f.shape.closed && o.shape.byOld(f.old) != nil {
				t.Errorf("a route has %s, and its policy too", f.old)
			}
		}
	}
	types := map[string]bool{}
	for _, p := range set.policyTypes() {
		if types[p.old] {
			t.Errorf("two policies have the type %s", p.old)
		}
		types[p.old] = true
	}
	for where := range exceptions {
		def, name, _ := strings.Cut(where, ".")
		if s := definitions()[def]; s == nil || s.byName(name) == nil {
			t.Errorf("%s is an exception, and no field of v1", where)
		}
	}
}

// SpellingTables are the tables of docs/migration.md.
func SpellingTables() string {
	var b strings.Builder
	b.WriteString("\n| type of a policy | field in v1 |\n| --- | --- |\n")
	types := definitions()[defRoutePolicy].policyTypes()
	slices.SortFunc(types, func(a, b policyType) int { return strings.Compare(a.old, b.old) })
	for _, p := range types {
		note := ""
		if p.only {
			note = " (as a whole; with `$delete` only)"
		}
		fmt.Fprintf(&b, "| `%s` | `%s`%s |\n", p.old, strings.Join(p.at, "."), note)
	}
	b.WriteString("\nSpelt in another way than the rule has it:\n\n| definition | v1beta1 | v1 |\n| --- | --- | --- |\n")
	for _, where := range slices.Sorted(maps.Keys(exceptions)) {
		def, name, _ := strings.Cut(where, ".")
		fmt.Fprintf(&b, "| %s | `%s` | `%s` |\n", def, exceptions[where], name)
	}
	b.WriteString("\nIn seconds, where v1 has milliseconds:\n\n| definition | fields |\n| --- | --- |\n")
	for _, name := range slices.Sorted(maps.Keys(definitions())) {
		var fields []string
		for _, f := range definitions()[name].fields {
			if f.whole || f.shape.time {
				fields = append(fields, "`"+f.old+"`")
			}
		}
		if len(fields) > 0 {
			fmt.Fprintf(&b, "| %s | %s |\n", name, strings.Join(fields, " "))
		}
	}
	b.WriteString("\n")
	return b.String()
}

// Offsets shows how positions of a text are found.
func Offsets(data []byte) func(diag.Pos) (int, bool) { return newText(data).offset }
