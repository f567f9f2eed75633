package hostile_test

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/suuupra/gateway/internal/jose"
)

// issuerInput is a server of keys, or of what says where they are, that means no good.
type issuerInput struct {
	name      string
	discovery bool // it is asked for metadata
	answer    func(w http.ResponseWriter, r *http.Request, i *issuers)
	is        outcome
}

// says answers with a text. In it, {set} stands for a good set, {keys} for the address of the server, {good} for where a good set is.
func says(text string) func(http.ResponseWriter, *http.Request, *issuers) {
	return func(w http.ResponseWriter, _ *http.Request, i *issuers) { _, _ = io.WriteString(w, i.put(text)) }
}

// leads answers with a redirect.
func leads(status int, to string) func(http.ResponseWriter, *http.Request, *issuers) {
	return func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		w.Header().Set("Location", i.put(to))
		w.WriteHeader(status)
		_, _ = io.WriteString(w, i.set) // for who reads it nevertheless
	}
}

// status answers with a good set under another status.
func status(code int) func(http.ResponseWriter, *http.Request, *issuers) {
	return func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		w.WriteHeader(code)
		_, _ = io.WriteString(w, i.set)
	}
}

// names answers with the metadata of the issuer that is meant, with a jwks_uri as a piece of JSON.
func names(jwksURI string) func(http.ResponseWriter, *http.Request, *issuers) {
	return func(w http.ResponseWriter, r *http.Request, i *issuers) {
		fmt.Fprintf(w, `{"issuer":"https://%s.example","jwks_uri":%s}`, r.URL.Path[1:], i.put(jwksURI)) //nolint:gosec // no page
	}
}

