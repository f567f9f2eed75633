package signedurl

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding"
	"encoding/base64"
	"encoding/binary"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/signedurl"
)

// TestAttacks starts from a URL with a good signature, changes it, and has the exact answer to that.
func TestAttacks(t *testing.T) {
	const address = "https://api.example.com/a/b?x=1&y=%2F+2&y=3"
	s := newSite(t, twoKeys)
	whole := s.sign(t, address, secret1, signedurl.Grant{})
	exp := strconv.FormatInt(s.Now().Add(time.Hour).Unix(), 10)
	sig := whole[strings.Index(whole, "gw_sig=")+7:]
	change := func(old, new string) string {
		if strings.Count(whole, old) != 1 {
			t.Fatalf("%q is not in %s once", old, whole)
		}
		return strings.Replace(whole, old, new, 1)
	}
	grant := func(raw string, g signedurl.Grant) string { return s.sign(t, raw, secret1, g) }
	before := func(d time.Duration) signedurl.Grant { return signedurl.Grant{Expires: s.Now().Add(-d)} }
	for _, tt := range []struct{ name, method, url, want string }{
		{"as it was signed", "GET", whole, "pass"},
		{"without a signature", "GET", address, "403 signature_missing"},

		{"expired, within the skew", "GET", grant(address, before(29*time.Second)), "pass"},
		{"expired by 1 s past the skew", "GET", grant(address, before(31*time.Second)), "403 signature_expired"},
		{"expiry missing", "GET", change("&gw_exp="+exp, ""), "403 signature_malformed"},
		{"expiry empty", "GET", change("gw_exp="+exp, "gw_exp="), "403 signature_malformed"},
		{"expiry twice, the same", "GET", whole + "&gw_exp=" + exp, "403 signature_malformed"},
		{"expiry twice, another", "GET", whole + "&gw_exp=99999999999", "403 signature_malformed"},
		{"expiry with a sign", "GET", change("gw_exp=", "gw_exp=%2B"), "403 signature_malformed"},
		{"expiry +1", "GET", change("gw_exp="+exp, "gw_exp=+1"), "403 signature_malformed"},
		{"expiry 1e12", "GET", change("gw_exp="+exp, "gw_exp=1e12"), "403 signature_malformed"},
		{"expiry in hex", "GET", change("gw_exp="+exp, "gw_exp=0x7fffffff"), "403 signature_malformed"},
		{"expiry negative", "GET", change("gw_exp="+exp, "gw_exp=-1"), "403 signature_malformed"},
		{"expiry in Arabic digits", "GET", change("gw_exp="+exp, "gw_exp=%D9%A1%D9%A7%D9%A6"), "403 signature_malformed"},
		{"expiry with a leading zero", "GET", change("gw_exp=", "gw_exp=0"), "403 signature_malformed"},
		{"expiry of 12 digits", "GET", change("gw_exp="+exp, "gw_exp=100000000000"), "403 signature_malformed"},
		{"expiry with a fraction", "GET", change("gw_exp="+exp, "gw_exp="+exp+".5"), "403 signature_malformed"},
		{"expiry later", "GET", change("gw_exp="+exp, "gw_exp=99999999999"), "403 signature_invalid"},

		{"signature truncated", "GET", whole[:len(whole)-1], "403 signature_malformed"},
		{"signature empty", "GET", change(sig, ""), "403 signature_malformed"},
		{"signature missing", "GET", change("&gw_sig="+sig, ""), "403 signature_missing"},
		{"signature in capitals", "GET", change(sig, strings.ToUpper(sig)), "403 signature_invalid"},
		{"signature with its spare bits set", "GET", change(sig, spare(sig)), "403 signature_invalid"},
		{"signature with padding", "GET", whole + "=", "403 signature_malformed"},
		{"signature appended to", "GET", whole + "A", "403 signature_malformed"},
		{"signature of nothing but A", "GET", change(sig, strings.Repeat("A", 43)), "403 signature_invalid"},
		{"the other key's id", "GET", change("gw_kid=k1", "gw_kid=k2"), "403 signature_invalid"},
		{"an unknown key's id", "GET", change("gw_kid=k1", "gw_kid=k3"), "403 signature_invalid"},
		{"an id in capitals", "GET", change("gw_kid=k1", "gw_kid=K1"), "403 signature_invalid"},
		{"the other key's signature", "GET", s.sign(t, address, secret2, signedurl.Grant{}), "403 signature_invalid"},
		{"an unknown key's signature", "GET", grant(address, signedurl.Grant{KeyID: "k3"}), "403 signature_invalid"},
		{"HMAC of an empty key id", "GET", forge("", exp), "403 signature_malformed"},
		{"HMAC of an empty key id, without one", "GET", strings.Replace(forge("", exp), "gw_kid=&", "", 1), "403 signature_malformed"},

		{"parameter added", "GET", whole + "&z=1", "403 signature_invalid"},
		{"parameter added in front", "GET", change("?x=1", "?z=1&x=1"), "403 signature_invalid"},
		{"parameter removed", "GET", change("x=1&", ""), "403 signature_invalid"},
		{"parameter duplicated", "GET", change("x=1&", "x=1&x=1&"), "403 signature_invalid"},
		{"parameter changed", "GET", change("x=1&", "x=2&"), "403 signature_invalid"},
		{"parameters reordered", "GET", change("x=1&y=%2F+2&y=3", "y=%2F+2&x=1&y=3"), "pass"},
		{"parameters of one name reordered", "GET", change("y=%2F+2&y=3", "y=3&y=%2F+2"), "403 signature_invalid"},
		{"value moved to the next name", "GET", change("x=1&y=", "x=1%26y=&y="), "403 signature_invalid"},
		{"re-encoded, %2f", "GET", change("%2F", "%2f"), "pass"},
		{"re-encoded, a plain slash", "GET", change("%2F", "/"), "pass"},
		{"re-encoded, %20 for +", "GET", change("+2", "%202"), "pass"},
		{"re-encoded, a name", "GET", change("x=1", "%78=1"), "pass"},
		{"re-encoded twice", "GET", change("%2F", "%252F"), "403 signature_invalid"},
		{"encoded plus for a plus", "GET", change("+2", "%2B2"), "403 signature_invalid"},
		{"what cannot be decoded", "GET", change("%2F", "%2"), "403 signature_malformed"},
		{"a semicolon for an ampersand", "GET", change("x=1&y", "x=1;y"), "403 signature_malformed"},
		{"an unknown gw_ parameter", "GET", whole + "&gw_admin=1", "403 signature_malformed"},
		{"methods added", "PUT", whole + "&gw_methods=PUT", "403 signature_invalid"},
		{"a prefix added", "GET", change("/a/b?", "/other?") + "&gw_prefix=/", "403 signature_invalid"},

		{"path through a parent", "GET", change("/a/b?", "/c/../a/b?"), "pass"}, // the gateway forwards /a/b
		{"path to another through a parent", "GET", change("/a/b?", "/a/b/../c?"), "403 signature_invalid"},
		{"path with two slashes", "GET", change("/a/b?", "//a//b?"), "pass"}, // the gateway forwards /a/b
		{"path with an escaped slash", "GET", change("/a/b?", "/a%2fb?"), "400 path_encoded_slash"},
		{"path with a parameter", "GET", change("/a/b?", "/a/b;x?"), "400 path_parameter"},
		{"path escaped", "GET", change("/a/b?", "/%61/b?"), "pass"}, // the gateway forwards /a/b
		{"path with a slash more", "GET", change("/a/b?", "/a/b/?"), "403 signature_invalid"},
		{"path in capitals", "GET", change("/a/b?", "/A/b?"), "403 signature_invalid"},

		{"HEAD", "HEAD", whole, "pass"},
		{"GET signature on PUT", "PUT", whole, "403 signature_method"},
		{"GET signature on get", "get", whole, "403 signature_method"},
		{"PUT signature on PUT", "PUT", grant(address, signedurl.Grant{Methods: []string{"PUT"}}), "pass"},
		{"PUT signature on GET", "GET", grant(address, signedurl.Grant{Methods: []string{"PUT"}}), "403 signature_method"},

		{"host changed", "GET", change("api.example.com", "evil.example.com"), "403 signature_invalid"},
		{"host in capitals", "GET", change("api.example.com", "API.Example.COM"), "pass"},
		{"host with a port", "GET", change("api.example.com", "api.example.com:8443"), "pass"},
		{"no host", "GET", change("api.example.com", ""), "403 signature_invalid"},

		{"prefix /pub for /pub/x", "GET", under(grant("https://a/pub", signedurl.Grant{Prefix: "/pub"}), "/pub/x?seg=1&"), "pass"},
		{"prefix /pub for /public", "GET", under(grant("https://a/pub", signedurl.Grant{Prefix: "/pub"}), "/public?"), "403 signature_invalid"},
		{"prefix /pub left through a parent", "GET", under(grant("https://a/pub", signedurl.Grant{Prefix: "/pub"}), "/pub/../etc?"), "403 signature_invalid"},
		{"prefix made shorter", "GET", strings.Replace(grant("https://a/pub", signedurl.Grant{Prefix: "/pub"}), "gw_prefix=/pub", "gw_prefix=/", 1), "403 signature_invalid"},
		{"prefix dropped", "GET", strings.Replace(grant("https://a/pub", signedurl.Grant{Prefix: "/pub"}), "&gw_prefix=/pub", "", 1), "403 signature_invalid"},

		{"bound to this address", "GET", grant(address, signedurl.Grant{Client: netip.MustParseAddr("192.0.2.1")}), "pass"},
		{"bound to another address", "GET", grant(address, signedurl.Grant{Client: netip.MustParseAddr("192.0.2.2")}), "403 signature_ip"},
		{"the bond dropped", "GET", strings.Replace(grant(address, signedurl.Grant{Client: netip.MustParseAddr("192.0.2.2")}), "&gw_ip=192.0.2.2", "", 1), "403 signature_invalid"},
		{"bound to another address by the client", "GET", strings.Replace(grant(address, signedurl.Grant{Client: netip.MustParseAddr("192.0.2.2")}), "192.0.2.2", "192.0.2.1", 1), "403 signature_invalid"},

		{"10,000 parameters", "GET", whole + strings.Repeat("&a=1", 10_000), "403 signature_malformed"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, query := s.ask(t, tt.method, tt.url)
			if got != tt.want {
				t.Errorf("%s: %s, want %s", tt.url, got, tt.want)
			}
			if got == "pass" && strings.Contains(query, "gw_") {
				t.Errorf("%q goes upstream", query)
			}
		})
	}
}

