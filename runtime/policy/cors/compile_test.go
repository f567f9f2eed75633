package cors

import (
	"slices"
	"testing"

	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/schema/ir"
)

func TestCompile(t *testing.T) {
	const a = `allowOrigins: ["https://a.example.com"]`
	for _, tt := range []struct {
		name, spec, beside string
		match              ir.Match
		plan               string
		said               []string
	}{
		{name: "defaults", spec: a, plan: `{"allowOrigins":["https://a.example.com"],"allowMethods":["GET","HEAD","POST"],"maxAge":600000}`},
		{
			name: "methods of the route", spec: a, match: ir.Match{Methods: []string{"DELETE", "PUT"}},
			plan: `{"allowOrigins":["https://a.example.com"],"allowMethods":["DELETE","PUT"],"maxAge":600000}`,
		},
		{name: "switched off", spec: `enabled: false, allowOrigins: ["https://a:443"]`},
		{
			name: "everything",
			spec: `allowOrigins: ["https://b.example.com:8443", "https://*.example.com", "http://localhost:3000"], allowMethods: [PUT, GET], allowHeaders: [X-B, x-a, X-A],
				exposeHeaders: [X-Request-Id, ETag], allowCredentials: true, maxAge: 0`,
			plan: `{"allowOrigins":["http://localhost:3000","https://*.example.com","https://b.example.com:8443"],"allowMethods":["GET","PUT"],"allowHeaders":["x-a","x-b"],` +
				`"exposeHeaders":["etag","x-request-id"],"allowCredentials":true,"maxAge":0}`,
		},
		{
			name: "every origin and header", spec: `allowOrigins: ["*"], allowHeaders: [Authorization, "*"], exposeHeaders: ["*"]`,
			plan: `{"allowOrigins":["*"],"allowMethods":["GET","HEAD","POST"],"allowHeaders":["*","authorization"],"exposeHeaders":["*"],"maxAge":600000}`,
		},
		{
			name: "names beside every name", spec: a + `, allowHeaders: ["*", X-A, authorization], exposeHeaders: [Authorization, "*"]`,
			plan: `{"allowOrigins":["https://a.example.com"],"allowMethods":["GET","HEAD","POST"],"allowHeaders":["*","authorization"],"exposeHeaders":["*"],"maxAge":600000}`,
			said: []string{
				`warning GW3041 policy.cors.allowHeaders[1]: allowHeaders[1] is X-A, which "*" covers already (remove it)`,
				`warning GW3041 policy.cors.exposeHeaders[0]: exposeHeaders[0] is Authorization, which "*" covers already (remove it)`,
			},
		},
		{
			name: "every origin with credentials", spec: `allowOrigins: ["*"], allowCredentials: true`,
			said: []string{`error GW3040 policy.cors.allowCredentials: allowCredentials is true and allowOrigins is "*": every site on the web could act for its visitors here (list the origins in allowOrigins)`},
		},
		{
			name: "every origin and another", spec: `allowOrigins: ["https://a.example.com", "*"]`,
			said: []string{`error GW3040 policy.cors.allowOrigins[1]: allowOrigins holds "*", which is every origin, and others beside it (keep one or the other)`},
		},
		{
			name: "every header with credentials", spec: a + `, allowHeaders: ["*"], exposeHeaders: ["*"], allowCredentials: true`,
			said: []string{
				`error GW3040 policy.cors.allowHeaders[0]: allowHeaders holds "*" and allowCredentials is true: browsers then take it for the name of a header (list the names)`,
				`error GW3040 policy.cors.exposeHeaders[0]: exposeHeaders holds "*" and allowCredentials is true: browsers then take it for the name of a header (list the names)`,
			},
		},
		{
			name: "a method the route does not take", spec: a + ", allowMethods: [GET, PUT]", match: ir.Match{Methods: []string{"GET", "POST"}},
			plan: `{"allowOrigins":["https://a.example.com"],"allowMethods":["GET","PUT"],"maxAge":600000}`,
		},
		{
			name: "a route by headers", spec: a,
			match: ir.Match{Headers: []ir.Pair{{Name: "origin", Value: "*"}, {Name: "sec-fetch-mode", Value: "cors"}, {Name: "x-tenant", Value: "*"}}},
			plan:  `{"allowOrigins":["https://a.example.com"],"allowMethods":["GET","HEAD","POST"],"maxAge":600000}`,
			said:  []string{`warning GW3041 policy.cors: the route wants the header "x-tenant", which preflight requests do not carry: they never reach it (match on the host, the path or the query instead)`},
		},
		{
			name: "the origin is removed", spec: a, beside: "headers: { request: { remove: [Cookie, origin] } }",
			said: []string{"error GW3040 policy.cors: headers.request changes Origin, by which cors judges the response (leave Origin as it is: what the upstream says about CORS is replaced anyway)"},
		},
		{
			name: "the origin is set", spec: a, beside: "headers: { request: { set: { ORIGIN: x } } }",
			said: []string{"error GW3040 policy.cors: headers.request changes Origin, by which cors judges the response (leave Origin as it is: what the upstream says about CORS is replaced anyway)"},
		},
		{
			name: "other fields are edited", spec: a, beside: "headers: { request: { add: { X-Origin: x } }, response: { remove: [Origin] } }",
			plan: `{"allowOrigins":["https://a.example.com"],"allowMethods":["GET","HEAD","POST"],"maxAge":600000}`,
		},
		{
			name: "part of a second", spec: a + ", maxAge: 1500ms",
			said: []string{"error GW2103 policy.cors.maxAge: maxAge is 1s500ms, must be whole seconds (0 lets browsers remember nothing)"},
		},
		{
			name: "an origin that no browser sends", spec: `allowOrigins: ["https://a.example.com:443"]`,
			said: []string{`error GW2104 policy.cors.allowOrigins[0]: allowOrigins[0] is "https://a.example.com:443", but browsers leave out port 443 of https (write https://a.example.com)`},
		},
		{
			name: "subdomains of a public suffix", spec: `allowOrigins: ["https://*.co.uk", "https://*.example.internal"]`,
			said: []string{`error GW2104 policy.cors.allowOrigins[0]: allowOrigins[0] is "https://*.co.uk", but anybody may have a name under co.uk, and all their pages could read responses (name the sites, such as https://*.example.co.uk)`},
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			plan, said := policytest.Compile(t, Kind, policytest.Route{Policy: "{ cors: { " + tt.spec + " }, " + tt.beside + " }", Match: tt.match})
			if tt.plan != "" && string(plan) != tt.plan {
				t.Errorf("plan %s, want %s", plan, tt.plan)
			}
			if tt.plan == "" && tt.said == nil && plan != nil {
				t.Errorf("plan %s, want none", plan)
			}
			if !slices.Equal(said, tt.said) {
				t.Errorf("said\n%q, want\n%q", said, tt.said)
			}
		})
	}
}

