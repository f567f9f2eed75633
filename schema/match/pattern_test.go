package match

import (
	"errors"
	"strings"
	"testing"

	"github.com/suuupra/gateway/schema/ir"
)

func TestParseHost(t *testing.T) {
	for _, c := range []struct{ in, want string }{
		{"", ""},
		{"api.example.com", "api.example.com"},
		{"API.Example.com", "api.example.com"},
		{"*.example.com", "*.example.com"},
		{"*.com", "*.com"},
		{"localhost", "localhost"},
		{"my_service", "my_service"},
		{"10.0.0.1", "10.0.0.1"},
		{"[2001:DB8:0::1]", "[2001:db8::1]"},
		{"xn--bcher-kva.example", "xn--bcher-kva.example"},
	} {
		if got, err := ParseHost(c.in); err != nil || got.String() != c.want {
			t.Errorf("ParseHost(%q) = %q, %v; want %q", c.in, got, err, c.want)
		}
	}
	for _, c := range []struct {
		in      string
		offset  int
		problem string
	}{
		{"*", 0, `"*" stands for one or more whole labels, and only at the front`},
		{"a*.example.com", 1, `"*" stands for`},
		{"a.*.com", 2, `"*" stands for`},
		{"*.*.com", 2, `"*" stands for`},
		{"example.com:8080", 11, "a host has no port"},
		{"[::1]:80", 5, "a host has no port"},
		{"::1", 0, "an IPv6 address stands in brackets"},
		{"https://example.com", 5, "a host has no scheme"},
		{"example.com/a", 11, "a host has no path"},
		{"example.com.", 11, "a host does not end in a dot"},
		{"bücher.example", 1, "a host is written in ASCII"},
		{"a..b", 2, "no empty labels"},
		{".a", 0, "no empty labels"},
		{"*.", 2, "no empty labels"},
		{"a b", 1, "a host holds letters"},
		{"-a.b", 0, "hyphen"},
		{"1.2.3", 0, "not an IPv4 address"},
		{"1.2.3.256", 0, "not an IPv4 address"},
		{"*.0.0.1", 2, "ends in a number"},
		{"[fe80::1%25eth0]", 0, "not an IPv6 address"},
		{"[::1", 0, "not an IPv6 address"},
		{strings.Repeat("a", 64), 0, "at most 63"},
		{strings.Repeat("a.", 127) + "com", 253, "at most 253"},
	} {
		wantPatternError(t, "ParseHost", c.in, c.offset, c.problem, func() error { _, err := ParseHost(c.in); return err })
	}
}

func wantPatternError(t *testing.T, what, in string, offset int, problem string, f func() error) {
	t.Helper()
	var pe *PatternError
	if err := f(); !errors.As(err, &pe) {
		t.Errorf("%s(%q) = %v, want %q", what, in, err, problem)
	} else if pe.Offset != offset || !strings.Contains(pe.Problem, problem) {
		t.Errorf("%s(%q): offset %d, %q; want offset %d, %q", what, in, pe.Offset, pe.Problem, offset, problem)
	}
}

func TestNormalizeHost(t *testing.T) {
	for _, c := range []struct {
		in, want string
		ok       bool
	}{
		{"", "", true},
		{"Example.COM:8080", "example.com", true},
		{"example.com.", "example.com", true},
		{"example.com.:80", "example.com", true},
		{"[::0001]:443", "[::1]", true},
		{"10.0.0.1:1", "10.0.0.1", true},
		{"a:b", "", false},
		{"a..b", "", false},
		{"..", "", false},
		{"a/b", "", false},
		{"u@a", "", false},
		{"a b", "", false},
		{"[::1", "", false},
		{"::1", "", false},
		{"a:123456", "", false},
		{"a\x00b", "", false},
		{"127.1", "", false},
		{"bücher.example", "", false},
	} {
		if got, ok := NormalizeHost(c.in); got != c.want || ok != c.ok {
			t.Errorf("NormalizeHost(%q) = %q, %v; want %q, %v", c.in, got, ok, c.want, c.ok)
		}
	}
}

func TestHostMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, host string
		want          bool
	}{
		{"", "", true},
		{"", "a.example.com", true},
		{"example.com", "example.com", true},
		{"example.com", "", false},
		{"example.com", "a.example.com", false},
		{"*.example.com", "a.example.com", true},
		{"*.example.com", "a.b.example.com", true},
		{"*.example.com", "example.com", false},
		{"*.example.com", ".example.com", false},
		{"*.example.com", "aexample.com", false},
		{"*.example.com", strings.Repeat("a", 250) + ".example.com", false},
	} {
		h, err := ParseHost(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		if got := h.Matches(c.host); got != c.want {
			t.Errorf("host %q matches %q = %v, want %v", c.pattern, c.host, got, c.want)
		}
	}
}

func TestParsePath(t *testing.T) {
	for _, in := range []string{
		"/", "/*", "/a", "/a/", "/a/b", "/a/*", "/{id}", "/{id}/", "/a/{id}/b/{other}/*", "/a:b", "/@me", "/caf%C3%A9", "/...", "/{_x1}",
	} {
		p, err := ParsePath(in)
		if err != nil || p.String() != in {
			t.Errorf("ParsePath(%q) = %q, %v", in, p, err)
		}
	}
	for _, c := range []struct {
		in      string
		offset  int
		problem string
		hint    string
	}{
		{"", 0, "needs path or pathRegex", `"/*"`},
		{"*", 0, "starts with a slash", `"/*"`},
		{"api/users", 0, "starts with a slash", `"/api/users"`},
		{"/a/**", 3, `"**" is not known`, `"/*"`},
		{"/a*", 2, `"*" stands only for a subtree`, "pathRegex"},
		{"/a/*/b", 3, `"*" stands only for a subtree`, "pathRegex"},
		{"/*/", 1, `"*" stands only for a subtree`, ""},
		{"/*/*", 1, `"*" stands only for a subtree`, ""},
		{"/{a}b", 1, "a capture is one whole segment", "pathRegex"},
		{"/b{a}", 2, "a capture is one whole segment", "pathRegex"},
		{"/{a}{b}", 1, "a capture is one whole segment", ""},
		{"/a/{", 3, "unbalanced braces", ""},
		{"/a}", 2, "unbalanced braces", ""},
		{"/{}", 1, "a capture needs a name", ""},
		{"/{a-b}", 3, "the name of a capture holds", ""},
		{"/{1a}", 2, "the name of a capture holds", ""},
		{"/{rest...}", 6, "the name of a capture holds", `"/*"`},
		{"/{id:[0-9]+}", 4, "the name of a capture holds", "pathRegex"},
		{"/{a}/x/{a}", 7, "stands twice", ""},
		{"/a?x=1", 2, "a path has no query", "query"},
		{"/a#b", 2, "a path has no fragment", ""},
		{"/a%", 2, `"%" needs two hex digits`, "%25"},
		{"/a%zz", 2, `"%" needs two hex digits`, "%25"},
		{"//a", 0, "an empty segment", "one slash"},
		{"/a//b", 2, "an empty segment", "one slash"},
		{"/a//*", 2, "an empty segment", ""},
		{"//*", 0, "an empty segment", ""},
		{"/a/../b", 3, "dot segments", ""},
		{"/.", 1, "dot segments", ""},
		{"/%61dmin", 0, "not in the normalised form", `write "/admin"`},
		{"/caf%c3%a9/{x}/*", 0, "not in the normalised form", `write "/caf%C3%A9/{x}/*"`},
		{"/café", 0, "not in the normalised form", `write "/caf%C3%A9"`},
		{"/a b", 0, "not in the normalised form", `write "/a%20b"`},
		{"/a[1]", 0, "not in the normalised form", `write "/a%5B1%5D"`},
		{"/a;b", 0, "not in the normalised form", "path_parameter"},
		{"/a%2Fb", 0, "not in the normalised form", "path_encoded_slash"},
		{"/" + strings.Repeat("a", 2048), 2048, "at most 2048 bytes", ""},
		{strings.Repeat("/{a}", 2), 5, "stands twice", ""},
	} {
		wantPatternError(t, "ParsePath", c.in, c.offset, c.problem, func() error { _, err := ParsePath(c.in); return err })
		var pe *PatternError
		if _, err := ParsePath(c.in); errors.As(err, &pe) && !strings.Contains(pe.Hint, c.hint) {
			t.Errorf("ParsePath(%q): hint %q, want %q", c.in, pe.Hint, c.hint)
		}
	}
}

