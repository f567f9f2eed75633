package v1

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/diag"
)

// TestValidateTests has everything that can be wrong with a test beyond its shape, and what its author is told.
func TestValidateTests(t *testing.T) {
	one := func(send, rest string) string {
		return "tests:\n- name: a\n  requests:\n  - send: " + send + "\n    " + rest
	}
	const ok = "expect: { status: 200 }"
	for _, tt := range []struct {
		name, doc string
		want      []string
	}{
		{"nothing", "", nil},
		{"a test", one("{ url: / }", ok), nil},
		{"a route", "routes: []", []string{
			`2:1 GW1003 routes stands in a file under tests/, which takes no part in the configuration (a file under tests/ holds apiVersion and tests; move it to routes/, upstreams/ or policies/, or to gateway.yaml)`,
		}},
		{"an unknown key", "testz: []", []string{`2:1 GW2031 unknown field "testz" in the file (did you mean "tests"?)`}},
		{"an unknown field", one("{ url: /, tokens: {} }", ok), []string{`5:21 GW2031 unknown field "tokens" in send (did you mean "token"?)`}},
		{"no list", "tests: { name: a }", []string{`2:8 GW2101 tests is a map, must be a list (write a list of objects, each beginning with "- ")`}},
		{"no name", "tests: [{ requests: [{ send: { url: / }, expect: { status: 200 } }] }]", []string{
			`2:9 GW2032 tests[0] has no name (add name: the eleventh call within a minute is refused)`,
		}},
		{"two of one name", one("{ url: / }", ok) + "\n- name: a\n  requests: [{ send: { url: / }, expect: { status: 200 } }]", []string{
			`7:9 GW2106 two tests have the name "a"`,
		}},
		{"no requests", "tests: [{ name: a, requests: [] }]", []string{`2:30 GW2105 requests has 0 elements, must have at least 1`}},
		{"no expectation", "tests: [{ name: a, requests: [{ send: { url: / } }] }]", []string{`2:31 GW2032 requests[0] has no expect (add expect: { status: 200 })`}},
		{"an empty expectation", one("{ url: / }", "expect: {}"), []string{
			`6:13 GW2032 expect is empty: a test that expects nothing shows nothing (known fields: absent, body, code, forwarded, headers, reached, route, status, upstream)`,
		}},
		{"an empty expectation of the upstream", one("{ url: / }", "expect: { forwarded: {} }"), []string{
			`6:26 GW2032 forwarded is empty: a test that expects nothing shows nothing (known fields: absent, body, headers, host, method, path)`,
		}},
		{"forwarded and not reached", one("{ url: / }", "expect: { reached: false, upstream: u, forwarded: { method: GET } }"), []string{
			`6:31 GW3040 expect has both upstream and reached, which exclude each other (drop one of the two)`,
			`6:44 GW3040 expect has both forwarded and reached, which exclude each other (drop one of the two)`,
		}},
		{"there and absent", one("{ url: / }", "expect: { headers: { X-A: b }, absent: [x-a] }"), []string{`6:45 GW3040 "x-a" stands in headers and in absent (drop one of the two)`}},
		{"an answer that fails", one("{ url: / }", ok+"\n  upstream: { fails: reset, status: 200, body: x }"), []string{
			`7:29 GW3040 upstream has both status and fails, which exclude each other (drop one of the two)`,
			`7:42 GW3040 upstream has both body and fails, which exclude each other (drop one of the two)`,
		}},
		{"two bodies", one("{ url: /, body: x, bodySize: 1 }", ok), []string{`5:30 GW3040 send has both body and bodySize, which exclude each other (drop one of the two)`}},
		{"expires twice", one("{ url: /, token: { expiresIn: 1s, expired: true }, signed: { expired: true, expiresIn: 1s } }", ok), []string{
			`5:45 GW3040 token has both expiresIn and expired, which exclude each other (drop one of the two)`,
			`5:87 GW3040 signed has both expiresIn and expired, which exclude each other (drop one of the two)`,
		}},
		{"fields that are not the author's", one("{ url: /, headers: { Host: a, content-length: '1', TE: trailers, X-A: b, x-a: c } }", ok), []string{
			`5:32 GW2127 the header Host cannot be given here (write the host in url)`,
			`5:41 GW2127 the header "content-length" cannot be given here: it follows from the body`,
			`5:62 GW2127 the header "TE" cannot be given here: it follows from the body`,
			`5:84 GW2106 header "x-a" is given twice, names do not differ by case`,
		}},
		{"an answer with a length", one("{ url: / }", ok+"\n    upstream: { headers: { Content-Length: '1' } }"), []string{
			`7:28 GW2127 the header "Content-Length" cannot be given here: it follows from the body`,
		}},
		{"no time", "tests: [{ name: a, at: 2026-02-30T00:00:00Z, requests: [{ send: { url: / }, expect: { status: 200 } }] }]", []string{
			`2:24 GW2104 at is "2026-02-30T00:00:00Z", which is no time (write a time as in RFC 3339, such as 2026-01-01T12:00:00Z)`,
		}},
		{"a far time", "tests: [{ name: a, at: 9999-01-01T00:00:00Z, requests: [{ send: { url: / }, expect: { status: 200 } }] }]", []string{
			`2:24 GW2103 at is "9999-01-01T00:00:00Z", must be from 1970 to 2200`,
		}},
		{"no address", one("{ url: /, from: '1.2.3', signed: { ip: '1.2.3' } }", ok), []string{
			`5:27 GW2123 from is "1.2.3", must be an IP address`, `5:50 GW2123 ip is "1.2.3", must be an IP address`,
		}},
		{"no URL", one("{ url: ftp://a }", ok), []string{`5:18 GW2104 url is "ftp://a", must be an http or https URL, or a path that begins with "/"`}},
		{"a secret", one("{ url: /, headers: { Authorization: 'Bearer 0123456789abcdef' } }", ok), []string{
			`5:47 GW2190 Authorization looks like a secret, which must not stand in the repository (withdraw it: whoever can read the repository has it, also from its history)`,
		}},
		{"what stands for a secret", one("{ url: /, headers: { Authorization: 'Bearer <garbage>' } }", ok), nil},
		{"a null", one("{ url: /, token: { claims: { aud: null } } }", ok), []string{`5:45 GW2101 aud is empty, must be a string (give it a value, or leave the field out)`}},
		{"too many requests", one("{ url: / }", "times: 60000\n    "+ok+"\n- name: b\n  requests:\n  - { send: { url: / }, times: 40000, expect: { status: 200 } }\n  - { send: { url: / }, expect: { status: 200 } }\n  - { send: { url: / }, expect: { status: 200 } }"), []string{
			`11:5 GW2103 up to here the tests of this file send 100001 requests, must be at most 100000 (lower times or bodySize, or spread the tests over several files)`,
		}},
		{"too many bytes", one("{ url: /, bodySize: 16MiB }", "times: 17\n    "+ok), []string{
			`5:5 GW2103 up to here the tests of this file send 285212672 bytes of filler, must be at most 268435456 (lower times or bodySize, or spread the tests over several files)`,
		}},
		{"a large body", one("{ url: /, bodySize: 17MiB }", ok), []string{`5:31 GW2103 bodySize is "17MiB", must be from 1B to 16MiB`}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var l diag.List
			ValidateTests(parse(t, "apiVersion: gateway.suuupra.dev/v1\n"+tt.doc), &l)
			if got := lines(&l); !slices.Equal(got, tt.want) && len(got)+len(tt.want) > 0 {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(tt.want, "\n"))
			}
		})
	}
	var l diag.List
	if ValidateTests(parse(t, "tests: []"), &l); fmt.Sprint(lines(&l)) != "[1:1 GW2001 the file has no apiVersion (add apiVersion: gateway.suuupra.dev/v1)]" {
		t.Errorf("%q", lines(&l))
	}
}

