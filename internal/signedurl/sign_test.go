package signedurl_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/signedurl"
	"github.com/suuupra/gateway/schema/match"
)

const secret = "for tests only: 32 bytes or more."

// noon is when all signatures of these tests expire: 2026-01-01 12:00:00 UTC.
var noon = time.Unix(1767268800, 0)

func key(tb testing.TB) *signedurl.Key {
	tb.Helper()
	k, err := signedurl.NewKey([]byte(secret))
	if err != nil {
		tb.Fatal(err)
	}
	return k
}

func grant() *signedurl.Grant { return &signedurl.Grant{KeyID: "k1", Expires: noon} }

func sign(tb testing.TB, raw string, g *signedurl.Grant) string {
	tb.Helper()
	signed, err := signedurl.Sign(raw, g, key(tb))
	if err != nil {
		tb.Fatalf("sign %q: %v", raw, err)
	}
	return signed
}

// ask asks as the gateway does: it refuses paths that it would not forward, and shows the policy the others in their normal form.
func ask(k *signedurl.Key, method, raw string, client netip.Addr, now time.Time, b signedurl.Bounds) string {
	_, rest, _ := strings.Cut(raw, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, path, _ := strings.Cut(rest, "/")
	path, reason := match.NormalizePath("/" + path)
	if reason != "" {
		return string(reason)
	}
	p, no := signedurl.Parse(query)
	if no == nil {
		if p.KeyID != "k1" {
			k = nil
		}
		no = p.Verify(k, &signedurl.Request{Method: method, Authority: authority, Path: path, Client: client, Now: now}, b)
	}
	if no != nil {
		return string(no.Reason)
	}
	return "pass"
}

// get is ask for what a client most often does, a minute before the signature expires.
func get(tb testing.TB, raw string) string {
	tb.Helper()
	return ask(key(tb), "GET", raw, netip.MustParseAddr("192.0.2.1"), noon.Add(-time.Minute), signedurl.Bounds{})
}

// TestForm holds what is signed, byte for byte: others have to be able to make signatures.
func TestForm(t *testing.T) {
	for _, tt := range []struct {
		name, url, message, want string
		grant                    signedurl.Grant
	}{
		{
			name: "a path", url: "https://Files.Example.com:8443/a/../b?z=1&a=%2f+x&z=0&a",
			message: "gw-signed-url-v1\nk1\n1767268800\n\n\nfiles.example.com\npath:/b\na=%2F%20x&a=&z=1&z=0",
			want:    "https://Files.Example.com:8443/b?z=1&a=%2f+x&z=0&a&gw_kid=k1&gw_exp=1767268800&gw_sig=",
		},
		{
			name: "nothing but a host", url: "http://a",
			message: "gw-signed-url-v1\nk1\n1767268800\n\n\na\npath:/\n",
			want:    "http://a/?gw_kid=k1&gw_exp=1767268800&gw_sig=",
		},
		{
			name: "many of one name", url: "https://a/?b&" + strings.Repeat("a=2&a=1&", 20) + "a-b&a%26",
			message: "gw-signed-url-v1\nk1\n1767268800\n\n\na\npath:/\n" + strings.Repeat("a=2&a=1&", 20) + "a%26=&a-b=&b=",
			want:    "https://a/?b&" + strings.Repeat("a=2&a=1&", 20) + "a-b&a%26&gw_kid=k1&gw_exp=1767268800&gw_sig=",
		},
		{
			name: "a prefix", url: "https://[2001:DB8:0::1]/pub/caf%c3%a9/1.ts?seg=1",
			grant: signedurl.Grant{
				Prefix: "/pub/caf%C3%A9", Methods: []string{"GET", "PUT"}, Client: netip.MustParseAddr("::ffff:192.0.2.7"),
			},
			message: "gw-signed-url-v1\nk1\n1767268800\nGET,PUT\n192.0.2.7\n[2001:db8::1]\nprefix:/pub/caf%C3%A9\n",
			want: "https://[2001:DB8:0::1]/pub/caf%C3%A9/1.ts?seg=1&gw_kid=k1&gw_exp=1767268800" +
				"&gw_prefix=/pub/caf%25C3%25A9&gw_methods=GET,PUT&gw_ip=192.0.2.7&gw_sig=",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.grant.KeyID, tt.grant.Expires = "k1", noon
			mac := hmac.New(sha256.New, []byte(secret))
			mac.Write([]byte(tt.message))
			want := tt.want + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
			if got := sign(t, tt.url, &tt.grant); got != want {
				t.Errorf("%s, want\n%s", got, want)
			}
		})
	}
}

