package v1

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// at makes an error at a value.
func at(code diag.Code, n *schema.Node, where *loc, format string, args ...any) diag.Diagnostic {
	return diag.Diagnostic{Code: code, Pos: n.Pos, Width: max(n.Width, 1), Path: where.String(), Message: fmt.Sprintf(format, args...)}
}

// shown quotes a value for a message: shortened, and never a secret.
func shown(n *schema.Node) string {
	switch n.Kind {
	case schema.Null:
		return "empty"
	case schema.Float:
		if s := n.Describe(); strings.Trim(s, "-0123456789") != "" {
			return s
		}
		return n.Describe() + ".0" // so that it does not read like the whole number it is not
	case schema.String:
	default:
		return n.Describe()
	}
	if secretKind(n.Str) != "" {
		return "a secret"
	}
	return quoted(n.Str)
}

func quoted(s string) string {
	const most = 80
	if r := []rune(s); len(r) > most {
		return strconv.Quote(string(r[:most])) + "..."
	}
	return strconv.Quote(s)
}

// wanted says in one phrase what a value of the shape may be.
func wanted(s *shape.Shape) string {
	switch {
	case s.Type == "duration":
		return `a duration: whole milliseconds, or text such as "10s", "500ms" or "1m30s"`
	case s.Type == "size":
		return `a size: whole bytes, or text such as "64KiB" or "10MiB"`
	case s.Text != nil && len(s.Text.Enum) == 1:
		return strconv.Quote(s.Text.Enum[0])
	case s.Text != nil && len(s.Text.Enum) > 1:
		return "one of " + quoteAll(s.Text.Enum)
	case s.Text != nil && s.Form != "":
		return s.Form
	case s.Text != nil:
		return "a string"
	case s.Number != nil && s.Number.Integer:
		return strings.TrimSpace("a whole number " + bounds(s))
	case s.Number != nil:
		return strings.TrimSpace("a number " + bounds(s))
	case s.Bool:
		return "true or false"
	case s.List != nil:
		return "a list"
	}
	return "a map"
}

func quoteAll(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = strconv.Quote(w)
	}
	return strings.Join(out, ", ")
}

// bounds says between what a number must lie, in the unit the author thinks in; nothing if only the machine bounds it.
func bounds(s *shape.Shape) string {
	if s.Number.Max > math.MaxInt32 && s.Type == "" {
		return ""
	}
	say := func(f float64) string {
		switch s.Type {
		case "duration":
			return Duration(f).String()
		case "size":
			return Size(f).String()
		}
		return strconv.FormatFloat(f, 'f', -1, 64)
	}
	return "from " + say(s.Number.Min) + " to " + say(s.Number.Max)
}

func (w *walker) wrongKind(s *shape.Shape, n *schema.Node, where *loc) {
	if s.Type == "secretRef" {
		w.notReference(s, n, where)
		return
	}
	d := at("GW2101", n, where, "%s is %s, must be %s", where.short(), shown(n), wanted(s))
	switch {
	case n.Kind == schema.Null:
		d.Hint = "give it a value, or leave the field out"
	case s.List != nil && s.List.Elem != nil && s.List.Elem.Map != nil && n.Kind == schema.Map:
		d.Hint = "write a list of objects, each beginning with \"- \""
	case s.List != nil && n.Kind != schema.Map:
		d.Hint = "write [" + shown(n) + "]"
	case s.Bool && n.Kind == schema.String && (n.Str == "true" || n.Str == "false"):
		d.Hint = "write " + n.Str + " without quotes"
	case s.Number != nil && s.Text == nil && n.Kind == schema.String && isNumber(n.Str):
		d.Hint = "write " + n.Str + " without quotes"
	case s.Number != nil && s.Number.Integer && n.Kind == schema.Float:
		d.Hint = "write a whole number"
	case s.Text != nil && s.Number == nil && n.Kind < schema.String:
		if d.Hint = "put it in quotes: " + strconv.Quote(n.Describe()); len(s.Text.Enum) > 0 && !slices.Contains(s.Text.Enum, n.Describe()) {
			d.Hint = "write one of " + strings.Join(s.Text.Enum, ", ")
		}
	case s.Map != nil && s.Map.Value == nil && n.Kind != schema.List:
		d.Hint = knownFields(s)
	}
	w.diags.Add(d)
}

// knownFields lists what an author may write.
func knownFields(s *shape.Shape) string {
	if len(s.Map.Fields) == 0 {
		return "write {}: it has no fields"
	}
	return "known fields: " + strings.Join(fieldNames(s), ", ")
}

func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil
}

func (w *walker) outOfRange(s *shape.Shape, n *schema.Node, where *loc) {
	value := shown(n)
	switch {
	case n.Kind == schema.Int && s.Type == "duration":
		value = strconv.FormatInt(n.Int, 10) + " ms"
	case n.Kind == schema.Int && s.Type == "size":
		value = strconv.FormatInt(n.Int, 10) + " bytes"
	}
	w.diags.Add(at("GW2103", n, where, "%s is %s, must be %s", where.short(), value, bounds(s)))
}

func (w *walker) notInEnum(s *shape.Shape, n *schema.Node, where *loc) {
	if p := planned(where.def+"."+where.name, n.Str); p != nil {
		w.diags.Add(at("GW2033", n, where, "%s %q is known, but not available in this version (%s)", where.name, p.Name, p.What))
		return
	}
	d := at("GW2102", n, where, "%s is %s, must be %s", where.short(), shown(n), wanted(s))
	if best := closest(n.Str, s.Text.Enum); best != "" && len(s.Text.Enum) > 1 {
		d.Hint = fmt.Sprintf("did you mean %q?", best)
	}
	w.diags.Add(d)
}