// TestMisplacedTests refuses tests where nobody would run them.
func TestMisplacedTests(t *testing.T) {
	var l diag.List
	Validate("File", parse(t, "apiVersion: gateway.suuupra.dev/v1\nroutes: []\ntests: []"), "", &l)
	want := "[3:1 GW1003 tests stand in a file of the configuration, where gwctl test does not look for them (move them to a file of their own under tests/)]"
	if got := fmt.Sprint(lines(&l)); got != want {
		t.Errorf("got %s", got)
	}
}

// FuzzValidateTests looks for files that make the checks panic, or that pass them and cannot be read.
func FuzzValidateTests(f *testing.F) {
	f.Add("tests:\n- name: a\n  requests:\n  - { send: { url: /, token: { claims: { a: [1, { b: true }] } } }, times: 3, expect: { forwarded: { path: / } } }")
	f.Add("tests: [{ name: a, at: 2026-02-30T00:00:00Z, upstream: { fails: reset }, requests: [{ send: { url: /, bodySize: 1KiB }, expect: { reached: false, upstream: b } }] }]")
	f.Add("tests: [{ requests: [{ send: { headers: { a: b, A: c } }, expect: { absent: [A], headers: { a: b } } }] }]")
	f.Add("routes: []\ntests: {}")
	f.Fuzz(func(t *testing.T, doc string) {
		n := tryParse("apiVersion: gateway.suuupra.dev/v1\n" + doc)
		if n == nil {
			return
		}
		var l diag.List
		if ValidateTests(n, &l); l.Len() > 0 || n.Get("tests") == nil {
			return
		}
		for _, item := range n.Get("tests").Items {
			var test Test
			if Decode(item, "x", &test, &l); l.Len() > 0 {
				t.Errorf("what is sound does not decode: %q", lines(&l))
			}
		}
	})
}