// TestOpenSSL is a signature that another program has made:
//
//	printf 'gw-signed-url-v1\nk1\n1767268800\n\n\napi.example.com\npath:/reports/7\nyear=2026' |
//	  openssl dgst -sha256 -hmac "$secret" -binary | base64 | tr '+/' '-_' | tr -d =
func TestOpenSSL(t *testing.T) {
	const want = "https://api.example.com/reports/7?year=2026&gw_kid=k1&gw_exp=1767268800&gw_sig=ObPkfKh3OxwM4vHAAHRKSFSuxwoQ5Z3hR9G9JwWUCdo"
	if got := sign(t, "https://api.example.com/reports/7?year=2026", grant()); got != want {
		t.Errorf("%s, want\n%s", got, want)
	}
	if got := get(t, want); got != "pass" {
		t.Error(got)
	}
}

func TestSignRefuses(t *testing.T) {
	many := "http://a/?" + strings.Repeat("a&", 255)
	for _, tt := range []struct {
		name, url, want string
		change          func(g *signedurl.Grant)
	}{
		{"no scheme", "api.example.com/x", "the URL must begin with http:// or https://", nil},
		{"another scheme", "ftp://a/x", "the URL must begin with http:// or https://", nil},
		{"no host", "https:///x", `"" is no host: write a name or an address, names in other scripts in their xn-- form`, nil},
		{"half a port", "https://a:x/", `"a:x" is no host: write a name or an address, names in other scripts in their xn-- form`, nil},
		{"a user", "https://a:b@c/", "the URL has a user name, which nobody has to know: sign it without", nil},
		{"a fragment", "https://a/x#y", "the URL has a fragment, which browsers keep to themselves: sign it without", nil},
		{"a space", "https://a/x y", "the URL has the byte 0x20, which has to be escaped", nil},
		{"not ASCII", "https://a/caf\u00e9", "the URL has the byte 0xc3, which has to be escaped", nil},
		{"an escaped slash", "https://a/x%2fy", `the gateway refuses the path "/x%2fy" (path_encoded_slash)`, nil},
		{"a path parameter", "https://a/x;y", `the gateway refuses the path "/x;y" (path_parameter)`, nil},
		{"above the root", "https://a/../x", `the gateway refuses the path "/../x" (path_above_root)`, nil},
		{"half an escape", "https://a/?q=100%", `the query cannot be read in one way only: "%" needs two hex digits, and ";" is written %3B`, nil},
		{"a semicolon", "https://a/?q=1;r=2", `the query cannot be read in one way only: "%" needs two hex digits, and ";" is written %3B`, nil},
		{"signed already", "https://a/?x=1&gw_kid=k1", `the query has a parameter that begins with "gw_": sign the URL without it`, nil},
		{"reserved, escaped", "https://a/?gw%5Fip=1.2.3.4&x=1", `the query has a parameter that begins with "gw_": sign the URL without it`, nil},
		{"too many parameters", many, "the query has more than 256 parameters", nil},
		{"no key id", "https://a/", `gw_kid must be 1 to 64 letters, digits, "_" and "-"`, func(g *signedurl.Grant) { g.KeyID = "" }},
		{"a key id with a dot", "https://a/", `gw_kid must be 1 to 64 letters, digits, "_" and "-"`, func(g *signedurl.Grant) { g.KeyID = "k.1" }},
		{"a long key id", "https://a/", `gw_kid must be 1 to 64 letters, digits, "_" and "-"`, func(g *signedurl.Grant) { g.KeyID = strings.Repeat("k", 65) }},
		{
			"before 1970", "https://a/", "gw_exp must be seconds of Unix time: 1 to 11 digits, the first of them not 0",
			func(g *signedurl.Grant) { g.Expires = time.Unix(-1, 0) },
		},
		{
			"the year 5138", "https://a/", "gw_exp must be seconds of Unix time: 1 to 11 digits, the first of them not 0",
			func(g *signedurl.Grant) { g.Expires = time.Unix(100_000_000_000, 0) },
		},
		{"a prefix that is no path", "https://a/b", "gw_prefix must be a path in its normal form", func(g *signedurl.Grant) { g.Prefix = "b" }},
		{"a prefix with dots", "https://a/b", "gw_prefix must be a path in its normal form", func(g *signedurl.Grant) { g.Prefix = "/b/../b" }},
		{"a prefix beside the path", "https://a/public", `the path "/public" does not lie under the prefix "/pub"`, func(g *signedurl.Grant) { g.Prefix = "/pub" }},
		{"a prefix below the path", "https://a/pub", `the path "/pub" does not lie under the prefix "/pub/"`, func(g *signedurl.Grant) { g.Prefix = "/pub/" }},
		{
			"a method in small letters", "https://a/", "gw_methods must be methods in capitals, separated by commas",
			func(g *signedurl.Grant) { g.Methods = []string{"get"} },
		},
		{
			"an empty method", "https://a/", "gw_methods must be methods in capitals, separated by commas",
			func(g *signedurl.Grant) { g.Methods = []string{""} },
		},
		{
			"an address with a zone", "https://a/", "gw_ip must be an IP address in its shortest form",
			func(g *signedurl.Grant) { g.Client = netip.MustParseAddr("fe80::1%eth0") },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := grant()
			if tt.change != nil {
				tt.change(g)
			}
			got, err := signedurl.Sign(tt.url, g, key(t))
			if err == nil || err.Error() != tt.want || got != "" {
				t.Errorf("%q, error %v, want %q", got, err, tt.want)
			}
		})
	}
}

