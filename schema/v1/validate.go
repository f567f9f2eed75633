package v1

import (
	"sync"
	"unicode/utf8"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1/internal/shape"
)

// shapes reads the embedded JSON Schema once. The document is generated and tested, so a failure is a defect of the build.
var shapes = sync.OnceValue(func() map[string]*shape.Shape {
	s, err := shape.Parse(jsonSchema, "File")
	if err != nil {
		panic("v1: embedded schema: " + err.Error())
	}
	return s
})

// Validate reports everything that is wrong with n as an object of a definition: "Route", "Upstream", "Policy", "Gateway"
// or "Tenant", complete, with every overlay applied; or "File", of which only the envelope is judged, because the objects
// of a patch file are complete only after the merge. Path is how the author would spell n.
//
// The verdict is that of the JSON Schema, which Verdict computes; here it is found by walking the nodes, so that every
// diagnostic has a position, and a test holds the two together. On top come the rules a schema cannot say: URLs,
// addresses, networks, exactly one of two fields, duplicates by meaning.
func Validate(def string, n *schema.Node, path string, diags *diag.List) {
	root := &loc{name: path, index: -1}
	w := walker{diags: &diag.List{}}
	if def == "File" {
		w.envelope(n, root)
	} else {
		s := shapes()[def]
		if s == nil {
			panic("v1: no definition " + def)
		}
		w.value(s, n, root)
	}
	if w.diags.Len() > 0 {
		hideSecrets(w.diags, diags)
	}
}

// walker walks a tree of nodes beside the shape it should have.
type walker struct {
	diags     *diag.List
	shapeOnly bool // judge as the JSON Schema does, without the rules added in Go
}

// value judges one value and everything under it, and reports whether it is sound.
func (w *walker) value(s *shape.Shape, n *schema.Node, at *loc) bool {
	switch n.Kind {
	case schema.Bool:
		if s.Bool {
			return true
		}
	case schema.Int:
		if s.Number != nil {
			return w.number(s, n, float64(n.Int), at)
		}
	case schema.Float:
		if s.Number != nil && !s.Number.Integer {
			return w.number(s, n, n.Float, at)
		}
	case schema.String:
		if s.Text != nil {
			return w.text(s, n, at)
		}
	case schema.List:
		if s.List != nil {
			return w.list(s, n, at)
		}
	case schema.Map:
		if s.Map != nil && s.Map.Value != nil {
			return w.freeMap(s, n, at)
		}
		if s.Map != nil {
			return w.object(s, n, at)
		}
	}
	w.wrongKind(s, n, at)
	return false
}

// number compares so that a NaN, which is within no bounds, fails.
func (w *walker) number(s *shape.Shape, n *schema.Node, v float64, at *loc) bool {
	if v >= s.Number.Min && v <= s.Number.Max {
		return true
	}
	w.outOfRange(s, n, at)
	return false
}

func (w *walker) text(s *shape.Shape, n *schema.Node, at *loc) bool {
	t := s.Text
	if len(t.Enum) > 0 {
		for _, e := range t.Enum {
			if e == n.Str {
				return true
			}
		}
		w.notInEnum(s, n, at)
		return false
	}
	// A string has at most as many runes as bytes, so most need no count.
	if t.MaxLen >= 0 && len(n.Str) > t.MaxLen && utf8.RuneCountInString(n.Str) > t.MaxLen || utf8.RuneCountInString(n.Str) < t.MinLen {
		w.wrongLength(s, n, at)
		return false
	}
	if t.Pattern != nil && !t.Pattern.MatchString(n.Str) {
		w.malformed(s, n, at)
		return false
	}
	if s.Type == "" || w.shapeOnly {
		return true
	}
	return w.meaning(s, n, at)
}

func (w *walker) list(s *shape.Shape, n *schema.Node, at *loc) bool {
	l := s.List
	ok := true
	if len(n.Items) < l.Min || l.Max >= 0 && len(n.Items) > l.Max {
		w.wrongCount(s, n, at)
		ok = false
	}
	for i, item := range n.Items {
		if !w.value(l.Elem, item, &loc{up: at, index: i}) {
			ok = false
		}
	}
	if l.Unique && (l.Max < 0 || len(n.Items) <= l.Max) {
		ok = w.unique(n, at) && ok
	}
	return ok
}

// unique reports every scalar that stands in the list for the second time. Lists whose elements must differ have a small
// maximum, so comparing all of them costs less than remembering them.
func (w *walker) unique(n *schema.Node, at *loc) bool {
	ok := true
	for i, item := range n.Items {
		for _, earlier := range n.Items[:i] {
			if sameScalar(item, earlier) {
				w.duplicate(item, earlier, &loc{up: at, index: i})
				ok = false
				break
			}
		}
	}
	return ok
}

func sameScalar(a, b *schema.Node) bool {
	return a.Kind == b.Kind && a.Kind != schema.List && a.Kind != schema.Map &&
		a.Str == b.Str && a.Int == b.Int && a.Float == b.Float && a.Bool == b.Bool
}

func (w *walker) freeMap(s *shape.Shape, n *schema.Node, at *loc) bool {
	ok := true
	for i := range n.Fields {
		f := &n.Fields[i]
		here := &loc{up: at, name: f.Name, index: -1}
		if s.Map.Keys != nil && !s.Map.Keys.MatchString(f.Name) {
			w.wrongKey(s, f, here)
			ok = false
			continue
		}
		if !w.value(s.Map.Value, f.Value, here) {
			ok = false
		}
	}
	if ok && !w.shapeOnly && s.Type == "headers" {
		return w.headerNames(n, at)
	}
	return ok
}

func (w *walker) object(s *shape.Shape, n *schema.Node, at *loc) bool {
	ok, complete := true, true
	var meant []string // what misspelt fields probably are: these are not reported as missing too
	for i := range n.Fields {
		f := &n.Fields[i]
		field := s.Map.Field(f.Name)
		if field == nil {
			meant = append(meant, w.unknownField(s, n, f, at))
			complete = false
			continue
		}
		if !w.value(field.Shape, f.Value, &loc{up: at, def: s.Name, name: f.Name, index: -1}) {
			ok = false
		}
	}
	for i := range s.Map.Fields {
		if f := &s.Map.Fields[i]; f.Required && n.Get(f.Name) == nil {
			w.missing(s, n, f, at, meant)
			complete = false
		}
	}
	if complete && !w.shapeOnly {
		ok = w.together(s.Name, n, at) && ok
	}
	return ok && complete
}
