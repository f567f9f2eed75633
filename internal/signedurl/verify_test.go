package signedurl_test

import (
	"net/netip"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/schema/match"
)

// TestParse has the text for each way in which a query can be malformed.
func TestParse(t *testing.T) {
	const sig = "gw_sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
	const good = "gw_kid=k1&gw_exp=1767268800&" + sig
	for _, tt := range []struct{ name, query, want string }{
		{"well formed", good, ""},
		{"escaped names and values", "g%77_kid=k%31&gw%5fexp=%31767268800&" + sig, ""},
		{"every parameter", good + "&gw_prefix=/a&gw_methods=GET,M-SEARCH&gw_ip=2001:db8::1", ""},
		{"a name that is another in capitals", good + "&GW_EXP=1", ""},
		{"nothing", "", "signature_missing this address needs a signature, and its query has no gw_sig"},
		{"no signature", "gw_kid=k1&gw_exp=1767268800", "signature_missing this address needs a signature, and its query has no gw_sig"},
		{"no key id", "gw_exp=1767268800&" + sig, "signature_malformed a signature needs gw_kid and gw_exp"},
		{"no expiry", "gw_kid=k1&" + sig, "signature_malformed a signature needs gw_kid and gw_exp"},
		{"twice", good + "&gw_kid=k1", "signature_malformed a parameter of the signature stands twice"},
		{"twice, escaped", good + "&gw_%6bid=k1", "signature_malformed a parameter of the signature stands twice"},
		{"unknown", good + "&gw_x=1", `signature_malformed the query has a parameter that begins with "gw_" and is not known`},
		{"nothing but the reserved part", good + "&gw_", `signature_malformed the query has a parameter that begins with "gw_" and is not known`},
		{"a bare semicolon", good + "&a=1;b=2", `signature_malformed the query cannot be read in one way only: "%" needs two hex digits, and ";" is written %3B`},
		{"half an escape", good + "&a=%4", `signature_malformed the query cannot be read in one way only: "%" needs two hex digits, and ";" is written %3B`},
		{"no hex", good + "&%gg=1", `signature_malformed the query cannot be read in one way only: "%" needs two hex digits, and ";" is written %3B`},
		{"too many", good + strings.Repeat("&a", 254), "signature_malformed the query has more than 256 parameters"},
		{"just not too many", good + strings.Repeat("&a", 253), ""},
		{"key id of 65", "gw_kid=" + strings.Repeat("k", 65), `signature_malformed gw_kid must be 1 to 64 letters, digits, "_" and "-"`},
		{"key id with a newline", "gw_kid=k%0A1", `signature_malformed gw_kid must be 1 to 64 letters, digits, "_" and "-"`},
		{"a prefix with a trailing dot segment", "gw_prefix=/a/.", "signature_malformed gw_prefix must be a path in its normal form"},
		{"an empty prefix", "gw_prefix=", "signature_malformed gw_prefix must be a path in its normal form"},
		{"a prefix with a newline", "gw_prefix=/a%0A", "signature_malformed gw_prefix must be a path in its normal form"},
		{"no methods", "gw_methods=", "signature_malformed gw_methods must be methods in capitals, separated by commas"},
		{"an empty method", "gw_methods=GET,", "signature_malformed gw_methods must be methods in capitals, separated by commas"},
		{"methods apart", "gw_methods=GET,+PUT", "signature_malformed gw_methods must be methods in capitals, separated by commas"},
		{"very many methods", "gw_methods=" + strings.Repeat("GET,", 64) + "GET", "signature_malformed gw_methods must be methods in capitals, separated by commas"},
		{"a method of 33", "gw_methods=" + strings.Repeat("M", 33), "signature_malformed gw_methods must be methods in capitals, separated by commas"},
		{"an address in IPv6 clothes", "gw_ip=::ffff:192.0.2.1", "signature_malformed gw_ip must be an IP address in its shortest form"},
		{"an address in capitals", "gw_ip=2001:DB8::1", "signature_malformed gw_ip must be an IP address in its shortest form"},
		{"an address written out", "gw_ip=2001:db8:0::1", "signature_malformed gw_ip must be an IP address in its shortest form"},
		{"an address with a zone", "gw_ip=fe80::1%25eth0", "signature_malformed gw_ip must be an IP address in its shortest form"},
		{"octal", "gw_ip=192.0.02.1", "signature_malformed gw_ip must be an IP address in its shortest form"},
		{"a network", "gw_ip=192.0.2.0/24", "signature_malformed gw_ip must be an IP address in its shortest form"},
		{"no address", "gw_ip=", "signature_malformed gw_ip must be an IP address in its shortest form"},
		{"a padded signature", good + "=", "signature_malformed gw_sig must be 43 characters of base64url"},
		{"a signature with a newline", strings.Replace(good, "AAAA", "AAA%0A", 1), "signature_malformed gw_sig must be 43 characters of base64url"},
		{"standard base64", strings.Replace(good, "AAAA", "AA%2B/", 1), "signature_malformed gw_sig must be 43 characters of base64url"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if _, no := signedurl.Parse(tt.query); no != nil {
				got = string(no.Reason) + " " + no.Detail
			}
			if got != tt.want {
				t.Errorf("%q, want %q", got, tt.want)
			}
		})
	}
}

