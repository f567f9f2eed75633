package hostile_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/signedurl"
)

// signedInput is a URL that was signed, and what became of it.
type signedInput struct {
	name   string
	url    string          // path and query that are signed; "": /s/a?b=c
	grant  signedurl.Grant // the key is k1 and the end in a minute, if they are not said
	ends   time.Duration   // from now
	by     string          // the key that signs; "": k1
	change func(target string) string
	line   string // method; "": GET
	host   string
	from   string
	fields []string
	body   string
	is     outcome
	want   string // "": 200
	http2  string
	to     string // what reaches the upstream; "": /s/a?b=c
}

const (
	sigMissing   = "403 signature_missing"
	sigMalformed = "403 signature_malformed"
	sigInvalid   = "403 signature_invalid"
	sigExpired   = "403 signature_expired"
	sigTooLong   = "403 signature_too_long"
	sigMethod    = "403 signature_method"
	sigIP        = "403 signature_ip"
)

// swap has one text stand in place of another.
func swap(old, new string) func(string) string {
	return func(s string) string {
		if !strings.Contains(s, old) {
			panic("nothing to swap in " + s)
		}
		return strings.Replace(s, old, new, 1)
	}
}

// put has a parameter say something else.
func put(name, value string) func(string) string {
	re := regexp.MustCompile(`\b` + name + `=[^&]*`)
	return func(s string) string {
		if !re.MatchString(s) {
			panic("no " + name + " in " + s)
		}
		return re.ReplaceAllLiteralString(s, value)
	}
}

// signature changes the signature.
func signature(change func(sig string) string) func(string) string {
	return func(s string) string {
		head, sig, _ := strings.Cut(s, "gw_sig=")
		return head + "gw_sig=" + change(sig)
	}
}

// expiry writes the end in another way.
func expiry(change func(seconds string) string) func(string) string {
	re := regexp.MustCompile(`gw_exp=(\d+)`)
	return func(s string) string {
		return strings.Replace(s, re.FindString(s), "gw_exp="+change(re.FindStringSubmatch(s)[1]), 1)
	}
}

func client4(last string) netip.Addr { return netip.MustParseAddr("127.0.0." + last) }

