package hostile_test

import (
	"strings"
	"testing"
)

const aroundRoutes = `routes:
  - id: by-token
    matcher: { host: h, path: /guarded/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { auth: { jwt: { issuer: "https://identity.example", audience: suuupra-api, jwksUri: "http://127.0.0.1:1/keys" } } }
  - id: by-address
    matcher: { host: addresses.test, path: /guarded/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { ip: { allow: [10.0.0.0/8] } }
  - id: by-signature
    matcher: { host: signatures.test, path: /guarded/* }
    target: { type: http, url: "http://{guarded}" }
    policy: { signedUrl: { keys: [{ id: k1, secretRef: "env:HOSTILE_URL_KEY" }] } }
`

// TestAround asks for what is guarded in every spelling of its path: by a token, by the client's address, and by a signature. What is
// guarded answers nobody, and what is not is matched and forwarded as the same path.
func TestAround(t *testing.T) {
	t.Parallel()
	s := startSite(t, plan{files: map[string]string{"routes/around.yaml": aroundRoutes}, env: []string{"HOSTILE_URL_KEY=" + pepper}})
	for host, no := range map[string]string{"h": noToken, "addresses.test": denied, "signatures.test": sigMissing} {
		for _, in := range spellings {
			if host != "h" && strings.HasPrefix(in.target, "http:") {
				continue // it names a host of its own
			}
			no := no
			if strings.Contains(in.to, ";") && host == "signatures.test" {
				no = sigMalformed // a bare ";" is refused before anything is looked for
			}
			s.try(t, host+" "+in.target[:min(len(in.target), 40)], func() *attempt { return around(&in, host, no) })
		}
	}
}

// around is the request, and its answer where what is guarded says no.
func around(in *spelling, host, no string) *attempt {
	a := &attempt{line: "GET " + in.target, host: host, want: in.answer, http2: in.http2}
	rest, guarded := strings.CutPrefix(in.to, "/guarded")
	switch {
	case in.http1 == "200": // the absolute form
		a.want, a.http2 = no, in.answer
	case in.http1 != "":
		a.want, a.http2 = in.http1, in.answer
	case in.is != normal:
	case guarded && (rest == "" || rest[0] == '/' || rest[0] == '?'):
		a.want = no
	default:
		a.want, a.open = "200", "GET "+in.to
	}
	return a
}