func (w *walker) wrongLength(s *shape.Shape, n *schema.Node, where *loc) {
	t := s.Text
	if n.Str == "" || s.Type == "secretRef" || s.Type == "duration" {
		w.malformed(s, n, where)
		return
	}
	limit := fmt.Sprintf("at most %d", t.MaxLen)
	if len([]rune(n.Str)) < t.MinLen {
		limit = fmt.Sprintf("at least %d", t.MinLen)
	}
	w.diags.Add(at("GW2105", n, where, "%s has %d characters, must have %s", where.short(), len([]rune(n.Str)), limit))
}

func (w *walker) malformed(s *shape.Shape, n *schema.Node, where *loc) {
	code := diag.Code("GW2104")
	switch s.Type {
	case "secretRef":
		w.notReference(s, n, where)
		return
	case "duration":
		code = "GW2111"
	case "size":
		code = "GW2112"
	}
	phrase := wanted(s)
	if phrase == "a string" {
		phrase = "text that matches " + s.Text.Pattern.String()
	}
	d := at(code, n, where, "%s is %s, must be %s", where.short(), shown(n), phrase)
	if better := reworded(s, n.Str); better != "" {
		d.Hint = fmt.Sprintf("did you mean %q?", better)
	}
	w.diags.Add(d)
}

func (w *walker) wrongCount(s *shape.Shape, n *schema.Node, where *loc) {
	l := s.List
	limit := fmt.Sprintf("at most %d", l.Max)
	if len(n.Items) < l.Min {
		limit = fmt.Sprintf("at least %d", l.Min)
	}
	noun := "elements"
	if len(n.Items) == 1 {
		noun = "element"
	}
	w.diags.Add(at("GW2105", n, where, "%s has %d %s, must have %s", where.short(), len(n.Items), noun, limit))
}

func (w *walker) duplicate(n, first *schema.Node, where *loc) {
	d := at("GW2106", n, where, "%s stands in %s twice", shown(n), where.up.short())
	d.Notes = []diag.Note{{Pos: first.Pos, Message: "the first one is here"}}
	w.diags.Add(d)
}

func (w *walker) wrongKey(s *shape.Shape, f *schema.Field, where *loc) {
	w.diags.Add(diag.Diagnostic{
		Code: "GW2104", Pos: f.Pos, Width: width(f.Name), Path: where.String(),
		Message: fmt.Sprintf("%s has the key %s, must be %s", where.up.short(), quoted(f.Name), s.Form),
	})
}

func width(s string) int { return max(len([]rune(s)), 1) }

// unknownField reports a field no definition has, or one that is planned, and returns the field it probably is.
func (w *walker) unknownField(s *shape.Shape, n *schema.Node, f *schema.Field, where *loc) (meant string) {
	here := &loc{up: where, name: f.Name, index: -1}
	d := diag.Diagnostic{Pos: f.Pos, Width: width(f.Name), Path: here.String()}
	if p := planned(s.Name, f.Name); p != nil {
		d.Code = "GW2033"
		d.Message = fmt.Sprintf("%s is known, but not available in this version (%s)", f.Name, p.What)
		w.diags.Add(d)
		return ""
	}
	names := fieldNames(s)
	d.Code = "GW2031"
	d.Message = fmt.Sprintf("unknown field %s in %s", quoted(f.Name), where.object(s.Name, n))
	switch meant = closest(f.Name, slices.Concat(names, plannedNames(s.Name))); {
	case meant != "" && !slices.Contains(names, meant):
		d.Hint = fmt.Sprintf("did you mean %q? it is known, but not available in this version", meant)
	case meant != "":
		d.Hint = fmt.Sprintf("did you mean %q?", meant)
	case nested(s, f.Name) != "":
		meant = nested(s, f.Name)
		d.Hint = fmt.Sprintf("did you mean %q?", meant)
		meant, _, _ = strings.Cut(meant, ".")
	default:
		d.Hint = knownFields(s)
	}
	w.diags.Add(d)
	return meant
}

// nested finds a field one level down, for those who wrote it one level too high.
func nested(s *shape.Shape, name string) string {
	for _, f := range s.Map.Fields {
		if f.Shape.Map != nil && f.Shape.Map.Field(name) != nil {
			return f.Name + "." + name
		}
	}
	return ""
}

func fieldNames(s *shape.Shape) []string {
	out := make([]string, len(s.Map.Fields))
	for i, f := range s.Map.Fields {
		out[i] = f.Name
	}
	return out
}

func (w *walker) missing(s *shape.Shape, n *schema.Node, f *shape.Field, where *loc, meant []string) {
	if slices.Contains(meant, f.Name) {
		return
	}
	d := at("GW2032", n, &loc{up: where, name: f.Name, index: -1}, "%s has no %s", where.object(s.Name, n), f.Name)
	example := f.Example
	if example == "" {
		example = f.Shape.Example
	}
	if t := f.Shape.Text; example == "" && t != nil && len(t.Enum) > 0 {
		example = t.Enum[0]
	}
	if example != "" {
		d.Hint = fmt.Sprintf("add %s: %s", f.Name, example)
	}
	w.diags.Add(d)
}

// plannedNames lists the fields of a definition that are not built yet.
func plannedNames(where string) []string {
	var out []string
	for _, p := range Planned() {
		if p.Where == where {
			out = append(out, p.Name)
		}
	}
	return out
}

// planned finds a name in the table of those that are not built yet. It is only asked when something is wrong.
func planned(where, name string) *PlannedName {
	for _, p := range Planned() {
		if p.Where == where && p.Name == name {
			return &p
		}
	}
	return nil
}