var signedInputs = []signedInput{
	{name: "signed", is: normal},
	{name: "signed with another method", is: normal, line: "PUT", grant: signedurl.Grant{Methods: []string{"PUT"}}},
	{name: "HEAD by a signature for GET", is: normal, line: "HEAD"},

	// When.
	{name: "expired 31 seconds ago", ends: -31 * time.Second, want: sigExpired},
	{name: "expired 25 seconds ago", is: normal, ends: -25 * time.Second},
	{name: "longer than an hour", url: "/brief/a", ends: 2 * time.Hour, want: sigTooLong},
	{name: "an hour", is: normal, url: "/brief/a", ends: time.Hour, to: "/brief/a"},
	{name: "no end", change: put("gw_exp", ""), want: sigMalformed},
	{name: "no end, and no parameter of it", change: func(s string) string { return regexp.MustCompile(`gw_exp=\d+&`).ReplaceAllString(s, "") }, want: sigMalformed},
	{name: "two ends", change: swap("gw_sig=", "gw_exp=99999999999&gw_sig="), want: sigMalformed},
	{name: "two ends, the second with an escape in its name", change: swap("gw_sig=", "gw%5Fexp=99999999999&gw_sig="), want: sigMalformed},
	{name: "another end", change: put("gw_exp", "gw_exp=99999999999"), want: sigInvalid},
	{name: "end with plus", change: expiry(func(s string) string { return "+" + s }), want: sigMalformed},
	{name: "end with an escaped plus", change: expiry(func(s string) string { return "%2B" + s }), want: sigMalformed},
	{name: "end with a zero in front", change: expiry(func(s string) string { return "0" + s }), want: sigMalformed},
	{name: "end with a fraction", change: expiry(func(s string) string { return s + ".0" }), want: sigMalformed},
	{name: "end 1e12", change: put("gw_exp", "gw_exp=1e12"), want: sigMalformed},
	{name: "end hex", change: put("gw_exp", "gw_exp=0xffffffff"), want: sigMalformed},
	{name: "end negative", change: put("gw_exp", "gw_exp=-1"), want: sigMalformed},
	{name: "end of 12 digits", change: put("gw_exp", "gw_exp=999999999999"), want: sigMalformed},
	{name: "end 2^64 and more", change: put("gw_exp", "gw_exp=18446744073709551617"), want: sigMalformed},
	{name: "end in Arabic digits", change: put("gw_exp", "gw_exp=%D9%A9%D9%A9%D9%A9%D9%A9%D9%A9%D9%A9%D9%A9%D9%A9%D9%A9%D9%A9"), want: sigMalformed},
	{name: "end with an escaped digit", is: normal, change: expiry(func(s string) string { return "%3" + s[:1] + s[1:] })}, // decoded, it is the same
	{name: "end with a space", change: expiry(func(s string) string { return s + "+" }), want: sigMalformed},

	// By whom.
	{name: "no signature", change: put("gw_sig", ""), want: sigMissing},
	{name: "no parameters of it", change: func(string) string { return "/s/a?b=c" }, want: sigMissing},
	{name: "signature empty", change: put("gw_sig", "gw_sig="), want: sigMalformed},
	{name: "signature truncated", change: signature(func(s string) string { return s[:42] }), want: sigMalformed},
	{name: "signature with a character more", change: signature(func(s string) string { return s + "A" }), want: sigMalformed},
	{name: "signature with padding", change: signature(func(s string) string { return s + "=" }), want: sigMalformed},
	{name: "signature in capitals", change: signature(func(s string) string { return strings.ToUpper(s) }), want: sigInvalid},
	{name: "signature in hex", change: signature(func(s string) string { return strings.Repeat("a", 64) }), want: sigMalformed},
	{name: "signature in the other alphabet", change: signature(func(s string) string { return "%2B%2F" + s[2:] }), want: sigMalformed},
	{name: "signature with spare bits", change: signature(func(s string) string { return s[:42] + string(s[42]+1) }), want: sigInvalid},
	{name: "signature of zeros", change: signature(func(s string) string { return strings.Repeat("A", 43) }), want: sigInvalid},
	{name: "signature twice", change: signature(func(s string) string { return s + "&gw_sig=" + s }), want: sigMalformed},
	{name: "signature with a null byte", change: signature(func(s string) string { return s + "%00" }), want: sigMalformed},
	{name: "signature with an escaped letter", is: normal, change: signature(func(s string) string { return "%" + hexOf(s[0]) + s[1:] })},
	{name: "key of another id", change: put("gw_kid", "gw_kid=k2"), want: sigInvalid},
	{name: "key of no id", change: put("gw_kid", "gw_kid=k9"), want: sigInvalid},
	{name: "key in capitals", change: put("gw_kid", "gw_kid=K1"), want: sigInvalid},
	{name: "key without id", change: put("gw_kid", "gw_kid="), want: sigMalformed},
	{name: "key with a path as its id", change: put("gw_kid", "gw_kid=..%2F..%2Fdev%2Fnull"), want: sigMalformed},
	{name: "key with an id of 65 letters", change: put("gw_kid", "gw_kid="+strings.Repeat("k", 65)), want: sigMalformed},
	{name: "key twice", change: swap("gw_sig=", "gw_kid=k2&gw_sig="), want: sigMalformed},
	{name: "unknown id, signed with zeros", by: "zeros", grant: signedurl.Grant{KeyID: "k9"}, want: sigInvalid}, // what stands in for a key that there is not
	{name: "empty key", change: byNobody, want: sigInvalid},
	{name: "the other of two keys", is: normal, by: "k2", grant: signedurl.Grant{KeyID: "k2"}},
	{name: "key of another route", by: "k3", grant: signedurl.Grant{KeyID: "k3"}, want: sigInvalid},
	{name: "key of another route under the id of this one's", by: "k3", want: sigInvalid},
	{name: "key that is not there", url: "/lost/a", by: "k1", grant: signedurl.Grant{KeyID: "lost"}, want: "503 signing_key_unavailable"},
	{name: "key that is too short", url: "/lost/a", by: "k1", grant: signedurl.Grant{KeyID: "short"}, want: "503 signing_key_unavailable"},

	// For what: the query.
	{name: "parameter more", change: swap("b=c", "b=c&x=y"), want: sigInvalid},
	{name: "parameter more, behind", change: signature(func(s string) string { return s + "&x=y" }), want: sigInvalid},
	{name: "parameter more, in front", change: swap("?", "?x=y&"), want: sigInvalid},
	{name: "parameter without name", change: swap("b=c", "b=c&=x"), want: sigInvalid},
	{name: "parameter less", change: swap("b=c&", ""), want: sigInvalid},
	{name: "parameter twice", change: swap("b=c", "b=c&b=c"), want: sigInvalid},
	{name: "parameter twice, in another order", url: "/s/a?b=1&b=2", change: swap("b=1&b=2", "b=2&b=1"), want: sigInvalid},
	{name: "parameter changed", change: swap("b=c", "b=d"), want: sigInvalid},
	{name: "parameter in capitals", change: swap("b=c", "B=c"), want: sigInvalid},
	{name: "parameter split by a semicolon", change: swap("b=c", "b=c;x=y"), want: sigMalformed},
	{name: "parameter with half an escape", change: swap("b=c", "b=c%"), want: sigMalformed},
	{name: "parameter with an escape that is none", change: swap("b=c", "b=c%zz"), want: sigMalformed},
	{name: "parameter with an escaped &", url: "/s/a?b=c%26x%3Dy", change: swap("%26x%3Dy", "&x=y"), want: sigInvalid},
	{name: "unknown parameter of the gateway's", change: swap("b=c", "b=c&gw_admin=1"), want: sigMalformed},
	{name: "unknown parameter of the gateway's, with an escape", change: swap("b=c", "b=c&gw%5Fadmin=1"), want: sigMalformed},
	{name: "prefix of the signer's choice", change: swap("gw_sig=", "gw_prefix=%2F&gw_sig="), want: sigInvalid},
	{name: "methods of the signer's choice", change: swap("gw_sig=", "gw_methods=PUT&gw_sig="), line: "PUT", want: sigInvalid},
	{name: "257 parameters", change: swap("b=c", "b=c"+strings.Repeat("&x", 257)), want: sigMalformed},
	{name: "parameters in another order", is: normal, url: "/s/a?b=c&d=e", change: swap("b=c&d=e", "d=e&b=c"), to: "/s/a?d=e&b=c"},
	{name: "other spelling of a slash", is: normal, url: "/s/a?b=%2f", change: swap("%2f", "%2F"), to: "/s/a?b=%2F"},
	{name: "other spelling of a space", is: normal, url: "/s/a?b=x+y", change: swap("x+y", "x%20y"), to: "/s/a?b=x%20y"},
	{name: "length extension", change: extended, want: sigInvalid},
	{name: "line break in a value, for a line of the signature", url: "/s/a?b=c%0Apath%3A%2Fs%2Fb", is: normal, to: "/s/a?b=c%0Apath%3A%2Fs%2Fb"},
	{name: "line break in the host's place", change: swap("gw_kid=k1", "gw_kid=k1%0A9999999999"), want: sigMalformed},

	// For what: the path.
	{name: "another path", change: swap("/s/a", "/s/b"), want: sigInvalid},
	{name: "path below", change: swap("/s/a", "/s/a/b"), want: sigInvalid},
	{name: "path with a slash", change: swap("/s/a", "/s/a/"), want: sigInvalid},
	{name: "path in capitals", change: swap("/s/a", "/s/A"), want: sigInvalid},
	{name: "path with an escaped slash", url: "/s/a/b", change: swap("/s/a/b", "/s/a%2fb"), want: encodedSlash},
	{name: "path with a parameter", change: swap("/s/a", "/s/a;x"), want: parameter},
	{name: "path with a null byte", change: swap("/s/a", "/s/a%00"), want: pathControl},
	{name: "path with a line break", change: swap("/s/a", "/s/a%0Ab"), want: pathControl},
	{name: "path by another way", is: normal, change: swap("/s/a", "/s/b/../a")}, // one normal form is signed, matched and forwarded
	{name: "path with two slashes", is: normal, change: swap("/s/a", "//s//a")},
	{name: "path with an escaped letter", is: normal, change: swap("/s/a", "/s/%61")},
	{name: "path out of the signed one", change: swap("/s/a", "/s/a/../b"), want: sigInvalid},
	{name: "prefix", is: normal, url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: swap("/s/pub/x", "/s/pub/y"), to: "/s/pub/y"},
	{name: "prefix with parameters", is: normal, url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: swap("?", "?range=1&"), to: "/s/pub/x?range=1"},
	{name: "prefix of a longer name", url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: swap("/s/pub/x", "/s/public"), want: sigInvalid},
	{name: "prefix and out of it", url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: swap("/s/pub/x", "/s/pub/../b"), want: sigInvalid},
	{name: "prefix and out of it, escaped", url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: swap("/s/pub/x", "/s/pub/%2e%2e/b"), want: sigInvalid},
	{name: "prefix and out of it, escaped twice", is: normal, url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: swap("/s/pub/x", "/s/pub/%252e%252e/b"), to: "/s/pub/%252e%252e/b"}, // it is a name
	{name: "prefix and out of it, by a backslash", url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: swap("/s/pub/x", `/s/pub/..\b`), want: backslash},
	{name: "prefix in another form", url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: put("gw_prefix", "gw_prefix=/s//pub"), want: sigMalformed},
	{name: "prefix shorter", url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: put("gw_prefix", "gw_prefix=/s"), want: sigInvalid},
	{name: "prefix taken out", url: "/s/pub/x", grant: signedurl.Grant{Prefix: "/s/pub"}, change: func(s string) string { return strings.Replace(s, "&gw_prefix=/s/pub", "", 1) }, want: sigInvalid},

	// How, where, and from whom.
	{name: "PUT by a signature for GET", line: "PUT", want: sigMethod},
	{name: "POST by a signature for GET", line: "POST", body: "x", want: sigMethod},
	{name: "OPTIONS by a signature for GET", line: "OPTIONS", want: sigMethod},
	{name: "GET by a signature for PUT", grant: signedurl.Grant{Methods: []string{"PUT"}}, want: sigMethod},
	{name: "another host", host: "evil.test", want: sigInvalid},
	{name: "host below", host: "x.h", want: sigInvalid},
	{name: "host with a dot behind", is: normal, host: "h."}, // it is the same host (RFC 1034 section 3.1)
	{name: "host in capitals", is: normal, host: "H"},
	{name: "host with a port", is: normal, host: "h:8443"},
	{name: "bound to another address", grant: signedurl.Grant{Client: client4("9")}, want: sigIP},
	{name: "bound to the client's address", is: normal, from: "127.0.0.9", grant: signedurl.Grant{Client: client4("9")}},
	{name: "bound to another address, which a field names", grant: signedurl.Grant{Client: client4("9")}, fields: []string{"X-Forwarded-For: 127.0.0.9"}, want: sigIP},
	{name: "bound, and taken off", grant: signedurl.Grant{Client: client4("9")}, change: func(s string) string { return strings.Replace(s, "&gw_ip=127.0.0.9", "", 1) }, want: sigInvalid},
	{name: "bound to an address in another form", grant: signedurl.Grant{Client: client4("9")}, change: put("gw_ip", "gw_ip=::ffff:127.0.0.1"), want: sigMalformed},
	{name: "bound to an address with zeros", grant: signedurl.Grant{Client: client4("9")}, change: put("gw_ip", "gw_ip=127.0.0.01"), want: sigMalformed},
}

