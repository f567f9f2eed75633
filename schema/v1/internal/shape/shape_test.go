package shape

import (
	"strings"
	"testing"
)

func TestParseRefuses(t *testing.T) {
	const object = `"type": "object", "additionalProperties": false`
	tests := []struct{ name, doc, want string }{
		{"no JSON", `{`, "decode schema"},
		{"an open struct", `{"type": "object", "properties": {"a": {"type": "string"}}}`, "not closed"},
		{"a struct that takes more", `{"type": "object", "additionalProperties": true}`, "open struct"},
		{"an unknown keyword", `{` + object + `, "properties": {"a": {"type": "string", "format": "uri"}}}`, `keyword "format"`},
		{"a conjunction", `{` + object + `, "properties": {"a": {"allOf": [{"type": "string"}]}}}`, "outside the subset"},
		{"anything", `{` + object + `, "properties": {"a": {}}}`, "outside the subset"},
		{"true", `{` + object + `, "properties": {"a": true}}`, "accepts anything"},
		{"a union of one kind", `{` + object + `, "properties": {"a": {"anyOf": [{"type": "string"}, {"enum": ["a"]}]}}}`, "alternatives of one kind"},
		{"several types", `{` + object + `, "properties": {"a": {"type": ["string", "null"]}}}`, "outside the subset"},
		{"a constant that is no string", `{` + object + `, "properties": {"a": {"const": 1}}}`, `keyword "const"`},
		{"an enumeration that is not of strings", `{` + object + `, "properties": {"a": {"enum": ["a", 1]}}}`, `keyword "enum"`},
		{"a pattern Go cannot read", `{` + object + `, "properties": {"a": {"type": "string", "pattern": "(?=a)"}}}`, `keyword "pattern"`},
		{"a list of anything", `{` + object + `, "properties": {"a": {"type": "array"}}}`, "without a schema"},
		{"a map of anything", `{` + object + `, "properties": {"a": {"type": "object", "additionalProperties": false, "patternProperties": {"^a": true}}}}`, "a map of anything"},
		{"a reference elsewhere", `{` + object + `, "properties": {"a": {"$ref": "https://example.com/a"}}}`, "leaves the document"},
		{"a reference to nothing", `{` + object + `, "properties": {"a": {"$ref": "#/$defs/B"}}}`, "does not exist"},
		{"a reference with more to say", `{` + object + `, "properties": {"a": {"$ref": "#/$defs/B", "minLength": 1}}, "$defs": {"B": {"type": "string"}}}`, `keyword "minLength"`},
		{"a constraint of another kind", `{` + object + `, "properties": {"a": {"type": "string", "minimum": 1}}}`, `keyword "minimum"`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Parse([]byte(tt.doc), "Root")
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestParse(t *testing.T) {
	got, err := Parse([]byte(`{
  "type": "object", "additionalProperties": false, "required": ["a"],
  "properties": {
    "a": {"$ref": "#/$defs/A", "description": "doc", "default": 5},
    "b": {"type": "array", "items": {"type": "string", "pattern": "^x", "maxLength": 3}, "uniqueItems": true, "maxItems": 9},
    "c": {"type": "object", "additionalProperties": {"type": "boolean"}},
    "d": {"type": "object", "additionalProperties": false, "patternProperties": {"^k": {"enum": ["u", "v"]}}}
  },
  "$defs": {"A": {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}}
}`), "Root")
	if err != nil {
		t.Fatal(err)
	}
	const root = `map(a required=true #A; b required=false list(text(enum=[] pattern="^x" len=0..3) len=0..9 unique=true); ` +
		`c required=false map([""] bool); d required=false map(["^k"] text(enum=["u" "v"] pattern="" len=0..-1)); )`
	if s := got["Root"].String(); s != root {
		t.Errorf("got\n%s\nwant\n%s", s, root)
	}
	if s := got["A"].String(); s != `number(integer=true min=1 max=+Inf) | text(enum=["auto"] pattern="" len=0..-1)` {
		t.Errorf("got %s", s)
	}
	if f := got["Root"].Map.Field("a"); f.Doc != "doc" || f.Default != 5.0 || f.Shape != got["A"] {
		t.Errorf("got %+v", f)
	}
}
