package kubernetes_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/internal/testkit"
	v1 "github.com/suuupra/gateway/schema/v1"
)

const crdHead = `# The custom resource Route, made from the schema of a route in the config language (make golden). What a structural schema cannot say is
# judged by gwctl translate, which writes what it finds into the status. Unknown fields are kept for it: an API server would prune them
# without a word.
`

// TestGoldenCRD holds the definition of Routes to the schema of the config language. GOLDEN_UPDATE=1 rewrites it.
func TestGoldenCRD(t *testing.T) {
	var doc struct {
		Defs map[string]map[string]any `json:"$defs"`
	}
	if err := json.Unmarshal(v1.JSONSchema(), &doc); err != nil {
		t.Fatal(err)
	}
	spec := structural(t, doc.Defs, doc.Defs["Route"], nil)
	properties := spec["properties"].(map[string]any)
	delete(properties, "id") // it is made from the name
	properties["service"] = map[string]any{
		"description": "Service of the namespace to forward to, in place of a target.", "type": "object", "required": []string{"name", "port"},
		"x-kubernetes-preserve-unknown-fields": true,
		"properties": map[string]any{
			"name": map[string]any{"description": "Name of the service.", "type": "string", "minLength": 1, "maxLength": 63},
			"port": map[string]any{"description": "Number or name of one of its ports.", "x-kubernetes-int-or-string": true},
		},
	}
	spec["required"] = []string{"matcher"}
	spec["oneOf"] = []any{map[string]any{"required": []string{"target"}}, map[string]any{"required": []string{"service"}}}
	column := func(name, kind, path string) map[string]any {
		return map[string]any{"name": name, "type": kind, "jsonPath": path}
	}
	text := func(limit int) map[string]any { return map[string]any{"type": "string", "maxLength": limit} }
	condition := map[string]any{
		"type": "object", "required": []string{"type", "status", "lastTransitionTime", "reason", "message"},
		"properties": map[string]any{
			"type": text(316), "reason": text(1024), "message": text(32768), "observedGeneration": map[string]any{"type": "integer", "format": "int64"},
			"status":             map[string]any{"type": "string", "enum": []string{"True", "False", "Unknown"}},
			"lastTransitionTime": map[string]any{"type": "string", "format": "date-time"},
		},
	}
	crd := map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": "routes.gateway.suuupra.dev"},
		"spec": map[string]any{
			"group": "gateway.suuupra.dev", "scope": "Namespaced",
			"names": map[string]any{"kind": "Route", "listKind": "RouteList", "plural": "routes", "singular": "route", "shortNames": []string{"gwroute"}},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true, "subresources": map[string]any{"status": map[string]any{}},
				"additionalPrinterColumns": []any{
					column("Host", "string", ".spec.matcher.host"), column("Path", "string", ".spec.matcher.path"),
					column("Accepted", "string", `.status.conditions[?(@.type=="Accepted")].status`),
					column("Programmed", "string", `.status.conditions[?(@.type=="Programmed")].status`),
					column("Age", "date", ".metadata.creationTimestamp"),
				},
				"schema": map[string]any{"openAPIV3Schema": map[string]any{
					"type": "object", "required": []string{"spec"},
					"properties": map[string]any{
						"apiVersion": map[string]any{"type": "string"}, "kind": map[string]any{"type": "string"}, "metadata": map[string]any{"type": "object"},
						"spec": spec,
						"status": map[string]any{"type": "object", "properties": map[string]any{"conditions": map[string]any{
							"type": "array", "maxItems": 8, "items": condition, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": []string{"type"},
						}}},
					},
				}},
			}},
		},
	}
	out := bytes.NewBufferString(crdHead)
	e := yaml.NewEncoder(out)
	e.SetIndent(2)
	if err := e.Encode(crd); err != nil {
		t.Fatal(err)
	}
	testkit.Golden(t, "../../deploy/kubernetes/crd.yaml", out.Bytes())
}

// structural says in a structural schema what a JSON Schema says, as far as that goes. Defaults are left out: an API server would write
// them into the spec, where they would look like wishes.
func structural(t *testing.T, defs map[string]map[string]any, in map[string]any, within []string) map[string]any {
	t.Helper()
	out := map[string]any{}
	if ref, ok := in["$ref"].(string); ok {
		name := ref[strings.LastIndexByte(ref, '/')+1:]
		if slices.Contains(within, name) {
			return map[string]any{"x-kubernetes-preserve-unknown-fields": true} // it holds itself
		}
		out = structural(t, defs, defs[name], append(slices.Clone(within), name))
	}
	for key, value := range in {
		switch key {
		case "$ref", "default", "uniqueItems", "additionalProperties", "x-example", "x-form", "x-type", "x-secret":
		case "description", "type", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "minimum", "maximum", "required":
			out[key] = value
		case "const":
			out["enum"] = []any{value}
		case "items":
			out[key] = structural(t, defs, value.(map[string]any), within)
		case "properties":
			properties := map[string]any{}
			for name, p := range value.(map[string]any) {
				properties[name] = structural(t, defs, p.(map[string]any), within)
			}
			out[key], out["x-kubernetes-preserve-unknown-fields"] = properties, true
		case "patternProperties":
			for _, p := range value.(map[string]any) { // one pattern: the form of the names, which is judged later
				out["additionalProperties"] = structural(t, defs, p.(map[string]any), within)
			}
		case "anyOf":
			for _, one := range value.([]any) {
				if kind := one.(map[string]any)["type"]; kind != "integer" && kind != "string" {
					t.Fatalf("a structural schema has no form for anyOf of %v", kind)
				}
			}
			out["x-kubernetes-int-or-string"] = true
		default:
			t.Fatalf("the schema has a keyword %q that this test does not know", key)
		}
	}
	if _, ok := out["enum"]; ok && out["type"] == nil {
		out["type"] = "string"
	}
	return out
}