func hexOf(c byte) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[c>>4], digits[c&15]})
}

// byNobody signs with an empty key, and names none.
func byNobody(s string) string {
	mac := hmac.New(sha256.New, nil)
	exp := regexp.MustCompile(`gw_exp=(\d+)`).FindStringSubmatch(s)[1]
	mac.Write([]byte("gw-signed-url-v1\nk1\n" + exp + "\n\n\nh\npath:/s/a\nb=c"))
	return signature(func(string) string { return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)) })(s)
}

// extended appends what SHA-256 would have appended, and a parameter: of a plain hash over key and text, that would be another good
// signature.
func extended(s string) string { return swap("b=c", "b=c%80%00%00%00%00%00%00%02%00&x=y")(s) }

const signedRoutes = `routes:
  - id: signed
    matcher: { path: /s/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { signedUrl: { keys: [{ id: k1, secretRef: "env:HOSTILE_URL_1" }, { id: k2, secretRef: "env:HOSTILE_URL_2" }] } }
  - id: brief
    matcher: { path: /brief/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { signedUrl: { keys: [{ id: k1, secretRef: "env:HOSTILE_URL_1" }, { id: k3, secretRef: "env:HOSTILE_URL_3" }], maxLifetime: 1h } }
  - id: lost
    matcher: { path: /lost/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { signedUrl: { keys: [{ id: lost, secretRef: "env:HOSTILE_URL_LOST" }, { id: short, secretRef: "env:HOSTILE_URL_SHORT" }] } }
`

