package contextinjection

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/suuupra/gateway/internal/headerfield"
	"github.com/suuupra/gateway/internal/jose"
	"github.com/suuupra/gateway/internal/testkit/policytest"
	"github.com/suuupra/gateway/runtime/policy"
)

// refusing knows no secret.
type refusing struct{}

func (refusing) Hold(ref string) (policy.Secret, error) {
	return nil, errors.New("secret " + ref + ": malformed")
}

func caller(t testing.TB, claims string) *policy.Principal {
	t.Helper()
	c, err := jose.Object([]byte(claims))
	if err != nil {
		t.Fatal(err)
	}
	sub, _ := c["sub"].(string)
	return &policy.Principal{Subject: sub, Issuer: "https://id.example.com", Claims: c}
}

// upstream is what the header looks like after the policy, but for the fields that all requests of the test have.
func upstream(x *policy.Exchange) string {
	var out []string
	for _, f := range x.Request.Header.Fields {
		if f.Name != "Accept" {
			out = append(out, f.Name+": "+f.Value)
		}
	}
	return strings.Join(out, " | ")
}

func injecting(t testing.TB, w *policytest.World, claims map[string]string, lists string) policy.Handler {
	t.Helper()
	raw, err := json.Marshal(&Plan{Claims: claims, Lists: lists})
	if err != nil {
		t.Fatal(err)
	}
	return w.Build(t, Kind, raw)
}

