package v1

import (
	"fmt"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
)

// parse reads YAML into nodes, with positions in f.yaml.
func parse(t testing.TB, src string) *schema.Node {
	t.Helper()
	var doc yaml.Node
	if err := yaml.Unmarshal([]byte(src), &doc); err != nil {
		t.Fatalf("test document: %v\n%s", err, src)
	}
	return convert(t, doc.Content[0])
}

func convert(t testing.TB, y *yaml.Node) *schema.Node {
	t.Helper()
	n := &schema.Node{Pos: diag.Pos{File: "f.yaml", Line: y.Line, Col: y.Column}, Width: len(y.Value)}
	var err error
	switch y.Kind {
	case yaml.SequenceNode:
		n.Kind = schema.List
		for _, c := range y.Content {
			n.Items = append(n.Items, convert(t, c))
		}
	case yaml.MappingNode:
		n.Kind = schema.Map
		for i := 0; i < len(y.Content); i += 2 {
			k := y.Content[i]
			n.Fields = append(n.Fields, schema.Field{
				Name: k.Value, Pos: diag.Pos{File: "f.yaml", Line: k.Line, Col: k.Column}, Value: convert(t, y.Content[i+1]),
			})
		}
	default:
		switch y.Tag {
		case "!!null":
			n.Kind = schema.Null
		case "!!bool":
			n.Kind, err = schema.Bool, y.Decode(&n.Bool)
		case "!!int":
			n.Kind, err = schema.Int, y.Decode(&n.Int)
		case "!!float":
			n.Kind, err = schema.Float, y.Decode(&n.Float)
		default:
			n.Kind, n.Str = schema.String, y.Value
		}
	}
	if err != nil {
		t.Fatal(err)
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