func FuzzParsePath(f *testing.F) {
	for _, s := range []string{"/", "/*", "/a/{b}/*", "/{a}b", "//", "/%61", "/a/../b", "/{", "/}", "/é"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePath(s)
		if err != nil {
			var pe *PatternError
			if !errors.As(err, &pe) || pe.Offset < 0 || pe.Offset > len(s) {
				t.Fatalf("ParsePath(%q): %#v", s, err)
			}
			return
		}
		if p.String() != s {
			t.Fatalf("ParsePath(%q) reads as %q", s, p)
		}
		sample := literalForm(p)
		if p.Subtree {
			sample += "/x"
		}
		if norm, reason := NormalizePath(sample); norm != sample || !p.Matches(sample) {
			t.Fatalf("%q: sample %q becomes %q (%s), matches %v", s, sample, norm, reason, p.Matches(sample))
		}
	})
}

func TestPathMatches(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"/", []string{"/"}, []string{"/a"}},
		{"/*", []string{"/", "/a", "/a/", "/a/b"}, nil},
		{"/a", []string{"/a"}, []string{"/", "/a/", "/ab", "/a/b", "/A"}},
		{"/a/", []string{"/a/"}, []string{"/a", "/a/b"}},
		{"/a/*", []string{"/a", "/a/", "/a/b", "/a/b/c/"}, []string{"/", "/ab"}},
		{"/{x}", []string{"/a", "/%20"}, []string{"/", "/a/", "/a/b"}},
		{"/{x}/", []string{"/a/"}, []string{"/a", "/"}},
		{"/{x}/*", []string{"/a", "/a/", "/a/b"}, []string{"/"}},
		{"/a/{x}/b", []string{"/a/1/b"}, []string{"/a//b", "/a/1", "/a/1/c", "/a/1/b/"}},
	} {
		p, err := ParsePath(c.pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range c.yes {
			if !p.Matches(path) {
				t.Errorf("%s does not match %s", c.pattern, path)
			}
		}
		for _, path := range c.no {
			if p.Matches(path) {
				t.Errorf("%s matches %s", c.pattern, path)
			}
		}
	}
}

func TestParseRegex(t *testing.T) {
	re, err := ParseRegex("/a|/b/[0-9]+")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{"/a": true, "/b/12": true, "/ab": false, "/x/a": false, "/b/1/": false} {
		if re.MatchString(path) != want {
			t.Errorf("%s matches %s = %v", re, path, !want)
		}
	}
	for _, c := range []struct {
		in      string
		offset  int
		problem string
	}{
		{"/a(", 0, "missing closing )"},
		{"/a(?=b)", 2, "invalid or unsupported Perl syntax"},
		{`/(a)\1`, 4, "invalid escape sequence"},
		{"api/.*", 0, "matches no normalised path"},
		{"/a//b", 0, "matches no normalised path"},
		{"/a/é", 0, "matches no normalised path"},
		{"/%61", 0, "matches no normalised path"},
		{"/(x{1000}){2}x{1000}{1}", 10, "invalid repeat count"},
		{"/" + strings.Repeat("x{900}", 6), 0, "too large"},
		{"/(a?){300}b", 0, "too large"},
		{"/" + strings.Repeat("a", 1024), 1024, "at most 1024 bytes"},
	} {
		wantPatternError(t, "ParseRegex", c.in, c.offset, c.problem, func() error { _, err := ParseRegex(c.in); return err })
	}
}

func TestLiteralPrefix(t *testing.T) {
	for expr, want := range map[string]string{
		"/api/.*": "/api/", "^/api/v[0-9]$": "/api/v", "/a|/b": "/", "(/a)/b": "/a/b", "(?i)/api": "", ".*": "", "/a+": "/a", "/ab?": "/a",
		"(/a)*": "", "(/a)+/b": "/a", "(": "", "/api": "/api",
	} {
		if got := LiteralPrefix(expr); got != want {
			t.Errorf("LiteralPrefix(%q) = %q, want %q", expr, got, want)
		}
	}
}