func TestValues(t *testing.T) {
	const token = `{"sub":"u1","n":9007199254740993,"e":1e400,"yes":true,"none":null,"empty":"","org":{"id":"o1"},"roles":["a","b"],
		"nested":[["a"]],"comma":["a,b"],"void":[],"names":["Zo\u00eb","\ud83d\ude00"],"https://x.org/v1.roles":["r"],
		"crlf":"a\r\nX-Admin: 1","nul":"a\u0000b","utf":"Zo\u00eb","edge":" a","esc":["a\r\nb"]}`
	for _, tc := range []struct{ lists, claim, want string }{
		{"comma", "sub", "X-F: u1"},
		{"comma", "n", "X-F: 9007199254740993"},
		{"comma", "e", "X-F: 1e400"},
		{"comma", "yes", "X-F: true"},
		{"comma", "none", ""},
		{"comma", "absent", ""},
		{"comma", "org.absent", ""},
		{"comma", "empty", "X-F: "},
		{"comma", "org.id", "X-F: o1"},
		{"comma", "roles", "X-F: a,b"},
		{"comma", "https://x.org/v1.roles", "X-F: r"},
		{"comma", "void", "X-F: "},
		{"comma", "comma", "403 claim_unusable"},
		{"comma", "nested", "403 claim_unusable"},
		{"comma", "org", "403 claim_unusable"},
		{"comma", "names", "403 claim_unusable"},
		{"comma", "crlf", "403 claim_unusable"},
		{"comma", "nul", "403 claim_unusable"},
		{"comma", "utf", "403 claim_unusable"},
		{"comma", "edge", "403 claim_unusable"},
		{"json", "sub", "X-F: u1"},
		{"json", "roles", `X-F: ["a","b"]`},
		{"json", "void", "X-F: []"},
		{"json", "comma", `X-F: ["a,b"]`},
		{"json", "nested", `X-F: [["a"]]`},
		{"json", "org", `X-F: {"id":"o1"}`},
		{"json", "names", `X-F: ["Zo\u00eb","\ud83d\ude00"]`},
		{"json", "esc", `X-F: ["a\r\nb"]`},
		{"json", "crlf", "403 claim_unusable"},
		{"json", "none", ""},
		{"base64", "sub", "X-F: u1"},
		{"base64", "n", "X-F: 9007199254740993"},
		{"base64", "roles", "X-F: WyJhIiwiYiJd"},
		{"base64", "org", "X-F: eyJpZCI6Im8xIn0"},
		{"base64", "utf", "403 claim_unusable"},
	} {
		t.Run(tc.lists+" "+tc.claim, func(t *testing.T) {
			w := policytest.NewWorld()
			x := w.Exchange("GET", "/", "Accept: */*", "X-F: mine")
			x.Principal = caller(t, token)
			v := injecting(t, w, map[string]string{"X-F": tc.claim}, tc.lists).Decide(t.Context(), x)
			got := policytest.Said(v)
			if v.Reject == nil {
				got = upstream(x)
			} else if v.Reject.Detail != "the claim "+tc.claim+" of the token cannot be passed on" {
				t.Errorf("detail %q", v.Reject.Detail)
			}
			if got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// TestStrips sends every spelling of the names that are injected: none reaches the upstream, whoever the caller is.
func TestStrips(t *testing.T) {
	for _, who := range []string{"nobody", "a token", "a token without the claims", "a key"} {
		t.Run(who, func(t *testing.T) {
			w := policytest.NewWorld()
			w.SetSecret("env:K", []byte(strings.Repeat("k", 32)))
			raw := `{"claims":{"X-User-Id":"sub","X_Tenant":"tenant"},"lists":"comma","identityToken":{"header":"X-Gateway-Identity","secretRef":"env:K","lifetime":60000}}`
			h := w.Build(t, Kind, []byte(raw))
			x := w.Exchange("GET", "/", "Accept: */*",
				"X-User-Id: evil", "x-user-id: evil", "x_user_id: evil", "X_USER-ID: evil", "X.User.Id: evil", "X~User!Id: evil",
				"x-tenant: evil", "X-Tenant: evil", "X-Gateway-Identity: evil", "x_gateway_identity: evil", "X-User-Idx: kept")
			want := "X-User-Idx: kept"
			switch who {
			case "a token":
				x.Principal = caller(t, `{"sub":"u1","tenant":"t1"}`)
				want += " | X-User-Id: u1 | X_Tenant: t1 | X-Gateway-Identity: "
			case "a token without the claims":
				x.Principal = caller(t, `{}`)
				want += " | X-Gateway-Identity: "
			case "a key":
				x.Key = &policy.Key{ID: "k1"}
				want += " | X-Gateway-Identity: "
			}
			if v := h.Decide(t.Context(), x); policytest.Said(v) != "pass" {
				t.Fatal(policytest.Said(v))
			}
			got := upstream(x)
			if at := strings.Index(got, "eyJ"); at >= 0 {
				got = got[:at]
			}
			if got != want {
				t.Errorf("upstream sees %s\nwant %s", got, want)
			}
		})
	}
}

func TestTooLarge(t *testing.T) {
	text := func(n int) string { return strings.Repeat("a", n) }
	for _, tc := range []struct {
		name, claims string
		identity     bool
		want         string
	}{
		{"exactly", `{"a":"` + text(4000) + `","b":"` + text(8192-4000-6) + `"}`, false, "pass"},
		{"one more", `{"a":"` + text(4000) + `","b":"` + text(8192-4000-5) + `"}`, false, "403 claims_too_large"},
		{"one claim of 9 KiB", `{"a":"` + text(9<<10) + `"}`, false, "403 claims_too_large"},
		{"with the token", `{"a":"` + text(8000) + `"}`, true, "403 claims_too_large"},
		{"the token alone", `{"sub":"` + text(6300) + `"}`, true, "403 claims_too_large"},
		{"a smaller one", `{"sub":"` + text(5500) + `"}`, true, "pass"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			w := policytest.NewWorld()
			w.SetSecret("env:K", []byte(text(32)))
			p := &Plan{Claims: map[string]string{"X-A": "a", "X-B": "b"}, Lists: "comma"}
			if tc.identity {
				p.IdentityToken = &IdentityToken{Header: "X-Id", SecretRef: "env:K", Lifetime: 60000}
			}
			raw, err := json.Marshal(p)
			if err != nil {
				t.Fatal(err)
			}
			x := w.Exchange("GET", "/")
			x.Principal = caller(t, tc.claims)
			if got := policytest.Said(w.Build(t, Kind, raw).Decide(t.Context(), x)); got != tc.want {
				t.Errorf("%s, want %s", got, tc.want)
			}
		})
	}
}

// FuzzDecide injects whatever a token says, past a client who sends a field of some name: what goes upstream under the injected name,
// in any spelling, is one value that arrives as it is, or nothing.
func FuzzDecide(f *testing.F) {
	for _, s := range []string{`"a\r\nb"`, `["a","b"]`, `{"x":[1,null]}`, `null`, `""`, `"\ud83d\ude00"`, `1e999`, `[["\u0000"]]`} {
		f.Add(s, "x_user_id")
	}
	f.Fuzz(func(t *testing.T, claim, name string) {
		claims, err := jose.Object([]byte(`{"c":` + claim + `}`))
		if err != nil || !headerfield.IsName(name) {
			return
		}
		for lists := range encodings {
			w := policytest.NewWorld()
			x := w.Exchange("GET", "/", name+": evil")
			x.Principal = &policy.Principal{Claims: claims}
			v := injecting(t, w, map[string]string{"X-User-Id": "c"}, lists).Decide(t.Context(), x)
			if v.Reject != nil {
				if got := policytest.Said(v); got != "403 claim_unusable" && got != "403 claims_too_large" {
					t.Fatal(got)
				}
				continue
			}
			n := 0
			for _, field := range x.Request.Header.Fields {
				if !headerfield.Among(field.Name, []string{"x-user-id"}) {
					continue
				}
				if n++; n > 1 || field.Name != "X-User-Id" || !headerfield.IsValue(field.Value) {
					t.Errorf("%s sends %v", claim, x.Request.Header.Fields)
				}
			}
			if (n == 1) != (claims["c"] != nil) {
				t.Errorf("%s makes %d fields", claim, n)
			}
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	for _, key := range []string{"", "HS256", "ES256"} {
		b.Run(fmt.Sprintf("key=%s", key), func(b *testing.B) {
			w := policytest.NewWorld()
			p := &Plan{Claims: map[string]string{"X-User-Id": "sub", "X-Tenant": "tenant"}, Lists: "comma"}
			switch key {
			case "HS256":
				w.SetSecret("env:K", []byte(strings.Repeat("k", 32)))
			case "ES256":
				_, text := newKey(b)
				w.SetSecret("env:K", text)
			}
			if key != "" {
				p.IdentityToken = &IdentityToken{Header: "X-Id", SecretRef: "env:K", Lifetime: 60000}
			}
			raw, err := json.Marshal(p)
			if err != nil {
				b.Fatal(err)
			}
			h := w.Build(b, Kind, raw)
			x := w.Exchange("GET", "/", "Accept: */*", "User-Agent: x", "Accept-Encoding: gzip", "Authorization: Bearer x", "Cookie: a=b")
			x.Principal = caller(b, `{"sub":"u1","tenant":"t1"}`)
			x.Principal.Roles = []string{"user", "admin"}
			head := x.Request.Header.Fields
			b.ReportAllocs()
			for b.Loop() {
				x.Request.Header.Fields = head[:5]
				if v := h.Decide(b.Context(), x); v.Reject != nil {
					b.Fatal(v.Reject)
				}
				head = x.Request.Header.Fields
			}
		})
	}
}
