package yamlpos

import (
	"fmt"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/suuupra/gateway/schema/diag"
)

// routesFile writes n routes as a team would, 562 bytes each.
func routesFile(first, n int) []byte {
	var b strings.Builder
	b.WriteString("apiVersion: gateway.suuupra.dev/v1\nroutes:\n")
	for i := first; i < first+n; i++ {
		fmt.Fprintf(&b, `  - id: service-%05d-users-api
    # owned by team %d
    matcher:
      host: api-%d.example.com
      path: /api/v1/service-%05d/users/*
      methods: [GET, POST, PUT]
    target:
      type: http
      url: http://service-%05d.internal:8080
    policy:
      auth:
        jwt:
          issuer: https://id.example.com
          audience: api-%d
          jwksUri: https://id.example.com/.well-known/jwks.json
          requiredRoles: [user]
          requiredScopes: [user.read]
      rateLimit:
        enabled: true
        tokensPerInterval: 60
        intervalMs: 60000
      timeout: 10000
`, i, i%40, i%7, i, i, i%7)
	}
	return []byte(b.String())
}

// BenchmarkDecode10k reads 10,000 routes in 100 files; BenchmarkNodes10k is the part of it yaml.v3 alone takes.
func BenchmarkDecode10k(b *testing.B) {
	files := make([][]byte, 100)
	for i := range files {
		files[i] = routesFile(i*100, 100)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, f := range files {
			var l diag.List
			if Decode("f.yaml", f, &l) == nil || l.Len() > 0 {
				b.Fatal(l.Sorted())
			}
		}
	}
}

func BenchmarkNodes10k(b *testing.B) {
	files := make([][]byte, 100)
	for i := range files {
		files[i] = routesFile(i*100, 100)
	}
	b.ReportAllocs()
	for b.Loop() {
		for _, f := range files {
			var n yaml.Node
			if err := yaml.Unmarshal(f, &n); err != nil {
				b.Fatal(err)
			}
		}
	}
}
