package headerfield_test

import (
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/headerfield"
)

func TestAmong(t *testing.T) {
	names := []string{headerfield.Fold("X-User-Id"), headerfield.Fold("X_Tenant")}
	for name, want := range map[string]bool{
		"X-User-Id": true, "x-user-id": true, "X_USER_ID": true, "x_user-id": true, "X.User!Id": true, "X-User~Id": true,
		"x-tenant": true, "X_Tenant": true,
		"X-User-Idx": false, "XUserId": false, "X--User-Id": false, "X-User-Ie": false, "": false, "-": false,
	} {
		if got := headerfield.Among(name, names); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
	if headerfield.Among("", nil) || !headerfield.Among("", []string{""}) {
		t.Error("the empty name is not told from none")
	}
}

func TestOfConnection(t *testing.T) {
	for name, want := range map[string]bool{
		"Content-Length": true, "content_length": true, "TE": true, "Transfer-Encoding": true, "Transfer.Encoding": true, "Upgrade": true,
		"Connection": true, "Expect": true, "Trailer": true, "Proxy": true, "HTTP2-Settings": true, "Keep-Alive": true,
		"Content-Type": false, "Authorization": false, "Host": false, "X-Connection": false,
	} {
		if got := headerfield.OfConnection(name); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
}

func TestIsName(t *testing.T) {
	for name, want := range map[string]bool{
		"X-User": true, "a": true, "!#$%&'*+-.^_`|~09azAZ": true,
		"": false, "a b": false, "a:": false, "a\r\nb": false, "ä": false, "a\x00": false, "(a)": false, "a/b": false,
	} {
		if got := headerfield.IsName(name); got != want {
			t.Errorf("%q: %t, want %t", name, got, want)
		}
	}
}

func TestIsValue(t *testing.T) {
	for value, want := range map[string]bool{
		"": true, "a": true, "a b\tc": true, "~!\"{}": true, strings.Repeat("a", 9000): true,
		" a": false, "a ": false, "\t": false, "a\r\nX-Admin: 1": false, "a\nb": false, "a\rb": false, "a\x00b": false, "a\x7f": false,
		"ä": false, "a\xff": false, "\u202e": false, "\x1b[31m": false,
	} {
		if got := headerfield.IsValue(value); got != want {
			t.Errorf("%q: %t, want %t", value, got, want)
		}
	}
}

// FuzzAmong holds the comparison of names to what CGI servers do with them: two names are the same if both become the same variable.
func FuzzAmong(f *testing.F) {
	for _, s := range [][2]string{{"X-User-Id", "x_user_id"}, {"X.User", "X-User"}, {"", ""}, {"a", "b"}, {"\xff", "-"}} {
		f.Add(s[0], s[1])
	}
	variable := func(name string) string { // lighttpd: http_cgi_encode_varname
		out := []byte(strings.ToUpper(strings.ToValidUTF8(name, "-")))
		for i, c := range out {
			if (c < 'A' || c > 'Z') && (c < '0' || c > '9') {
				out[i] = '_'
			}
		}
		return string(out)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !headerfield.IsName(a) || !headerfield.IsName(b) {
			return
		}
		if got, want := headerfield.Among(a, []string{headerfield.Fold(b)}), variable(a) == variable(b); got != want {
			t.Errorf("%q and %q: %t, want %t", a, b, got, want)
		}
	})
}