var issuerInputs = []issuerInput{
	{name: "good", is: normal, answer: says("{set}")},
	{name: "redirect to metadata", answer: leads(302, "http://169.254.169.254/latest/meta-data/iam/")},
	{name: "redirect to a file", answer: leads(302, "file:///etc/passwd")},
	{name: "redirect to gopher", answer: leads(302, "gopher://127.0.0.1:6379/_FLUSHALL")},
	{name: "redirect to a good set", answer: leads(301, "{good}")},
	{name: "redirect of the other kind", answer: leads(307, "{good}")},
	{name: "redirect without end", answer: leads(308, "")},
	{name: "page", answer: says("<!doctype html><title>Sign in</title>")},
	{name: "page with a set in it", answer: says("<!doctype html><pre>{set}</pre>")},
	{name: "nothing", answer: says("")},
	{name: "status 204", answer: func(w http.ResponseWriter, _ *http.Request, _ *issuers) { w.WriteHeader(204) }},
	{name: "status 203", answer: status(203)},
	{name: "status 206", answer: status(206)},
	{name: "status 401", answer: status(401)},
	{name: "status 404", answer: status(404)},
	{name: "status 500", answer: status(500)},
	{name: "empty set", answer: says(`{"keys":[]}`)},
	{name: "set null", answer: says(`{"keys":null}`)},
	{name: "set an object", answer: says(`{"keys":{"es":1}}`)},
	{name: "keys in capitals", answer: says(`{"KEYS":[]}`)},
	{name: "keys twice", answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, strings.Replace(i.set, "{", `{"keys":[],`, 1))
	}},
	{name: "no object", answer: says(`[]`)},
	{name: "set behind a byte order mark", answer: says("\xef\xbb\xbf{set}")},
	{name: "set with something behind it", answer: says("{set}{set}")},
	{name: "set of 10,000 lists in each other", answer: says(`{"keys":[` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + `]}`)},
	{name: "keys no objects", answer: says(`{"keys":[1,null,"x",[],{}]}`)},
	{name: "secret keys alone", answer: says(`{"keys":[{"kty":"oct","kid":"es","alg":"HS256","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}`)},
	{name: "RSA of 512 bits alone", answer: says(`{"keys":[{"kty":"RSA","kid":"es","e":"AQAB","n":"` + strings.Repeat("_", 85) + `"}]}`)},
	{name: "101 keys", answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, strings.Replace(i.set, "[", "["+strings.Repeat("{},", 100), 1))
	}},
	{name: "100 keys", is: bounded, answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, strings.Replace(i.set, "[", "["+strings.Repeat("{},", 99), 1))
	}},
	{name: "100,000 keys", answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, strings.Replace(i.set, "[", "["+strings.Repeat(`{"kty":"EC"},`, 100_000), 1))
	}},
	{name: "100 MiB", answer: pours},
	{name: "bomb", answer: bombs},
	{name: "set in a coding", answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_, _ = io.WriteString(z, i.set)
		_ = z.Close()
	}},
	{name: "header of 1 MiB", answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		w.Header().Set("X", strings.Repeat("x", mebibyte))
		_, _ = io.WriteString(w, i.set)
	}},
	{name: "end within the set", answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		w.Header().Set("Content-Length", itoa(len(i.set)+1))
		_, _ = io.WriteString(w, i.set)
	}},
	{name: "a byte now and then", answer: trickle},
	{name: "no answer", answer: func(_ http.ResponseWriter, r *http.Request, _ *issuers) { <-r.Context().Done() }},

	{name: "good metadata", is: normal, discovery: true, answer: names(`"{good}"`)},
	{name: "metadata with the keys on another host", is: normal, discovery: true, answer: names(`"{elsewhere}"`)}, // as some providers have it
	{name: "metadata of another issuer", discovery: true, answer: says(`{"issuer":"https://evil.example","jwks_uri":"{good}"}`)},
	{name: "metadata of no issuer", discovery: true, answer: says(`{"jwks_uri":"{good}"}`)},
	{name: "metadata of an issuer with a slash", discovery: true, answer: func(w http.ResponseWriter, r *http.Request, i *issuers) {
		fmt.Fprintf(w, `{"issuer":"https://%s.example/","jwks_uri":"%s/good"}`, r.URL.Path[1:], i.keys.URL) //nolint:gosec // no page
	}},
	{name: "metadata with Issuer", discovery: true, answer: func(w http.ResponseWriter, r *http.Request, i *issuers) {
		fmt.Fprintf(w, `{"Issuer":"https://%s.example","jwks_uri":"%s/good"}`, r.URL.Path[1:], i.keys.URL) //nolint:gosec // no page
	}},
	{name: "metadata that redirect", discovery: true, answer: leads(302, "{good}")},
	{name: "metadata that are a page", discovery: true, answer: says("<!doctype html>")},
	{name: "metadata of 100 MiB", discovery: true, answer: pours},
	{name: "metadata without keys", discovery: true, answer: func(w http.ResponseWriter, r *http.Request, _ *issuers) {
		fmt.Fprintf(w, `{"issuer":"https://%s.example"}`, r.URL.Path[1:]) //nolint:gosec // no page
	}},
	{name: "keys at a metadata service", discovery: true, answer: names(`"http://169.254.169.254/keys"`)},
	{name: "keys at a metadata service, mapped", discovery: true, answer: names(`"http://[::ffff:169.254.169.254]/keys"`)},
	{name: "keys at a metadata service, by NAT64", discovery: true, answer: names(`"http://[64:ff9b::a9fe:a9fe]/keys"`)},
	{name: "keys at a metadata service, with a name", discovery: true, answer: names(`"http://good@169.254.169.254/keys"`)},
	{name: "keys at nowhere", discovery: true, answer: names(`"http://0.0.0.0/keys"`)},
	{name: "keys in a file", discovery: true, answer: names(`"file:///etc/passwd"`)},
	{name: "keys at gopher", discovery: true, answer: names(`"gopher://127.0.0.1:6379/_INFO"`)},
	{name: "keys in the metadata", discovery: true, answer: names(`"data:application/json,{}"`)},
	{name: "keys at a relative address", discovery: true, answer: names(`"/good"`)},
	{name: "keys at an address with credentials", discovery: true, answer: func(w http.ResponseWriter, r *http.Request, i *issuers) {
		fmt.Fprintf(w, `{"issuer":"https://%s.example","jwks_uri":"http://a:b@%s/good"}`, r.URL.Path[1:], strings.TrimPrefix(i.keys.URL, "http://")) //nolint:gosec // no page
	}},
	{name: "keys at a number", discovery: true, answer: names("1")},
	{name: "keys at several addresses", discovery: true, answer: names(`["{good}"]`)},
}

// issuers is a site with a route for each of them.
type issuers struct {
	*site
	keys *keyServer
	key  *jose.Signer
	set  string
	next string       // a set with another key alone
	sent atomic.Int64 // bytes that the worst flood got rid of
}

