package migrate

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

// unknown reports a field v1beta1 does not have. What v1 knows and does not have yet is returned under the name v1 gives it.
func (c *converter) unknown(s *shape, f *schema.Field, at *trail) *schema.Field {
	if p := planned(s.name, f.Name); p != "" {
		return &schema.Field{Name: p, Pos: f.Pos, Value: f.Value}
	}
	if at == nil && c.v1Key(f) {
		return nil
	}
	set := s.policySet()
	if set != nil && set.byName(f.Name) != nil && set.byName(f.Name).shape.closed {
		types := []string{set.byName(f.Name).old}
		if f.Name == grouped {
			types = nil
			for _, g := range set.byName(f.Name).shape.fields {
				types = append(types, g.old)
			}
		}
		c.v1Spelling(f, at, "write an element of policies: { type: "+strings.Join(types, " }, { type: ")+" }")
		return nil
	}
	if own := s.byName(f.Name); own != nil {
		hint := "write " + own.old
		if own.shape == set {
			hint = "write policies, a list of maps that each have a type, and timeout beside it"
		}
		c.v1Spelling(f, at, hint)
		return nil
	}
	known := s.oldNames()
	d := diag.Diagnostic{
		Code: "GW2031", Pos: f.Pos, Width: runes(f.Name), Path: at.field(f.Name).String(),
		Message: fmt.Sprintf("unknown field %s in %s", strconv.Quote(short(f.Name)), at.short()),
		Hint:    "known fields: " + strings.Join(known, ", "),
	}
	if near := diag.Suggest(f.Name, known); near != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", near)
	}
	c.diags.Add(d)
	return nil
}

func (c *converter) v1Spelling(f *schema.Field, at *trail, hint string) {
	c.diags.Add(diag.Diagnostic{
		Code: "GW1204", Pos: f.Pos, Width: runes(f.Name), Path: at.field(f.Name).String(),
		Message: fmt.Sprintf("%s is a field of %s, this file is written for %s", f.Name, v1.APIVersion, V1Beta1),
		Hint:    hint,
	})
}

// oldNames lists what may be written in an object of this definition.
func (s *shape) oldNames() []string {
	set := s.policySet()
	var out []string
	for _, f := range s.fields {
		if f.shape != set && !(s == set && f.shape.closed) {
			out = append(out, f.old)
		}
	}
	if set != nil {
		out = append(out, fieldPolicies)
	}
	if set != nil && set != s {
		for _, f := range set.fields {
			if !f.shape.closed {
				out = append(out, f.old)
			}
		}
	}
	slices.Sort(out)
	return out
}

// planned returns the v1 name of a field that v1 knows and does not have yet, or "".
func planned(def, old string) string {
	for _, p := range v1.Planned() {
		if p.Where == def && snake(p.Name) == old {
			return p.Name
		}
	}
	return ""
}

func runes(s string) int { return max(utf8.RuneCountInString(s), 1) }

// short keeps a message readable, whatever somebody called a field.
func short(s string) string {
	const most = 128
	if utf8.RuneCountInString(s) > most {
		return string([]rune(s)[:most]) + "..."
	}
	return s
}
