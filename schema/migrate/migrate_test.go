package migrate

import (
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema"
	"github.com/suuupra/gateway/schema/diag"
	"github.com/suuupra/gateway/schema/v1"
)

func file(version *schema.Node) schema.File {
	root := &schema.Node{Kind: schema.Map, Pos: diag.Pos{File: "a.yaml", Line: 1, Col: 1}}
	if version != nil {
		version.Pos = diag.Pos{File: "a.yaml", Line: 1, Col: 13}
		root.Fields = []schema.Field{{Name: "apiVersion", Pos: root.Pos, Value: version}}
	}
	return schema.File{Path: "a.yaml", Root: root}
}

func str(s string) *schema.Node { return &schema.Node{Kind: schema.String, Str: s} }

func TestMigrate(t *testing.T) {
	tests := []struct {
		name    string
		version *schema.Node
		code    diag.Code
		message string
	}{
		{"current", str(v1.APIVersion), "", ""},
		{"missing", nil, "GW2001", "the file has no apiVersion"},
		{"newer", str("gateway.suuupra.dev/v2"), "GW2002", `apiVersion is "gateway.suuupra.dev/v2", known: gateway.suuupra.dev/v1, gateway.suuupra.dev/v1beta1`},
		{"no string", &schema.Node{Kind: schema.Int, Int: 1}, "GW2002", `apiVersion is 1, known: gateway.suuupra.dev/v1, gateway.suuupra.dev/v1beta1`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l diag.List
			in := file(tt.version)
			if out := Migrate(in, &l); out.Root != in.Root {
				t.Error("the file was changed")
			}
			got := l.Sorted()
			if tt.code == "" {
				if len(got) > 0 {
					t.Errorf("got %+v", got)
				}
				return
			}
			if len(got) != 1 || got[0].Code != tt.code || got[0].Message != tt.message || got[0].Hint == "" || !got[0].Pos.IsValid() {
				t.Errorf("got %+v, want %s %s", got, tt.code, tt.message)
			}
		})
	}
}

// TestSteps walks a table with more versions than the real one.
func TestSteps(t *testing.T) {
	var walked []string
	mark := func(to string) *step {
		return &step{nodes: func(schema.File, *diag.List) *schema.Node {
			walked = append(walked, to)
			return &schema.Node{Kind: schema.Map, Fields: []schema.Field{{Name: "apiVersion", Value: str(to)}}}
		}}
	}
	table := []version{{name: "v3"}, {name: "v2", toNext: mark("v3")}, {name: "v1", toNext: mark("v2")}}
	for from, want := range map[string][]string{"v1": {"v2", "v3"}, "v2": {"v3"}, "v3": nil} {
		walked = nil
		var l diag.List
		in := file(str(from))
		out := migrate(in, table, &l)
		if !slices.Equal(walked, want) || out.Root.Get("apiVersion").Text() != "v3" || l.Len() > 0 || in.Root.Get("apiVersion").Text() != from {
			t.Errorf("from %s: walked %v to %s, %+v", from, walked, out.Root.Get("apiVersion").Text(), l.Sorted())
		}
	}
}

func TestVersions(t *testing.T) {
	if got := Versions(); len(got) == 0 || got[0] != v1.APIVersion {
		t.Errorf("got %q, want %s first", got, v1.APIVersion)
	}
}
