package migrate

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/suuupra/gateway/schema/v1"
)

// shape is what a conversion has to know of a v1 definition. All of them are read from the JSON Schema, so that a field v1
// gains has its older spelling on the same day.
type shape struct {
	name   string  // the definition, "" for a shape written in place
	closed bool    // a struct of fields
	fields []field // sorted by name
	item   *shape  // what a list holds
	values *shape  // what a map with free keys holds
	time   bool    // a span of time: milliseconds in v1, seconds before
	kind   bool    // the name of a policy
}

// field is one field of a struct.
type field struct {
	name  string // in v1
	old   string // in v1beta1
	whole bool   // a number of milliseconds by its name, which takes no text
	shape *shape
}

func (s *shape) byName(name string) *field {
	return find(s.fields, func(f *field) bool { return f.name == name })
}

func (s *shape) byOld(name string) *field {
	return find(s.fields, func(f *field) bool { return f.old == name })
}

func find(fields []field, is func(*field) bool) *field {
	for i := range fields {
		if is(&fields[i]) {
			return &fields[i]
		}
	}
	return nil
}

// schemaNode is the part of JSON Schema that says where fields are.
type schemaNode struct {
	Ref        string                 `json:"$ref"`
	Defs       map[string]*schemaNode `json:"$defs"`
	Properties map[string]*schemaNode `json:"properties"`
	Patterns   map[string]*schemaNode `json:"patternProperties"`
	Additional json.RawMessage        `json:"additionalProperties"`
	Items      *schemaNode            `json:"items"`
	AnyOf      []*schemaNode          `json:"anyOf"`
	Type       string                 `json:"type"`
	XType      string                 `json:"x-type"`
}

// definitions reads the shapes once; "File" is the document itself. The schema is generated and tested, so a failure is a
// defect of the build.
var definitions = sync.OnceValue(func() map[string]*shape {
	var doc schemaNode
	if err := json.Unmarshal(v1.JSONSchema(), &doc); err != nil {
		panic("migrate: embedded schema: " + err.Error())
	}
	r := schemaReader{defs: doc.Defs, done: map[string]*shape{}}
	for name := range doc.Defs {
		r.definition(name)
	}
	r.done["File"] = &shape{name: "File"}
	r.fill(r.done["File"], &doc)
	return r.done
})

type schemaReader struct {
	defs map[string]*schemaNode
	done map[string]*shape
}

func (r *schemaReader) definition(name string) *shape {
	if s, ok := r.done[name]; ok {
		return s
	}
	s := &shape{name: name}
	r.done[name] = s // before its parts: a definition may refer to itself
	r.fill(s, r.defs[name])
	return s
}

func (r *schemaReader) shape(n *schemaNode) *shape {
	if n.Ref != "" {
		return r.definition(strings.TrimPrefix(n.Ref, "#/$defs/"))
	}
	s := &shape{}
	r.fill(s, n)
	return s
}

func (r *schemaReader) fill(s *shape, n *schemaNode) {
	s.time, s.kind = n.XType == "duration", n.XType == "policyKind"
	if n.Items != nil {
		s.item = r.shape(n.Items)
	}
	for _, v := range n.Patterns {
		s.values = r.shape(v)
	}
	if len(n.Additional) > 0 && n.Additional[0] == '{' {
		var v schemaNode
		if err := json.Unmarshal(n.Additional, &v); err != nil {
			panic("migrate: embedded schema: " + err.Error())
		}
		s.values = r.shape(&v)
	}
	s.closed = n.Type == "object" && s.values == nil
	for _, name := range slices.Sorted(maps.Keys(n.Properties)) {
		p := n.Properties[name]
		whole := strings.HasSuffix(name, millis) && p.Type == "integer"
		s.fields = append(s.fields, field{name: name, old: oldName(s.name, name), whole: whole, shape: r.shape(p)})
	}
}

const millis = "Ms"

// exceptions are the fields whose v1beta1 spelling does not follow from the rule, by definition.field.
var exceptions = map[string]string{
	"BodyLimit.maxBytes": "max_body",
	"JWT.type":           "token_type", // type says which policy it is
	"JWTIssuer.type":     "token_type",
}

// oldName is the spelling of a v1 field in v1beta1: words joined by "_", and seconds for milliseconds.
func oldName(def, name string) string {
	if old, ok := exceptions[def+"."+name]; ok {
		return old
	}
	if rest, ok := strings.CutSuffix(name, millis); ok {
		return snake(rest) + "_seconds"
	}
	return snake(name)
}

// snake writes camelCase with "_" before each capital that follows a small letter or a digit.
func snake(name string) string {
	var b strings.Builder
	for i := range len(name) {
		c := name[i]
		if c < 'A' || c > 'Z' {
			b.WriteByte(c)
			continue
		}
		if i > 0 && (name[i-1] < 'A' || name[i-1] > 'Z') {
			b.WriteByte('_')
		}
		b.WriteByte(c - 'A' + 'a')
	}
	return b.String()
}

// object is a kind of object, of which a v1beta1 file holds one and a v1 file a field.
type object struct {
	kind  string // e.g. "Route"
	key   string // in a v1 file, e.g. "routes"
	list  bool   // the key holds a list of them
	shape *shape
}

// objects lists the kinds, sorted by key.
var objects = sync.OnceValue(func() []object {
	var out []object
	for _, f := range definitions()["File"].fields {
		switch {
		case f.shape.item != nil:
			out = append(out, object{kind: f.shape.item.name, key: f.name, list: true, shape: f.shape.item})
		case f.shape.closed:
			out = append(out, object{kind: f.shape.name, key: f.name, shape: f.shape})
		}
	}
	return out
})

// The definitions that hold policies. A route has them under a field of its own, a named policy and the gateway's defaults
// among their other fields.
const (
	defRoute       = "Route"
	defPolicy      = "Policy"
	defRoutePolicy = "RoutePolicy"
	routePolicy    = "policy" // the field of a route
)

// holdsPolicies reports whether the fields of a definition are policies.
func (s *shape) holdsPolicies() bool { return s.name == defPolicy || s.name == defRoutePolicy }

// grouped is the one policy whose parts are types of their own: auth is jwt and api_key.
const grouped = "auth"

// policyType is one value of "type" in an element of policies.
type policyType struct {
	old   string   // e.g. "rate_limit"
	at    []string // the fields that lead to it in v1, e.g. "auth", "jwt"
	shape *shape
	only  bool // there to be removed, not to be set
}

// policyTypes lists the types a definition takes, sorted by their fields in v1.
func (s *shape) policyTypes() []policyType {
	var out []policyType
	for _, f := range s.fields {
		switch {
		case !f.shape.closed:
		case f.name == grouped:
			out = append(out, policyType{old: f.old, at: []string{f.name}, shape: f.shape, only: true})
			for _, g := range f.shape.fields {
				out = append(out, policyType{old: g.old, at: []string{f.name, g.name}, shape: g.shape})
			}
		default:
			out = append(out, policyType{old: f.old, at: []string{f.name}, shape: f.shape})
		}
	}
	return out
}
