package match

import (
	"fmt"
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestNormalizePath(t *testing.T) {
	for _, c := range []struct {
		raw, want string
		reason    Reason
	}{
		{"/", "/", ""},
		{"/a", "/a", ""},
		{"/a/", "/a/", ""},
		{"/a/b.c~d_e-f", "/a/b.c~d_e-f", ""},
		{"/a!$&'()*+,=:@", "/a!$&'()*+,=:@", ""},
		{"/...", "/...", ""},
		{"/.a/..b", "/.a/..b", ""},
		{"/a/./b", "/a/b", ""},
		{"/a/.", "/a/", ""},
		{"/a/b/..", "/a/", ""},
		{"/a/..", "/", ""},
		{"/a/../", "/", ""},
		{"/a//../b", "/b", ""}, // slashes first
		{"//", "/", ""},
		{"/a//", "/a/", ""},
		{"/a///b//c/", "/a/b/c/", ""},
		{"/%2e", "/", ""},
		{"/a%7Eb%2Db", "/a~b-b", ""},
		{"/a%c3%a9", "/a%C3%A9", ""},
		{"/a%C3%A9", "/a%C3%A9", ""},
		{"/%F0%9F%98%80", "/%F0%9F%98%80", ""},
		{"/a[1]|{x}\"<>^`", "/a%5B1%5D%7C%7Bx%7D%22%3C%3E%5E%60", ""},
		{"/%40me", "/%40me", ""},
		{"/@me", "/@me", ""},
		{"/a%3bx", "/a%3Bx", ""},
		{"/a%3Fx", "/a%3Fx", ""},
		{"/a%2B+", "/a%2B+", ""},

		// The spellings of reliability 4.5.
		{"/x/../admin", "/admin", ""},
		{"//admin", "/admin", ""},
		{"/./admin", "/admin", ""},
		{"/%61dmin", "/admin", ""},
		{"/x/..%2fadmin", "", PathEncodedSlash},
		{"/x/%2e%2e/admin", "/admin", ""},
		{"/x/%2E./admin", "/admin", ""},
		{"/ADMIN", "/ADMIN", ""}, // case counts, and it is another path to every policy
		{"/admin%2fx", "", PathEncodedSlash},
		{"/admin%2Fx", "", PathEncodedSlash},
		{"/x/..;/admin", "", PathParameter},
		{"/admin;/x", "", PathParameter},
		{"/admin;", "", PathParameter},
		{`/x\..\admin`, "", PathBackslash},
		{"%5c..%5c", "", PathNotAbsolute},
		{"/%5c..%5c", "", PathBackslash},
		{"/%5C", "", PathBackslash},
		{"/%2561", "/%2561", ""}, // decoded once, and forwarded as it came
		{"/%252e%252e/admin", "/%252e%252e/admin", ""},
		{"/%00", "", PathControl},
		{"/admin%00.jpg", "", PathControl},
		{"/%", "", PathBadEscape},
		{"/%zz", "", PathBadEscape},
		{"/%1", "", PathBadEscape},
		{"/a%2", "", PathBadEscape},
		{"/%c0%ae%c0%ae/", "", PathBadUTF8},
		{"/%u002e", "", PathBadEscape},
		{"/．．/admin", "", PathNotASCII},
		{"/%EF%BC%8E%EF%BC%8E/admin", "/%EF%BC%8E%EF%BC%8E/admin", ""}, // a name like any other
		{"http://evil/admin", "", PathNotAbsolute},
		{"*", "", PathNotAbsolute},
		{"", "", PathNotAbsolute},
		{"admin", "", PathNotAbsolute},
		{"/admin?", "", PathQuery},
		{"/admin#", "", PathFragment},
		{"/admin%23", "/admin%23", ""},
		{"/admin%20", "/admin%20", ""},
		{"/admin ", "", PathSpace},
		{"/admin.", "/admin.", ""},
		{"/" + strings.Repeat("../", 10_000), "", PathAboveRoot},
		{"/..", "", PathAboveRoot},
		{"/a/../..", "", PathAboveRoot},
		{"/a/%2e%2e/%2e%2e/etc/passwd", "", PathAboveRoot},
		{"/" + strings.Repeat("a/../", 10_000) + "admin", "/admin", ""},

		{"/a\tb", "", PathControl},
		{"/a\r\nX: y", "", PathControl},
		{"/%0d%0aX", "", PathControl},
		{"/%7f", "", PathControl},
		{"/\x7f", "", PathControl},
		{"/%c2%85", "", PathControl}, // NEL
		{"/é", "", PathNotASCII},
		{"/\xff", "", PathNotASCII},
		{"/%ff", "", PathBadUTF8},
		{"/%c3", "", PathBadUTF8},
		{"/%c3a", "", PathBadUTF8},
		{"/%c3/%a9", "", PathBadUTF8},
		{"/%ed%a0%80", "", PathBadUTF8}, // a surrogate
		{"/%f4%90%80%80", "", PathBadUTF8},
		{"/%e0%80%af", "", PathBadUTF8}, // overlong slash
		{"/%EF%BF%BD", "/%EF%BF%BD", ""},
	} {
		got, reason := NormalizePath(c.raw)
		if got != c.want || reason != c.reason {
			t.Errorf("NormalizePath(%.60q) = %q, %q; want %q, %q", c.raw, got, reason, c.want, c.reason)
		}
	}
}

func TestNormalizePathDoesNotAllocateWhenNormal(t *testing.T) {
	long := "/" + strings.Repeat("%C3%A9/b/", 500)
	for _, raw := range []string{"/", "/api/users/42", "/a%20b/%C3%A9/", long} {
		if n := testing.AllocsPerRun(100, func() {
			if got, reason := NormalizePath(raw); got != raw || reason != "" {
				t.Fatalf("NormalizePath(%.40q) = %.40q, %q", raw, got, reason)
			}
		}); n != 0 {
			t.Errorf("NormalizePath(%.40q) allocates %v times", raw, n)
		}
	}
}

func FuzzNormalizePath(f *testing.F) {
	for _, s := range []string{
		"/", "/a/../b", "//a", "/%61", "/%2e%2e/x", "/a/%c3%a9", "/..%2f", "/a;b", "/%", "/[x]", "/%f0%9f%98%80/.", "/a/..", "/./..", "/%25",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		got, reason := NormalizePath(raw)
		if (got == "") != (reason != "") {
			t.Fatalf("NormalizePath(%q) = %q, %q", raw, got, reason)
		}
		if reason != "" {
			return
		}
		if again, r := NormalizePath(got); again != got || r != "" {
			t.Fatalf("not idempotent: %q, then %q, then %q (%s)", raw, got, again, r)
		}
		if !isNormal(got) {
			t.Fatalf("NormalizePath(%q) = %q, which isNormal refuses", raw, got)
		}
		padded := got + "/"
		for _, bad := range []string{"//", "/./", "/../", ";", "\\", "?", "#", " "} {
			if bad == "//" {
				padded = got
			}
			if strings.Contains(padded, bad) {
				t.Fatalf("NormalizePath(%q) = %q contains %q", raw, got, bad)
			}
			padded = got + "/"
		}
		if !acceptedByLanguage(got) {
			t.Fatalf("%q is not in anyPath", got)
		}
		// What the standard library makes of it, where it can read it.
		u, err := url.ParseRequestURI(raw)
		if err != nil || strings.HasPrefix(raw, "//") {
			return
		}
		want := path.Clean(u.Path)
		if decoded, err := url.PathUnescape(got); err != nil || path.Clean(decoded) != want {
			t.Fatalf("NormalizePath(%q) = %q, which is %q; path.Clean says %q", raw, got, decoded, want)
		}
	})
}

