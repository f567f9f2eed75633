package kubernetes_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/suuupra/gateway/compiler/kubernetes"
	"github.com/suuupra/gateway/compiler/kubernetes/manifest"
	"github.com/suuupra/gateway/schema/diag"
)

// many writes Ingresses with two paths each, one of a hundred of which is left out and closed.
func many(n int) []byte {
	var b strings.Builder
	for i := range n {
		annotation := ""
		if i%100 == 0 {
			annotation = nginx + "auth-url: http://auth"
		}
		fmt.Fprintf(&b, "---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: { name: web-%d, namespace: shop, annotations: { %s } }\nspec:\n  rules:\n"+
			"    - host: h%d.example.com\n      http:\n        paths:\n"+
			"          - { path: /, pathType: Prefix, backend: { service: { name: web-%d, port: { name: http } } } }\n"+
			"          - { path: /api, pathType: Exact, backend: { service: { name: api, port: { number: 80 } } } }\n", i, annotation, i%(n/2), i)
	}
	return []byte(b.String())
}

// BenchmarkTranslate reads and translates a cluster of 5,000 Ingresses.
func BenchmarkTranslate(b *testing.B) {
	data := many(5000)
	var objects *kubernetes.Objects
	b.Run("read", func(b *testing.B) {
		for b.Loop() {
			var diags diag.List
			if objects = manifest.Read([]manifest.File{{Path: "all.yaml", Data: data}}, &diags); diags.Len() > 0 {
				b.Fatal(diags.Sorted())
			}
		}
	})
	b.Run("translate", func(b *testing.B) {
		for b.Loop() {
			if r := kubernetes.Translate(objects, kubernetes.Options{}); len(r.Routes) == 0 {
				b.Fatal("there are no routes")
			}
		}
	})
}
