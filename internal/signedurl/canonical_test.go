package signedurl

import (
	"strings"
	"testing"
)

// FuzzMessage reads back what is signed: if every message has one reading, no two permissions have the same message. The path may
// be anything here, even what the gateway refuses.
func FuzzMessage(f *testing.F) {
	const sig = "&gw_sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	f.Add("gw_kid=k1&gw_exp=1767268800&b=1&a=%0A&a="+sig, "example.com", "/a")
	f.Add("gw_kid=k1&gw_exp=1767268800&gw_ip=::1&gw_methods=PUT"+sig, "example.com", "/a\nprefix:/\nb=1")
	f.Add("gw_kid=k1&gw_exp=1767268800&gw_prefix=/a&x=1"+sig, "", "/a/b")
	f.Fuzz(func(t *testing.T, query, host, path string) {
		p, no := Parse(query)
		if no != nil || strings.Contains(host, "\n") {
			return
		}
		var b bench
		b.compose(&p, host, path)
		lines := strings.Split(string(b.message), "\n")
		if len(lines) < 8 {
			t.Fatalf("%q has too few lines", b.message)
		}
		scope, rest := strings.Join(lines[6:len(lines)-1], "\n"), lines[len(lines)-1]
		want := []string{version, p.KeyID, p.exp, p.methods, p.ip, host}
		if strings.Join(lines[:6], "\n") != strings.Join(want, "\n") {
			t.Fatalf("%q does not begin with %q", b.message, want)
		}
		if p.prefix != "" {
			if scope != "prefix:"+p.prefix || rest != "" {
				t.Fatalf("%q is not for the prefix %q alone", b.message, p.prefix)
			}
			return
		}
		if scope != "path:"+path {
			t.Fatalf("%q is not for the path %q", b.message, path)
		}
		if again := string(b.appendQuery(nil, rest)); again != rest {
			t.Fatalf("the query %q is not in its one form, which is %q", rest, again)
		}
	})
}