func TestNewKey(t *testing.T) {
	long := strings.Repeat("k", signedurl.MinKey)
	const want = "the key has 31 bytes, must have at least 32; `openssl rand -base64 32` makes one"
	for _, short := range []string{long[1:], long[1:] + "\n"} {
		if _, err := signedurl.NewKey([]byte(short)); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", short, err, want)
		}
	}
	if _, err := signedurl.NewKey(nil); err == nil {
		t.Error("nothing is a key")
	}
	// One newline at the end makes no other key; two do.
	signed := sign(t, "https://a/", grant())
	for end, want := range map[string]string{"": "pass", "\n": "pass", "\n\n": "signature_invalid", "\r\n": "signature_invalid", " ": "signature_invalid"} {
		k, err := signedurl.NewKey([]byte(secret + end))
		if err != nil {
			t.Fatal(err)
		}
		if got := ask(k, "GET", signed, netip.Addr{}, noon.Add(-time.Hour), signedurl.Bounds{}); got != want {
			t.Errorf("%q at the end: %s, want %s", end, got, want)
		}
	}
	// The key does not change with the bytes it was made of.
	mine := []byte(secret)
	k, err := signedurl.NewKey(mine)
	if err != nil {
		t.Fatal(err)
	}
	clear(mine)
	if got := ask(k, "GET", signed, netip.Addr{}, noon.Add(-time.Hour), signedurl.Bounds{}); got != "pass" {
		t.Errorf("after the bytes changed: %s", got)
	}
}
