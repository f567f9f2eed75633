// Package shape is the subset of JSON Schema the definitions are written in, as types a checker can walk: every value is
// described by what it may be in each kind, because all unions differ in kind. It reads the generated document and
// refuses every keyword outside the subset; it must not judge values.
package shape

import (
	"fmt"
	"math"
	"regexp"
	"strings"
)

// Shape says what a value may be. A nil member means that the value may not be of that kind.
type Shape struct {
	Name    string // the definition, "" for a shape written in place
	Doc     string
	Type    string // the meaning of a scalar, e.g. "duration": it names the check that Go adds
	Form    string // what the pattern asks for, in words; of the keys if the shape is a map
	Example string
	Bool    bool
	Number  *Number
	Text    *Text
	List    *List
	Map     *Map
}

// Number bounds numbers.
type Number struct {
	Integer  bool
	Min, Max float64 // infinite if not bounded
}

// Text bounds strings. Lengths count runes.
type Text struct {
	Enum           []string // if not empty, the only values there are
	Pattern        *regexp.Regexp
	MinLen, MaxLen int // MaxLen is -1 if not bounded
}

// List bounds lists.
type List struct {
	Elem     *Shape
	Min, Max int // Max is -1 if not bounded
	Unique   bool
}

// Map describes a closed struct (Fields) or a map with free keys (Value).
type Map struct {
	Fields []Field
	Keys   *regexp.Regexp // nil: any key
	Value  *Shape         // nil: a closed struct
}

// Field is one field of a closed struct.
type Field struct {
	Name     string
	Doc      string
	Example  string
	Default  any // a JSON value, nil if there is none
	Required bool
	Shape    *Shape
}

// Field returns the field of that name, or nil.
func (m *Map) Field(name string) *Field {
	for i := range m.Fields {
		if m.Fields[i].Name == name {
			return &m.Fields[i]
		}
	}
	return nil
}

// String renders the constraints, without names and documentation, in a canonical form: two shapes accept the same
// values by the same rules if they render alike. References to definitions are rendered by name.
func (s *Shape) String() string {
	var alts []string
	if s.Bool {
		alts = append(alts, "bool")
	}
	if n := s.Number; n != nil {
		alts = append(alts, fmt.Sprintf("number(integer=%v min=%v max=%v)", n.Integer, n.Min, n.Max))
	}
	if t := s.Text; t != nil {
		pattern := ""
		if t.Pattern != nil {
			pattern = t.Pattern.String()
		}
		alts = append(alts, fmt.Sprintf("text(enum=%q pattern=%q len=%d..%d)", t.Enum, pattern, t.MinLen, t.MaxLen))
	}
	if l := s.List; l != nil {
		alts = append(alts, fmt.Sprintf("list(%s len=%d..%d unique=%v)", l.Elem.ref(), l.Min, l.Max, l.Unique))
	}
	if m := s.Map; m != nil {
		alts = append(alts, m.String())
	}
	return strings.Join(alts, " | ")
}

// String renders the map as Shape.String does.
func (m *Map) String() string {
	var b strings.Builder
	b.WriteString("map(")
	for _, f := range m.Fields {
		fmt.Fprintf(&b, "%s required=%v %s; ", f.Name, f.Required, f.Shape.ref())
	}
	if m.Value != nil {
		keys := ""
		if m.Keys != nil {
			keys = m.Keys.String()
		}
		fmt.Fprintf(&b, "[%q] %s", keys, m.Value.ref())
	}
	b.WriteString(")")
	return b.String()
}

func (s *Shape) ref() string {
	if s.Name != "" {
		return "#" + s.Name
	}
	return s.String()
}

// unbounded returns bounds that bound nothing.
func unbounded() (low, high float64) { return math.Inf(-1), math.Inf(1) }