func acceptedByLanguage(s string) bool {
	state, ok := uint16(0), true
	for i := 0; i < len(s) && ok; i++ {
		state, ok = anyPath{}.next(state, s[i])
	}
	return ok && anyPath{}.accepts(state)
}

// TestAnyPathKnowsEveryEscape compares the automaton with isNormal for every first two bytes, completed to any length.
func TestAnyPathKnowsEveryEscape(t *testing.T) {
	for a := range 256 {
		for b := range 256 {
			for _, tail := range []string{"", "%80", "%BF%80", "%80%BF", "x"} {
				s := fmt.Sprintf("/%%%02X%%%02X%s", a, b, tail)
				if acceptedByLanguage(s) != isNormal(s) {
					t.Fatalf("%q: automaton %v, isNormal %v", s, acceptedByLanguage(s), isNormal(s))
				}
			}
		}
	}
}

// FuzzAnyPath holds the automaton of normalised paths and isNormal together, over the alphabet of such paths.
func FuzzAnyPath(f *testing.F) {
	for _, s := range []string{"/", "/a/.", "/%C3%A9", "/%E0%A0%80", "/%ED%9F%BF", "/%F4%8F%BF%BF", "/%C2%80", "/%20", "/%41", "//", "/.../"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for i := range len(s) {
			if !strings.ContainsRune(string(pathAlphabet), rune(s[i])) {
				return
			}
		}
		if acceptedByLanguage(s) != isNormal(s) {
			t.Fatalf("%q: automaton %v, isNormal %v", s, acceptedByLanguage(s), isNormal(s))
		}
	})
}

func BenchmarkNormalizePath(b *testing.B) {
	for _, c := range []struct{ name, raw string }{
		{"normal", "/api/v1/users/42/orders"}, {"escaped", "/api/caf%C3%A9/a%20b"}, {"rewritten", "/api//v1/%75sers/./42"},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				NormalizePath(c.raw)
			}
		})
	}
}
