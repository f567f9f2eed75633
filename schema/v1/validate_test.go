package v1

import (
	"slices"
	"testing"

	"github.com/suuupra/gateway/schema/diag"
)

func TestValidate(t *testing.T) {
	tests := []struct {
		name, def, doc string
		want           []string
	}{
		{"a sound route", "Route", usersRoute, nil},
		{"the first example of the guide", "Route", `{ "id": "users-api",
 "matcher": { "path": "/api/users/*", "methods": ["GET"] },
 "target": { "type": "http", "url": "http://users:8080" },
 "policy": {
  "auth": { "jwt": { "issuer": "https://identity.suuupra.local", "audience": "suuupra-api", "clockSkewSeconds": 60 } } } }`,
			[]string{`5:3 GW2033 auth is known, but not available in this version (authentication with JWT and API keys)`}},
		{"the second example of the guide", "RoutePolicy", `auth: { jwt: { issuer: "https://identity.suuupra.local" } }
rateLimit: { enabled: true, tokensPerInterval: 60, intervalMs: 60000 }
timeout: 10000`,
			[]string{
				`1:1 GW2033 auth is known, but not available in this version (authentication with JWT and API keys)`,
				`2:1 GW2033 rateLimit is known, but not available in this version (rate limits)`,
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var l diag.List
			Validate(tt.def, parse(t, tt.doc), "x", &l)
			if got := lines(&l); !slices.Equal(got, tt.want) {
				t.Errorf("got:\n%q\nwant:\n%q", got, tt.want)
			}
		})
	}
}

func BenchmarkRoute(b *testing.B) {
	n := parse(b, usersRoute)
	b.Run("validate", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var l diag.List
			Validate("Route", n, "routes[0]", &l)
			if l.Len() > 0 {
				b.Fatal(lines(&l))
			}
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var l diag.List
			var r Route
			Decode(n, "routes[0]", &r, &l)
		}
	})
}