func TestPublicSuffix(t *testing.T) {
	for origin, want := range map[string]string{
		"https://*.com":               "com",
		"https://*.co.uk":             "co.uk",
		"http://*.github.io:8443":     "github.io",
		"https://*.xn--p1ai":          "xn--p1ai",
		"https://*.kawasaki.jp":       "kawasaki.jp", // its names are public suffixes
		"https://*.city.kawasaki.jp":  "",            // but for this one
		"https://*.example.com":       "",
		"https://*.a.github.io":       "",
		"https://*.internal":          "", // on no list: nobody can register there
		"https://*.localhost:3000":    "",
		"https://*.example.internal":  "",
		"https://*.svc.cluster.local": "",
		"https://github.io":           "", // one site, if an odd one
		"*":                           "",
	} {
		if got := publicSuffix(origin); got != want {
			t.Errorf("%s is under %q, want %q", origin, got, want)
		}
	}
}

func TestJudgeOrigin(t *testing.T) {
	for origin, want := range map[string]string{
		"*":                              "",
		"https://example.com":            "",
		"https://*.example.com":          "",
		"http://*.example.com:8080":      "",
		"http://localhost:3000":          "",
		"https://xn--bcher-kva.example":  "",
		"http://192.0.2.1:8080":          "",
		"http://[::1]:3000":              "",
		"https://[2001:db8::1]":          "",
		"http://example.com:443":         "",
		"null":                           `is "null", must begin with https:// or http:// (for example https://app.example.com)`,
		"example.com":                    `is "example.com", must begin with https:// or http:// (for example https://app.example.com)`,
		"https://":                       `is "https://", must have a host name in small letters, or an IP address`,
		"https://a..b":                   `is "https://a..b", must have a host name in small letters, or an IP address`,
		"https://a-.b":                   `is "https://a-.b", must have a host name in small letters, or an IP address`,
		"https://A.example.com":          `is "https://A.example.com", must have a host name in small letters, or an IP address`,
		"https://a.example.com/":         `is "https://a.example.com/", must have a host name in small letters, or an IP address`,
		"https://me@example.com":         `is "https://me@example.com", must have a host name in small letters, or an IP address`,
		"https://*":                      `is "https://*", must have a host name in small letters, or an IP address`,
		"https://a.*.com":                `is "https://a.*.com", must have a host name in small letters, or an IP address`,
		"https://127.1":                  `is "https://127.1", must have a host name in small letters, or an IP address`,
		"https://0x7f.1":                 `is "https://0x7f.1", must have a host name in small letters, or an IP address`,
		"https://2130706433":             `is "https://2130706433", must have a host name in small letters, or an IP address`,
		"https://[::1":                   `is "https://[::1", must have a host name in small letters, or an IP address`,
		"https://[192.0.2.1]":            `is "https://[192.0.2.1]", must have a host name in small letters, or an IP address`,
		"https://*.192.0.2.1":            `is "https://*.192.0.2.1", but an IP address has no subdomains`,
		"https://*.[::1]":                `is "https://*.[::1]", but an IP address has no subdomains`,
		"https://[2001:db8:0:0::1]:8443": `is "https://[2001:db8:0:0::1]:8443", but browsers write the address as [2001:db8::1] (write https://[2001:db8::1]:8443)`,
		"https://[::ffff:192.0.2.1]":     `is "https://[::ffff:192.0.2.1]", but browsers write the address as [::ffff:c000:201] (write https://[::ffff:c000:201])`,
		"https://a.example:0":            `is "https://a.example:0", must have a port from 1 to 65535, or none`,
		"https://a.example:":             `is "https://a.example:", must have a port from 1 to 65535, or none`,
		"https://a.example:65536":        `is "https://a.example:65536", must have a port from 1 to 65535, or none`,
		"https://a.example:08443":        `is "https://a.example:08443", must have a port from 1 to 65535, or none`,
		"https://*.a.example:443":        `is "https://*.a.example:443", but browsers leave out port 443 of https (write https://*.a.example)`,
		"http://a.example:80":            `is "http://a.example:80", but browsers leave out port 80 of http (write http://a.example)`,
	} {
		got, hint := judgeOrigin(origin)
		if hint != "" {
			got += " (" + hint + ")"
		}
		if got != want {
			t.Errorf("%s:\n%s, want\n%s", origin, got, want)
		}
	}
}
