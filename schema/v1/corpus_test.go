package v1

import (
	"fmt"
	"math"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// parse reads YAML into nodes, with positions in f.yaml.
func parse(t testing.TB, src string) *schema.Node {
	t.Helper()
	n := tryParse(src)
	if n == nil {
		t.Fatalf("test document:\n%s", src)
	}
	return n
}

// tryParse returns nil for what is no YAML, or uses more of it than the tests need.
func tryParse(src string) *schema.Node {
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(src), &doc); err != nil || len(doc.Content) == 0 {
		return nil
	}
	return convert(doc.Content[0])
}

func convert(y *yaml.Node) *schema.Node {
	n := &schema.Node{Pos: diag.Pos{File: "f.yaml", Line: y.Line, Col: y.Column}, Width: len(y.Value)}
	switch y.Kind {
	case yaml.SequenceNode:
		n.Kind = schema.List
		for _, c := range y.Content {
			item := convert(c)
			if item == nil {
				return nil
			}
			n.Items = append(n.Items, item)
		}
		return n
	case yaml.MappingNode:
		return convertMap(n, y)
	case yaml.ScalarNode:
		return convertScalar(n, y)
	}
	return nil
}

func convertMap(n *schema.Node, y *yaml.Node) *schema.Node {
	n.Kind = schema.Map
	for i := 0; i < len(y.Content); i += 2 {
		k, v := y.Content[i], convert(y.Content[i+1])
		if v == nil || k.Kind != yaml.ScalarNode || n.Get(k.Value) != nil {
			return nil
		}
		n.Fields = append(n.Fields, schema.Field{Name: k.Value, Pos: diag.Pos{File: "f.yaml", Line: k.Line, Col: k.Column}, Value: v})
	}
	return n
}

func convertScalar(n *schema.Node, y *yaml.Node) *schema.Node {
	var err error
	switch y.Tag {
	case "!!null":
		n.Kind = schema.Null
	case "!!bool":
		n.Kind, err = schema.Bool, y.Decode(&n.Bool)
	case "!!int":
		n.Kind, err = schema.Int, y.Decode(&n.Int)
	case "!!float":
		n.Kind, err = schema.Float, y.Decode(&n.Float)
		if math.IsNaN(n.Float) || math.IsInf(n.Float, 0) {
			return nil // no JSON
		}
	default:
		n.Kind, n.Str = schema.String, y.Value
	}
	if err != nil {
		return nil
	}
	return n
}

// lines renders diagnostics the way a terse reader would: place, code, message, hint.
func lines(l *diag.List) []string {
	out := []string{}
	for _, d := range l.Sorted() {
		s := fmt.Sprintf("%d:%d %s %s", d.Pos.Line, d.Pos.Col, d.Code, d.Message)
		if d.Severity == diag.Warning {
			s = fmt.Sprintf("%d:%d warning %s %s", d.Pos.Line, d.Pos.Col, d.Code, d.Message)
		}
		if d.Hint != "" {
			s += " (" + d.Hint + ")"
		}
		out = append(out, s)
	}
	return out
}

const usersRoute = `id: users-api
matcher:
  host: api.example.com
  path: /api/users/*
  methods: [GET, POST]
  headers: { X-Tenant: "*", x-version: v2 }
  query: { verbose: "*" }
target: { type: http, url: "http://users:8080" }
use: [standard, patient]
policy:
  timeout: 10000
  timeouts: { header: 5s, idle: 1m30s }
  bodyLimit: { maxBytes: 1MiB }
`