// TestVerify is the claims of signatures that are good as such.
func TestVerify(t *testing.T) {
	const address = "https://files.example.com/pub/a?x=1"
	peer := netip.MustParseAddr("192.0.2.1")
	for _, tt := range []struct {
		name, method string
		client       netip.Addr
		early        time.Duration // before the signature expires
		bounds       signedurl.Bounds
		grant        signedurl.Grant
		want         string
	}{
		{name: "in time", early: 1, want: "pass"},
		{name: "on the second", early: 0, want: "signature_expired"},
		{name: "within the skew", early: -time.Second, bounds: signedurl.Bounds{Skew: 2 * time.Second}, want: "pass"},
		{name: "at the end of the skew", early: -2 * time.Second, bounds: signedurl.Bounds{Skew: 2 * time.Second}, want: "signature_expired"},
		{name: "until the year 5138", early: time.Hour, grant: signedurl.Grant{Expires: time.Unix(99999999999, 0)}, want: "pass"},
		{
			name: "until the year 5138, of which an hour is allowed", early: time.Hour, bounds: signedurl.Bounds{MaxLifetime: time.Hour},
			grant: signedurl.Grant{Expires: time.Unix(99999999999, 0)}, want: "signature_too_long",
		},
		{name: "until 1970", early: -time.Hour, grant: signedurl.Grant{Expires: time.Unix(1, 0)}, want: "signature_expired"},
		{name: "the longest lifetime", early: time.Hour, bounds: signedurl.Bounds{MaxLifetime: time.Hour}, want: "pass"},
		{name: "longer than that", early: time.Hour + 1, bounds: signedurl.Bounds{MaxLifetime: time.Hour}, want: "signature_too_long"},
		{name: "with the skew", early: time.Hour + time.Second, bounds: signedurl.Bounds{Skew: time.Second, MaxLifetime: time.Hour}, want: "pass"},
		{name: "HEAD", method: "HEAD", early: 1, want: "pass"},
		{name: "PUT", method: "PUT", early: 1, want: "signature_method"},
		{name: "no method", method: "-", early: 1, want: "signature_method"},
		{name: "PUT for PUT", method: "PUT", early: 1, grant: signedurl.Grant{Methods: []string{"POST", "PUT"}}, want: "pass"},
		{name: "PU for PUT", method: "PU", early: 1, grant: signedurl.Grant{Methods: []string{"PUT"}}, want: "signature_method"},
		{name: "GET for PUT", early: 1, grant: signedurl.Grant{Methods: []string{"PUT"}}, want: "signature_method"},
		{name: "HEAD for GET", method: "HEAD", early: 1, grant: signedurl.Grant{Methods: []string{"GET"}}, want: "pass"},
		{name: "GET for HEAD", early: 1, grant: signedurl.Grant{Methods: []string{"HEAD"}}, want: "signature_method"},
		{name: "the list itself", method: "GET,PUT", early: 1, grant: signedurl.Grant{Methods: []string{"GET", "PUT"}}, want: "signature_method"},
		{name: "the address", early: 1, grant: signedurl.Grant{Client: peer}, client: peer, want: "pass"},
		{name: "the address in IPv6 clothes", early: 1, grant: signedurl.Grant{Client: peer}, client: netip.MustParseAddr("::ffff:192.0.2.1"), want: "pass"},
		{name: "another address", early: 1, grant: signedurl.Grant{Client: peer}, client: netip.MustParseAddr("192.0.2.2"), want: "signature_ip"},
		{name: "nobody's address", early: 1, grant: signedurl.Grant{Client: peer}, want: "signature_ip"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			method := tt.method
			if method == "" {
				method = "GET"
			}
			if tt.grant.KeyID = "k1"; tt.grant.Expires.IsZero() {
				tt.grant.Expires = noon
			}
			signed := sign(t, address, &tt.grant)
			if got := ask(key(t), method, signed, tt.client, noon.Add(-tt.early), tt.bounds); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestPrefix(t *testing.T) {
	for _, tt := range []struct{ prefix, path, want string }{
		{"/", "/", "pass"},
		{"/", "/a/b", "pass"},
		{"/pub", "/pub", "pass"},
		{"/pub", "/pub/", "pass"},
		{"/pub", "/pub/a/b", "pass"},
		{"/pub", "/public", "signature_invalid"},
		{"/pub", "/pub%20", "signature_invalid"},
		{"/pub", "/pu", "signature_invalid"},
		{"/pub", "/PUB", "signature_invalid"},
		{"/pub", "/a/pub", "signature_invalid"},
		{"/pub/", "/pub", "signature_invalid"},
		{"/pub/", "/pub/a", "pass"},
		{"/pub/", "/public/", "signature_invalid"},
	} {
		g := grant()
		g.Prefix = tt.prefix
		signed := sign(t, "https://a"+tt.prefix, g)
		_, query, _ := strings.Cut(signed, "?")
		if got := get(t, "https://a"+tt.path+"?segment=1&"+query+"&range=2"); got != tt.want {
			t.Errorf("%s under %s: %s, want %s", tt.path, tt.prefix, got, tt.want)
		}
		// A prefix is no path, and a path no prefix, though they may look alike.
		if got := get(t, "https://a"+tt.prefix+"?"+strings.Replace(query, "&gw_prefix="+tt.prefix, "", 1)); got != "signature_invalid" {
			t.Errorf("the prefix %s as a path: %s", tt.prefix, got)
		}
		path := sign(t, "https://a"+tt.prefix, grant())
		if got := get(t, path+"&gw_prefix="+tt.prefix); got != "signature_invalid" {
			t.Errorf("the path %s as a prefix: %s", tt.prefix, got)
		}
	}
}

func TestStrip(t *testing.T) {
	for query, want := range map[string]string{
		"":                                 "",
		"a=1":                              "a=1",
		"gw_kid=1":                         "",
		"gw_kid=1&gw_sig=2":                "",
		"a=1&gw_kid=1&gw_sig=2":            "a=1",
		"gw_kid=1&gw_sig=2&a=1":            "a=1",
		"gw_kid=1&a=1&gw_sig=2":            "a=1",
		"b=%2f+&gw_kid=1&a&&gw_sig=2&b=":   "b=%2f+&a&&b=",
		"a=1&&gw_kid=1":                    "a=1&",
		"&gw_kid=1":                        "",
		"gw%5Fkid=1&a=gw_kid&g%77_x&GW_=1": "a=gw_kid&GW_=1",
		"a=1&gw_":                          "a=1",
		"%zz&gw_kid=%zz":                   "%zz",
	} {
		if got := signedurl.Strip(query); got != want {
			t.Errorf("%q: %q, want %q", query, got, want)
		}
	}
}

// same reports whether a changed URL says the same as the signed one, by readers of their own: net/url's of the query, and the
// router's of host and path. That is what the package comment promises, and nothing else may pass.
func same(signed, changed string) bool {
	type address struct {
		host, path string
		query      url.Values
	}
	read := func(raw string) (a address, ok bool) {
		_, rest, _ := strings.Cut(raw, "://")
		rest, query, _ := strings.Cut(rest, "?")
		authority, path, _ := strings.Cut(rest, "/")
		a.host, ok = match.NormalizeHost(authority)
		normal, reason := match.NormalizePath("/" + path)
		values, err := url.ParseQuery(query)
		a.path, a.query = normal, values
		return a, ok && reason == "" && err == nil
	}
	a, _ := read(signed)
	b, ok := read(changed)
	return ok && reflect.DeepEqual(a, b)
}

// TestEveryChange changes each byte of a signed URL into each other, leaves it out, and puts each before it.
func TestEveryChange(t *testing.T) {
	g := grant()
	g.Methods, g.Client = []string{"GET", "PUT"}, netip.MustParseAddr("192.0.2.1")
	signed := sign(t, "https://api.example.com:443/a/b%20c?x=%2f+1&y=&y=2", g)
	at := strings.Index(signed, "://") + 3 // the scheme is not signed
	passed, refused := 0, 0
	check := func(changed string) {
		t.Helper()
		want := same(signed, changed)
		if got := get(t, changed); (got == "pass") != want {
			t.Errorf("%s: %s, the same: %v", changed, got, want)
		}
		if want {
			passed++
		} else {
			refused++
		}
	}
	for i := at; i < len(signed); i++ {
		check(signed[:i] + signed[i+1:])
		for c := range 256 {
			check(signed[:i] + string([]byte{byte(c)}) + signed[i:])
			if byte(c) != signed[i] {
				check(signed[:i] + string([]byte{byte(c)}) + signed[i+1:])
			}
		}
	}
	t.Logf("%d changes are the same URL, %d are refused", passed, refused)
	if passed == 0 || refused < 50_000 {
		t.Errorf("%d changes passed, %d were refused", passed, refused)
	}
}

func FuzzChange(f *testing.F) {
	g := grant()
	g.Prefix = "/a"
	whole, prefix := sign(f, "https://api.example.com/a/b?x=%2f+1&y=&y=2", grant()), sign(f, "https://api.example.com/a/b?x=1", g)
	f.Add(whole)
	f.Add(strings.Replace(whole, "%2f+", "/%20", 1))
	f.Add(strings.Replace(whole, "y=&y=2", "y=2&y=", 1))
	f.Add(strings.Replace(whole, "/a/b", "/a//./b/../b", 1))
	f.Add(prefix)
	f.Add(strings.Replace(prefix, "/b?", "/c?z=1&", 1))
	f.Fuzz(func(t *testing.T, changed string) {
		if get(t, changed) != "pass" || same(whole, changed) {
			return
		}
		// With the prefix everything else may change, but for the host, the place, and what is reserved.
		_, query, _ := strings.Cut(changed, "?")
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("%q passes, and cannot be read: %v", changed, err)
		}
		u, err := url.Parse(prefix)
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range u.Query() {
			if strings.HasPrefix(name, "gw_") && !reflect.DeepEqual(values[name], want) {
				t.Fatalf("%q passes with %s %q", changed, name, values[name])
			}
		}
	})
}

// FuzzSign signs whatever the gateway would take, and holds that it is let through, as it is and without what is stripped.
func FuzzSign(f *testing.F) {
	f.Add("api.example.com", "/a/../b", "x=1&y=%2f", "", "", "")
	f.Add("A:80", "//caf%c3%a9", "a&&=&b=+", "/caf%C3%A9", "PUT", "2001:db8::1")
	f.Add("[::1]:8443", "/", "?/=&gw=1", "/", "GET,HEAD", "::ffff:192.0.2.1")
	f.Fuzz(func(t *testing.T, authority, path, query, prefix, methods, client string) {
		raw := "https://" + authority + path
		if query != "" {
			raw += "?" + query
		}
		g := &signedurl.Grant{KeyID: "k1", Expires: noon, Prefix: prefix}
		if methods != "" {
			g.Methods = strings.Split(methods, ",")
		}
		g.Client, _ = netip.ParseAddr(client)
		signed, err := signedurl.Sign(raw, g, key(t))
		if err != nil {
			if prefix+methods+client == "" && acceptable(authority, path, query) {
				t.Fatalf("%q is not signed: %v", raw, err)
			}
			return
		}
		method := "GET"
		if len(g.Methods) > 0 {
			method = g.Methods[0]
		}
		if got := ask(key(t), method, signed, g.Client, noon.Add(-time.Hour), signedurl.Bounds{}); got != "pass" {
			t.Fatalf("%q is signed as %q: %s", raw, signed, got)
		}
		_, sent, _ := strings.Cut(signed, "?")
		if got := signedurl.Strip(sent); got != query {
			t.Fatalf("%q is forwarded as %q", query, got)
		}
	})
}

// acceptable reports whether the gateway takes a request with this target, and its query has one reading.
func acceptable(authority, path, query string) bool {
	host, ok := match.NormalizeHost(authority)
	_, reason := match.NormalizePath(path)
	values, err := url.ParseQuery(query)
	for name := range values {
		ok = ok && !strings.HasPrefix(name, "gw_")
	}
	visible := !strings.ContainsFunc(authority+path+query, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' })
	return ok && host != "" && reason == "" && err == nil && visible && strings.Count(query, "&") < 250
}

func FuzzParse(f *testing.F) {
	f.Add("gw_kid=k1&gw_exp=1767268800&gw_sig=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA&x=%2f")
	f.Add("gw_kid=&gw_exp=%D9%A1&gw_ip=::1&gw_methods=,&gw_prefix=/%2e%2e&&&=;%")
	f.Fuzz(func(t *testing.T, query string) {
		p, no := signedurl.Parse(query)
		if no != nil {
			return
		}
		r := signedurl.Request{Method: "GET", Authority: "a", Path: "/", Now: noon}
		if no := p.Verify(nil, &r, signedurl.Bounds{}); no == nil || no.Reason != signedurl.Invalid {
			t.Fatalf("%q passes without a key: %v", query, no)
		}
		rest := signedurl.Strip(query)
		if _, no := signedurl.Parse(rest); no == nil || no.Reason != signedurl.Missing {
			t.Fatalf("%q is left of %q", rest, query)
		}
	})
}

// TestNobody signs with the key that stands in for those there are not: it is known to everybody.
func TestNobody(t *testing.T) {
	k, err := signedurl.NewKey(make([]byte, signedurl.MinKey))
	if err != nil {
		t.Fatal(err)
	}
	g := grant()
	g.KeyID = "nobody"
	signed, err := signedurl.Sign("https://a/", g, k)
	if err != nil {
		t.Fatal(err)
	}
	if got := get(t, signed); got != "signature_invalid" {
		t.Error(got)
	}
}

// TestParallel uses one key from many goroutines: what they work with must not be shared.
func TestParallel(t *testing.T) {
	k := key(t)
	var wg sync.WaitGroup
	for i := range 8 {
		address := "https://a/" + strings.Repeat("x", i) + "?b=1&a=2"
		wg.Go(func() {
			signed, err := signedurl.Sign(address, grant(), k)
			if err != nil {
				t.Error(err)
			}
			for range 200 {
				if got := ask(k, "GET", signed, netip.Addr{}, noon.Add(-time.Hour), signedurl.Bounds{}); got != "pass" {
					t.Errorf("%s: %s", signed, got)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerify(b *testing.B) {
	prefix := grant()
	prefix.Prefix = "/videos/"
	for _, bb := range []struct{ name, signed string }{
		{"path", sign(b, "https://api.example.com/reports/7", grant())},
		{"query", sign(b, "https://api.example.com/reports/7?year=2026&month=01&format=pdf&name=a%20b", grant())},
		{"prefix", sign(b, "https://api.example.com/videos/7/segment-1.ts", prefix)},
	} {
		b.Run(bb.name, func(b *testing.B) {
			_, query, _ := strings.Cut(bb.signed, "?")
			_, path, _ := strings.Cut(strings.TrimPrefix(bb.signed, "https://"), "/")
			path, _, _ = strings.Cut("/"+path, "?")
			k, r := key(b), signedurl.Request{Method: "GET", Authority: "api.example.com", Path: path, Now: noon.Add(-time.Hour)}
			b.ReportAllocs()
			for b.Loop() {
				p, no := signedurl.Parse(query)
				if no == nil {
					no = p.Verify(k, &r, signedurl.Bounds{})
				}
				if no != nil {
					b.Fatal(no.Reason)
				}
				signedurl.Strip(query)
			}
		})
	}
}