// put fills in the names of a text.
func (i *issuers) put(text string) string {
	elsewhere := strings.Replace(i.keys.URL, "127.0.0.1", "localhost", 1)
	return strings.NewReplacer("{set}", i.set, "{next}", i.next, "{good}", i.keys.URL+"/good", "{elsewhere}", elsewhere+"/good").Replace(text)
}

// pours answers with a good set, and 100 MiB of spaces.
func pours(w http.ResponseWriter, _ *http.Request, i *issuers) {
	_, _ = io.WriteString(w, i.set)
	spaces := bytes.Repeat([]byte(" "), 64<<10)
	for sent := int64(0); sent < 100<<20; {
		n, err := w.Write(spaces)
		if sent += int64(n); err != nil {
			break
		}
		for most := i.sent.Load(); sent > most && !i.sent.CompareAndSwap(most, sent); most = i.sent.Load() {
		}
	}
}

// bombs answers with some KiB that become many MiB.
func bombs(w http.ResponseWriter, _ *http.Request, _ *issuers) {
	w.Header().Set("Content-Encoding", "gzip")
	z, _ := gzip.NewWriterLevel(w, gzip.BestCompression)
	spaces := bytes.Repeat([]byte(" "), mebibyte)
	for range 16 {
		if _, err := z.Write(spaces); err != nil {
			return
		}
	}
	_ = z.Close()
}

// trickle answers with a byte now and then, until nobody listens any more.
func trickle(w http.ResponseWriter, r *http.Request, _ *issuers) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		_, _ = w.Write([]byte(" "))
		_ = http.NewResponseController(w).Flush()
		select {
		case <-tick.C:
		case <-r.Context().Done():
			return
		}
	}
}

// turnInput is an issuer whose keys were good, and what becomes of its tokens when it is asked again.
type turnInput struct {
	name   string
	answer func(w http.ResponseWriter, r *http.Request, i *issuers)
	is     outcome
	want   string // "": 200
}

// turnInputs: what is no set takes no key away, and what is one does at once.
var turnInputs = []turnInput{
	{name: "set emptied", is: bounded, answer: says(`{"keys":[]}`)},
	{name: "set of secret keys", is: bounded, answer: says(`{"keys":[{"kty":"oct","kid":"es","k":"AAAA"}]}`)},
	{name: "then a page", is: bounded, answer: says("<!doctype html>")},
	{name: "then 100 MiB", is: bounded, answer: pours},
	{name: "then an error", is: bounded, answer: status(503)},
	{name: "then a redirect", is: bounded, answer: leads(302, "http://169.254.169.254/")},
	{name: "then the end of the connection", is: bounded, answer: func(w http.ResponseWriter, _ *http.Request, _ *issuers) {
		c, _, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_ = c.Close()
		}
	}},
	{name: "key withdrawn", want: invalid, answer: says(`{next}`)},
	{name: "key exchanged under its name", want: invalid, answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, strings.ReplaceAll(i.put("{next}"), `"next"`, `"es"`))
	}},
	{name: "key for encryption from now on", want: invalid, answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, `{"keys":[`+strings.Replace(members(i.set), `"sig"`, `"enc"`, 1)+","+members(i.put("{next}"))+`]}`)
	}},
	{name: "key for another algorithm from now on", want: invalid, answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, `{"keys":[`+strings.Replace(members(i.set), `"ES256"`, `"ES384"`, 1)+","+members(i.put("{next}"))+`]}`)
	}},
	{name: "key twice from now on", want: invalid, answer: func(w http.ResponseWriter, _ *http.Request, i *issuers) {
		_, _ = io.WriteString(w, `{"keys":[`+members(i.set)+","+members(i.set)+","+members(i.put("{next}"))+`]}`)
	}},
}

// members are the keys of a set.
func members(set string) string {
	return strings.TrimSuffix(strings.TrimPrefix(set, `{"keys":[`), "]}")
}