// under puts the query of a signed URL behind another path.
func under(signed, path string) string {
	_, query, _ := strings.Cut(signed, "?")
	return "https://a" + path + query
}

// spare sets bits of the last character that no byte is made of.
func spare(sig string) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	last := strings.IndexByte(alphabet, sig[len(sig)-1])
	return sig[:len(sig)-1] + alphabet[last|1:last|1+1]
}

// forge signs a permission that gwctl would not write, with a key of the site.
func forge(id, exp string) string {
	mac := hmac.New(sha256.New, []byte(secret1))
	mac.Write([]byte("gw-signed-url-v1\n" + id + "\n" + exp + "\n\n\na\npath:/\n"))
	return "https://a/?gw_kid=" + id + "&gw_exp=" + exp + "&gw_sig=" + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// TestForge holds that forge makes good signatures, but for what it is asked to get wrong.
func TestForge(t *testing.T) {
	s := newSite(t, twoKeys)
	if got, _ := s.ask(t, "GET", forge("k1", strconv.FormatInt(s.Now().Unix()+60, 10))); got != "pass" {
		t.Error(got)
	}
}

// extend appends to what a hash was made of, without knowing it but for its length: the attack that HMAC withstands (RFC 2104
// section 6). glue is what comes between.
func extend(t *testing.T, sum []byte, length int, more string) (next []byte, glue string) {
	t.Helper()
	glue = "\x80" + strings.Repeat("\x00", (119-length%64)%64) + string(binary.BigEndian.AppendUint64(nil, uint64(length)*8))
	h := sha256.New()
	state := append([]byte("sha\x03"), sum...)
	state = binary.BigEndian.AppendUint64(append(state, make([]byte, 64)...), uint64(length+len(glue)))
	if err := h.(encoding.BinaryUnmarshaler).UnmarshalBinary(state); err != nil {
		t.Fatal(err)
	}
	h.Write([]byte(more))
	return h.Sum(nil), glue
}

func TestLengthExtension(t *testing.T) {
	s := newSite(t, twoKeys)
	signed := s.sign(t, "https://a/?x=1", secret1, signedurl.Grant{})
	exp := strconv.FormatInt(s.Now().Add(time.Hour).Unix(), 10)
	message := "gw-signed-url-v1\nk1\n" + exp + "\n\n\na\npath:/\nx=1"
	const more = "&x=2"

	// On a plain hash of key and message the attack works.
	plain := sha256.Sum256([]byte(secret1 + message))
	next, glue := extend(t, plain[:], len(secret1+message), more)
	if want := sha256.Sum256([]byte(secret1 + message + glue + more)); string(next) != string(want[:]) {
		t.Fatal("the attack is not done right")
	}

	// Here it does not, whichever length is guessed: that of the key and the message, or that of either block of HMAC.
	sum, err := base64.RawURLEncoding.DecodeString(signed[len(signed)-43:])
	if err != nil {
		t.Fatal(err)
	}
	for _, length := range []int{len(secret1 + message), 64 + len(message), 64 + sha256.Size} {
		next, glue := extend(t, sum, length, more)
		raw := "https://a/?x=1" + url.QueryEscape(glue) + more + "&gw_kid=k1&gw_exp=" + exp + "&gw_sig=" + base64.RawURLEncoding.EncodeToString(next)
		if got, _ := s.ask(t, "GET", raw); got != "403 signature_invalid" {
			t.Errorf("%d: %s", length, got)
		}
	}
}

func TestLifetime(t *testing.T) {
	s := newSite(t, `signedUrl: { keys: [{ id: k1, secretRef: "env:ONE" }], clockSkewSeconds: 10, maxLifetime: 1h }`)
	for _, tt := range []struct {
		left time.Duration
		want string
	}{
		{time.Hour, "pass"},
		{time.Hour + 10*time.Second, "pass"},
		{time.Hour + 11*time.Second, "403 signature_too_long"},
		{24 * 365 * time.Hour, "403 signature_too_long"},
		{-9 * time.Second, "pass"},
		{-10 * time.Second, "403 signature_expired"},
	} {
		signed := s.sign(t, "https://a/", secret1, signedurl.Grant{Expires: s.Now().Add(tt.left)})
		if got, _ := s.ask(t, "GET", signed); got != tt.want {
			t.Errorf("%s left: %s, want %s", tt.left, got, tt.want)
		}
	}
	// Time passes.
	signed := s.sign(t, "https://a/", secret1, signedurl.Grant{Expires: s.Now().Add(2 * time.Hour)})
	for _, want := range []string{"403 signature_too_long", "pass", "pass", "403 signature_expired"} {
		if got, _ := s.ask(t, "GET", signed); got != want {
			t.Errorf("at %s: %s, want %s", s.Now().Format(time.TimeOnly), got, want)
		}
		s.Advance(time.Hour - time.Second)
		if want == "pass" {
			s.Advance(7 * time.Second)
		}
	}
}

// FuzzDecide holds that a request passes only with a signature of a key of the site, and none of it goes upstream.
func FuzzDecide(f *testing.F) {
	s := newSite(f, twoKeys)
	good := map[string]bool{}
	for _, raw := range []string{
		s.sign(f, "https://api.example.com/a?x=1", secret1, signedurl.Grant{}),
		s.sign(f, "https://api.example.com/pub/b", secret2, signedurl.Grant{KeyID: "k2", Prefix: "/pub"}),
	} {
		_, target, _ := strings.Cut(raw, ".com")
		f.Add("GET", "api.example.com", target)
		f.Add("PUT", "API.example.com:80", strings.Replace(target, "?", "?gw%5Fip=%3A%3A1&", 1))
		good[raw[len(raw)-43:]] = true
	}
	f.Fuzz(func(t *testing.T, method, authority, target string) {
		got, query := s.ask(t, method, "https://"+strings.ReplaceAll(authority, "/", "")+"/"+strings.TrimPrefix(target, "/"))
		if got != "pass" {
			return
		}
		_, sent, _ := strings.Cut(target, "?")
		values, err := url.ParseQuery(sent)
		if err != nil || !good[values.Get("gw_sig")] || method != "GET" && method != "HEAD" {
			t.Fatalf("%s %s passes with %q", method, target, values.Get("gw_sig"))
		}
		rest, err := url.ParseQuery(query)
		for name := range rest {
			if err != nil || strings.HasPrefix(name, "gw_") {
				t.Fatalf("%q goes upstream", query)
			}
		}
	})
}