func TestQueryMatches(t *testing.T) {
	for _, c := range []struct {
		raw, name, value string
		want             bool
	}{
		{"a=1", "a", "1", true},
		{"a=1", "a", "*", true},
		{"a", "a", "*", true},
		{"a", "a", "", true},
		{"", "a", "*", false},
		{"b=1&a=1", "a", "1", true},
		{"b=1&a=2", "a", "1", false},
		{"a=1&a=1", "a", "1", true},
		{"a=1&a=2", "a", "1", false},
		{"a=2&a=1", "a", "1", false},
		{"a=2&a=1", "a", "*", true},
		{"%61=%31", "a", "1", true},
		{"a=x+y%2B", "a", "x y+", true},
		{"a=%zz", "a", "%zz", true},
		{"a=1;b=2", "b", "2", false},
		{"&&a=1&", "a", "1", true},
		{"=1", "a", "*", false},
		{"ab=1", "a", "*", false},
		{"a=1=2", "a", "1=2", true},
	} {
		if got := QueryMatches(c.raw, ir.Pair{Name: c.name, Value: c.value}); got != c.want {
			t.Errorf("QueryMatches(%q, %s=%s) = %v", c.raw, c.name, c.value, got)
		}
	}
}

func TestCompileRefusesConditions(t *testing.T) {
	for _, c := range []struct {
		m       ir.Match
		field   string
		problem string
	}{
		{ir.Match{}, "path", "needs path or pathRegex"},
		{ir.Match{Path: "/a", PathRegex: "/a"}, "pathRegex", "not both"},
		{ir.Match{Path: "/a", Methods: []string{"get"}}, "methods", "case-sensitive"},
		{ir.Match{Path: "/a", Methods: []string{"GET", "GET"}}, "methods", "twice"},
		{ir.Match{Path: "/a", Methods: []string{"G T"}}, "methods", "not a method"},
		{ir.Match{Path: "/a", Headers: []ir.Pair{{Name: "a b"}}}, "headers", "not the name"},
		{ir.Match{Path: "/a", Headers: []ir.Pair{{Name: "X-A"}, {Name: "x-a"}}}, "headers", "twice"},
		{ir.Match{Path: "/a", Headers: []ir.Pair{{Name: "a", Value: " b"}}}, "headers", "space"},
		{ir.Match{Path: "/a", Headers: []ir.Pair{{Name: "a", Value: "b\n"}}}, "headers", "control"},
		{ir.Match{Path: "/a", Query: []ir.Pair{{Name: "a"}, {Name: "a"}}}, "query", "twice"},
		{ir.Match{Path: "/a", Query: []ir.Pair{{}}}, "query", "needs a name"},
	} {
		var pe *PatternError
		if _, err := Compile(&c.m); !errors.As(err, &pe) || pe.Field != c.field || !strings.Contains(pe.Problem, c.problem) {
			t.Errorf("Compile(%+v) = %v, want %s: %s", c.m, err, c.field, c.problem)
		}
	}
}

func TestHeaderMatches(t *testing.T) {
	lines := func(values ...string) (out []ir.Pair) {
		for _, v := range values {
			out = append(out, ir.Pair{Name: "X-A", Value: v})
		}
		return out
	}
	for _, c := range []struct {
		headers []ir.Pair
		want    string
		ok      bool
	}{
		{lines("1"), "1", true},
		{lines("1", "1"), "1", true},
		{lines("1", "2"), "1", false},
		{lines("2", "1"), "1", false},
		{lines("2", "1"), "*", true},
		{lines(), "*", false},
		{lines(""), "", true},
		{lines("A"), "a", false},
	} {
		if got := headerMatches(c.headers, ir.Pair{Name: "x-a", Value: c.want}); got != c.ok {
			t.Errorf("%v matches x-a: %s = %v", c.headers, c.want, got)
		}
	}
}