func newIssuers(t *testing.T) *issuers {
	t.Helper()
	i := &issuers{keys: newKeyServer(t)}
	var err error
	if i.key, err = jose.NewSigner("ES256", "es"); err != nil {
		t.Fatal(err)
	}
	if i.set, err = publicSet(i.key); err != nil {
		t.Fatal(err)
	}
	next, err := jose.NewSigner("ES256", "next")
	if err != nil {
		t.Fatal(err)
	}
	if i.next, err = publicSet(next); err != nil {
		t.Fatal(err)
	}
	i.keys.publish("/good", i.set)
	routes := strings.Builder{}
	routes.WriteString("routes:\n")
	route := func(id, where string) {
		fmt.Fprintf(&routes, `  - id: %[1]s
    matcher: { path: /%[1]s/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { maxFailuresPerMinute: 100000, issuer: "https://%[1]s.example", audience: suuupra-api, %[2]s: "%[3]s/%[1]s" } } }
`, id, where, i.keys.URL)
	}
	for _, in := range issuerInputs {
		id := slug(in.name)
		i.keys.set("/"+id, func(w http.ResponseWriter, r *http.Request) { in.answer(w, r, i) })
		where := "jwksUri"
		if in.discovery {
			where = "oidcDiscoveryUrl"
		}
		route(id, where)
	}
	for _, in := range turnInputs {
		i.keys.publish("/"+slug(in.name), i.set)
		route(slug(in.name), "jwksUri")
	}
	i.keys.publish("/guessed", i.set)
	route("guessed", "jwksUri")
	i.site = startSite(t, plan{files: map[string]string{"routes/issuers.yaml": routes.String()}})
	return i
}

// bearing is a request with a token of an issuer.
func (i *issuers) bearing(id string, head map[string]any, want string) *attempt {
	token := by(i.key, head, map[string]any{"iss": "https://" + id + ".example"})
	i.keepToken(token)
	a := &attempt{line: "GET /" + id + "/x", fields: []string{"Authorization: Bearer " + token}, want: want}
	if want == "200" {
		a.to = a.line
	}
	return a
}

// TestIssuers asks with tokens of issuers whose servers are hostile from the beginning, or become so.
func TestIssuers(t *testing.T) {
	t.Parallel()
	i := newIssuers(t)
	for _, in := range turnInputs {
		id := slug(in.name)
		known := i.bearing(id, nil, "200")
		i.try(t, in.name+", before", func() *attempt { return known })
		i.keys.set("/"+id, func(w http.ResponseWriter, r *http.Request) { in.answer(w, r, i) })
		// A key that is not known is the reason to ask again.
		i.send(t, ways[0], i.bearing(id, map[string]any{"kid": "unknown"}, invalid))
		want := in.want
		if want == "" {
			want = "200"
		}
		i.try(t, in.name, func() *attempt { return i.bearing(id, nil, want) })
		if known.want = want; want != "200" {
			known.to = ""
		}
		i.try(t, in.name+", a token that was known", func() *attempt { return known })
		if n := i.keys.count("/" + id); n < 2 {
			t.Errorf("%s: asked %d times", in.name, n)
		}
	}
	for _, in := range issuerInputs {
		want := unchecked
		if in.is != refused {
			want = "200"
		}
		i.try(t, in.name, func() *attempt { return i.bearing(slug(in.name), nil, want) })
	}
	for _, s := range guesses {
		t.Run(s.name, func(t *testing.T) { s.run(t, i) })
	}
	if n := i.keys.count("/good"); n > 4 { // of the metadata alone: no redirect was followed
		t.Errorf("the good set was asked for %d times", n)
	}
	if n := i.sent.Load(); n > 32*mebibyte { // what lies in buffers between the two is neither's
		t.Errorf("a flood got rid of %d bytes", n)
	}
}

// guesses are key ids that clients make up.
var guesses = []story[*issuers]{{name: "10,000 ids of keys that are made up", run: guessKeys}}

// guessKeys makes ten thousand key ids up: the issuer is asked twice a minute at the most.
func guessKeys(t *testing.T, i *issuers) {
	const guesses = 10_000
	i.try(t, "before", func() *attempt { return i.bearing("guessed", nil, "200") })
	before, began := i.moment(), time.Now()
	c := i.asker(t, "")
	go func() {
		for n := range guesses {
			if _, err := io.WriteString(c, i.bearing("guessed", map[string]any{"kid": itoa(n)}, "").kept()); err != nil {
				return
			}
		}
	}()
	for n := range guesses {
		if got, _, err := c.response(http.MethodGet); got != invalid || err != nil {
			t.Fatalf("guess %d: %q, %v", n, got, err)
		}
	}
	_ = c.Close()
	i.judge(t, before, "", "")
	i.try(t, "after", func() *attempt { return i.bearing("guessed", nil, "200") })
	if n, most := i.keys.count("/guessed"), 2+int(time.Since(began)/(30*time.Second)); n > most {
		t.Errorf("%d guesses made the gateway ask %d times, want %d at the most", guesses, n, most)
	}
}