// signer is a site that wants signatures.
type signer struct {
	*site
	keys map[string]*signedurl.Key
}

func newSigner(t *testing.T) *signer {
	t.Helper()
	s := &signer{keys: map[string]*signedurl.Key{}}
	secrets := map[string]string{"zeros": strings.Repeat("\x00", 32)}
	env := []string{"HOSTILE_URL_SHORT=0123456789abcdef0123456789abcde"}
	for _, n := range []string{"1", "2", "3"} {
		secrets["k"+n] = rand.Text() + rand.Text()
		env = append(env, "HOSTILE_URL_"+n+"="+secrets["k"+n])
	}
	s.site = startSite(t, plan{files: map[string]string{"routes/signed.yaml": signedRoutes}, env: env})
	for id, secret := range secrets {
		key, err := signedurl.NewKey([]byte(secret))
		if err != nil {
			t.Fatal(err)
		}
		s.keys[id] = key
		if id != "zeros" {
			s.keep("a key of signed URLs", secret)
		}
	}
	return s
}

// attempt signs the URL, and has it changed.
func (s *signer) attempt(t *testing.T, in *signedInput) *attempt {
	t.Helper()
	g, by, url, method := in.grant, in.by, in.url, in.line
	if g.KeyID == "" {
		g.KeyID = "k1"
	}
	if by == "" {
		by = "k1"
	}
	if url == "" {
		url = "/s/a?b=c"
	}
	if method == "" {
		method = "GET"
	}
	ends := in.ends
	if ends == 0 {
		ends = time.Minute
	}
	g.Expires = time.Now().Add(ends)
	signed, err := signedurl.Sign("http://h"+url, &g, s.keys[by])
	if err != nil {
		t.Fatal(err)
	}
	target := strings.TrimPrefix(signed, "http://h")
	_, sig, _ := strings.Cut(target, "gw_sig=")
	s.keep("a signature", sig)
	if in.change != nil {
		target = in.change(target)
	}
	a := &attempt{line: method + " " + target, host: in.host, from: in.from, fields: in.fields, body: in.body, want: in.want, http2: in.http2}
	if in.is != refused {
		a.want, a.to = "200", method+" /s/a?b=c"
		if in.to != "" {
			a.to = method + " " + in.to
		}
		a.without = []string{"gw_", sig}
	}
	if method == "HEAD" && a.want != "200" {
		a.want, _, _ = strings.Cut(a.want, " ")
	}
	return a
}

// TestSignedURLs sends each, and wants the upstream to see no signature.
func TestSignedURLs(t *testing.T) {
	t.Parallel()
	s := newSigner(t)
	for _, in := range signedInputs {
		s.try(t, in.name, func() *attempt { return s.attempt(t, &in) })
	}
}
